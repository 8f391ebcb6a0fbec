import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import { answered, request } from './requests.ts'

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

export interface StartedUpload {
  readonly UploadId: string
  /** The answer to an earlier try was lost: there may be another one under the same key, of which nobody has the id. */
  readonly mayHaveTwin: boolean
}

/** @param message what cannot be done when it fails */
export async function startUpload(
  client: S3Client,
  target: Target,
  message: string,
  signal: AbortSignal | undefined,
): Promise<StartedUpload> {
  const command = new CreateMultipartUploadCommand({ ...target, ContentType: objectType })
  let tries = 0
  const send = (abortSignal: AbortSignal) => {
    tries++
    return client.send(command, { abortSignal })
  }
  const { UploadId } = await request(message, send, { signal })
  if (UploadId === undefined) throw new UploadError('storage_failed', message)
  return { UploadId, mayHaveTwin: tries > 1 }
}

export async function abortUpload(client: S3Client, target: Target, UploadId: string): Promise<void> {
  await request('The object could not be removed.', (abortSignal) =>
    client.send(new AbortMultipartUploadCommand({ ...target, UploadId }), { abortSignal }).catch((error: unknown) => {
      if (!answered(error, 'NoSuchUpload', 404)) throw error
    }),
  )
}

/** Ends every multipart upload of the object that is open. @param but one that is not touched */
export async function abortAll(client: S3Client, target: Target, but?: string): Promise<void> {
  const ids: string[] = []
  for await (const { Key, UploadId } of openUploads(client, target.Bucket, target.Key))
    if (Key === target.Key && UploadId !== but) ids.push(UploadId)
  for (const id of ids) await abortUpload(client, target, id)
}

/**
 * Ends the twins of an upload that is complete. They hold no bytes, so a failure is no reason to fail what is done: those that stay
 * go by the bucket's own rule.
 */
export async function abortTwins(client: S3Client, target: Target, started: StartedUpload): Promise<void> {
  // Not the one that is complete: some servers would take the object away.
  if (started.mayHaveTwin) await abortAll(client, target, started.UploadId).catch(() => {})
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
