import { setTimeout as sleep } from 'node:timers/promises'
import type { Intake } from './receive.ts'

/** Milliseconds without a byte after which what has come is worth being kept for somebody who asks. */
const quietMs = 100
/** Milliseconds that somebody who asks waits for that. */
const patienceMs = 1_000
/** Milliseconds that somebody who asks waits until it is kept. */
const keepMs = 5_000
const lookMs = 20
/** Milliseconds after which what has come is kept though nobody asks: a slow body would otherwise lose much with the process. */
const keepEveryMs = 10_000

/** A request that writes to an upload, seen from beside: somebody may ask how far it has come. */
export interface Session {
  /** The body comes from here now. @param kept bytes that are kept, however that came about */
  open(source: Intake, kept: () => number): void
  /** Keeps what has been handed over, if somebody asks for that. To be called by the sink. */
  keepIfAsked(keep: () => Promise<void>): Promise<void>
  close(): void
  /** Resolves when what has come is kept, unless more comes all the time; never fails. */
  settle(): Promise<void>
}

/** @param everyMs milliseconds after which what has come is kept though nobody asks */
export function newSession(everyMs = keepEveryMs): Session {
  const closed = Promise.withResolvers<void>()
  let isClosed = false
  let source: Intake | undefined
  let asked: PromiseWithResolvers<void> | undefined
  let timer: NodeJS.Timeout | undefined

  function ask(from: Intake): Promise<void> {
    asked ??= Promise.withResolvers()
    from.flush()
    return asked.promise
  }

  /** Has kept what came since the last round, unless something else has kept some of it, or it is not the client that we wait for. */
  function keepNowAndThen(from: Intake, kept: () => number): void {
    let before = { received: 0, kept: kept() }
    const look = async (): Promise<void> => {
      const { received } = from
      if (received > before.received && kept() === before.kept && !from.isFull) await ask(from)
      before = { received, kept: kept() }
    }
    timer = setInterval(() => void look(), Math.min(everyMs, keepEveryMs))
  }

  /** Waits until nothing comes for a moment. */
  async function quiet(): Promise<void> {
    const begun = performance.now()
    let received = source?.received
    let since = begun
    for (;;) {
      const now = performance.now()
      if (source?.received !== received) {
        received = source?.received
        since = now
      }
      if (isClosed || now - begun >= patienceMs || (source && now - since >= quietMs)) return
      await sleep(lookMs)
    }
  }

  return {
    open(intake, kept) {
      source = intake
      keepNowAndThen(intake, kept)
    },
    async keepIfAsked(keep) {
      const mine = asked
      if (!mine) return
      asked = undefined
      try {
        await keep()
      } finally {
        mine.resolve()
      }
    },
    close() {
      isClosed = true
      clearInterval(timer)
      closed.resolve()
      asked?.resolve()
    },
    async settle() {
      await quiet()
      if (isClosed || !source) return
      await Promise.race([ask(source), closed.promise, sleep(keepMs, undefined, { ref: false })])
    },
  }
}
