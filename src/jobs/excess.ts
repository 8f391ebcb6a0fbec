import type { ObjectStore } from '../uploads/object-store.ts'
import type { Records } from '../uploads/records.ts'

/** Milliseconds for which a running request may stand still between writing bytes and counting them: no body may be silent for longer. */
const stillMs = 3_600_000

export interface ExcessDependencies {
  readonly records: Records
  readonly store: ObjectStore
  /** Milliseconds for which what no record knows is left alone. */
  readonly orphanGraceMs: number
  /** Cuts off what the upload's object has beyond what counts, and had before that time. Absent: who only looks. */
  readonly trim?: (id: string, before: number) => Promise<void>
}

/** Bytes of an object on its way that do not count, and that nobody has cut off: they are by now, unless this is a dry run. */
export async function excessOf(
  { records, store, orphanGraceMs, trim }: ExcessDependencies,
  key: string,
  dryRun: boolean,
): Promise<number> {
  const id = await records.growingUnder(key)
  const growth = id === undefined ? undefined : await records.growth(id)
  if (id === undefined || growth?.key !== key) return 0
  const before = Date.now() - Math.max(orphanGraceMs, stillMs)
  const excess = (await store.excess?.(key, growth, { before, cut: false })) ?? 0
  if (excess === 0 || dryRun || !trim) return excess
  await trim(id, before)
  return 0
}
