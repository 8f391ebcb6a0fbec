import type { Readable } from 'node:stream'
import { UploadError } from '../errors.ts'
import { declaredDigests, digestsOf, type ExpectedDigest } from './digests.ts'
import type { ObjectStore } from './object-store.ts'
import { type HookOptions, merge, mergePatches, type Pipeline } from './pipeline.ts'
import { checkFound, type Policy, sizeLimit } from './policy.ts'
import type { Pace } from './pace.ts'
import { type End, intake } from './receive.ts'
import type { Patch, Upload } from './upload.ts'

/** Bytes that a client sends, as a dialect hands them over. */
export interface Body {
  /** Destroyed with an `UploadError` it says itself what is wrong with the body. */
  readonly stream: Readable
  /** Nobody else keeps the chunks of the stream. @default only when it is a request */
  readonly ownChunks?: boolean
  /** When all of it must have come. Milliseconds since 1970. @default never */
  readonly endsAt?: number
  /** Bytes that the client has announced for this body; `null`: unknown. */
  readonly length: number | null
  /** What the client says of the bytes beside what it has declared. @default nothing */
  readonly digests?: readonly ExpectedDigest[]
  /** The client sends nothing before it is told to: `accept` tells it. */
  readonly waits: boolean
  accept(): void
}

export interface Ingested {
  readonly size: number
  /** Hexadecimal. */
  readonly sha256: string
  readonly patch: Patch
}

export interface IngestOptions extends HookOptions {
  readonly key: string
  readonly signal: AbortSignal
  /** Resolves to the upload when its record is written; nothing goes to the store before. */
  readonly upload: Promise<Upload>
  readonly draft: Pick<Upload, 'category' | 'declaredSize'>
  readonly allowEmpty: boolean
  /** Keeps what the store notes about the object that it has begun. */
  readonly note: (text: string) => Promise<void>
}

/** The client went away in the middle: there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

export interface IngestDependencies {
  readonly store: ObjectStore
  readonly pipeline: Pipeline
  readonly policy: Policy
  /** Milliseconds without a byte after which a body is given up. */
  readonly bodyIdleMs: number
  /** The slowest that a body may come; slower, it is given up. @default any pace is good enough */
  readonly lowestPace?: Pace | undefined
}

/**
 * One body into one object: its first bytes are looked at before anything is stored, each gather is hashed and tapped while it is
 * being written, the next one is received meanwhile. Whatever goes wrong, nothing is left in the store.
 *
 * @throws {UploadError} what is wrong with the bytes · {ClientGone}
 */
export async function ingest(deps: IngestDependencies, body: Body, options: IngestOptions): Promise<Ingested> {
  const { store, pipeline, policy } = deps
  const { declaredSize } = options.draft
  const limit = declaredSize ?? sizeLimit(policy, options.draft.category)
  if (body.length !== null && body.length > limit) throw tooMuch(declaredSize, limit)
  if (body.length !== null && declaredSize !== null && body.length !== declaredSize)
    throw sizeMismatch(declaredSize, body.length)
  // A client that waits for "100 Continue" is told to go on only when its upload has been accepted.
  if (body.waits) {
    await options.upload
    body.accept()
  }
  const source = intake(body.stream, { ...intakeOptions(deps, body), limit, signal: options.signal })
  const writer = store.write(options.key, { length: body.length ?? declaredSize, note: options.note })
  let taps: ReturnType<Pipeline['taps']>
  try {
    const [upload, headBytes] = await Promise.all([options.upload, source.headBytes(Math.max(1, pipeline.headBytes))])
    const found = await pipeline.inspect(upload, headBytes, options)
    const known = merge(upload, found)
    checkFound(policy, known)
    const sums = digestsOf([...declaredDigests(known.declaredChecksum), ...(body.digests ?? [])])
    taps = pipeline.taps(known, options)

    const { bytes, end } = await source.drain(async (chunks) => {
      const written = writer.write(chunks)
      // Should a tap fail first, the write's own failure must not go unheard.
      written.catch(() => {})
      for (const chunk of chunks) sums.update(chunk)
      await taps?.write(chunks)
      await written
    })
    if (end !== 'whole') throw endError(body, end, declaredSize, limit)
    if (bytes === 0 && !options.allowEmpty)
      throw new UploadError('empty_body', 'The body is empty: it must be the file.')
    if (known.declaredSize !== null && bytes !== known.declaredSize) throw sizeMismatch(known.declaredSize, bytes)
    const { sha256, fault } = await sums.end()
    if (fault !== undefined) throw new UploadError('checksum_mismatch', fault)
    const tapped = await taps?.end()
    await writer.finish()
    return { size: bytes, sha256, patch: mergePatches(found, tapped) }
  } catch (error) {
    source.stop()
    taps?.abort()
    // A store that cannot clean up is no answer to the client; what it leaves goes when it is next started.
    await writer.abort().catch(() => {})
    throw error
  }
}

/** Reads what is left of a body that is not wanted, within the same limits. @throws {UploadError} · {ClientGone} */
export async function skip(deps: IngestDependencies, body: Body, category: string | null): Promise<void> {
  if (body.stream.readableEnded) return
  const limit = sizeLimit(deps.policy, category)
  const source = intake(body.stream, { ...intakeOptions(deps, body), limit })
  body.stream.resume()
  const { end } = await source.drain(async () => {})
  if (end !== 'whole') throw endError(body, end, null, limit)
}

export const intakeOptions = (deps: IngestDependencies, { ownChunks, endsAt }: Body) => ({
  idleTimeoutMs: deps.bodyIdleMs,
  lowestPace: deps.lowestPace,
  endsAt,
  ...(ownChunks === undefined ? {} : { ownChunks }),
})

const sizeMismatch = (declared: number, found: number): UploadError =>
  new UploadError('size_mismatch', `${declared} bytes were declared, and the body has ${found}.`)

const tooMuch = (declaredSize: number | null, limit: number): UploadError =>
  declaredSize === null
    ? new UploadError('file_too_large', `The file has more than the ${limit} bytes that are allowed.`)
    : new UploadError('size_mismatch', `${declaredSize} bytes were declared, and the body has more.`)

function endError(body: Body, end: Exclude<End, 'whole'>, declaredSize: number | null, limit: number): Error {
  if (body.stream.errored instanceof UploadError) return body.stream.errored
  if (end === 'cut') return new ClientGone('The client closed the connection before the end of the body.')
  if (end === 'silent')
    return new UploadError('request_timeout', 'Nothing of the body has come for too long, or too little.')
  if (end === 'late') return new UploadError('upload_expired', 'The upload URL has expired while the body came.')
  if (end === 'overflow') return tooMuch(declaredSize, limit)
  return new UploadError('upload_state_conflict', 'The upload was ended by another request.')
}
