import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { notFound } from '../errors.ts'
import type { Operation } from './api.ts'
import type { Ctx, Routes } from './context.ts'
import { openApi } from './openapi.ts'

/** A way in, in Markdown, for who reaches the gateway at this address. */
export type Guide = (baseUrl: string) => string

/** What of `swagger-ui-dist` is served; no other file can be asked for. */
const assets: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
  ['favicon-32x32.png', 'image/png'],
])
export const assetNames = [...assets.keys(), 'start.js'] as const

/** The gateway about itself: for programs, for people, for language models. Nobody needs credentials. */
export function documentation(routes: Routes, operations: readonly Operation[], guides: readonly Guide[]): void {
  const document = openApi(operations)
  const packageFile = createRequire(import.meta.url)

  routes.get('/openapi.json', (ctx) => {
    ctx.set('Cache-Control', 'no-cache')
    ctx.body = document(ctx.state.origin.url)
  })

  routes.get('/llms.txt', (ctx) => {
    ctx.set('Cache-Control', 'no-cache')
    ctx.type = 'text/plain; charset=utf-8'
    ctx.body = llmsText(ctx.state.origin.url, guides)
  })

  routes.get('/docs', (ctx) => {
    ctx.set({ 'Cache-Control': 'no-cache', 'Content-Security-Policy': securityPolicy(ctx) })
    ctx.type = 'text/html; charset=utf-8'
    // Relative, so that it works below whatever path a proxy gives the gateway.
    ctx.body = page(ctx.path.endsWith('/') ? '' : 'docs/')
  })

  routes.get('/docs/:file', async (ctx) => {
    const name = ctx.params['file'] ?? ''
    ctx.set('Cache-Control', 'no-cache')
    if (name === 'start.js') {
      ctx.type = 'text/javascript; charset=utf-8'
      ctx.body = startScript
      return
    }
    const type = assets.get(name)
    if (type === undefined) throw notFound()
    const path = packageFile.resolve(`swagger-ui-dist/${name}`)
    const { size, mtimeMs } = await stat(path)
    ctx.status = 200
    ctx.type = type
    ctx.length = size
    ctx.set('ETag', `"${size.toString(36)}-${Math.round(mtimeMs).toString(36)}"`)
    if (ctx.fresh) ctx.status = 304
    else if (ctx.method !== 'HEAD') ctx.body = createReadStream(path)
  })
}

/** Nothing from elsewhere, no script in the page; requests go to this gateway under either of its names. */
const securityPolicy = (ctx: Ctx): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    // Not by `URL`: a Host may have the letters of one and still be none, such as `a:99999`.
    `connect-src 'self' ${/^https?:\/\/[^/]+/.exec(ctx.state.origin.url)?.[0] ?? ''}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

const page = (prefix: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Fairlead API</title>
    <link rel="icon" type="image/png" href="${prefix}favicon-32x32.png">
    <link rel="stylesheet" href="${prefix}swagger-ui.css">
  </head>
  <body>
    <div id="swagger-ui"><noscript>This page needs JavaScript; the same in JSON: /openapi.json</noscript></div>
    <script src="${prefix}swagger-ui-bundle.js"></script>
    <script src="${prefix}start.js"></script>
  </body>
</html>
`

const startScript = `SwaggerUIBundle({
  url: new URL('../openapi.json', document.currentScript.src).href,
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
})
`

const llmsText = (url: string, guides: readonly Guide[]): string => `# Fairlead

> A self-hosted upload gateway. One server takes files by several HTTP APIs, finds out what each file really is, measures it, charges it to a workspace's quota and keeps it. Base URL: ${url}

Send the API key as \`Authorization: Bearer <key>\` or \`x-api-key: <key>\`. Sizes are bytes, durations seconds, times RFC 3339 in UTC. Decide about errors by \`error_code\` or \`errorCode\`, never by their sentences; on 429 and 503 wait as long as \`Retry-After\` says. Every answer carries \`X-Request-Id\`. An upload made in one way can be read, downloaded and deleted in every other.

## Reference

- [OpenAPI 3.1 document](${url}/openapi.json): every operation, schema, limit and error code
- [The same for people](${url}/docs): Swagger UI

${guides.map((guide) => guide(url)).join('\n')}
## For who runs it

\`GET ${url}/healthz\` says that the process lives, \`GET ${url}/readyz\` that records and store answer, \`GET ${url}/metrics\` is for Prometheus. None of them takes an API key.
`
