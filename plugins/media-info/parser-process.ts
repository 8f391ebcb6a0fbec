import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { BudgetError } from '../../src/plugin.ts'
import type { Found } from './facts.ts'
import type { FromProcess, Kind, ToProcess } from './protocol.ts'

const startTimeoutMs = 20_000 // for a process to load its parsers; a machine may be busy
const maxWaiting = 1000 // jobs
const maxHeapMiB = 128 // of JavaScript's own memory; V8 ends the process above
const maxMemoryMiB = 512 // with what native code takes; only bounded where /proc shows it, which is Linux
const memoryCheckMs = 100

const heapArgument = `--max-old-space-size=${maxHeapMiB}`
/** What comes before the script. Deno lets a process that is forked do everything; this one may read, and load libvips, which asks what system it is on. */
const runtimeArguments =
  'deno' in process.versions
    ? ['run', '--no-prompt', '--allow-read', '--allow-ffi', '--allow-env', '--allow-sys', `--v8-flags=${heapArgument}`]
    : [heapArgument]

export interface Job {
  readonly kind: Kind
  /** Bytes of the file. */
  readonly size: number
  /** @throws {BudgetError} when the file has asked for too much; any other error is the store's and ends the job. */
  read(start: number, end: number): Promise<Uint8Array>
  /** Path of the file on this machine. @throws as `read` does. */
  path(): Promise<string>
  readonly signal: AbortSignal
}

export interface Outcome {
  readonly found: Found
  /** Why the parser did not get to its end. */
  readonly reason: string | undefined
  /** The process had to be killed, or fell. */
  readonly killed: boolean
}

export interface ParserProcessOptions {
  /** Milliseconds that a file's parser may work. Waiting for the store is not counted. */
  readonly timeoutMs: number
  /** Milliseconds without work after which the process is ended. */
  readonly idleMs: number
  readonly script: URL
}

/** A fault of the parsers themselves, not of a file, the store or whoever waits. */
export class ParserFault extends Error {
  override readonly name = 'ParserFault'
}

/** Runs one job at a time in a process of its own, which is started for the first job and anew for the job after one that was killed. */
export class ParserProcess {
  readonly #options: ParserProcessOptions
  readonly #closing = new AbortController()
  #child: ChildProcess | undefined
  #idle: NodeJS.Timeout | undefined
  #jobs = 0
  #waiting = 0
  #last: Promise<void> = Promise.resolve()

  constructor(options: ParserProcessOptions) {
    this.#options = options
  }

  /** @throws what `job.read` threw, the signal's reason, or a {ParserFault} when too many jobs wait or no process could be started. */
  async run(job: Job): Promise<Outcome> {
    const signal = AbortSignal.any([job.signal, this.#closing.signal])
    signal.throwIfAborted()
    if (this.#waiting >= maxWaiting) throw new ParserFault('Too many files wait for the media parser.')
    this.#waiting++
    const before = this.#last
    const over = Promise.withResolvers<void>()
    this.#last = before.then(() => over.promise)
    try {
      await unlessAborted(before, signal)
      clearTimeout(this.#idle)
      return await this.#probe(job, signal)
    } finally {
      this.#waiting--
      over.resolve()
      // One that waited and was given up must not end the process under another's hands.
      if (this.#waiting === 0) this.#idle = setTimeout(() => this.#kill(), this.#options.idleMs).unref()
    }
  }

  /** Ends the running and the waiting jobs, and the process. */
  close(): void {
    this.#closing.abort(new Error('The media-info plugin is closed.'))
    this.#kill()
  }

  #running(): ChildProcess {
    try {
      return (this.#child ??= this.#start())
    } catch (cause) {
      throw new ParserFault('The media parser could not be started.', { cause })
    }
  }

  #start(): ChildProcess {
    const child = spawn(process.execPath, [...runtimeArguments, fileURLToPath(this.#options.script)], {
      env: { NODE_OPTIONS: heapArgument }, // a parser has no use for the secrets in ours; the one file takes options only from here
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const forget = () => {
      if (this.#child === child) this.#child = undefined
    }
    child.on('error', forget).on('exit', forget)
    child.unref() // the timers of a job keep the gateway alive while there is one
    child.channel?.unref()
    return child
  }

  #kill(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  async #probe(job: Job, signal: AbortSignal): Promise<Outcome> {
    const { timeoutMs } = this.#options
    const id = ++this.#jobs
    let isReady = this.#child !== undefined
    let isOpen = true // a late answer of the store must not reach the process of the next job
    const child = this.#running()
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    const send = (message: ToProcess) => void (isOpen && child.send(message, () => {})) // a process that is gone says so itself
    const defeat = (reason: string) => {
      if (isOpen) this.#kill()
      resolve({ found: {}, reason, killed: true })
    }
    const fail = (error: unknown) => {
      if (isOpen) this.#kill()
      reject(error)
    }
    const clock = stopwatch(timeoutMs, () => defeat(`It took more than ${timeoutMs} ms.`))
    const startTimer = setTimeout(
      () => fail(new ParserFault('The media parser did not start in time.')),
      startTimeoutMs,
    )
    const memoryTimer = setInterval(() => {
      void nativeMiB(child).then((used) => used > maxMemoryMiB && defeat(`It used more than ${maxMemoryMiB} MiB.`))
    }, memoryCheckMs)

    function begin(): void {
      isReady = true
      clearTimeout(startTimer)
      clock.resume()
      send({ type: 'probe', job: id, kind: job.kind, size: job.size })
    }

    async function answer(request: number, work: () => Promise<ToProcess>): Promise<void> {
      clock.pause()
      try {
        send(await work())
      } catch (error) {
        if (error instanceof BudgetError) send({ type: 'refused', request, reason: error.message })
        else fail(error)
      }
      clock.resume()
    }

    const onMessage = (message: FromProcess) => {
      if (message.type === 'ready') begin()
      else if (message.job !== id) return
      else if (message.type === 'found') resolve({ found: message.found, reason: message.reason, killed: false })
      else {
        const { request } = message
        void answer(request, async () =>
          message.type === 'path'
            ? { type: 'path', request, path: await job.path() }
            : { type: 'bytes', request, bytes: await job.read(message.start, message.end) },
        )
      }
    }
    const onEnd = (cause: unknown) => {
      if (isReady) defeat(`The process fell: ${String(cause)}`)
      else fail(new ParserFault('The media parser did not start.', { cause }))
    }
    const onAbort = () => fail(signal.reason)
    child.on('message', onMessage).on('error', onEnd).on('exit', onEnd)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else if (isReady) begin()

    return promise.finally(() => {
      isOpen = false
      clearTimeout(startTimer)
      clearInterval(memoryTimer)
      clock.end()
      child.off('message', onMessage).off('error', onEnd).off('exit', onEnd)
      signal.removeEventListener('abort', onAbort)
    })
  }
}

/** MiB of memory that is the process's own, without mapped files; 0 where that cannot be known. */
async function nativeMiB(child: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
  return Number(/^RssAnon:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024
}

async function unlessAborted(before: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  await Promise.race([before, aborted.promise]).finally(() => signal.removeEventListener('abort', onAbort))
}

/** Calls `expire` when it has run for so long in sum. It stands until the first `resume`. */
function stopwatch(milliseconds: number, expire: () => void) {
  let left = milliseconds
  let pauses = 1
  let since = 0
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
