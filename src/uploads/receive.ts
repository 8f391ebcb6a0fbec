import type { Readable } from 'node:stream'

/** Bytes of one gather while few bodies are open; smaller ones cost more calls than the bytes are worth. */
const largestGather = 1024 * 1024
/** Bytes that every body may gather, however many are open. */
const smallestGather = 128 * 1024
/** Bytes of all gathers together, as long as the smallest ones allow it. */
const allGathers = 32 * 1024 * 1024
/** Each body has one gather that fills and one that is being written. */
const gathersOfBody = 2

/**
 * How a body ended: all of it came · the connection broke · we stopped it · nothing came for too long · it had more than `limit`.
 */
export type End = 'whole' | 'cut' | 'stopped' | 'silent' | 'overflow'

export interface Received {
  /** Bytes that the sink has taken. */
  readonly bytes: number
  readonly end: End
}

/** Takes one gather. The chunks are its own from then on. */
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
  /** Stops reading for good. The rest of the body stays where it is: the connection cannot be used again without reading it. */
  stop(): void
}

/** Shares memory between all bodies that are open. */
export interface GatherBudget {
  /** Bytes that one gather may have now. */
  gatherBytes(): number
  open(): void
  close(): void
}

export interface IntakeOptions {
  /** Bytes; one more is an overflow. */
  readonly limit: number
  /** Milliseconds without a byte, while we are reading, after which the body counts as silent. */
  readonly idleTimeoutMs: number
  readonly signal?: AbortSignal
  /** @default one budget for the process */
  readonly memory?: GatherBudget
}

export function gatherBudget(bytes: number): GatherBudget {
  let bodies = 0
  return {
    gatherBytes: () => Math.min(largestGather, Math.max(smallestGather, bytes / (gathersOfBody * Math.max(1, bodies)))),
    open: () => void bodies++,
    close: () => void bodies--,
  }
}

interface Waiting {
  ready(): boolean
  resolve(): void
}

const processBudget = gatherBudget(allGathers)

/** Begins to receive a body at once, as far as one gather goes. Somebody must call `drain` or `stop` then. */
export function intake(body: Readable, options: IntakeOptions): Intake {
  const { limit, signal, memory = processBudget } = options
  let gather: Buffer[] = []
  let gathered = 0
  let received = 0
  let headBytes = 0
  let paused = false
  let end: End | undefined
  let waiting: Waiting | undefined

  const idle = setTimeout(() => {
    if (!paused) settle('silent')
  }, options.idleTimeoutMs)
  const full = (): boolean => gathered >= Math.max(headBytes, memory.gatherBytes())

  function onData(chunk: Buffer): void {
    const room = limit - received
    const taken = chunk.length > room ? chunk.subarray(0, room) : chunk
    received += taken.length
    gathered += taken.length
    if (taken.length > 0) gather.push(taken)
    if (chunk.length > room) return settle('overflow')
    idle.refresh()
    if (full()) {
      paused = true
      body.pause()
    }
    wake()
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
      await until(() => end !== undefined || gathered >= count)
      headBytes = 0
      const [first] = gather
      if (first && first.length >= count) return first.subarray(0, count)
      return Buffer.concat(gather, Math.min(count, gathered))
    },
    async drain(sink) {
      let bytes = 0
      for (;;) {
        await until(() => end !== undefined || full())
        if (end === 'overflow' || (end !== undefined && gathered === 0)) return { bytes, end }
        const [chunks, size] = [gather, gathered]
        gather = []
        gathered = 0
        if (paused && end === undefined) {
          paused = false
          idle.refresh()
          body.resume()
        }
        try {
          await sink(chunks, size)
        } catch (error) {
          settle('stopped')
          throw error
        }
        bytes += size
      }
    },
    stop: onStop,
  }
}
