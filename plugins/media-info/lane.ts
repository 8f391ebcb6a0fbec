import { Worker } from 'node:worker_threads'
import { BudgetError } from '../../src/plugin.ts'
import type { Found } from './facts.ts'
import type { FromWorker, Kind, ToWorker } from './protocol.ts'

const startTimeoutMs = 20_000 // for a worker to load its parsers; a machine may be busy
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 }

export interface Job {
  readonly kind: Kind
  /** Bytes of the file. */
  readonly size: number
  /** @throws {BudgetError} when the file has asked for too much; any other error is the store's and ends the job. */
  read(start: number, end: number): Promise<Uint8Array>
  readonly signal: AbortSignal
}

export interface Outcome {
  readonly found: Found
  /** Why the parser did not get to its end. */
  readonly reason: string | undefined
  /** The worker had to be stopped, or fell. */
  readonly killed: boolean
}

export interface LaneOptions {
  /** Milliseconds that a file's parser may work. Waiting for the store is not counted. */
  readonly timeoutMs: number
  /** Milliseconds without work after which the worker is stopped. */
  readonly idleMs: number
  readonly workerUrl: URL
}

/** Runs one job at a time in one worker, which is started for the first job and anew for the job after one that was stopped. */
export class Lane {
  readonly #options: LaneOptions
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #jobs = 0
  #stop: ((reason: Error) => void) | undefined

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** @throws what `job.read` threw, the signal's reason, or an error when no worker could be started. */
  async run(job: Job): Promise<Outcome> {
    clearTimeout(this.#idle)
    const started = this.#worker !== undefined
    const worker = (this.#worker ??= this.#start())
    worker.ref()
    try {
      return await this.#probe(worker, job, started)
    } finally {
      worker.unref()
      this.#idle = setTimeout(() => this.#kill(), this.#options.idleMs).unref()
    }
  }

  /** Ends the running job with this reason, and the worker. */
  close(reason: Error): void {
    clearTimeout(this.#idle)
    this.#stop?.(reason)
    this.#kill()
  }

  #start(): Worker {
    // No environment: a parser has no use for the secrets in it.
    const worker = new Worker(this.#options.workerUrl, { resourceLimits, env: {}, execArgv: [] })
    worker.on('error', () => this.#forget(worker))
    worker.on('exit', () => this.#forget(worker))
    return worker
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined
  }

  #kill(): void {
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }

  #probe(worker: Worker, job: Job, started: boolean): Promise<Outcome> {
    const id = ++this.#jobs
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    const send = (message: ToWorker) => worker.postMessage(message, [])
    let isOpen = true // a late answer of the store must not stop the worker of the next job
    const stop = (settle: () => void) => {
      if (!isOpen) return
      isOpen = false
      this.#kill()
      settle()
    }
    const defeat = (reason: string) => stop(() => resolve({ found: {}, reason, killed: true }))
    const fail = (error: unknown) => stop(() => reject(error))
    let ready = started
    const clock = stopwatch(this.#options.timeoutMs, () => defeat(`It took more than ${this.#options.timeoutMs} ms.`))
    const startTimer = setTimeout(() => fail(new Error('The media worker did not start in time.')), startTimeoutMs)

    function begin(): void {
      ready = true
      clearTimeout(startTimer)
      clock.resume()
      send({ type: 'probe', job: id, kind: job.kind, size: job.size })
    }

    async function answer(read: number, start: number, end: number): Promise<void> {
      clock.pause()
      try {
        const bytes = new Uint8Array(await job.read(start, end)) // a copy, which the worker may own
        worker.postMessage({ type: 'bytes', job: id, read, bytes } satisfies ToWorker, [bytes.buffer])
      } catch (error) {
        if (error instanceof BudgetError) send({ type: 'refused', job: id, read, reason: error.message })
        else fail(error)
      }
      clock.resume()
    }

    const onMessage = (message: FromWorker) => {
      if (message.type === 'ready') begin()
      else if (message.job !== id) return
      else if (message.type === 'read') void answer(message.read, message.start, message.end)
      else resolve({ found: message.found, reason: message.reason, killed: false })
    }
    const onEnd = (cause: unknown) => {
      if (ready) defeat(`The worker fell: ${String(cause)}`)
      else fail(new Error('The media worker did not start.', { cause }))
    }
    const onAbort = () => fail(job.signal.reason)
    this.#stop = fail
    worker.on('message', onMessage).on('error', onEnd).on('exit', onEnd)
    job.signal.addEventListener('abort', onAbort)
    if (job.signal.aborted) onAbort()
    else if (started) begin()

    return promise.finally(() => {
      isOpen = false
      clearTimeout(startTimer)
      clock.end()
      this.#stop = undefined
      worker.off('message', onMessage).off('error', onEnd).off('exit', onEnd)
      job.signal.removeEventListener('abort', onAbort)
    })
  }
}

/** Calls `expire` when it has run for so long in sum. It stands until the first `resume`. */
function stopwatch(budgetMs: number, expire: () => void) {
  let left = budgetMs
  let since = 0
  let pauses = 1
  let timer: NodeJS.Timeout | undefined
  return {
    pause() {
      if (++pauses > 1) return
      clearTimeout(timer)
      left -= performance.now() - since
    },
    resume() {
      if (--pauses > 0) return
      since = performance.now()
      timer = setTimeout(expire, Math.max(left, 0))
    },
    end() {
      pauses = Infinity
      clearTimeout(timer)
    },
  }
}
