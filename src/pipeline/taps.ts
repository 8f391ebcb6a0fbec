import type { Patch, Tap } from '../plugin.ts'
import { mergePatches, type TapLine } from '../uploads/pipeline.ts'

export interface NamedTap {
  readonly tap: Tap
  /** Turns an error of the tap into what the pipeline throws, or into nothing when the plugin is to be skipped. */
  failed(error: unknown): void
  /** The same promise, but no longer than the plugin may take. */
  inTime<T>(answer: Promise<T>): Promise<T>
}

/** Every tap sees every chunk, in order. A tap that failed and is to be skipped sees no more. */
export function tapLine(taps: readonly NamedTap[]): TapLine {
  const live = new Set(taps)

  /** Hands over the chunks from `at` on; waits only from the first one on that the tap holds back. */
  function feed(one: NamedTap, chunks: readonly Uint8Array[], at = 0): Promise<void> | undefined {
    let ahead = chunks.slice(at).reduce((sum, chunk) => sum + chunk.length, 0)
    for (let i = at; i < chunks.length; i++) {
      const chunk = chunks[i]
      if (!chunk) continue
      ahead -= chunk.length
      const pending = one.tap.write(chunk, ahead)
      if (pending) return one.inTime(pending).then(() => feed(one, chunks, i + 1))
    }
    return undefined
  }

  function drop(one: NamedTap, error: unknown): void {
    live.delete(one)
    one.failed(error)
  }

  function write(one: NamedTap, chunks: readonly Uint8Array[]): Promise<void> | undefined {
    try {
      return feed(one, chunks)?.catch((error: unknown) => drop(one, error))
    } catch (error) {
      // Not thrown here: other taps may be busy, and somebody must hear how they end.
      return Promise.reject(error).catch((reason: unknown) => drop(one, reason))
    }
  }

  return {
    write(chunks) {
      const waits = [...live].flatMap((one) => write(one, chunks) ?? [])
      return waits.length === 0 ? undefined : all(waits)
    },
    async end() {
      let patch: Patch = {}
      for (const one of live)
        try {
          const found = one.tap.end()
          patch = mergePatches(patch, found instanceof Promise ? await one.inTime(found) : found)
        } catch (error) {
          drop(one, error)
        }
      return patch
    },
    abort() {
      for (const { tap } of live)
        try {
          tap.abort?.()
        } catch {
          // The upload has ended already, for a reason that counts more.
        }
      live.clear()
    },
  }
}

async function all(waits: readonly Promise<void>[]): Promise<void> {
  await Promise.all(waits)
}
