import type { S3Client } from '@aws-sdk/client-s3'
import { UploadError } from '../../errors.ts'
import type { Growth, GrowingWriter } from '../../uploads/object-store.ts'
import { growthRecord, type Keeping } from './growth.ts'
import { type Lease, type PartMemory, slabBytes } from './memory.ts'
import type { Target } from './multipart.ts'
import { leastPart, mostParts } from './part-sizes.ts'
import { type Part, partSender } from './sender.ts'

/** Parts of one object that are sent while the next one fills. */
const partsInFlight = 2
/** Parts of an object of unknown length that may be cut before they are full: their numbers are not among those that are planned. */
const mostEarlyParts = 900

export interface WriterOptions {
  readonly client: S3Client
  readonly target: Target
  readonly memory: PartMemory
  /** Bytes of the object; `null`: not known. */
  readonly length: number | null
  /** Bytes that this writer will get; `null`: not known. */
  readonly coming: number | null
  /** Bytes of each part, by its number. */
  readonly partSize: (number: number) => number
  readonly equalParts: boolean
  /** Keeps the id of the multipart upload. */
  readonly note: (text: string) => Promise<void>
  readonly growth: Growth
  /** Absent: nothing counts before `finish`. */
  readonly keeping?: Keeping
}

/**
 * Collects bytes in memory, part by part. What fits in one part is one PutObject; else each part is sent while the next one fills,
 * and the store joins them. Parts are cut early, and memory given back, when others wait for it and the client is slow.
 */
export function s3Writer(options: WriterOptions): GrowingWriter {
  const { client, target, memory, length, coming, partSize, growth, keeping } = options
  const stopped = new AbortController()
  const { signal } = stopped
  const sending = new Set<Promise<void>>()
  const record = growthRecord(growth, keeping, signal)
  const sender = partSender({ client, target, begun: growth.note, note: options.note, record, signal })
  /** Number, beginning and memory of the part that fills. What is on record behind the last part is its tail. */
  let number = record.parts.length + 1
  let start = record.parts.reduce((sum, { size }) => sum + size, 0)
  let lease: Lease | undefined
  let earlyParts = record.parts.filter(({ size, PartNumber }) => size < partSize(PartNumber)).length
  let written = 0
  let failed: { readonly error: unknown } | undefined
  let state: 'open' | 'finished' | 'aborted' = 'open'
  let running: Promise<unknown> | undefined
  /** Memory is given back between two calls. */
  let relief: Promise<void> | undefined

  /** Bytes of the part that fills. */
  const filled = (): number => record.tailBytes + (lease?.bytes ?? 0)

  /** Bytes that the part which fills can have in memory at most. */
  function need(): number {
    const toPartEnd = partSize(number) - record.tailBytes
    const toEnd = length === null ? Infinity : length - start - record.tailBytes
    const toCome = coming === null ? Infinity : coming - written + (lease?.bytes ?? 0)
    return Math.max(1, Math.min(toPartEnd, toEnd, toCome))
  }

  /** Room for at least one byte more. */
  async function room(): Promise<Lease> {
    if (filled() >= partSize(number)) await cut()
    // Where it is not known how many will come, the first bytes may be all: they wait for no more memory than that.
    lease ??= await memory.lease(coming === null && written === 0 ? slabBytes : need(), signal, onPressure)
    if (lease.bytes >= lease.room) await lease.grow(Math.max(need(), lease.bytes + 1), signal)
    return lease
  }

  /** Whether the part that fills may be sent as it is. */
  function mayCut(): boolean {
    const size = partSize(number)
    if (filled() >= size) return true
    if (options.equalParts || filled() < leastPart) return false
    if (length === null) return earlyParts < mostEarlyParts
    return Math.ceil((length - start - filled()) / size) <= mostParts - number
  }

  function onPressure(pressed: Lease): void {
    if (pressed !== lease || state !== 'open' || relief) return
    if (!keeping && sending.size < partsInFlight && mayCut()) return send()
    pressed.trim()
    if (!keeping || keeping.hold || running) return
    relief = relieve()
      .catch(fail)
      .finally(() => (relief = undefined))
  }

  /**
   * Of an object that goes on after a crash, the parts that were on their way are sent anew. When only the first of them was cut early,
   * the new ones are at most one fewer, and the last of them then has at least 5 MiB: so much `completeMultipart` can put right.
   * This is why no other part is on its way here, and why what is held is never cut early: all of that may be given up.
   */
  async function relieve(): Promise<void> {
    await allSent()
    if (mayCut()) send()
    else await keepLease()
  }

  /** Sends the part that fills, as soon as fewer are on their way. */
  async function cut(): Promise<void> {
    while (sending.size >= partsInFlight) await Promise.race(sending)
    throwFailure()
    // Under pressure it may be gone meanwhile.
    if (mayCut()) send()
  }

  function send(): void {
    if (filled() < partSize(number)) earlyParts++
    const sent = sender
      .part(take())
      .catch(fail)
      .finally(() => sending.delete(sent))
    sending.add(sent)
  }

  /** The part that fills; what comes next belongs to another. */
  function take(): Part {
    const part = { number, start, size: filled(), tailBytes: record.tailBytes, lease }
    number++
    start += part.size
    lease = undefined
    record.cut()
    return part
  }

  async function join(): Promise<void> {
    const isSent = filled() === 0 && number > 1
    if (!isSent) send()
    await allSent()
    await record.save(start, [])
    await sender.join(start, isSent)
  }

  async function keepLease(): Promise<void> {
    const rest = lease
    await record.save(start + record.tailBytes, rest?.slabs() ?? [])
    lease = undefined
    rest?.release()
  }

  async function allSent(): Promise<void> {
    while (sending.size > 0) await Promise.race(sending)
    throwFailure()
  }

  function fail(error: unknown): void {
    failed ??= { error }
    stopped.abort(error)
  }

  function throwFailure(): void {
    if (failed) throw failed.error
    signal.throwIfAborted()
  }

  /** One step at a time; `abort` waits for the one that is under way. */
  function step(work: () => Promise<void>): Promise<void> {
    if (state !== 'open') return Promise.reject(new UploadError('storage_failed', `The writer is ${state}.`))
    const done = relief ? relief.then(work) : work()
    const mine = done
      .catch(() => {})
      .finally(() => {
        if (running === mine) running = undefined
      })
    running = mine
    return done.catch((error: unknown) => {
      // When a part fails, whatever waits is told to stop: what it says then is the part's failure.
      throw failed?.error ?? error
    })
  }

  return {
    get bytes() {
      return state === 'finished' ? start : record.bytes
    },
    write: (chunks) =>
      step(async () => {
        for (const chunk of chunks)
          for (let rest = chunk; rest.length > 0;) {
            throwFailure()
            const into = await room()
            const taken = into.fill(rest.subarray(0, partSize(number) - filled()))
            written += taken
            rest = rest.subarray(taken)
          }
      }),
    save: () =>
      step(async () => {
        throwFailure()
        if (lease && mayCut()) await cut()
        await allSent()
        await keepLease()
      }),
    finish: () =>
      step(async () => {
        throwFailure()
        if (number === 1 && !sender.begun) await sender.whole(take())
        else await join()
        if (state === 'open') state = 'finished'
      }),
    async abort() {
      if (state === 'finished') return
      state = 'aborted'
      stopped.abort(new Error('The writer was aborted.'))
      await Promise.allSettled([running, relief, ...sending])
      lease?.release()
      lease = undefined
      // What does not count is nobody's. Of an object that does not grow all goes by `clear`.
      if (!keeping) return
      // What the server does not take away now goes when records and store are compared.
      await sender.drop(record.countedParts + 1, number - 1).catch(() => {})
    },
  }
}
