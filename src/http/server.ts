import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { httpUrl } from '../connection.ts'
import { answerClientError } from './answer-errors.ts'
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
  /** Sees every connection. */
  readonly connection?: ((socket: Socket) => void) | undefined
}

export interface HttpServer {
  readonly url: string
  /** Accepts no more, and waits for the requests that run: at most so long. */
  stop(graceMs: number): Promise<void>
}

/** Listens for the handler. */
export async function startHttpServer(
  handler: HttpHandler,
  { host, port, connection }: HttpServerOptions,
): Promise<HttpServer> {
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: keepAliveMs,
  })
  server.requestTimeout = 0 // uploads may take long: their own time limit looks at silence
  server.maxConnections = maxConnections
  if (connection) server.on('connection', connection)
  server.on('request', handler.answer)
  server.on('checkContinue', handler.answer) // whoever wants the body says so
  server.on('clientError', (error, socket) => {
    // In the middle of another answer, these words would count as a part of it.
    if (handler.isAnswering(socket)) socket.destroy()
    else answerClientError(error, socket)
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

export async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

export function urlOf(server: Server, host: string): string {
  const address = server.address()
  return httpUrl(host, typeof address === 'object' ? address?.port : undefined)
}
