import type { IncomingMessage } from 'node:http'
import { notFound } from '../errors.ts'
import type { Routes } from './context.ts'
import { builtFile, securityPolicy, sendFile } from './static.ts'

const html = 'text/html; charset=utf-8'

/** What the page loads; no other file can be asked for. */
const assets: ReadonlyMap<string, string> = new Map([
  ['page.js', 'text/javascript; charset=utf-8'],
  ['page.css', 'text/css; charset=utf-8'],
  ['icon.svg', 'image/svg+xml'],
])
export const pageAssetNames = [...assets.keys()]

/** A page to try the gateway with. Nobody needs credentials to see it; what it does is done with a key. */
export function page(routes: Routes): void {
  routes.get('/', async (ctx) => {
    const name = mountedAs(ctx.req)
    if (name !== undefined) {
      ctx.status = 302
      ctx.set({ Location: `./${name}/`, 'Cache-Control': 'no-cache' })
      return
    }
    ctx.set({
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': securityPolicy(ctx, 'blob: data:'),
      'Referrer-Policy': 'no-referrer',
    })
    if (await sendFile(ctx, pathOf('index.html'), html)) return
    ctx.type = html
    ctx.body = notBuilt
  })

  routes.get('/page/:file', async (ctx) => {
    const name = ctx.params['file'] ?? ''
    const type = assets.get(name)
    if (type === undefined || !(await sendFile(ctx, pathOf(name), type))) throw notFound()
  })
}

/**
 * The last part of the path below which another program has the gateway, where a browser asked for it without a slash: what is relative
 * to the page would be looked for beside it. Express and others keep the path that was asked for in `originalUrl`.
 */
function mountedAs(req: IncomingMessage): string | undefined {
  const asked = 'originalUrl' in req && typeof req.originalUrl === 'string' ? req.originalUrl : '/'
  const path = asked.replace(/\?.*$/s, '')
  return path.endsWith('/') ? undefined : path.slice(path.lastIndexOf('/') + 1)
}

const pathOf = (name: string): string => builtFile(`page/${name}`)

/** Links are relative, so that they work below whatever path a proxy gives the gateway. */
const notBuilt = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Fairlead</title>
  </head>
  <body>
    <h1>Fairlead</h1>
    <p>This is an upload gateway, and it runs. <a href="docs">Its API</a>; <a href="llms.txt">the same in short</a>.</p>
    <p>The page to try it with was not built: <code>npm install &amp;&amp; npm run build:page</code> does that.</p>
  </body>
</html>
`
