import { randomBytes } from 'node:crypto'
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import type Koa from 'koa'
import type { Logger } from 'pino'
import { UploadError } from '../errors.ts'
import { ClientGone } from '../uploads/ingest.ts'
import type { RequestState } from './context.ts'
import type { Lingerer } from './linger.ts'
import { errorAnswer, statusName } from './problem.ts'
import { waitsForContinue } from './request.ts'

/** Bytes of a refused body that are read and dropped, so that the connection stays usable. */
const drainBytes = 64 * 1024
/** Milliseconds for which a connection stays open on which the client did not speak HTTP, so that it can read why. */
const lingerMs = 1_000

/** Answers what the rest of the application throws, in the words of the dialect that was asked. */
export function answerErrors(log: Logger, lingering: Lingerer): Koa.Middleware<RequestState> {
  return async (ctx, next) => {
    try {
      await next()
      if (ctx.respond !== false && bodyIsUnread(ctx.req)) answerBeforeBody(ctx, lingering, isSending(ctx.req))
    } catch (error) {
      if (error instanceof ClientGone || ctx.res.headersSent || ctx.res.destroyed) {
        // The client only sees that its download breaks off.
        if (error instanceof UploadError && error.code === 'storage_failed')
          log.error({ requestId: ctx.state.requestId, err: error }, error.message)
        ctx.respond = false
        ctx.res.destroy()
        return
      }
      const known = error instanceof UploadError
      const answer = errorAnswer(error, {
        path: ctx.path,
        method: ctx.method,
        contentType: ctx.get('content-type'),
        credential: ctx.get('x-api-key') !== '' || /^Bearer /i.test(ctx.get('authorization')),
      })
      if (!known || answer.status >= 500)
        log.error({ requestId: ctx.state.requestId, err: error }, known ? error.message : 'unexpected error')
      for (const name of fileHeaders) ctx.remove(name)
      ctx.status = answer.status
      ctx.set(answer.headers)
      ctx.body = answer.body
      const isStopped = isReplaced(error, ctx.req)
      if (isStopped || bodyIsUnread(ctx.req)) answerBeforeBody(ctx, lingering, !isStopped && isSending(ctx.req))
    }
  }
}

/** What described the file that is not sent after all. */
const fileHeaders = [
  'Content-Type',
  'Content-Disposition',
  'Content-Range',
  'Content-Security-Policy',
  'ETag',
  'Last-Modified',
]

/**
 * A newer request has taken its place, or has deleted the upload. Its client may have gone for good: nobody waits for the little that is
 * still to come.
 */
const isReplaced = (error: unknown, req: IncomingMessage): boolean =>
  error instanceof UploadError &&
  (error.code === 'upload_locked' || error.code === 'not_found') &&
  req.isPaused() &&
  !req.complete

/** More of the body is to come than is worth reading. */
function bodyIsUnread(req: IncomingMessage): boolean {
  if (req.complete || req.destroyed) return false
  const length = req.headers['content-length']
  if (length === undefined && req.headers['transfer-encoding'] === undefined) return false
  return waitsForContinue(req) || length === undefined || Number(length) > drainBytes
}

/** The client has begun, or does not wait to be told. */
const isSending = (req: IncomingMessage): boolean => !waitsForContinue(req) || req.readableDidRead

/** Answers before the body has come, and ends the connection then. */
function answerBeforeBody(ctx: Koa.ParameterizedContext<RequestState>, lingering: Lingerer, isSent: boolean): void {
  const { req, res, body } = ctx
  res.setHeader('Connection', 'close')
  if (body instanceof Readable) return
  ctx.respond = false
  const bytes = bytesOf(body)
  if (ctx.status !== 204 && ctx.status !== 304) res.setHeader('Content-Length', bytes.length)
  if (ctx.method === 'HEAD' || bytes.length === 0) res.flushHeaders()
  else res.write(bytes)
  const length = req.headers['content-length']
  lingering.end(req, res, length === undefined ? null : Number(length), isSent)
}

function bytesOf(body: unknown): Buffer {
  if (body === undefined || body === null) return Buffer.alloc(0)
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

/** What Node could not read as HTTP never reaches the application. */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  headers: Readonly<Record<string, string>>,
): void {
  if (!socket.writable || socket.destroyed) return
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const title = STATUS_CODES[status] ?? ''
  const name = statusName(status)
  const detail = 'The request could not be read as HTTP.'
  const body = JSON.stringify({ type: name, title, status, detail, errorCode: name })
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: req_${randomBytes(12).toString('hex')}`,
    ...Object.entries(headers).map(([header, value]) => `${header}: ${value}`),
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  // A client that does not close its side would keep the connection.
  setTimeout(() => socket.destroy(), lingerMs).unref()
}
