import { UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import type { Dialect } from './dialect.ts'
import { downloader } from './downloads.ts'
import { checksumAlgorithms, extensions, tusVersion } from './tus-headers.ts'
import { tusPath } from './tus-offer.ts'
import { tusRequests } from './tus-requests.ts'

/** The real methods that may carry another one in `X-HTTP-Method-Override`. */
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

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
    // A download is no request of the protocol.
    if (method !== 'GET' && ctx.get('tus-resumable') !== tusVersion) {
      ctx.set('Tus-Version', tusVersion)
      throw new UploadError('precondition_failed', `Tus-Resumable must be ${tusVersion}.`)
    }
    await way(ctx)
  }

  routes.register(tusPath, methods, serve({ POST: create }))
  routes.register(`${tusPath}/:id`, methods, serve({ GET: download, HEAD: look, PATCH: append, DELETE: remove }))
}
