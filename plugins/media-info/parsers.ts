import { freemem } from 'node:os'
import { BusyError } from '../../src/plugin.ts'
import { type Job, type Outcome, ParserProcess, type ParserProcessOptions } from './parser-process.ts'

const maxProcesses = 2
const maxWaitingOfOne = 256 // jobs of one workspace
const maxWaiting = 2_048 // jobs of all workspaces
const maxWaitMs = 30_000 // for a turn; then the job of the upload asks again
const roomForAnother = 256 * 1024 * 1024 // bytes that must be free before a second process is started

interface Turn {
  readonly resolve: (parser: ParserProcess) => void
}

/**
 * Gives the workspaces their turns, one file of one workspace at a time: who brings many files, or slow ones, waits for himself.
 * A second process is started while two workspaces have files, and only where the memory of the machine or container has room.
 */
export class Parsers {
  readonly #parsers: readonly ParserProcess[]
  readonly #closing = new AbortController()
  readonly #busy = new Set<ParserProcess>()
  readonly #served = new Set<string>()
  /** Who waits, by workspace; the order of the workspaces is the order of their turns. */
  readonly #lines = new Map<string, Turn[]>()
  readonly #hasRoom: () => boolean
  #waiting = 0

  /** @param hasRoom whether there is memory for another process */
  constructor(options: ParserProcessOptions, hasRoom = () => availableMemory() > roomForAnother) {
    this.#parsers = Array.from({ length: maxProcesses }, () => new ParserProcess(options))
    this.#hasRoom = hasRoom
  }

  /** @throws {BusyError} when too many jobs wait, or this one for too long; otherwise as the process does. */
  async run(workspaceId: string, job: Job): Promise<Outcome> {
    const signal = AbortSignal.any([job.signal, this.#closing.signal])
    signal.throwIfAborted()
    const parser = await this.#turn(workspaceId, signal)
    try {
      return await parser.run({ ...job, signal })
    } finally {
      this.#busy.delete(parser)
      this.#served.delete(workspaceId)
      this.#giveTurns()
    }
  }

  /** Ends the running and the waiting jobs, and the processes. */
  close(): void {
    this.#closing.abort(new Error('The media-info plugin is closed.'))
    for (const parser of this.#parsers) parser.end()
  }

  async #turn(workspaceId: string, signal: AbortSignal): Promise<ParserProcess> {
    const line = this.#lines.get(workspaceId) ?? []
    if (line.length >= maxWaitingOfOne || this.#waiting >= maxWaiting)
      throw new BusyError('Too many files wait for the media parser.')
    const { promise, resolve, reject } = Promise.withResolvers<ParserProcess>()
    const turn: Turn = { resolve }
    line.push(turn)
    this.#lines.set(workspaceId, line)
    this.#waiting++
    const leave = (reason: unknown): void => {
      const waiting = this.#lines.get(workspaceId) ?? []
      const place = waiting.indexOf(turn)
      if (place < 0) return // its turn has come: the process looks at the signal
      waiting.splice(place, 1)
      if (waiting.length === 0) this.#lines.delete(workspaceId)
      reject(reason)
    }
    const onAbort = () => leave(signal.reason)
    const onLate = () => leave(new BusyError(`The media parser had no time within ${maxWaitMs} ms.`))
    signal.addEventListener('abort', onAbort)
    const timer = setTimeout(onLate, maxWaitMs)
    this.#giveTurns()
    try {
      return await promise
    } finally {
      this.#waiting--
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  #giveTurns(): void {
    for (const [workspaceId, line] of this.#lines) {
      if (this.#served.has(workspaceId)) continue
      const parser = this.#free()
      if (!parser) return
      const next = line.shift()
      this.#lines.delete(workspaceId)
      if (line.length > 0) this.#lines.set(workspaceId, line) // behind the others
      this.#busy.add(parser)
      this.#served.add(workspaceId)
      next?.resolve(parser)
    }
  }

  /** One that is started already before one that is not. */
  #free(): ParserProcess | undefined {
    const free = this.#parsers.filter((parser) => !this.#busy.has(parser))
    const started = free.find((parser) => parser.isStarted)
    if (started) return started
    return this.#busy.size === 0 || this.#hasRoom() ? free[0] : undefined
  }
}

/** Bytes of the container, or of the machine. */
const availableMemory = (): number =>
  typeof process.availableMemory === 'function' ? process.availableMemory() : freemem()
