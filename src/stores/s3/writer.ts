import type { Readable } from 'node:stream'
import { PutObjectCommand, type S3Client, UploadPartCommand } from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import type { ObjectWriter } from '../../uploads/object-store.ts'
import { type Lease, type PartMemory, slabBytes } from './memory.ts'
import { leastPart } from './part-sizes.ts'
import { beginMultipart, completeMultipart, objectType, type SentPart, type StartedUpload } from './multipart.ts'
import { request } from './requests.ts'

/** Parts of one object that are sent while the next one fills. */
const partsInFlight = 2
/** Parts of one object that may be cut before they are full: their numbers are not among those that the sizes are planned for. */
const mostEarlyParts = 900
const unwritten = 'The object could not be written.'

export interface WriterOptions {
  readonly client: S3Client
  readonly bucket: string
  /** Key in the bucket. */
  readonly key: string
  readonly memory: PartMemory
  /** Bytes of the object; `null`: not known. */
  readonly length: number | null
  /** Bytes of each part, by its number. */
  readonly partSize: (number: number) => number
  readonly equalParts: boolean
  /** Keeps the id of the multipart upload. */
  readonly note: (text: string) => Promise<void>
}

/**
 * Collects bytes in memory, part by part. What fits in one part is one PutObject; else each part is sent while the next one fills,
 * and the store joins them. Parts are cut early, and memory given back, when others wait for it and the client is slow.
 */
export function s3Writer(options: WriterOptions): ObjectWriter {
  const { client, memory, length } = options
  const target = { Bucket: options.bucket, Key: options.key }
  const stopped = new AbortController()
  const { signal } = stopped
  const sending = new Set<Promise<void>>()
  const parts: SentPart[] = []
  /** The part that fills. */
  let lease: Lease | undefined
  let number = 1
  let earlyParts = 0
  let received = 0
  let multipart: Promise<StartedUpload> | undefined
  let failed: { readonly error: unknown } | undefined
  let state: 'open' | 'finished' | 'aborted' = 'open'
  let running: Promise<unknown> = Promise.resolve()

  /** Bytes that the part which fills can have at most. */
  function need(): number {
    const size = options.partSize(number)
    return length === null ? size : Math.max(1, Math.min(size, length - received + (lease?.bytes ?? 0)))
  }

  /** Room for at least one byte more. */
  async function room(): Promise<Lease> {
    if (lease && lease.bytes >= options.partSize(number)) await cut()
    // Of a length that is not known, the first bytes may be all: they wait for no more memory than that.
    lease ??= await memory.lease(length === null && received === 0 ? slabBytes : need(), signal, onPressure)
    if (lease.bytes >= lease.room) await lease.grow(Math.max(need(), lease.bytes + 1), signal)
    return lease
  }

  function onPressure(pressed: Lease): void {
    if (pressed !== lease || state !== 'open') return
    const mayCut = !options.equalParts && sending.size < partsInFlight && earlyParts < mostEarlyParts
    if (!mayCut || pressed.bytes < leastPart) return pressed.trim()
    earlyParts++
    send()
  }

  /** Sends the part that is full, as soon as fewer are on their way. */
  async function cut(): Promise<void> {
    while (sending.size >= partsInFlight) await Promise.race(sending)
    throwFailure()
    send()
  }

  function send(): void {
    const part = lease
    if (!part) return
    lease = undefined
    const mine = number++
    const sent = upload(mine, part)
      .catch((error: unknown) => {
        failed ??= { error }
        stopped.abort(error)
      })
      .finally(() => {
        part.release()
        sending.delete(sent)
      })
    sending.add(sent)
  }

  async function upload(PartNumber: number, part: Lease): Promise<void> {
    const { UploadId } = await (multipart ??= beginMultipart(client, target, options.note, {
      message: unwritten,
      signal,
    }))
    const headers = { UploadId, PartNumber, ContentLength: part.bytes }
    const { ETag } = await sendBody(part, (Body, abortSignal) =>
      client.send(new UploadPartCommand({ ...target, ...headers, Body }), { abortSignal }),
    )
    parts.push({ PartNumber, ETag })
  }

  async function sendBody<T>(part: Lease, ask: (body: Readable, abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    const sendOnce = async (deadline: AbortSignal, alive: () => void): Promise<T> => {
      const body = part.body(alive)
      try {
        return await ask(body, deadline)
      } finally {
        // The memory may be given to others next.
        body.destroy()
      }
    }
    return request(unwritten, sendOnce, { signal })
  }

  /** The object as a whole. */
  async function put(): Promise<void> {
    const whole = lease ?? (await memory.lease(1, signal, () => {}))
    lease = undefined
    const headers = { ContentLength: whole.bytes, ContentType: objectType }
    await sendBody(whole, (Body, abortSignal) =>
      client.send(new PutObjectCommand({ ...target, ...headers, Body }), { abortSignal }),
    ).finally(() => whole.release())
  }

  function throwFailure(): void {
    if (failed) throw failed.error
    signal.throwIfAborted()
  }

  /** One step at a time; `abort` waits for the one that is under way. */
  function step(work: () => Promise<void>): Promise<void> {
    const done =
      state === 'open' ? work() : Promise.reject(new UploadError('storage_failed', `The writer is ${state}.`))
    running = done.catch(() => {})
    return done.catch((error: unknown) => {
      // When a part fails, whatever waits is told to stop: what it says then is the part's failure.
      throw failed?.error ?? error
    })
  }

  return {
    write: (chunks) =>
      step(async () => {
        for (const chunk of chunks)
          for (let rest = chunk; rest.length > 0;) {
            throwFailure()
            const taken = (await room()).fill(rest)
            received += taken
            rest = rest.subarray(taken)
          }
      }),
    finish: () =>
      step(async () => {
        throwFailure()
        if (number > 1) send()
        while (sending.size > 0) await Promise.race(sending)
        throwFailure()
        const started = await multipart
        if (started)
          await completeMultipart(client, target, started, { parts, size: received }, { message: unwritten, signal })
        else await put()
        if (state === 'open') state = 'finished'
      }),
    async abort() {
      if (state === 'finished') return
      state = 'aborted'
      stopped.abort(new Error('The writer was aborted.'))
      await Promise.allSettled([running, ...sending])
      lease?.release()
      lease = undefined
    },
  }
}
