import type { Middleware } from 'koa'

/** Seconds for which a browser may remember the answer to a preflight. */
const preflightSeconds = 86_400
const methods = 'GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS'
/** Headers of an answer that pages may read. */
const exposed = [
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
].join(',')

/** Paths that answer OPTIONS themselves. */
const discoverable = /^\/files(\/|$)/

/** What a browser is told about a request from this origin; nothing when pages of the origin may not read the answer. */
export type Allowance = (origin: string) => Readonly<Record<string, string>>

/**
 * Pages of listed origins may send cookies along, as a login proxy in front of the gateway wants them. Where every origin is allowed,
 * none may: any page could otherwise act with the cookies of whoever looks at it.
 */
export function allowanceOf(origins: readonly string[]): Allowance {
  const any = origins.includes('*')
  return (origin) => {
    if (any) return { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': exposed }
    if (!origins.includes(origin)) return {}
    return {
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Expose-Headers': exposed,
    }
  }
}

export function allowOrigins(allowance: Allowance): Middleware {
  return async (ctx, next) => {
    ctx.vary('Origin')
    const origin = ctx.get('origin')
    const allowed = origin === '' ? {} : allowance(origin)
    ctx.set(allowed)
    const isPreflight = ctx.method === 'OPTIONS' && ctx.get('access-control-request-method') !== ''
    if (!isPreflight || Object.keys(allowed).length === 0) {
      await next()
      return
    }
    ctx.remove('Access-Control-Expose-Headers') // of the answer that comes after this one
    const wanted = ctx.get('access-control-request-headers')
    ctx.set({ 'Access-Control-Allow-Methods': methods, 'Access-Control-Max-Age': String(preflightSeconds) })
    if (wanted !== '') ctx.set('Access-Control-Allow-Headers', wanted)
    ctx.status = 204
    // What the endpoint can do is told to a preflight too.
    if (discoverable.test(ctx.path)) await next()
  }
}

/** The same for bytes that could not be read as HTTP, as far as they show where they came from. */
export function allowUnread(allowance: Allowance, bytes: Uint8Array | undefined): Readonly<Record<string, string>> {
  const text = bytes === undefined ? '' : Buffer.from(bytes).toString('latin1')
  const origin = /\r?\norigin:[ \t]*([!-~]{1,255})[ \t]*\r?\n/i.exec(text)?.[1] ?? ''
  return { Vary: 'Origin', ...allowance(origin) }
}
