import type { Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import cors from '@koa/cors'
import { Router } from '@koa/router'
import Koa from 'koa'
import type { Logger } from 'pino'
import { UploadError } from '../errors.ts'
import { answerErrors } from './answer-errors.ts'
import type { Ctx, RequestState, Routes } from './context.ts'
import type { Origin } from './origin.ts'

/** Seconds for which a browser may remember the answer to a preflight. */
const preflightSeconds = 86_400

export interface HttpHandlerOptions {
  readonly corsOrigins: readonly string[]
  readonly origin: (req: IncomingMessage) => Origin
  readonly routes: (routes: Routes) => void
  /** Sees every request. */
  readonly measure?: ((ctx: Ctx, next: Koa.Next) => Promise<void>) | undefined
  readonly log: Logger
}

export interface Route {
  readonly methods: readonly string[]
  readonly path: string
}

export interface HttpHandler {
  /** What is served: methods, and the path as the router has it. */
  readonly routes: readonly Route[]
  readonly answer: (req: IncomingMessage, res: ServerResponse) => void
  /** Whether an answer has begun on this connection. */
  isAnswering(socket: unknown): boolean
  /**
   * From now on connections end with their answers. Waits for the requests that run, cuts them after so long, then refuses others.
   *
   * @param closed resolves when nothing more comes, where somebody knows.
   */
  stop(graceMs: number, closed?: Promise<void>): Promise<void>
}

/** What all dialects share: takes requests from whatever listens. */
export function httpHandler(options: HttpHandlerOptions): HttpHandler {
  const { log, measure } = options
  let stopping = false
  let stopped = false
  const app = new Koa<RequestState>()
  const router = new Router<RequestState>()
  options.routes(router)
  if (measure) app.use(measure)
  app.use(identify(options, () => stopping))
  app.use(answerErrors(log))
  app.use(allowOrigins(options.corsOrigins))
  app.use((_ctx, next) => {
    if (stopped) throw new UploadError('not_ready', 'The gateway is closed.')
    return next()
  })
  app.use(mustAcceptJson)
  app.use(router.routes())
  app.use(answerUnrouted)
  // What arrives here is a connection that broke off while an answer was on its way.
  app.on('error', (err: unknown) => log.debug({ err }, 'a connection failed'))

  const handle = app.callback()
  const running = new Set<Promise<void>>()
  const open = new Set<ServerResponse>()
  /** Of each connection. */
  const newest = new WeakMap<Socket, Promise<void>>()
  return {
    routes: router.stack.map(({ methods, path }) => ({ methods, path: String(path) })),
    answer(req, res) {
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
    },
    isAnswering: (socket) => [...open].some((res) => res.req.socket === socket && res.headersSent),
    async stop(graceMs, closed) {
      stopping = true
      const grace = setTimeout(() => {
        stopped = true
        for (const res of open) res.req.socket.destroy()
      }, graceMs)
      await closed
      // What a cut request leaves is cleaned up while the records are still open.
      while (running.size > 0) await Promise.allSettled(running)
      stopped = true
      clearTimeout(grace)
    },
  }
}

/** Asked every few seconds by machines, which is worth a line only when all is not well. */
const probes = /^\/(healthz|readyz|metrics)\/?$/

/** Request id, origin, log line. */
function identify(options: HttpHandlerOptions, stopping: () => boolean): Koa.Middleware<RequestState> {
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
      const level = probes.test(ctx.path) && ctx.status < 400 ? 'debug' : 'info'
      options.log[level]({ ...facts, workspaceId: principal?.workspaceId, ...(cut ? { cut } : {}) }, 'request')
    })
    await next()
    // What began before the stop ends its connection as well.
    if (stopping() && !ctx.headerSent) ctx.set('Connection', 'close')
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
