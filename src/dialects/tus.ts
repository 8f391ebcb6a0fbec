import { type ErrorCode, UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import type { Dialect } from './dialect.ts'
import { downloader } from './downloads.ts'
import { checksumAlgorithms, extensions, tusVersion } from './tus-headers.ts'
import { tusPath } from './tus-offer.ts'
import { tusRequests } from './tus-requests.ts'

/** The real methods that may carry another one in `X-HTTP-Method-Override`. */
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Seconds after which it makes sense to ask again, where the error does not say. */
const askAgainSeconds = 5

/** A download is no request of the protocol, and a HEAD without any version does no harm: there are clients that send their first one so. */
const speaksOurs = (ctx: Ctx, method: string): boolean =>
  ctx.req.headers['tus-resumable'] === undefined
    ? method === 'GET' || method === 'HEAD'
    : method === 'GET' || ctx.get('tus-resumable') === tusVersion

/** What passes by itself, for a HEAD: clients take every 5xx for "there is no such upload", forget its address and begin anew. */
const passing: readonly ErrorCode[] = ['storage_failed', 'processing_failed', 'not_ready']

function askAgain(error: unknown): never {
  if (!(error instanceof UploadError) || !passing.includes(error.code)) throw error
  throw new UploadError('upload_locked', 'Where the upload is cannot be said now: ask again.', {
    cause: error,
    retryAfter: error.retryAfter ?? askAgainSeconds,
  })
}

/** Resumable uploads: tus 1.0.0 and its extensions. What is proved of it stands in docs/tus.md. */
export const tus: Dialect = (routes, deps) => {
  const { create, append, look, remove } = tusRequests(deps)
  const download = downloader(deps)

  function discover(ctx: Ctx): void {
    ctx.set({
      'Tus-Resumable': tusVersion,
      'Tus-Version': tusVersion,
      'Tus-Extension': extensions.join(','),
      'Tus-Max-Size': String(deps.maxFileSize),
      'Tus-Checksum-Algorithm': checksumAlgorithms.join(','),
    })
    ctx.status = 204
  }

  const serve = (ways: Readonly<Record<string, (ctx: Ctx) => Promise<void>>>) => async (ctx: Ctx) => {
    const override = ctx.get('x-http-method-override').trim().toUpperCase()
    const method = override === '' ? ctx.method : override
    ctx.set('Cache-Control', 'no-store')
    if (method === 'OPTIONS') return discover(ctx)
    const way = Object.hasOwn(ways, method) ? ways[method] : undefined
    ctx.set('Tus-Resumable', tusVersion)
    if (!way) {
      ctx.set('Allow', [...Object.keys(ways), 'OPTIONS'].join(', '))
      throw new UploadError('method_not_allowed', 'This method does not exist here.')
    }
    if (!speaksOurs(ctx, method)) {
      ctx.set('Tus-Version', tusVersion)
      throw new UploadError('precondition_failed', `Tus-Resumable must be ${tusVersion}.`)
    }
    await (method === 'HEAD' ? way(ctx).catch(askAgain) : way(ctx))
  }

  routes.register(tusPath, methods, serve({ POST: create }))
  routes.register(`${tusPath}/:id`, methods, serve({ GET: download, HEAD: look, PATCH: append, DELETE: remove }))
}
