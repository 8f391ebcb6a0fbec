import { notFound } from '../errors.ts'
import type { Operation } from './api.ts'
import type { Routes } from './context.ts'
import { openApi } from './openapi.ts'
import { builtFile, securityPolicy, sendFile } from './static.ts'

/** A way in, in Markdown, for who reaches the gateway at this address. */
export type Guide = (baseUrl: string) => string

/** What of Swagger UI is served, as `npm run build:page` has copied it; no other file can be asked for. */
const assets: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
  ['favicon-32x32.png', 'image/png'],
])
export const assetNames = [...assets.keys(), 'start.js'] as const

/** The gateway about itself: for programs, for people, for language models. Nobody needs credentials. */
export function documentation(routes: Routes, operations: readonly Operation[], guides: readonly Guide[]): void {
  const document = openApi(operations)
  let made: { readonly url: string; readonly bytes: Buffer } | undefined
  /** One copy for all that read it at once, most of whom know the gateway by the same address. */
  function documentFor(url: string): Buffer {
    if (made?.url !== url) made = { url, bytes: Buffer.from(JSON.stringify(document(url))) }
    return made.bytes
  }

  routes.get('/openapi.json', (ctx) => {
    ctx.set('Cache-Control', 'no-cache')
    ctx.type = 'application/json; charset=utf-8'
    ctx.body = documentFor(ctx.state.origin.url)
  })

  routes.get('/llms.txt', (ctx) => {
    ctx.set('Cache-Control', 'no-cache')
    ctx.type = 'text/plain; charset=utf-8'
    ctx.body = llmsText(ctx.state.origin.url, guides)
  })

  routes.get('/docs', (ctx) => {
    ctx.set({ 'Cache-Control': 'no-cache', 'Content-Security-Policy': securityPolicy(ctx, 'data:') })
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
    if (type === undefined || !(await sendFile(ctx, builtFile(`docs/${name}`), type))) throw notFound()
  })
}

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
    <div id="swagger-ui"><p>The API as JSON is at openapi.json.</p></div>
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
