import type { IncomingMessage, ServerResponse } from 'node:http'

/** Milliseconds for which a connection whose client may still send stays open after a refusal when nothing more of its body is read. */
const shortMs = 1_000
/** Milliseconds in which the little must have come that is left of a body whose connection goes on. */
const remainderMs = 5_000
/** Bytes of a refused body that are read and dropped: many clients read no answer before they have sent all. */
const dropBytes = 64 * 1024 * 1024
/** Milliseconds for which they are read. */
const dropMs = 60_000
/** Bytes a second that must come of them meanwhile, over each `rateMs`. */
const dropBytesPerSecond = 64 * 1024
const rateMs = 2_000
/** Refused bodies that are read at once. */
const maxDropped = 256
/** Beyond so many, each gets an eighth of the bytes and of the time. */
const fewDropped = 32
const shareUnderLoad = 1 / 8

export interface Lingerer {
  /**
   * Ends an answer that is written, and the connection with it, when the client has sent what it wants to send: a connection that is
   * closed before is reset, and clients that send all before they read would never see the answer.
   *
   * @param bytes of the body still to come; `null`: unknown
   * @param isSent whether the client is sending without having been told to go on
   */
  end(req: IncomingMessage, res: ServerResponse, bytes: number | null, isSent: boolean): void
  /** For an answer after which the connection goes on: what is left of the body has to come soon. */
  awaitRemainder(req: IncomingMessage, res: ServerResponse): void
  /** From now on nothing is read of refused bodies. */
  stop(): void
}

export function lingerer(): Lingerer {
  const dropping = new Set<() => void>()
  let stopped = false

  function drop(req: IncomingMessage, end: () => void): void {
    const share = dropping.size < fewDropped ? 1 : shareUnderLoad
    let left = dropBytes * share
    let came = 0
    const onData = (chunk: Buffer): void => {
      came += chunk.length
      left -= chunk.length
      if (left <= 0) close()
    }
    const close = (): void => {
      dropping.delete(close)
      clearTimeout(whole)
      clearInterval(pace)
      req.off('data', onData).off('end', close).off('close', close)
      end()
    }
    const whole = setTimeout(close, dropMs * share)
    const pace = setInterval(() => {
      if (came < (dropBytesPerSecond * rateMs) / 1_000) close()
      came = 0
    }, rateMs)
    dropping.add(close)
    req.on('data', onData).once('end', close).once('close', close)
    req.resume()
  }

  return {
    end(req, res, bytes, isSent) {
      const end = (): void => {
        if (res.writableEnded) return
        res.end()
        // Where the runtime keeps the connection all the same: what is left of the body could be read as a request.
        setTimeout(() => req.socket.destroy(), shortMs).unref()
      }
      if (isSent && !stopped && dropping.size < maxDropped && (bytes === null || bytes <= dropBytes))
        return drop(req, end)
      req.pause()
      const timer = setTimeout(end, shortMs)
      req.once('close', () => {
        clearTimeout(timer)
        end()
      })
    },
    awaitRemainder(req, res) {
      res.once('finish', () => {
        if (req.complete || req.destroyed) return
        const timer = setTimeout(() => req.socket.destroy(), remainderMs)
        req.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
      })
    },
    stop() {
      stopped = true
      for (const close of dropping) close()
    },
  }
}
