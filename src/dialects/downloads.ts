import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import type { Catalog } from '../uploads/catalog.ts'
import { isActive } from '../uploads/names.ts'
import type { ByteRange } from '../uploads/object-store.ts'
import type { Upload } from '../uploads/upload.ts'
import { type Dialect, type DialectDependencies, dispositionOf, param } from './dialect.ts'

/** Ranges of one request; one that asks for more gets the whole file. */
const maxRanges = 16

/** The bytes, by credentials or by the token that a download URL carries. */
export const downloads: Dialect = (routes, deps) => {
  routes.get('/api/v1/uploads/:id/download', downloader(deps))
}

/** Answers with the bytes of the upload whose id the path has. */
export function downloader({ catalog, authenticate, inlinePdf }: DialectDependencies) {
  return async (ctx: Ctx): Promise<void> => {
    const id = param(ctx, 'id').toLowerCase()
    const token = tokenOf(ctx)
    const upload = await catalog.forDownload(id, token ?? (await authenticate(ctx)))
    describe(ctx, upload, inlinePdf)
    const url = bringsCredentials(ctx) ? undefined : await elsewhere(ctx, catalog, upload)
    // What the client says of its version is about the store's validators, which the store compares.
    if (url !== undefined && ctx.method === 'GET') return sendTo(ctx, url)
    if (url !== undefined) ctx.set(await validators(catalog, upload))
    checkPreconditions(ctx)
    if (isFresh(ctx)) {
      ctx.status = 304
      return
    }
    await send(ctx, catalog, upload)
  }
}

/** Many clients send them again wherever a redirect leads: the store would refuse them, and write them down. */
const bringsCredentials = (ctx: Ctx): boolean => ['authorization', 'x-api-key'].some((name) => ctx.get(name) !== '')

const elsewhere = (ctx: Ctx, catalog: Catalog, upload: Upload): Promise<string | undefined> =>
  catalog.elsewhere(upload, {
    contentType: ctx.response.get('Content-Type'),
    disposition: ctx.response.get('Content-Disposition'),
  })

function sendTo(ctx: Ctx, url: string): void {
  // What these say is said of the file, and this answer has none.
  for (const name of ['Content-Type', 'Content-Disposition', 'Accept-Ranges', 'Last-Modified', 'ETag']) ctx.remove(name)
  ctx.set({ 'Cache-Control': 'private, no-store', Location: url })
  ctx.status = 302
  ctx.body = ''
}

/** As the store will send them with the bytes. A URL of the store is signed for GET, so that HEAD is answered here. */
async function validators(catalog: Catalog, upload: Upload): Promise<Record<string, string>> {
  const { version, modifiedAt } = await catalog.stored(upload)
  return { ETag: version, 'Last-Modified': new Date(modifiedAt).toUTCString() }
}

function tokenOf(ctx: Ctx) {
  const { expires, signature } = ctx.query
  if (expires === undefined && signature === undefined) return undefined
  if (typeof expires !== 'string' || typeof signature !== 'string' || !/^[1-9]\d{0,11}$/.test(expires))
    throw new UploadError('signature_invalid', 'The download URL was changed or is not ours.')
  return { expires: Number(expires), signature }
}

/** What a browser could run is never shown in the page's origin. */
function describe(ctx: Ctx, upload: Upload, inlinePdf: boolean): void {
  const { contentType, charset } = upload.properties
  const active = isActive(contentType) || (contentType === 'application/pdf' && !inlinePdf)
  ctx.status = 200
  ctx.set({
    'Content-Type': charset ? `${contentType}; charset=${charset}` : contentType,
    'Content-Disposition': dispositionOf(upload.filename, active ? 'attachment' : 'inline'),
    'X-Content-Type-Options': 'nosniff',
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'private, no-cache',
    'Last-Modified': new Date(upload.updatedAt).toUTCString(),
    ETag: `"${upload.sha256 ?? upload.id}"`,
  })
  if (active) ctx.set('Content-Security-Policy', "sandbox; default-src 'none'")
}

function checkPreconditions(ctx: Ctx): void {
  const failed = new UploadError('precondition_failed', 'The file is not the version that was asked for.')
  const match = ctx.get('if-match')
  if (match !== '') {
    if (match !== '*' && !match.split(',').some((tag) => tag.trim() === ctx.response.get('ETag'))) throw failed
    return
  }
  const since = Date.parse(ctx.get('if-unmodified-since'))
  if (Date.parse(ctx.response.get('Last-Modified')) > since) throw failed
}

/** The client has this version. Not Koa's `fresh`: that obeys `Cache-Control: no-cache`, which `fetch` adds to every condition. */
function isFresh(ctx: Ctx): boolean {
  const none = ctx.get('if-none-match')
  if (none === '') return Date.parse(ctx.response.get('Last-Modified')) <= Date.parse(ctx.get('if-modified-since'))
  const tags = none.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return none === '*' || tags.includes(ctx.response.get('ETag'))
}

async function send(ctx: Ctx, catalog: Catalog, upload: Upload): Promise<void> {
  const size = upload.size ?? 0
  // Ranges are defined for GET only (RFC 9110, section 14.2).
  const ranges = ctx.method === 'GET' ? rangesOf(ctx, size) : undefined
  const only = ranges?.[0]
  if (!ranges || !only) {
    ctx.length = size
    return stream(ctx, catalog, upload, undefined)
  }
  ctx.status = 206
  if (ranges.length === 1) {
    ctx.set('Content-Range', contentRange(only, size))
    ctx.length = only.end - only.start
    return stream(ctx, catalog, upload, only)
  }
  await sendParts(ctx, catalog, upload, ranges)
}

/** The ranges to send; `undefined`: the whole file. */
function rangesOf(ctx: Ctx, size: number): readonly ByteRange[] | undefined {
  const header = ctx.get('range')
  const asked = header !== '' && rangeHolds(ctx) ? parseRanges(header, size) : undefined
  if (!asked) return undefined
  if (asked.length === 0)
    throw new UploadError('range_not_satisfiable', `The file has ${size} bytes.`, { facts: { size } })
  // More bytes in pieces than the whole: the client gets the whole instead.
  const sum = asked.reduce((bytes, range) => bytes + range.end - range.start, 0)
  return asked.length > maxRanges || sum > size ? undefined : asked
}

/** Those that the file can satisfy. `undefined`: the header holds no ranges of bytes, and is ignored (RFC 9110, section 14.2). */
function parseRanges(header: string, size: number): readonly ByteRange[] | undefined {
  const specs =
    /^bytes=(.*)$/i
      .exec(header)?.[1]
      ?.split(',')
      .filter((spec) => spec.trim() !== '') ?? []
  const ranges: ByteRange[] = []
  for (const spec of specs) {
    const [, first = '', last = ''] = /^\s*(\d*)-(\d*)\s*$/.exec(spec) ?? []
    const valid = first === '' ? last !== '' : last === '' || Number(first) <= Number(last)
    if (!valid) return undefined
    // A suffix counts from the end, and may be longer than the file.
    const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
    const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
    if (start < end) ranges.push({ start, end })
  }
  return specs.length === 0 ? undefined : ranges
}

/** `If-Range`: the range counts only for the version that the client has. */
function rangeHolds(ctx: Ctx): boolean {
  const condition = ctx.get('if-range')
  if (condition === '') return true
  return condition === ctx.response.get('ETag') || condition === ctx.response.get('Last-Modified')
}

const contentRange = (range: ByteRange, size: number): string => `bytes ${range.start}-${range.end - 1}/${size}`

async function stream(ctx: Ctx, catalog: Catalog, upload: Upload, range: ByteRange | undefined): Promise<void> {
  if (ctx.method === 'HEAD') {
    ctx.respond = false
    ctx.res.end()
    return
  }
  await pour(ctx, await catalog.open(upload, range), ctx.length)
}

/** Past Koa's own sending: when the store fails on the way, the connection must break, not look finished. */
async function pour(ctx: Ctx, bytes: Readable, length: number): Promise<void> {
  ctx.respond = false
  // Gone while the store was asked: a pipeline into a response that is closed already leaves the bytes open.
  if (ctx.res.destroyed) bytes.destroy()
  else await pipeline(bytes, (source: Readable) => toTheEnd(source, length), ctx.res)
}

/** A file may have become shorter, and on a connection that goes on the client would take the next answer for the rest. */
async function* toTheEnd(bytes: Readable, length: number): AsyncGenerator<Uint8Array> {
  const message = 'The object could not be read to its end.'
  let seen = 0
  try {
    for await (const chunk of bytes) {
      seen += chunk.length
      yield chunk
    }
  } catch (cause) {
    throw cause instanceof UploadError ? cause : new UploadError('storage_failed', message, { cause })
  }
  if (seen !== length) throw new UploadError('storage_failed', message)
}

async function sendParts(ctx: Ctx, catalog: Catalog, upload: Upload, ranges: readonly ByteRange[]): Promise<void> {
  const size = upload.size ?? 0
  const boundary = randomBytes(16).toString('hex')
  const type = ctx.response.get('Content-Type')
  const heads = ranges.map((range) =>
    Buffer.from(`\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`),
  )
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  ctx.set('Content-Type', `multipart/byteranges; boundary=${boundary}`)
  ctx.length = ranges.reduce((sum, range, i) => sum + (heads[i]?.length ?? 0) + range.end - range.start, tail.length)
  async function* parts() {
    for (const [i, range] of ranges.entries()) {
      yield heads[i]
      yield* await catalog.open(upload, range)
    }
    yield tail
  }
  await pour(ctx, Readable.from(parts(), { objectMode: false }), ctx.length)
}
