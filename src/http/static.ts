import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ignoreMissing } from '../errors.ts'
import type { Ctx } from './context.ts'

/** Where `npm run build:page` puts what browsers load; compiled, this file is below `dist` itself. */
const folder = new URL(import.meta.url.endsWith('.ts') ? '../../dist/' : '../../', import.meta.url)

export const builtFile = (path: string): string => fileURLToPath(new URL(path, folder))

/**
 * Answers with a file of the gateway's own, which a client may keep and asks about each time.
 *
 * @returns whether there is such a file.
 */
export async function sendFile(ctx: Ctx, path: string, type: string): Promise<boolean> {
  const found = await stat(path).catch(ignoreMissing)
  if (!found) return false
  ctx.status = 200
  ctx.type = type
  ctx.length = found.size
  ctx.set('Cache-Control', 'no-cache')
  ctx.set('ETag', `"${found.size.toString(36)}-${Math.round(found.mtimeMs).toString(36)}"`)
  if (ctx.fresh) ctx.status = 304
  else if (ctx.method !== 'HEAD') ctx.body = createReadStream(path)
  return true
}

/**
 * For a page of the gateway: nothing from elsewhere, no script in the page; requests go to this gateway under either of its names.
 *
 * @param images where images may come from beside the gateway itself.
 */
export const securityPolicy = (ctx: Ctx, images: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `img-src 'self' ${images}`,
    // Not by `URL`: a Host may have the letters of one and still be none, such as `a:99999`.
    `connect-src 'self' ${/^https?:\/\/[^/]+/.exec(ctx.state.origin.url)?.[0] ?? ''}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
