import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Router } from '@koa/router'
import Koa from 'koa'
import type { Logger } from 'pino'
import type { Duplex } from 'node:stream'
import { UploadError } from '../errors.ts'
import { acceptsJson } from './accept.ts'
import { answerErrors } from './answer-errors.ts'
import { connectionQueue } from './connection-queue.ts'
import type { Ctx, RequestState, Routes } from './context.ts'
import { allowanceOf, allowOrigins } from './cors.ts'
import { lingerer } from './linger.ts'
import type { Origin } from './origin.ts'
import { unreadAnswers, type UnreadAnswersOptions } from './unread-answers.ts'

export interface HttpHandlerOptions {
  readonly corsOrigins: readonly string[]
  readonly origin: (req: IncomingMessage) => Origin
  readonly routes: (routes: Routes) => void
  /** How long clients may take over their answers. @default any time */
  readonly unread?: UnreadAnswersOptions
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
  /** Takes nothing more from this connection. Calls `act` when what came before is answered. */
  endConnection(socket: Duplex, act: () => void): void
  /** Whether an answer has begun on this connection. */
  isAnswering(socket: unknown): boolean
  /**
   * From now on connections end with their answers. Waits for the requests that run, cuts them after so long, then refuses others.
   *
   * @param closed resolves when nothing more comes, where somebody knows.
   */
  stop(graceMs: number, closed?: Promise<void>): Promise<void>
}

/** Parts of the gateway that wait for the end of one answer. */
const maxListeners = 20

/** What all dialects share: takes requests from whatever listens. */
export function httpHandler(options: HttpHandlerOptions): HttpHandler {
  const { log, measure } = options
  let stopping = false
  let stopped = false
  const app = new Koa<RequestState>()
  // A trailing slash is as if it were not there; case counts, as it does for the shape of an error.
  const router = new Router<RequestState>({ sensitive: true })
  const lingering = lingerer()
  options.routes(router)
  if (measure) app.use(measure)
  app.use(identify(options, () => stopping))
  app.use(answerErrors(log, lingering))
  app.use(allowOrigins(allowanceOf(options.corsOrigins)))
  app.use((_ctx, next) => {
    if (stopped) throw new UploadError('not_ready', 'The gateway is closed.')
    return next()
  })
  app.use(keepPrivate)
  app.use(mustAcceptJson)
  app.use(router.routes())
  app.use(answerUnrouted)
  // What arrives here is a connection that broke off while an answer was on its way.
  app.on('error', (err: unknown) => log.debug({ err }, 'a connection failed'))

  const handle = app.callback()
  const running = new Set<Promise<void>>()
  const open = new Set<ServerResponse>()
  const queue = connectionQueue()
  const unread = unreadAnswers(options.unread ?? { idleMs: Infinity })
  return {
    routes: router.stack.map(({ methods, path }) => ({ methods, path: String(path) })),
    answer(req, res) {
      open.add(res)
      res.setMaxListeners(maxListeners)
      res.once('close', () => open.delete(res))
      const answered = queue.add(req, res, (...request) => {
        unread.watch(res)
        lingering.awaitRemainder(req, res)
        return handle(...request)
      })
      running.add(answered)
      // A response whose turn never comes has no `close`.
      void answered.finally(() => {
        running.delete(answered)
        open.delete(res)
      })
    },
    endConnection: (socket, act) => queue.end(socket, act),
    isAnswering: (socket) => [...open].some((res) => res.req.socket === socket && res.headersSent),
    async stop(graceMs, closed) {
      stopping = true
      lingering.stop()
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

/** What a principal may read is no business of a cache on the way. */
async function keepPrivate(ctx: Ctx, next: Koa.Next): Promise<void> {
  await next()
  if (ctx.state.principal && !ctx.headerSent && !ctx.res.hasHeader('cache-control'))
    ctx.set('Cache-Control', 'private, no-store')
}

/** Paths that answer with something else than JSON, or with JSON to whoever asks. */
const noJsonPaths =
  /^\/($|page\/|presigned\/|files(\/|$)|api\/v1\/uploads\/[^/]+\/download\/?$|docs(\/|$)|(openapi\.json|llms\.txt|metrics|healthz|readyz)\/?$)/

async function mustAcceptJson(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  if (!noJsonPaths.test(ctx.path) && !acceptsJson(ctx.get('accept')))
    throw new UploadError('not_acceptable', 'The answer is JSON, which the Accept header excludes.')
  await next()
}
