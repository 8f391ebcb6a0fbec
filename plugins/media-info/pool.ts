import { type Job, Lane, type LaneOptions, type Outcome } from './lane.ts'

const maxWaiting = 1000 // jobs

export interface Pool {
  /** Runs a job when a worker is free. Throws as `Lane.run` does, and when too many jobs wait or the pool is closed. */
  run(job: Job): Promise<Outcome>
  close(): void
}

interface PoolOptions extends LaneOptions {
  readonly workers: number
}

export function workerPool(options: PoolOptions): Pool {
  const lanes = Array.from({ length: options.workers }, () => new Lane(options))
  const free = [...lanes]
  const waiting = new Set<PromiseWithResolvers<Lane>>()
  let closed: Error | undefined

  async function takeLane(signal: AbortSignal): Promise<Lane> {
    const lane = free.pop()
    if (lane) return lane
    if (waiting.size >= maxWaiting) throw new Error('Too many files wait for the media worker.')
    const turn = Promise.withResolvers<Lane>()
    const onAbort = () => {
      waiting.delete(turn)
      turn.reject(signal.reason)
    }
    waiting.add(turn)
    signal.addEventListener('abort', onAbort)
    return turn.promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  function giveBack(lane: Lane): void {
    const [turn] = waiting
    if (!turn) {
      free.push(lane)
      return
    }
    waiting.delete(turn)
    turn.resolve(lane)
  }

  return {
    async run(job) {
      job.signal.throwIfAborted()
      const lane = await takeLane(job.signal)
      try {
        if (closed) throw closed
        return await lane.run(job)
      } finally {
        giveBack(lane)
      }
    },
    close() {
      closed = new Error('The media-info plugin is closed.')
      for (const turn of waiting) turn.reject(closed)
      waiting.clear()
      for (const lane of lanes) lane.close(closed)
    },
  }
}
