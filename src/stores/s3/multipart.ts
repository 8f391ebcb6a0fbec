import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import { answered, request } from './requests.ts'

/** The type that every object has in the bucket: what it really is stands in the records. */
export const objectType = 'application/octet-stream'
/** Milliseconds for making one object of many parts: stores copy them together while we wait. */
const completeMs = 5 * 60_000

export interface Target {
  readonly Bucket: string
  readonly Key: string
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

/** Begins a multipart upload; returns its id when that is noted. */
export async function beginMultipart(
  client: S3Client,
  target: Target,
  note: (text: string) => Promise<void>,
  { message, signal }: MultipartOptions,
): Promise<string> {
  const command = new CreateMultipartUploadCommand({ ...target, ContentType: objectType })
  const { UploadId } = await request(message, (abortSignal) => client.send(command, { abortSignal }), { signal })
  if (UploadId === undefined) throw new UploadError('storage_failed', message)
  await note(UploadId)
  return UploadId
}

/** Has the parts made one object of so many bytes. Only its caller may write under this key. */
export async function completeMultipart(
  client: S3Client,
  target: Target,
  { id, parts, size }: { readonly id: string; readonly parts: readonly SentPart[]; readonly size: number },
  { message, signal }: MultipartOptions,
): Promise<void> {
  const MultipartUpload = { Parts: parts.toSorted((a, b) => a.PartNumber - b.PartNumber) }
  const command = new CompleteMultipartUploadCommand({ ...target, UploadId: id, MultipartUpload })
  let tries = 0
  async function send(abortSignal: AbortSignal): Promise<void> {
    tries++
    try {
      await client.send(command, { abortSignal })
    } catch (error) {
      // Nobody else can have made it: when the first answer was lost, the object is there.
      if (tries === 1 || !answered(error, 'NoSuchUpload')) throw error
      const found = await client.send(new HeadObjectCommand(target), { abortSignal })
      if (found.ContentLength !== size) throw error
    }
  }
  await request(message, send, { signal, deadlineMs: completeMs })
}
