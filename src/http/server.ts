import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { httpUrl } from '../connection.ts'
import { answerClientError } from './answer-errors.ts'
import { connectionLimit } from './connection-limit.ts'
import { allowanceOf, allowUnread } from './cors.ts'
import type { HttpHandler } from './handler.ts'

export const maxHeaderBytes = 16 * 1024
/** Milliseconds in which a request's headers must have come. */
const headersTimeoutMs = 30_000
/** Milliseconds for which an idle connection is kept. */
const keepAliveMs = 65_000
const maxConnections = 10_000
/** Milliseconds between two looks for idle connections while stopping. */
const idleCheckMs = 50

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  /** @default none */
  readonly corsOrigins?: readonly string[]
  /** Connections of one address at most; 0: any number. @default 0 */
  readonly connectionsPerAddress?: number
  /** Whose connections are those of many clients. @default nobody's */
  readonly isProxy?: (address: string) => boolean
  /** Sees every connection. */
  readonly connection?: ((socket: Socket) => void) | undefined
}

export interface HttpServer {
  readonly url: string
  /** Accepts no more, and waits for the requests that run: at most so long. */
  stop(graceMs: number): Promise<void>
}

/** Listens for the handler. */
export async function startHttpServer(handler: HttpHandler, options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, connection, corsOrigins = [], connectionsPerAddress = 0, isProxy = () => false } = options
  const allowance = allowanceOf(corsOrigins)
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    requireHostHeader: false, // Node's own refusal has no request id
  })
  server.requestTimeout = 0 // uploads may take long: their own time limit looks at silence
  server.maxConnections = maxConnections
  // A client that has sent all it wants to say may close its side, and still waits for the answer. Node has no other name for it.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('connection', connectionLimit(connectionsPerAddress, isProxy))
  if (connection) server.on('connection', connection)
  const refuse = (error: NodeJS.ErrnoException, socket: Duplex, headers: Readonly<Record<string, string>>): void =>
    handler.endConnection(socket, () => {
      // In the middle of another answer, these words would count as a part of it.
      if (handler.isAnswering(socket)) socket.destroy()
      else answerClientError(error, socket, headers)
    })
  const newest = new WeakMap<Socket, IncomingMessage>()
  // A body cannot go on then. Node finds that out by itself, Deno does not.
  server.on('connection', (socket: Socket) => socket.once('end', () => setImmediate(endUnfinished, socket)))
  const endUnfinished = (socket: Socket): void => {
    if (newest.get(socket)?.complete === false && !socket.writableEnded) socket.destroy()
  }
  const answer: RequestListener = (req, res) => {
    newest.set(req.socket, req)
    if (isForOneHost(req)) return handler.answer(req, res)
    const headers = { Vary: 'Origin', ...allowance(req.headers.origin ?? '') }
    refuse(new Error('The request names no host, or several.'), req.socket, headers)
  }
  server.on('request', answer)
  server.on('checkContinue', answer) // whoever wants the body says so
  server.on('checkExpectation', answer) // of other expectations nothing is known: RFC 9110 lets them pass
  server.on('clientError', (error, socket) => {
    const packet: unknown = 'rawPacket' in error ? error.rawPacket : undefined
    refuse(error, socket, allowUnread(allowance, packet instanceof Uint8Array ? packet : undefined))
  })
  await listen(server, host, port)

  return {
    url: urlOf(server, host),
    async stop(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const answered = handler.stop(graceMs, closed)
      // A connection becomes idle when its request ends; nothing new may come on it then.
      const idle = setInterval(() => server.closeIdleConnections(), idleCheckMs)
      const grace = setTimeout(() => server.closeAllConnections(), graceMs)
      await closed
      clearInterval(idle)
      clearTimeout(grace)
      await answered
    },
  }
}

/** HTTP/1.1 demands one `Host`. */
const isForOneHost = (req: IncomingMessage): boolean =>
  req.httpVersion === '1.0' || req.headersDistinct['host']?.length === 1

export async function listen(server: Server, host: string, port: number): Promise<void> {
  const failed = Promise.withResolvers<never>()
  // Deno throws past the server when its permissions do not allow the address.
  process.once('uncaughtException', failed.reject)
  try {
    server.listen(port, host)
    await Promise.race([once(server, 'listening'), failed.promise])
  } finally {
    process.off('uncaughtException', failed.reject)
  }
}

export function urlOf(server: Server, host: string): string {
  const address = server.address()
  return httpUrl(host, typeof address === 'object' ? address?.port : undefined)
}
