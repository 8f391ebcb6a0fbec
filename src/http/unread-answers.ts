import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Pace, slowest } from '../uploads/pace.ts'

/** Milliseconds between two looks at the answers that are on their way. */
const lookMs = 250
/** Bytes of answers that may wait for their clients, of all connections together. */
const maxUnreadBytes = 128 * 1024 * 1024
/** Milliseconds without progress after which an answer may be cut when there are more. */
const standstillMs = 2_000

export interface UnreadAnswersOptions {
  /** Milliseconds in which a client must take something of an answer. */
  readonly idleMs: number
  readonly lowestPace?: Pace | undefined
}

interface Watched {
  readonly res: ServerResponse
  /** Bytes that the connection had given to the system, and that wait in front of it. */
  flushed: number
  queued: number
  /** Bytes that were taken since `begun`. */
  taken: number
  begun: number
  /** When something was last taken, or nothing waited for the client. */
  moved: number
}

/**
 * Cuts answers that their clients do not take, or too slowly: each holds memory, its connection, and a file or a connection to the store.
 * Time during which nothing waits for the client does not count: then the gateway or its store is at work.
 */
export function unreadAnswers({ idleMs, lowestPace }: UnreadAnswersOptions): { watch(res: ServerResponse): void } {
  const open = new Map<ServerResponse, Watched>()
  let timer: NodeJS.Timeout | undefined
  let looked = 0

  function look(): void {
    const now = performance.now()
    // When the process has stood still, the clients could take nothing.
    const stoodStill = now - looked > lookMs * 4
    looked = now
    let unread = 0
    for (const answer of open.values()) {
      unread += answer.res.writableLength
      if (isTooSlow(answer, now, stoodStill)) answer.res.destroy()
    }
    if (unread > maxUnreadBytes) relieve(unread - maxUnreadBytes, now)
  }

  function isTooSlow(answer: Watched, now: number, stoodStill: boolean): boolean {
    const { socket } = answer.res.req
    const flushed = socket.bytesWritten - socket.writableLength
    const queued = systemQueue(socket)
    const progress = flushed === answer.flushed ? Math.max(0, answer.queued - queued) : flushed - answer.flushed
    Object.assign(answer, { flushed, queued, taken: answer.taken + progress })
    const nothingWaits = answer.res.writableLength === 0
    if (nothingWaits || stoodStill) Object.assign(answer, { taken: 0, begun: now, moved: now })
    else if (progress > 0) answer.moved = now
    if (now - answer.moved >= idleMs) return true
    if (!lowestPace || now - answer.begun < lowestPace.windowMs) return false
    const slow = answer.taken < slowest(lowestPace)
    Object.assign(answer, { taken: 0, begun: now })
    return slow
  }

  /** Cuts those that have stood still for longest. */
  function relieve(bytes: number, now: number): void {
    const still = [...open.values()].filter(({ moved }) => now - moved >= standstillMs)
    let left = bytes
    for (const { res } of still.toSorted((a, b) => a.moved - b.moved)) {
      if (left <= 0) return
      left -= res.writableLength
      res.destroy()
    }
  }

  return {
    watch(res) {
      const now = performance.now()
      const { socket } = res.req
      const flushed = socket.bytesWritten - socket.writableLength
      open.set(res, { res, flushed, queued: 0, taken: 0, begun: now, moved: now })
      if (timer === undefined) {
        looked = now
        timer = setInterval(look, lookMs).unref()
      }
      res.once('close', () => {
        open.delete(res)
        if (open.size > 0) return
        clearInterval(timer)
        timer = undefined
      })
    },
  }
}

/** Bytes of the write that is going on which the system has not taken yet. No public name tells it, and one write may be a whole list. */
function systemQueue(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  const size: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'writeQueueSize') : 0
  return typeof size === 'number' ? size : 0
}
