import type { S3Client } from '@aws-sdk/client-s3'
import { sendObject, sendPart } from './bodies.ts'
import type { GrowthRecord } from './growth.ts'
import type { Lease } from './memory.ts'
import { beginMultipart, completeMultipart, emptyPart, type Target } from './multipart.ts'

/** Bytes that are cut to be sent. The first of them may be on record, the others are in memory. */
export interface Part {
  readonly number: number
  readonly start: number
  readonly size: number
  readonly tailBytes: number
  readonly lease: Lease | undefined
}

export interface SenderOptions {
  readonly client: S3Client
  readonly target: Target
  /** Id of the multipart upload that was begun; `null`: none. */
  readonly begun: string | null
  /** Keeps the id of the multipart upload. */
  readonly note: (text: string) => Promise<void>
  readonly record: GrowthRecord
  readonly signal: AbortSignal
}

export interface Sender {
  /** There is a multipart upload. */
  readonly begun: boolean
  /** Sends a part and gives back its memory; the first one begins the multipart upload. */
  part(part: Part): Promise<void>
  /** Sends all there is as the object. */
  whole(part: Part): Promise<void>
  /** Takes back what was sent of these parts. They must not be on record. */
  drop(first: number, last: number): Promise<void>
  /** Makes the object of all parts. @param mayBeDone that may have been done before */
  join(size: number, mayBeDone: boolean): Promise<void>
}

/** Brings the parts of one object to the store. */
export function partSender({ client, target, note, record, signal, ...options }: SenderOptions): Sender {
  const failing = { message: 'The object could not be written.', signal }
  /** Its id. */
  let multipart: Promise<string> | undefined = options.begun === null ? undefined : Promise.resolve(options.begun)

  const begin = (): Promise<string> => (multipart ??= beginMultipart(client, target, note, failing))

  async function* contentOf({ start, tailBytes, lease }: Part): AsyncGenerator<Uint8Array> {
    yield* record.read(start, start + tailBytes)
    if (lease) yield* lease.slabs()
  }

  async function upload(part: Part): Promise<string> {
    const at = { ...target, UploadId: await begin(), PartNumber: part.number }
    return sendPart(client, at, () => contentOf(part), part.size, failing)
  }

  return {
    get begun() {
      return multipart !== undefined
    },
    async part(part) {
      const ETag = await upload(part).finally(() => part.lease?.release())
      await record.sent({ start: part.start, size: part.size, PartNumber: part.number, ETag })
    },
    async whole(part) {
      await sendObject(client, target, () => contentOf(part), part.size, failing).finally(() => part.lease?.release())
    },
    async drop(first, last) {
      if (first > last || !multipart) return
      const UploadId = await multipart
      // What has stopped the writer does not stop this.
      for (let number = first; number <= last; number++)
        await emptyPart(client, { ...target, UploadId }, number, { message: failing.message, signal: undefined })
    },
    async join(size, mayBeDone) {
      await completeMultipart(client, target, await begin(), { parts: record.parts, size, mayBeDone }, failing)
    },
  }
}
