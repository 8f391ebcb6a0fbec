import { createServer } from 'node:http'
import type { Next } from 'koa'
import type { Config } from '../../config/load.ts'
import { UploadError } from '../errors.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { sameText } from './authenticate.ts'
import type { Ctx, Routes } from './context.ts'
import { errorAnswer } from './problem.ts'
import { listen, urlOf } from './server.ts'

/** Methods with a label of their own; a client can send others. */
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
/** Connections to the port of the metrics. */
const maxConnections = 100

/** Times every request, under the route that took it. */
export function measureRequests(metrics: Metrics) {
  return async (ctx: Ctx, next: Next): Promise<void> => {
    const started = performance.now()
    ctx.res.once('close', () => {
      // Of a method that an address does not have, the address is named all the same.
      const route = (ctx.matched?.find((layer) => layer.methods.includes(ctx.method)) ?? ctx.matched?.[0])?.path
      metrics.request({
        method: methods.includes(ctx.method) ? ctx.method : 'other',
        route: typeof route === 'string' ? route : 'none',
        status: ctx.res.writableFinished ? `${String(ctx.res.statusCode).charAt(0)}xx` : 'cut',
        seconds: (performance.now() - started) / 1_000,
      })
    })
    await next()
  }
}

/** `/metrics` beside everything else, for who has the token. */
export function metricsRoute(routes: Routes, metrics: Metrics | undefined, { token, port }: Config['metrics']): void {
  routes.get('/metrics', async (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    if (!metrics || token === undefined)
      throw new UploadError('not_found', port === undefined ? switchedOff : elsewhere)
    const given = /^Bearer +(\S+) *$/i.exec(ctx.get('authorization'))?.[1] ?? ''
    if (!sameText(given, token))
      throw new UploadError('unauthenticated', 'Send the token of the metrics as "Authorization: Bearer <token>".')
    ctx.body = await metrics.text()
    ctx.set('Content-Type', metrics.contentType)
  })
}

const switchedOff = 'There are no metrics: set FAIRLEAD_METRICS_TOKEN (metrics.token), or metrics.port.'
const elsewhere = 'The metrics are on a port of their own, metrics.port; to have them here too, set metrics.token.'

/** The metrics on a port of their own, where nothing else is and no token is asked for. */
export async function startMetricsServer(
  metrics: Metrics,
  host: string,
  port: number,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const server = createServer((req, res) => {
    const path = req.url?.split('?')[0] ?? ''
    const isMetrics = path === '/metrics' && (req.method === 'GET' || req.method === 'HEAD')
    const text = isMetrics ? metrics.text() : Promise.reject(new UploadError('not_found', 'Here is only GET /metrics.'))
    text.then(
      (body) => res.writeHead(200, { 'Content-Type': metrics.contentType, 'Cache-Control': 'no-store' }).end(body),
      (error: unknown) => {
        const { status, headers, body } = errorAnswer(error, { path, method: 'GET', contentType: '' })
        res.writeHead(status, { 'Content-Type': 'application/problem+json', ...headers }).end(JSON.stringify(body))
      },
    )
  })
  server.maxConnections = maxConnections
  await listen(server, host, port)
  return {
    url: `${urlOf(server, host)}/metrics`,
    stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}
