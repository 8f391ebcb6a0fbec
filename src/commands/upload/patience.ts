import { setTimeout as sleep } from 'node:timers/promises'
import { UploadFailure } from './failure.ts'

/** Milliseconds before each further try: the first is for a connection that had just ended; the last one counts from then on. */
const delaysMs = [100, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000]
const shortestMs = 100
const longestMs = 60_000
/** Minutes without any progress, after which a file is given up. */
const longestQuietMinutes = 15

/** Why there is no answer that counts, which may be otherwise soon. */
export interface Unanswered {
  /** Such as `the server refuses the connection`. */
  readonly why: string
  /** What the server asks for. */
  readonly retryAfterMs?: number | undefined
}

export interface Patience {
  /** Something was achieved: the next wait is a short one again. */
  moved(): void
  /** @throws {UploadFailure} when it has been too long; or the signal's reason */
  wait(unanswered: Unanswered): Promise<void>
}

/** @param waits hears of every wait that a person would notice */
export function patience(signal: AbortSignal, waits: (why: string, ms: number) => void): Patience {
  let tries = 0
  /** The first wait after the last progress: a request itself may take hours. */
  let quietSince: number | undefined
  return {
    moved() {
      tries = 0
      quietSince = undefined
    },
    async wait({ why, retryAfterMs }) {
      quietSince ??= Date.now()
      if (Date.now() - quietSince > longestQuietMinutes * 60_000)
        throw new UploadFailure(`Given up after ${longestQuietMinutes} minutes: ${why}. Run the same command to go on.`)
      const delayMs = retryAfterMs ?? delaysMs[Math.min(tries, delaysMs.length - 1)] ?? longestMs
      const ms = Math.min(Math.max(delayMs, shortestMs), longestMs)
      tries++
      if (ms >= 1_000) waits(why, ms)
      await sleep(ms, undefined, { signal })
    },
  }
}
