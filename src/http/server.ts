import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import cors from '@koa/cors'
import { Router } from '@koa/router'
import Koa from 'koa'
import type { Logger } from 'pino'
import { UploadError } from '../errors.ts'
import { answerClientError, answerErrors } from './answer-errors.ts'
import type { Ctx, RequestState, Routes } from './context.ts'
import type { Origin } from './origin.ts'

export const maxHeaderBytes = 16 * 1024
/** Milliseconds in which a request's headers must have come. */
const headersTimeoutMs = 30_000
/** Milliseconds for which an idle connection is kept. */
const keepAliveMs = 65_000
const maxConnections = 10_000
/** Milliseconds between two looks for idle connections while stopping. */
const idleCheckMs = 50
/** Seconds for which a browser may remember the answer to a preflight. */
const preflightSeconds = 86_400

export interface Measure {
  requests(ctx: Ctx, next: Koa.Next): Promise<void>
  connection(socket: Socket): void
}

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  readonly corsOrigins: readonly string[]
  readonly origin: (req: IncomingMessage) => Origin
  readonly routes: (routes: Routes) => void
  /** Sees every request, and every connection. */
  readonly measure?: Measure | undefined
  readonly log: Logger
}

export interface Route {
  readonly methods: readonly string[]
  readonly path: string
}

export interface HttpServer {
  readonly url: string
  /** What is served: methods, and the path as the router has it. */
  readonly routes: readonly Route[]
  /** Accepts no more, and waits for the requests that run: at most so long. */
  stop(graceMs: number): Promise<void>
}

/** The server that all dialects share. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { log } = options
  let stopping = false
  const app = new Koa<RequestState>()
  const router = new Router<RequestState>()
  options.routes(router)
  const { measure } = options
  if (measure) app.use((ctx: Ctx, next) => measure.requests(ctx, next))
  app.use(identify(options, () => stopping))
  app.use(answerErrors(log))
  app.use(allowOrigins(options.corsOrigins))
  app.use(mustAcceptJson)
  app.use(router.routes())
  app.use(answerUnrouted)
  // What arrives here is a connection that broke off while an answer was on its way.
  app.on('error', (err: unknown) => log.debug({ err }, 'a connection failed'))

  const handle = app.callback()
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: keepAliveMs,
  })
  server.requestTimeout = 0 // uploads may take long: their own time limit looks at silence
  server.maxConnections = maxConnections
  if (measure) server.on('connection', (socket) => measure.connection(socket))
  const running = new Set<Promise<void>>()
  const open = new Set<ServerResponse>()
  const newest = new WeakMap<Socket, Promise<void>>()
  const listener = (req: IncomingMessage, res: ServerResponse) => {
    const { socket } = req
    open.add(res)
    res.once('close', () => open.delete(res))
    // What a client sends before it has its answer may build upon the request before, and waits for that one's end.
    const before = newest.get(socket)
    const handled = before ? before.then(() => (socket.destroyed ? undefined : handle(req, res))) : handle(req, res)
    const answered = handled.finally(() => {
      running.delete(answered)
      if (newest.get(socket) === answered) newest.delete(socket)
    })
    running.add(answered)
    newest.set(socket, answered)
  }
  server.on('request', listener)
  server.on('checkContinue', listener) // whoever wants the body says so
  server.on('clientError', (error, socket) => {
    // In the middle of another answer, these words would count as a part of it.
    const begun = [...open].some((res) => res.req.socket === socket && res.headersSent)
    if (begun) socket.destroy()
    else answerClientError(error, socket)
  })
  await listen(server, options.host, options.port)

  return {
    url: urlOf(server, options.host),
    routes: router.stack.map(({ methods, path }) => ({ methods, path: String(path) })),
    async stop(graceMs) {
      stopping = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // A connection becomes idle when its request ends; nothing new may come on it then.
      const idle = setInterval(() => server.closeIdleConnections(), idleCheckMs)
      const grace = setTimeout(() => server.closeAllConnections(), graceMs)
      await closed
      clearInterval(idle)
      clearTimeout(grace)
      // What a cut request leaves is cleaned up while the records are still open.
      await Promise.allSettled(running)
    },
  }
}

/** Request id, origin, log line. */
function identify(options: HttpServerOptions, stopping: () => boolean): Koa.Middleware<RequestState> {
  return async (ctx, next) => {
    const started = performance.now()
    const given = ctx.get('x-request-id')
    ctx.state.requestId = /^[A-Za-z0-9._-]{1,128}$/.test(given) ? given : `req_${randomBytes(12).toString('hex')}`
    ctx.state.origin = options.origin(ctx.req)
    ctx.set('X-Request-Id', ctx.state.requestId)
    ctx.set('X-Content-Type-Options', 'nosniff')
    if (stopping()) ctx.set('Connection', 'close')
    ctx.res.once('close', () => {
      const ms = Math.round(performance.now() - started)
      const { requestId, origin, principal } = ctx.state
      const facts = { requestId, method: ctx.method, path: ctx.path, status: ctx.res.statusCode, ms, ip: origin.ip }
      const cut = !ctx.res.writableFinished
      options.log.info({ ...facts, workspaceId: principal?.workspaceId, ...(cut ? { cut } : {}) }, 'request')
    })
    await next()
  }
}

/** No route took the request: other methods may exist at its address. */
function answerUnrouted(ctx: Ctx): void {
  const methods = new Set(ctx.matched?.flatMap((route) => route.methods))
  if (methods.size === 0) throw new UploadError('not_found', 'There is nothing at this address.')
  ctx.set('Allow', [...methods, 'OPTIONS'].join(', '))
  if (ctx.method !== 'OPTIONS') throw new UploadError('method_not_allowed', 'This method does not exist here.')
  ctx.status = 204
}

/** Paths that answer with something else than JSON, or with JSON to whoever asks. */
const noJsonPaths =
  /^\/($|page\/|presigned\/|files(\/|$)|api\/v1\/uploads\/[^/]+\/download\/?$|docs(\/|$)|(openapi\.json|llms\.txt|metrics)\/?$)/

async function mustAcceptJson(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  if (!noJsonPaths.test(ctx.path) && !ctx.accepts('application/json', 'application/problem+json'))
    throw new UploadError('not_acceptable', 'The answer is JSON, which the Accept header excludes.')
  await next()
}

/** Paths that answer OPTIONS themselves. */
const discoverable = /^\/files(\/|$)/

function allowOrigins(origins: readonly string[]): Koa.Middleware {
  const any = origins.includes('*')
  const allow = cors({
    // A browser asks with an origin; which one is answered only when it is on the list.
    origin: (ctx) => (any ? '*' : origins.includes(ctx.get('origin')) ? ctx.get('origin') : ''),
    allowMethods: 'GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS',
    exposeHeaders: [
      'Location',
      'Upload-Offset',
      'Upload-Length',
      'Upload-Metadata',
      'Upload-Expires',
      'Upload-Concat',
      'Upload-Defer-Length',
      'Upload-Record',
      'Tus-Resumable',
      'Tus-Version',
      'Tus-Extension',
      'Tus-Max-Size',
      'Tus-Checksum-Algorithm',
      'ETag',
      'Content-Range',
      'Content-Disposition',
      'Accept-Ranges',
      'RateLimit',
      'RateLimit-Policy',
      'Retry-After',
      'X-Request-Id',
    ],
    maxAge: preflightSeconds,
    keepHeadersOnError: true,
  })
  return async (ctx, next) => {
    await allow(ctx, next)
    // What the endpoint can do is also told to a preflight.
    if (ctx.method === 'OPTIONS' && ctx.get('access-control-request-method') !== '' && discoverable.test(ctx.path))
      await next()
  }
}

export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

export function urlOf(server: Server, host: string): string {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
