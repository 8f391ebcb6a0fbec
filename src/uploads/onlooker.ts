import { digestsOf } from './digests.ts'
import { type HookOptions, merge, mergePatches, type Pipeline, type TapLine } from './pipeline.ts'
import { checkFound, type Policy } from './policy.ts'
import type { Patch, Upload } from './upload.ts'

/** Onlookers that are kept between requests. */
const maxKept = 1_000
/** Milliseconds for which one is kept. */
const keptMs = 10 * 60_000

/** Sees the bytes of one upload pass, over several requests: first bytes, taps and digest. What it has seen is lost with the process. */
export interface Onlooker {
  /** Bytes that it has seen. */
  readonly seen: number
  /** Before the chunks are stored. @param last nothing follows them @throws {Rejection} */
  before(chunks: readonly Uint8Array[], last: boolean): Promise<void>
  /** While they are being stored. */
  pass(chunks: readonly Uint8Array[]): Promise<void>
  /** All bytes have passed. @throws {Rejection} */
  end(): Promise<{ readonly patch: Patch; readonly sha256: string }>
  drop(): void
}

export interface OnlookerDependencies {
  readonly pipeline: Pipeline
  readonly policy: Policy
}

export function onlooker(
  { pipeline, policy }: OnlookerDependencies,
  upload: Upload,
  { reserve }: HookOptions,
): Onlooker {
  const dropped = new AbortController()
  const options = { reserve, signal: dropped.signal }
  const sums = digestsOf([])
  let seen = 0
  let found: Patch | undefined
  let taps: TapLine | undefined
  /** Copies of what has passed before there was enough to look at. */
  let held: Uint8Array[] = []

  async function look(chunks: readonly Uint8Array[]): Promise<void> {
    const headBytes = Buffer.concat([...held, ...chunks]).subarray(0, pipeline.headBytes)
    const patch = await pipeline.inspect(upload, headBytes, options)
    const known = merge(upload, patch)
    checkFound(policy, known)
    found = patch
    taps = pipeline.taps(known, options)
  }

  return {
    get seen() {
      return seen
    },
    async before(chunks, last) {
      const enough = last || seen + bytesOf(chunks) >= pipeline.headBytes
      if (found === undefined && enough) await look(firstOf(chunks, pipeline.headBytes))
    },
    async pass(chunks) {
      seen += bytesOf(chunks)
      for (const chunk of chunks) sums.update(chunk)
      if (found === undefined) {
        held.push(Buffer.concat(chunks))
        return
      }
      if (held.length > 0) await taps?.write(held)
      held = []
      await taps?.write(chunks)
    },
    async end() {
      if (found === undefined) await look([])
      if (held.length > 0) await taps?.write(held)
      const tapped = await taps?.end()
      return { patch: mergePatches(found ?? {}, tapped), sha256: (await sums.end()).sha256 }
    },
    drop() {
      dropped.abort(new Error('The upload goes on without it.'))
      taps?.abort()
    },
  }
}

const bytesOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

/** The chunks that hold the first `bytes` bytes. */
function firstOf(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let sum = 0
  return chunks.filter((chunk) => {
    const wanted = sum < bytes
    sum += chunk.length
    return wanted
  })
}

export interface Onlookers {
  /** The one that has seen exactly so many bytes of the upload. Nobody else has it any more then. */
  take(id: string, bytes: number): Onlooker | undefined
  keep(id: string, one: Onlooker): void
}

/** Keeps onlookers between the requests of their uploads: the newest, for a while. */
export function onlookers(): Onlookers {
  const kept = new Map<string, { readonly one: Onlooker; readonly timer: NodeJS.Timeout }>()

  /** Nobody has it here any more. */
  function release(id: string): Onlooker | undefined {
    const found = kept.get(id)
    clearTimeout(found?.timer)
    kept.delete(id)
    return found?.one
  }

  return {
    take(id, bytes) {
      const one = release(id)
      if (one?.seen === bytes) return one
      one?.drop()
      return undefined
    },
    keep(id, one) {
      release(id)?.drop()
      const timer = setTimeout(() => release(id)?.drop(), keptMs)
      kept.set(id, { one, timer: timer.unref() })
      // In the order in which they were kept.
      const [oldest] = kept.keys()
      if (kept.size > maxKept && oldest !== undefined) release(oldest)?.drop()
    },
  }
}
