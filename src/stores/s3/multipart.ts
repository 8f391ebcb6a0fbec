import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type ListPartsCommandOutput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import { expectObject, joinedETag, namedPart, sameETag, type WriteAnswer } from './acknowledged.ts'
import { answered, ignoring, innerMs, request } from './requests.ts'

/** The type that every object has in the bucket: what it really is stands in the records. */
export const objectType = 'application/octet-stream'

/** An object in a bucket. */
export interface Target {
  readonly Bucket: string
  readonly Key: string
}

export interface OpenUpload {
  readonly Key: string
  readonly UploadId: string
  readonly startedAt: number
}

export interface SentPart {
  readonly PartNumber: number
  readonly ETag: string | undefined
}

export interface MultipartOptions {
  /** What could not be done, when it fails. */
  readonly message: string
  readonly signal: AbortSignal | undefined
}

/** Begins a multipart upload and returns its id, which is noted then. */
export async function beginMultipart(
  client: S3Client,
  target: Target,
  note: (text: string) => Promise<void>,
  { message, signal }: MultipartOptions,
): Promise<string> {
  const command = new CreateMultipartUploadCommand({ ...target, ContentType: objectType })
  let tries = 0
  const send = (abortSignal: AbortSignal) => {
    tries++
    return client.send(command, { abortSignal })
  }
  const { UploadId } = await request(message, send, { signal })
  if (UploadId === undefined) throw new UploadError('storage_failed', message)
  await note(UploadId)
  // The answer to an earlier try was lost, and nobody else will ever know that there is one. What this leaves holds no bytes, and goes
  // with the sweep.
  if (tries > 1) await abortAll(client, target, { but: UploadId, signal }).catch(() => {})
  return UploadId
}

export interface Joined {
  readonly parts: readonly SentPart[]
  /** Bytes of all of them. */
  readonly size: number
  /** They may have been joined before. */
  readonly mayBeDone?: boolean
}

/** Has the parts made one object. Only its caller may write under this key. */
export async function completeMultipart(
  client: S3Client,
  target: Target,
  UploadId: string,
  { size, mayBeDone = false, ...joined }: Joined,
  { message, signal }: MultipartOptions,
): Promise<void> {
  const parts = joined.parts.toSorted((a, b) => a.PartNumber - b.PartNumber)
  let tries = 0
  async function complete(Parts: SentPart[]): Promise<void> {
    let answer: WriteAnswer | undefined
    const command = new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } })
    async function send(abortSignal: AbortSignal): Promise<void> {
      tries++
      try {
        answer = await client.send(command, { abortSignal })
      } catch (error) {
        // Nobody else can have made it: when the first answer was lost, the object is there.
        if ((tries === 1 && !mayBeDone) || !answered(error, 'NoSuchUpload')) throw error
        const found = await client.send(new HeadObjectCommand(target), { abortSignal })
        if (found.ContentLength !== size) throw error
        answer = { ETag: joinedETag(Parts) }
      }
    }
    await request(message, send, { signal, deadlineMs: innerMs(size) })
    if (!sameETag(answer?.ETag, joinedETag(Parts)))
      await expectObject(client, target, { size, ETag: answer?.ETag }, { message, signal })
  }
  try {
    await complete(parts)
  } catch (error) {
    if (!(error instanceof UploadError) || !answered(error.cause, 'InvalidPart')) throw error
    const strays = await emptyStrays(client, { ...target, UploadId }, parts.at(-1)?.PartNumber ?? 0, {
      message,
      signal,
    })
    if (strays.length === 0) throw error
    await complete([...parts, ...strays])
  }
}

/**
 * Makes parts empty that were sent and never counted. Some servers refuse to join an upload as long as one of its parts is left out, and
 * parts cannot be removed.
 *
 * @param last number of the last part that counts
 */
async function emptyStrays(
  client: S3Client,
  upload: Target & { readonly UploadId: string },
  last: number,
  { message, signal }: MultipartOptions,
): Promise<SentPart[]> {
  const list = new ListPartsCommand({ ...upload, PartNumberMarker: String(last) })
  const { Parts = [] } = await request(message, (abortSignal) => client.send(list, { abortSignal }), { signal })
  const emptied: SentPart[] = []
  for (const { PartNumber = 0 } of Parts) {
    if (PartNumber <= last) continue
    emptied.push({ PartNumber, ETag: await emptyPart(client, upload, PartNumber, { message, signal }) })
  }
  return emptied
}

/** Takes the bytes of a part away: parts cannot be removed. */
export async function emptyPart(
  client: S3Client,
  upload: Target & { readonly UploadId: string },
  PartNumber: number,
  { message, signal }: MultipartOptions,
): Promise<string> {
  const command = new UploadPartCommand({ ...upload, PartNumber, ContentLength: 0, Body: '' })
  return namedPart(await request(message, (abortSignal) => client.send(command, { abortSignal }), { signal }), message)
}

/**
 * Bytes of parts that were sent and do not count, the last of them before that time.
 *
 * @param last number of the last part that counts
 * @param options `cut`: takes them away
 */
export async function excessOf(
  client: S3Client,
  upload: Target & { readonly UploadId: string },
  last: number,
  { before, cut }: { readonly before: number; readonly cut: boolean },
): Promise<number> {
  const options = { message: 'The parts of the object could not be looked at.', signal: undefined }
  let excess = 0
  let marker: string | undefined = String(last)
  while (marker !== undefined) {
    const list: ListPartsCommand = new ListPartsCommand({ ...upload, PartNumberMarker: marker })
    const page: ListPartsCommandOutput = await request(options.message, (abortSignal) =>
      client.send(list, { abortSignal }),
    )
    for (const { PartNumber = 0, Size = 0, LastModified } of page.Parts ?? []) {
      if (PartNumber <= last || Size === 0 || (LastModified?.getTime() ?? 0) > before) continue
      excess += Size
      if (cut) await emptyPart(client, upload, PartNumber, options)
    }
    marker = page.IsTruncated ? page.NextPartNumberMarker : undefined
  }
  return excess
}

export async function abortUpload(
  client: S3Client,
  target: Target,
  UploadId: string,
  signal?: AbortSignal,
): Promise<void> {
  const command = new AbortMultipartUploadCommand({ ...target, UploadId })
  const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal }).catch(ignoring('NoSuchUpload', 404))
  await request('The object could not be removed.', send, { signal })
}

/** Ends every multipart upload of the object that is open. @param options `but`: one that is not touched */
export async function abortAll(
  client: S3Client,
  target: Target,
  { but, signal }: { readonly but?: string; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const ids: string[] = []
  for await (const { Key, UploadId } of openUploads(client, target.Bucket, target.Key, signal))
    if (Key === target.Key && UploadId !== but) ids.push(UploadId)
  for (const id of ids) await abortUpload(client, target, id, signal)
}

/** The multipart uploads that are open, of keys that begin so. */
export async function* openUploads(
  client: S3Client,
  Bucket: string,
  Prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<OpenUpload> {
  let next: { readonly KeyMarker?: string | undefined; readonly UploadIdMarker?: string | undefined } | undefined = {}
  while (next) {
    const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({ Bucket, Prefix, ...next })
    const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal })
    const page = await request('The unfinished objects could not be listed.', send, { signal })
    for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? [])
      yield { Key, UploadId, startedAt: Initiated?.getTime() ?? 0 }
    next = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
  }
}
