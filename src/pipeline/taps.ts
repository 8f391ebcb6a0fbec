import type { Patch, Tap } from '../plugin.ts'
import { mergePatches, type TapLine } from '../uploads/pipeline.ts'

export interface NamedTap {
  readonly tap: Tap
  /** Turns an error of the tap into what the pipeline throws, or into nothing when the plugin is to be skipped. */
  failed(error: unknown): void
}

/** Every tap sees every chunk, in order. A tap that failed and is to be skipped sees no more. */
export function tapLine(taps: readonly NamedTap[]): TapLine {
  const live = new Set(taps)

  /** Hands over the chunks from `at` on; waits only from the first one on that the tap holds back. */
  function feed(one: NamedTap, chunks: readonly Uint8Array[], at = 0): Promise<void> | undefined {
    for (let i = at; i < chunks.length; i++) {
      const chunk = chunks[i]
      const pending = chunk && one.tap.write(chunk)
      if (pending) return pending.then(() => feed(one, chunks, i + 1))
    }
    return undefined
  }

  function drop(one: NamedTap, error: unknown): void {
    live.delete(one)
    one.failed(error)
  }

  return {
    write(chunks) {
      const waits: Promise<void>[] = []
      for (const one of live)
        try {
          const pending = feed(one, chunks)
          if (pending) waits.push(pending.catch((error: unknown) => drop(one, error)))
        } catch (error) {
          drop(one, error)
        }
      return waits.length === 0 ? undefined : Promise.all(waits).then(() => {})
    },
    async end() {
      let patch: Patch = {}
      for (const one of live)
        try {
          patch = mergePatches(patch, await one.tap.end())
        } catch (error) {
          one.failed(error)
        }
      return patch
    },
    abort() {
      for (const one of live) one.tap.abort?.()
      live.clear()
    },
  }
}
