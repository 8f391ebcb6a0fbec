import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** Requests of one connection that may wait for the answer before them. */
const maxWaiting = 64
/** Requests of all connections that may wait. Beyond it a connection on which another request has to wait is closed. */
const maxWaitingTogether = 4_096

type Handle = (req: IncomingMessage, res: ServerResponse) => Promise<void>

export interface ConnectionQueue {
  /** Handles the request when the answer before it has been sent. Resolves when its own answer was sent or its connection closed. */
  add(req: IncomingMessage, res: ServerResponse, handle: Handle): Promise<void>
  /**
   * Takes no further request from the connection. Calls `act` when the answers before have been sent, or at once when it is the request
   * being answered that broke.
   */
  end(socket: Duplex, act: () => void): void
}

interface Line {
  waiting: number
  ended: boolean
  newest:
    | { readonly req: IncomingMessage; readonly started: Promise<void>; readonly answered: Promise<void> }
    | undefined
}

/**
 * One request of a connection after another. A client that sends the next request before it has its answer may build upon the one before.
 * The next begins when the answer before it was sent, not when it was made: a client that reads nothing gets one answer made, not all.
 */
export function connectionQueue(): ConnectionQueue {
  const lines = new WeakMap<object, Line>()
  let waitingTogether = 0

  function lineOf(socket: Duplex): Line {
    const line = lines.get(socket) ?? { waiting: 0, ended: false, newest: undefined }
    lines.set(socket, line)
    return line
  }

  return {
    async add(req, res, handle) {
      const { socket } = req
      const line = lineOf(socket)
      if (line.ended) return
      const before = line.newest?.answered
      if (before && (line.waiting >= maxWaiting || waitingTogether >= maxWaitingTogether)) {
        // What the parser has read already must not be queued either.
        line.ended = true
        socket.destroy()
        return
      }
      const sent = new Promise<void>((resolve) => res.once('close', resolve))
      const started = before ? waitFor(line, before) : Promise.resolve()
      const run = (): Promise<void> | undefined => (socket.destroyed ? undefined : handle(req, res))
      const handled = before ? started.then(run) : Promise.resolve(run())
      const answered = handled.then(() => (socket.destroyed || res.closed ? undefined : sent))
      const newest = { req, started, answered }
      line.newest = newest
      await answered.finally(() => {
        if (line.newest === newest) line.newest = undefined
      })
    },
    end(socket, act) {
      const line = lineOf(socket)
      if (line.ended) return
      line.ended = true
      const { newest } = line
      if (!newest) return act()
      void (newest.req.complete ? newest.answered : newest.started).then(act, () => socket.destroy())
    },
  }

  async function waitFor(line: Line, before: Promise<void>): Promise<void> {
    line.waiting++
    waitingTogether++
    try {
      await before
    } finally {
      line.waiting--
      waitingTogether--
    }
  }
}
