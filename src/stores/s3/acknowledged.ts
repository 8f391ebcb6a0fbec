import { createHash } from 'node:crypto'
import { HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import type { MultipartOptions, SentPart, Target } from './multipart.ts'
import { ignoring, request } from './requests.ts'

// A status of 200 alone proves nothing: a captive portal, a proxy or a broken server says it as well.

/** What answers to a write have in common. */
export interface WriteAnswer {
  readonly ETag?: string | undefined
  readonly ServerSideEncryption?: string | undefined
  readonly SSECustomerAlgorithm?: string | undefined
}

const bare = (etag: string | undefined): string => (etag ?? '').replace(/^"|"$/g, '').toLowerCase()

/** Whether the answer proves that these bytes came; `undefined`: it proves neither that nor the contrary. */
function proves(answer: WriteAnswer, md5: string): boolean | undefined {
  const etag = bare(answer.ETag)
  if (etag === md5) return true
  // With a key of its own the server does not make the ETag of the bytes; some servers never do.
  const isOther =
    answer.SSECustomerAlgorithm !== undefined || answer.ServerSideEncryption?.startsWith('aws:kms') === true
  return isOther || !/^[0-9a-f]{32}$/.test(etag) ? undefined : false
}

const untrue = (message: string, what: string): UploadError =>
  new UploadError('storage_failed', message, {
    cause: new Error(`The S3 server said that it has stored, and ${what}.`),
  })

/**
 * The answer to a part, which nobody can look at by itself: it is named by its ETag when the parts are joined.
 *
 * @throws {UploadError} `storage_failed`
 */
export function provenPart(answer: WriteAnswer, md5: string, message: string): string {
  const etag = namedPart(answer, message)
  if (proves(answer, md5) === false) throw untrue(message, 'named the ETag of other bytes')
  return etag
}

/** A part of bytes that the store has itself. @throws {UploadError} `storage_failed` */
export function namedPart(answer: WriteAnswer | undefined, message: string): string {
  if (!answer?.ETag) throw untrue(message, 'named no ETag')
  return answer.ETag
}

/** @throws {UploadError} `storage_failed` */
export async function provenObject(
  client: S3Client,
  target: Target,
  answer: WriteAnswer,
  { md5, size }: { readonly md5: string; readonly size: number },
  options: MultipartOptions,
): Promise<void> {
  const proof = proves(answer, md5)
  if (proof === false) throw untrue(options.message, 'named the ETag of other bytes')
  if (proof === undefined) await expectObject(client, target, { size, ETag: answer.ETag }, options)
}

/** The ETag that servers give to what was joined of parts. */
export function joinedETag(parts: readonly SentPart[]): string {
  const digests = parts.map(({ ETag }) => Buffer.from(bare(ETag), 'hex'))
  return `${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${parts.length}`
}

export const sameETag = (a: string | undefined, b: string | undefined): boolean => bare(a) !== '' && bare(a) === bare(b)

/**
 * Looks whether the object is there, as the answer said.
 *
 * @param said what the answer said; without an ETag only the size is compared
 * @throws {UploadError} `storage_failed`
 */
export async function expectObject(
  client: S3Client,
  target: Target,
  said: { readonly size: number; readonly ETag?: string | undefined },
  { message, signal }: MultipartOptions,
): Promise<void> {
  const send = (abortSignal: AbortSignal) =>
    client.send(new HeadObjectCommand(target), { abortSignal }).catch(ignoring(404))
  const found = await request(message, send, { signal })
  // What is no S3 server may answer 200 to this too.
  if (!found || (found.ETag === undefined && found.LastModified === undefined))
    throw untrue(message, 'has nothing there')
  if (found.ContentLength !== said.size)
    throw untrue(message, `has ${found.ContentLength} bytes instead of ${said.size}`)
  if (bare(said.ETag) !== '' && found.ETag !== undefined && !sameETag(said.ETag, found.ETag))
    throw untrue(message, 'has other bytes there')
}
