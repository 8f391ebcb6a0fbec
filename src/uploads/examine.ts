import { Rejection } from '../errors.ts'
import { declaredDigests, digestsOf } from './digests.ts'
import type { ObjectStore } from './object-store.ts'
import { type HookOptions, merge, mergePatches, type Pipeline } from './pipeline.ts'
import { checkFound, type Policy } from './policy.ts'
import type { Checksum, Patch, Upload } from './upload.ts'

/** Bytes that are handed to the taps at a time. */
const gatherBytes = 256 * 1024

export interface ExamineDependencies {
  readonly store: ObjectStore
  readonly pipeline: Pipeline
  readonly policy: Policy
}

/**
 * Looks at stored bytes that came past the gateway as it would have looked at them on their way in. They are read whole only when a
 * tap wants to see them, or a declared checksum is not proved by the store's own.
 *
 * @returns what was found, and the SHA-256 when all was read or the declared one is proved
 * @throws {Rejection} what is wrong with the bytes
 */
export async function examine(
  { store, pipeline, policy }: ExamineDependencies,
  upload: Upload,
  options: HookOptions,
): Promise<{ readonly patch: Patch; readonly sha256: string | null }> {
  const key = upload.objectKey ?? ''
  const size = upload.size ?? 0
  const end = Math.min(size, pipeline.headBytes)
  const headBytes = end > 0 ? await store.bytes(key, { start: 0, end }, options.signal) : new Uint8Array(0)
  const found = await pipeline.inspect(upload, headBytes, options)
  const known = merge(upload, found)
  checkFound(policy, known)

  const { declaredChecksum } = upload
  const proved = declaredChecksum === null || (await isProved(store, key, declaredChecksum))
  const taps = pipeline.taps(known, options)
  if (proved && !taps) return { patch: found, sha256: declaredSha256(declaredChecksum) }
  const sums = digestsOf(declaredDigests(proved ? null : declaredChecksum))
  try {
    const bytes = await store.read(key, undefined, options.signal)
    for await (const chunk of gathers(bytes)) {
      sums.update(chunk)
      await taps?.write([chunk])
    }
    const { sha256, fault } = await sums.end()
    if (fault !== undefined) throw new Rejection('checksum_mismatch', fault)
    return { patch: mergePatches(found, await taps?.end()), sha256 }
  } catch (error) {
    taps?.abort()
    throw error
  }
}

const declaredSha256 = (checksum: Checksum | null): string | null =>
  checksum?.algorithm === 'sha256' ? Buffer.from(checksum.digest, 'base64').toString('hex') : null

/** The store's own digest equals the declared one. Where it does not it may be of something else: encrypted bytes, or parts. */
async function isProved(store: ObjectStore, key: string, { algorithm, digest }: Checksum): Promise<boolean> {
  const hex = (await store.direct?.arrived(key))?.[algorithm]
  return hex != null && Buffer.from(hex, 'hex').toString('base64') === digest
}

/** Chunks of a good size: stores send them as small as they like. */
async function* gathers(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes < gatherBytes) continue
    yield Buffer.concat(chunks, bytes)
    chunks = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(chunks, bytes)
}
