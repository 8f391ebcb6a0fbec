import { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { type Pace, watchPace } from './pace.ts'

/** Bytes of one gather while few bodies are open; smaller ones cost more calls than the bytes are worth. */
const largestGather = 1024 * 1024
/** Bytes that every body may gather, however many are open. */
const smallestGather = 128 * 1024
/** Bytes of all gathers together, as long as the smallest ones allow it. */
const allGathers = 32 * 1024 * 1024
/** Chunks below this are copied together: a body that comes in crumbs would otherwise cost hundreds of times its bytes. */
const crumbBytes = 1024
const crumbBlockBytes = 16 * 1024
/** Milliseconds that a timer can count at most. */
const maxTimerMs = 2 ** 31 - 1
/** Each body has one gather that fills and one that is being written. */
const gathersOfBody = 2

/**
 * How a body ended: all of it came · the connection broke · we stopped it · nothing or too little came for too long · it was still coming
 * at `endsAt` · it had more than `limit`.
 */
export type End = 'whole' | 'cut' | 'stopped' | 'silent' | 'late' | 'overflow'

export interface Received {
  /** Bytes that the sink has taken. */
  readonly bytes: number
  readonly end: End
}

/** Takes one gather. Its chunks may be empty once the promise is settled: copy what is needed longer. */
export type Sink = (chunks: readonly Buffer[], bytes: number) => Promise<void>

/** One body on its way in. `headBytes` and `drain` follow one another. */
export interface Intake {
  /** The first bytes, up to `count` or all there are; they stay in the intake and come again in `drain`. */
  headBytes(count: number): Promise<Uint8Array>
  /**
   * Hands everything to `sink`, gather by gather, and receives the next one while the last is being written. What came before a
   * body was cut, stopped or silent is handed over too; after an overflow nothing is. Rejects with the error of the sink.
   */
  drain(sink: Sink): Promise<Received>
  /** Bytes that have come. */
  readonly received: number
  /** Nothing more is taken from the client until the sink has taken some. */
  readonly isFull: boolean
  /** Hands over what has come though no gather is full; the sink is called also when that is nothing. */
  flush(): void
  /** Stops reading for good. The rest of the body stays where it is: the connection cannot be used again without reading it. */
  stop(): void
}

/** Shares memory between all bodies that are open. */
export interface GatherBudget {
  /** Bytes that one gather may have now. */
  gatherBytes(): number
  /** Bytes that the gathers of all open bodies may have together now. */
  heldBytes(): number
  open(): void
  close(): void
}

export interface IntakeOptions {
  /** Bytes; one more is an overflow. */
  readonly limit: number
  /** Milliseconds without a byte, while we are reading, after which the body counts as silent. */
  readonly idleTimeoutMs: number
  /** What a body must keep while we are reading; slower, it counts as silent. @default any pace is good enough */
  readonly lowestPace?: Pace | undefined
  /** When the body must have come. Milliseconds since 1970. @default never */
  readonly endsAt?: number | undefined
  readonly signal?: AbortSignal
  /** Nobody else keeps the chunks: their memory can be given back. @default only when the body is a request */
  readonly ownChunks?: boolean
  /** @default one budget for the process */
  readonly memory?: GatherBudget
}

export function gatherBudget(bytes: number): GatherBudget {
  let bodies = 0
  const gatherBytes = (): number =>
    Math.min(largestGather, Math.max(smallestGather, bytes / (gathersOfBody * Math.max(1, bodies))))
  return {
    gatherBytes,
    heldBytes: () => bodies * gathersOfBody * gatherBytes(),
    open: () => void bodies++,
    close: () => void bodies--,
  }
}

/** Chunks on their way to the sink. */
class Gather {
  readonly chunks: Buffer[] = []
  bytes = 0
  #block = Buffer.alloc(0)
  #used = 0
  /** Where the last chunk begins in the block, when it lies there. */
  #begin: number | undefined

  /** Gives the memory back at once: left to the garbage collector it comes late, and piles up meanwhile. */
  release(): void {
    for (const { buffer, byteLength } of this.chunks)
      if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
  }

  add(chunk: Buffer): void {
    this.bytes += chunk.length
    if (chunk.length >= crumbBytes || this.chunks.length === 0) {
      this.chunks.push(chunk)
      this.#begin = undefined
      return
    }
    if (this.#used + chunk.length > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(crumbBlockBytes)
      this.#used = 0
      this.#begin = undefined
    }
    const grows = this.#begin !== undefined
    this.#begin ??= this.#used
    chunk.copy(this.#block, this.#used)
    this.#used += chunk.length
    this.chunks.splice(grows ? -1 : this.chunks.length, 1, this.#block.subarray(this.#begin, this.#used))
  }
}

interface Waiting {
  ready(): boolean
  resolve(): void
}

/** What the bodies of this process share. */
export const processBudget = gatherBudget(allGathers)

/** Begins to receive a body at once, as far as one gather goes. Somebody must call `drain` or `stop` then. */
export function intake(body: Readable, options: IntakeOptions): Intake {
  const { limit, signal, memory = processBudget } = options
  // What other streams hand out may be somebody else's too.
  const { ownChunks = body instanceof IncomingMessage } = options
  let gather = new Gather()
  let received = 0
  let headBytes = 0
  /** The gather is full. Its size may change meanwhile, with the number of bodies. */
  let paused = false
  let flushing = false
  let end: End | undefined
  let waiting: Waiting | undefined

  const idle = setTimeout(() => {
    const before = received
    // When the process has stood still, what came meanwhile waits to be read: that is next.
    setImmediate(() => {
      if (!paused && received === before) settle('silent')
    })
  }, options.idleTimeoutMs)
  const pace = watchPace(
    options.lowestPace,
    () => paused,
    () => settle('silent'),
  )
  const ending =
    options.endsAt === undefined
      ? undefined
      : setTimeout(() => settle('late'), Math.min(maxTimerMs, Math.max(0, options.endsAt - Date.now())))

  function onData(chunk: Buffer): void {
    const room = limit - received
    const taken = chunk.length > room ? chunk.subarray(0, room) : chunk
    received += taken.length
    pace.came(taken.length)
    gather.add(taken)
    if (chunk.length > room) return settle('overflow')
    idle.refresh()
    if (gather.bytes >= Math.max(headBytes, memory.gatherBytes())) {
      paused = true
      pace.held()
      body.pause()
    }
    wake()
  }

  function resume(): void {
    if (!paused || end !== undefined) return
    paused = false
    idle.refresh()
    body.resume()
  }

  const until = (ready: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      waiting = { ready, resolve }
      wake()
    })

  function wake(): void {
    if (!waiting?.ready()) return
    waiting.resolve()
    waiting = undefined
  }

  const onEnd = (): void => settle('whole')
  const onCut = (): void => settle('cut')
  const onStop = (): void => settle('stopped')

  function settle(how: End): void {
    if (end !== undefined) return
    end = how
    clearTimeout(idle)
    pace.stop()
    clearTimeout(ending)
    memory.close()
    signal?.removeEventListener('abort', onStop)
    body.off('data', onData).off('end', onEnd).off('close', onCut)
    if (how !== 'whole') body.pause()
    wake()
  }

  // Stays for good: a connection may be reset long after its body was given up, and nobody else listens then.
  body.on('error', onCut)
  memory.open()
  // A body that ended before we came tells nobody any more.
  if (body.destroyed || body.readableEnded || body.errored) settle('cut')
  else if (signal?.aborted) settle('stopped')
  else {
    signal?.addEventListener('abort', onStop)
    body.on('end', onEnd).on('close', onCut).on('data', onData)
  }

  return {
    async headBytes(count) {
      headBytes = count
      if (gather.bytes < count) resume()
      await until(() => end !== undefined || gather.bytes >= count)
      headBytes = 0
      const [first] = gather.chunks
      if (first && first.length >= count) return first.subarray(0, count)
      return Buffer.concat(gather.chunks, Math.min(count, gather.bytes))
    },
    async drain(sink) {
      let bytes = 0
      for (;;) {
        await until(() => end !== undefined || paused || flushing)
        if (end === 'overflow' || (end !== undefined && gather.bytes === 0)) return { bytes, end }
        flushing = false
        const taken = gather
        gather = new Gather()
        resume()
        try {
          await sink(taken.chunks, taken.bytes)
        } catch (error) {
          settle('stopped')
          throw error
        }
        bytes += taken.bytes
        if (ownChunks) taken.release()
      }
    },
    get received() {
      return received
    },
    get isFull() {
      return paused
    },
    flush() {
      flushing = true
      wake()
    },
    stop: onStop,
  }
}
