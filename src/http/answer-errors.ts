import { randomBytes } from 'node:crypto'
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type Koa from 'koa'
import type { Logger } from 'pino'
import { UploadError } from '../errors.ts'
import { ClientGone } from '../uploads/ingest.ts'
import type { RequestState } from './context.ts'
import { errorAnswer, statusName } from './problem.ts'
import { waitsForContinue } from './request.ts'

/** Bytes of a refused body that are read and dropped, so that the connection stays usable. */
const drainBytes = 64 * 1024
/** Milliseconds for which a connection whose body was refused stays open, so that the client can read why. */
const lingerMs = 1_000

/** Answers what the rest of the application throws, in the words of the dialect that was asked. */
export function answerErrors(log: Logger): Koa.Middleware<RequestState> {
  return async (ctx, next) => {
    try {
      await next()
      if (ctx.respond !== false && bodyIsUnread(ctx.req)) answerBeforeBody(ctx, ctx.body)
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
      if (isStopped(error, ctx.req) || bodyIsUnread(ctx.req)) answerBeforeBody(ctx, JSON.stringify(answer.body))
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
const isStopped = (error: unknown, req: IncomingMessage): boolean =>
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

/**
 * Answers, reads no more of the body, and closes only a little later: a connection that is closed while the client still sends is
 * reset, and the client would never see the answer.
 */
function answerBeforeBody(ctx: Koa.ParameterizedContext<RequestState>, answer: unknown): void {
  const { req, res } = ctx
  res.setHeader('Connection', 'close')
  if (typeof answer !== 'string') return
  ctx.respond = false
  req.pause()
  const text = Buffer.from(answer)
  res.setHeader('Content-Length', text.length)
  res.write(text)
  const close = () => {
    clearTimeout(timer)
    if (!res.writableEnded) res.end()
  }
  const timer = setTimeout(close, lingerMs)
  req.once('close', close)
}

/** What Node could not read as HTTP never reaches the application. */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: NodeJS.WritableStream & { destroyed?: boolean },
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
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
