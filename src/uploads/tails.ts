import type { ObjectStore } from './object-store.ts'
import type { Records } from './records.ts'

interface TailDependencies {
  readonly records: Records
  readonly store: ObjectStore
}

/** Cuts off what the object of an upload has beyond what counts, and had before that time. Nobody may be writing it. */
export async function cutTail({ records, store }: TailDependencies, id: string, before: number): Promise<void> {
  const growth = await records.growth(id)
  if (growth) await store.excess?.(growth.key, growth, { before, cut: true })
}

/** What writers have left that died with the process before. */
export async function cutTails(deps: TailDependencies): Promise<void> {
  for await (const { key } of deps.store.unfinished?.() ?? []) {
    const id = await deps.records.growingUnder(key)
    if (id !== undefined) await cutTail(deps, id, Infinity)
  }
}
