import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Bytes that are written at a time, so that a body is on its way for a while. */
const pieceBytes = 64 * 1024
/** Milliseconds between two tries to reach a server that does not listen, and for which it is tried. */
const awayMs = 20
const awayWithinMs = 15_000

export interface Sending {
  readonly method: string
  /** With the query; or a whole URL. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** No length is announced. */
  readonly chunked?: boolean
  /** The connection is closed when so many bytes of the body were sent. */
  readonly cutAfter?: number
  /** Nothing more is sent after so many bytes of the body, and the connection stays open: the client is out of reach. */
  readonly stallAfter?: number
  /** Closes the connection. */
  readonly signal?: AbortSignal
  /** Milliseconds between two pieces of the body. @default 0 */
  readonly pauseMs?: number
  /** The connection is closed when so many bytes of the answer have come. */
  readonly hangUpAfter?: number
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  json(): unknown
}

export interface Wire {
  /** `undefined`: the connection ended without a whole answer, so nobody knows what happened. */
  send(sending: Sending): Promise<Answer | undefined>
  close(): void
}

/**
 * A client on plain node:http whose connections can be cut at any byte. It waits for a server that is being started.
 *
 * @param key sent with every request; absent: nothing is
 */
export function wire(origin: string, key?: string): Wire {
  const agent = new Agent({ keepAlive: true })
  return {
    close: () => agent.destroy(),
    async send(sending) {
      for (const end = Date.now() + awayWithinMs; Date.now() < end; await sleep(awayMs)) {
        const answer = await attempt(sending)
        if (answer !== 'away') return answer
      }
      return undefined
    },
  }

  function attempt(sending: Sending): Promise<Answer | undefined | 'away'> {
    return new Promise((resolve) => {
      const { body } = sending
      const length: Record<string, string> =
        body === undefined || sending.chunked ? {} : { 'Content-Length': String(body.length) }
      const outgoing = request(new URL(sending.path, origin), {
        method: sending.method,
        agent,
        headers: { ...(key !== undefined && { 'x-api-key': key }), ...length, ...sending.headers },
        ...(sending.signal && { signal: sending.signal }),
      })
      outgoing.on('error', (error: NodeJS.ErrnoException) =>
        resolve(error.code === 'ECONNREFUSED' ? 'away' : undefined),
      )
      outgoing.on('close', () => resolve(undefined))
      outgoing.on('response', (response) => {
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('error', () => resolve(undefined))
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk)
          bytes += chunk.length
          if (bytes >= (sending.hangUpAfter ?? Infinity)) outgoing.destroy()
        })
        response.on('end', () => {
          if (!response.complete) return
          const whole = Buffer.concat(chunks)
          const json = (): unknown => JSON.parse(whole.toString())
          resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: whole, json })
        })
      })
      if (body) void pour(outgoing, body, sending)
      else outgoing.end()
    })
  }
}

async function pour(outgoing: ReturnType<typeof request>, body: Uint8Array, sending: Sending): Promise<void> {
  const stop = Math.min(sending.cutAfter ?? sending.stallAfter ?? Infinity, body.length)
  for (let at = 0; at < stop && !outgoing.destroyed; at += pieceBytes) {
    const more = outgoing.write(body.subarray(at, Math.min(at + pieceBytes, stop)))
    if (sending.pauseMs !== undefined) await sleep(sending.pauseMs)
    else if (!more) await drained(outgoing)
  }
  if (sending.stallAfter !== undefined) return
  if (sending.cutAfter === undefined) return void outgoing.end()
  // What was written is on its way before the connection goes.
  await sleep(1)
  outgoing.destroy()
}

const drained = (outgoing: ReturnType<typeof request>): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      outgoing.off('drain', go).off('close', go)
      resolve()
    }
    if (outgoing.destroyed) return resolve()
    outgoing.once('drain', go).once('close', go)
  })
