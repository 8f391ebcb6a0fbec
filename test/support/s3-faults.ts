import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { S3Operation, S3Request } from './s3-operations.ts'

/** A request that has come, and what has become of it until now. */
export interface Seen extends S3Request {
  readonly method: string
  readonly headers: IncomingMessage['headers']
  /** Bytes of the body that have come from the client. */
  sent: number
  /** Bytes of the answer's body that have come from the server. */
  received: number
  /** Of the answer as the client got it; nothing when it got none. */
  status?: number
}

/** An answer as no S3 server would give it. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** One that is shorter than `bytes` is repeated. */
  readonly body: string
  readonly bytes?: number
}

export type Act =
  /** The connection breaks. */
  | 'cut'
  /** Nothing moves until `release`, or until the client gives up. */
  | 'stall'
  /** What the server might have answered. */
  | { readonly status: number; readonly code: string }
  | Reply
  | { readonly delayMs: number }

export interface FaultOptions {
  readonly act: Act
  /**
   * `before`: the server never hears of the request. `sending`: it has got `bytes` of the body. `after`: it has done it, and the client has
   * no answer yet. `answering`: the client has got `bytes` of the answer's body.
   *
   * @default 'before'
   */
  readonly when?: 'before' | 'sending' | 'after' | 'answering'
  /** @default 0 */
  readonly bytes?: number
  /** The first request that it befalls, counted from now, from 1. @default 1 */
  readonly nth?: number
  /** How many after one another. @default 1 */
  readonly times?: number
  /** Only requests for that key. */
  readonly key?: string
}

export interface Fault {
  /** The first request has come to the point where it is befallen. */
  readonly hit: Promise<Seen>
  /** Requests that it has befallen. */
  hits(): number
  /** Lets go what stalls, and befalls nothing more. */
  release(): void
}

interface Armed {
  readonly operation: S3Operation | 'any'
  readonly options: FaultOptions
  readonly hit: PromiseWithResolvers<Seen>
  readonly released: PromiseWithResolvers<void>
  matched: number
  hits: number
}

/** What one request has to go through at each point of its way. */
export interface Fate {
  readonly when: FaultOptions['when']
  readonly bytes: number
  /** Whether the request goes on from here; otherwise the client has its answer, or no connection. */
  befall(req: IncomingMessage, res: ServerResponse): Promise<boolean>
}

export interface Faults {
  add(operation: S3Operation | 'any', options: FaultOptions): Fault
  /** By the oldest fault that the request meets. */
  fateOf(seen: Seen): Fate
  clear(): void
}

export function faults(): Faults {
  let armed: Armed[] = []
  return {
    add(operation, options) {
      const added: Armed = {
        operation,
        options,
        hit: Promise.withResolvers(),
        released: Promise.withResolvers(),
        matched: 0,
        hits: 0,
      }
      armed.push(added)
      return {
        hit: added.hit.promise,
        hits: () => added.hits,
        release() {
          armed = armed.filter((other) => other !== added)
          added.released.resolve()
        },
      }
    },
    fateOf(seen) {
      const [fault] = armed.filter((one) => matches(one, seen)).filter((one) => isTurn(one))
      const { when = 'before', bytes = 0 } = fault?.options ?? {}
      return fault
        ? { when, bytes, befall: (req, res) => befall(fault, seen, req, res) }
        : { when: undefined, bytes, befall: async () => true }
    },
    clear() {
      for (const { released } of armed) released.resolve()
      armed = []
    },
  }
}

const matches = ({ operation, options }: Armed, seen: Seen): boolean =>
  (operation === 'any' || operation === seen.operation) && (options.key === undefined || options.key === seen.key)

function isTurn(armed: Armed): boolean {
  const { nth = 1, times = 1 } = armed.options
  armed.matched++
  return armed.matched >= nth && armed.matched < nth + times
}

async function befall(armed: Armed, seen: Seen, req: IncomingMessage, res: ServerResponse): Promise<boolean> {
  const { act } = armed.options
  armed.hits++
  armed.hit.resolve(seen)
  if (act === 'cut') res.destroy()
  else if (act === 'stall') {
    const gone = new Promise((resolve) => res.once('close', resolve))
    await Promise.race([armed.released.promise, gone])
  } else if ('delayMs' in act) await delay(act.delayMs)
  else {
    await answer(act, seen, req, res)
    return false
  }
  return !res.destroyed
}

async function answer(
  act: { readonly status: number; readonly code: string } | Reply,
  seen: Seen,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  // Who asked whether to send the body waits for this answer; of others it has been read before a server answers.
  if (req.headers.expect === undefined && !req.readableEnded)
    await new Promise((resolve) => req.resume().once('close', resolve))
  if (res.destroyed) return
  const { status } = act
  seen.status = status
  if ('body' in act) {
    res.writeHead(status, act.headers)
    await pipeline(repeated(act.body, act.bytes ?? act.body.length), res).catch(() => {})
    return
  }
  const { code } = act
  res.writeHead(status, { 'content-type': 'application/xml' })
  res.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>On purpose.</Message></Error>`)
}

function* repeated(text: string, bytes: number): Generator<Buffer> {
  const piece = Buffer.from(text)
  for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left)
}

/** Pipes so many bytes, and waits with the rest until what it returns is called. A source that ends before then is piped whole. */
export function pipeUntil(source: Readable, sink: Writable, bytes: number): Promise<() => void> {
  return new Promise((resolve) => {
    let left = bytes
    const end = () => sink.end()
    const resume = () => source.resume()
    source.once('end', end)
    sink.on('drain', resume)
    source.on('data', function take(chunk: Buffer) {
      if (chunk.length <= left) {
        left -= chunk.length
        if (!sink.write(chunk)) source.pause()
        return
      }
      source.pause().off('data', take).off('end', end)
      sink.off('drain', resume)
      if (left > 0) sink.write(chunk.subarray(0, left))
      resolve(() => {
        sink.write(chunk.subarray(left))
        source.pipe(sink)
      })
    })
  })
}
