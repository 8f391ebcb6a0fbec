import type { Outcome } from './parser-process.ts'

const maxKnown = 4_096 // files, each with a few hundred bytes of facts

/** What the parsers have found, so that the same bytes are not parsed twice: not by an upload's job, nor for a copy of them. */
export class Findings {
  /** The one that was asked for longest ago is the first. */
  readonly #known = new Map<string, Outcome>()
  readonly #running = new Map<string, Promise<Outcome>>()

  /**
   * @param key names the bytes and their workspace: how fast an answer comes shall not tell one workspace of another's files
   * @throws what `look` threw, or the signal's reason
   */
  async of(key: string, signal: AbortSignal, look: () => Promise<Outcome>): Promise<Outcome> {
    for (;;) {
      signal.throwIfAborted()
      const known = this.#known.get(key)
      if (known) return this.#keep(key, known)
      const running = this.#running.get(key)
      if (!running) return this.#look(key, look)
      // The other upload may be deleted meanwhile, or its store fail: that ends its look and not this one.
      await orAborted(running, signal)
    }
  }

  async #look(key: string, look: () => Promise<Outcome>): Promise<Outcome> {
    const running = look()
    this.#running.set(key, running)
    try {
      return this.#keep(key, await running)
    } finally {
      this.#running.delete(key)
    }
  }

  #keep(key: string, outcome: Outcome): Outcome {
    this.#known.delete(key)
    this.#known.set(key, outcome)
    const [oldest] = this.#known.keys()
    if (this.#known.size > maxKnown && oldest !== undefined) this.#known.delete(oldest)
    return outcome
  }
}

/** Returns when the work has ended, however it did, or the signal aborts. */
async function orAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>()
  const onAbort = () => aborted.resolve()
  signal.addEventListener('abort', onAbort)
  await Promise.race([work.then(onAbort, onAbort), aborted.promise])
  signal.removeEventListener('abort', onAbort)
}
