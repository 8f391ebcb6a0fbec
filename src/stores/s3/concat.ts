import type { Readable } from 'node:stream'
import { type S3Client, UploadPartCopyCommand } from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import type { ByteRange, StoredObject } from '../../uploads/object-store.ts'
import { eachAtOnce } from './at-once.ts'
import { namedPart } from './acknowledged.ts'
import { type PartTarget, sendObject, sendPart } from './bodies.ts'
import { type ConcatLimits, isCopy, planConcat, type PlannedPart } from './concat-plan.ts'
import { copiesInFlight } from './direct.ts'
import type { Lease, PartMemory } from './memory.ts'
import { beginMultipart, completeMultipart, type SentPart, type Target } from './multipart.ts'
import { innerMs, request } from './requests.ts'

const message = 'The objects could not be put together.'

export interface ConcatOptions {
  readonly client: S3Client
  readonly target: Target
  /** By their keys in the bucket. */
  readonly sources: readonly Pick<StoredObject, 'key' | 'size'>[]
  readonly limits: ConcatLimits
  readonly memory: PartMemory
  /** Keeps the id of the multipart upload. */
  readonly note: (text: string) => Promise<void>
  readonly signal: AbortSignal | undefined
  /** The bytes of a source. */
  readonly read: (source: number, range: ByteRange, signal: AbortSignal) => Promise<Readable>
}

/** Makes one object of others: inside the store where S3 allows that, and else through the memory for parts. */
export async function s3Concat(options: ConcatOptions): Promise<void> {
  const { client, target, sources, memory, signal } = options
  const plan = planConcat(
    sources.map(({ size }) => size),
    options.limits,
  )
  if (!plan) throw new UploadError('storage_failed', 'The objects are too many: they would become too many parts.')
  const [first = { size: 0, stretches: [] }] = plan
  if (plan.length <= 1 && !isCopy(first)) return gathered(first, signal ?? new AbortController().signal, put)

  const UploadId = await beginMultipart(client, target, options.note, { message, signal })
  const parts: SentPart[] = []
  await eachAtOnce(plan.entries(), copiesInFlight, signal, async ([i, part], abort) => {
    const headers = { ...target, UploadId, PartNumber: i + 1 }
    const ETag = isCopy(part)
      ? await copy(part, headers, abort)
      : await gathered(part, abort, (lease) => upload(lease, headers, abort))
    parts.push({ PartNumber: i + 1, ETag })
  })
  const size = plan.reduce((sum, part) => sum + part.size, 0)
  await completeMultipart(client, target, UploadId, { parts, size }, { message, signal })

  async function copy(part: PlannedPart, headers: PartTarget, abort: AbortSignal): Promise<string> {
    const [{ source, start, end } = { source: 0, start: 0, end: 0 }] = part.stretches
    const command = new UploadPartCopyCommand({
      ...headers,
      CopySource: `${target.Bucket}/${sources[source]?.key}`, // of letters that need no escape
      CopySourceRange: `bytes=${start}-${end - 1}`,
    })
    const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal })
    const { CopyPartResult } = await request(message, send, { signal: abort, deadlineMs: innerMs(part.size) })
    return namedPart(CopyPartResult, message)
  }

  function upload(lease: Lease, at: PartTarget, abort: AbortSignal): Promise<string> {
    return sendPart(client, at, () => lease.slabs(), lease.bytes, { message, signal: abort })
  }

  function put(lease: Lease): Promise<void> {
    return sendObject(client, target, () => lease.slabs(), lease.bytes, { message, signal })
  }

  /** Has the bytes in memory while something is done with them. */
  async function gathered<T>(part: PlannedPart, abort: AbortSignal, use: (lease: Lease) => Promise<T>): Promise<T> {
    // Nobody waits for a client here: the memory is not given back before it is full.
    const lease = await memory.lease(Math.max(1, part.size), abort, () => {})
    try {
      for (const { source, start, end } of part.stretches) {
        const before = lease.bytes
        const send = async (deadline: AbortSignal, alive: () => void): Promise<void> => {
          const from = start + lease.bytes - before
          if (from === end) return
          for await (const chunk of await options.read(source, { start: from, end }, deadline)) {
            alive()
            lease.fill(chunk)
          }
        }
        await request(message, send, { signal: abort })
        if (lease.bytes - before !== end - start) throw new UploadError('storage_failed', message)
      }
      return await use(lease)
    } finally {
      lease.release()
    }
  }
}
