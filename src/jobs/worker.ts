import type { PluginLog } from '../plugin.ts'
import type { Job, JobWork, NewJob, Records } from '../uploads/records.ts'

/** Milliseconds between two looks for due jobs, when nobody wakes the worker. */
const pollMs = 1_000
/** Jobs that run side by side. */
const parallelJobs = 8
/** Milliseconds after which a claimed job that was not finished comes again. */
const leaseMs = 120_000
/** Milliseconds before the second try; doubled with every further one. */
const firstBackoffMs = 1_000
const longestBackoffMs = 15 * 60_000
/** Tries before a job is given up: with this backoff about two days. */
export const maxTries = 200

/** What is to be done after the job, if anything is. */
export type JobAnswer = Promise<readonly NewJob[] | void>
export type JobHandlers = { readonly [K in JobWork['kind']]: (work: Extract<JobWork, { kind: K }>) => JobAnswer }

export interface Worker {
  /** Looks at once. */
  wake(): void
  /** Takes no more jobs and waits for those that run. */
  stop(): Promise<void>
}

/**
 * Runs the outbox: claims rows, tries each with backoff, gives up loudly. Every job may run more than once. One that takes its time
 * keeps one place of several, and holds up no other.
 */
export function startWorker(records: Records, handlers: JobHandlers, log: PluginLog): Worker {
  const stopped = new AbortController()
  const running = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let again = false
  /** The last look has filled every place: there may be more to do. */
  let more = false

  async function claim(): Promise<void> {
    do {
      again = false
      const places = parallelJobs - running.size
      more = places === 0
      if (more) return
      const claimed = await records.claim(places, leaseMs)
      more = claimed.length === places
      for (const job of claimed) start(job)
    } while (again && !stopped.signal.aborted)
  }

  function start(job: Job): void {
    const one = runOne(job)
      .catch((error: unknown) => log.error({ job: job.number, err: error }, 'the end of a job could not be written'))
      .finally(() => {
        running.delete(one)
        if (more) look()
      })
    running.add(one)
  }

  async function runOne(job: Job): Promise<void> {
    try {
      const next = await handle(job.work)
      await records.done(job.number, next ?? [])
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const tries = job.tries + 1
      const givenUp = tries >= maxTries
      await records.failed(job.number, message, givenUp ? null : Date.now() + backoffMs(tries))
      const facts = { job: job.number, kind: job.work.kind, tries, err: error }
      if (givenUp) log.error(facts, 'a job was given up: see "fairlead jobs list", then "fairlead jobs retry"')
      else log.warn(facts, 'a job failed and will be tried again')
    }
  }

  async function handle(job: JobWork): JobAnswer {
    switch (job.kind) {
      case 'delete-object':
        return handlers['delete-object'](job)
      case 'clear-object':
        return handlers['clear-object'](job)
      case 'look-again':
        return handlers['look-again'](job)
      case 'verdict':
        return handlers.verdict(job)
      case 'arrival':
        return handlers.arrival(job)
      case 'after-finish':
        return handlers['after-finish'](job)
      case 'after-terminate':
        return handlers['after-terminate'](job)
    }
  }

  function look(): void {
    if (stopped.signal.aborted) return
    if (looking) {
      again = true
      return
    }
    clearTimeout(timer)
    looking = claim()
      .catch((error: unknown) => log.error({ err: error }, 'the job worker could not work'))
      .finally(() => {
        looking = undefined
        if (!stopped.signal.aborted) timer = setTimeout(look, pollMs)
      })
  }

  look()
  return {
    wake: () => setImmediate(look),
    async stop() {
      stopped.abort()
      clearTimeout(timer)
      await looking
      await Promise.all(running)
    },
  }
}

/** Doubles with every try, with up to half of it taken off at random, so that failures do not come back in step. */
export function backoffMs(tries: number): number {
  const full = Math.min(longestBackoffMs, firstBackoffMs * 2 ** Math.min(tries - 1, 30))
  return Math.round(full * (0.5 + Math.random() / 2))
}
