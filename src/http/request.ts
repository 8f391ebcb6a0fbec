import type { IncomingMessage } from 'node:http'
import type { Ctx } from './context.ts'
import { getRawBody } from 'raw-body'
import type { z } from 'zod'
import { UploadError, type ValidationFault } from '../errors.ts'
import type { Body } from '../uploads/ingest.ts'
import { expectedDigests } from './integrity.ts'

/** Bytes of a JSON body at most. */
export const maxJsonBytes = 64 * 1024
/** Milliseconds in which a JSON body must have come. */
const jsonTimeoutMs = 30_000

/**
 * The request's body as a file.
 *
 * @throws {UploadError} `unsupported_media_type` when it is coded: nobody here would decode it; `checksum_invalid` when its headers
 * name a digest that cannot be checked.
 */
export function bodyOf(ctx: Ctx): Body {
  demandPlain(ctx)
  const coding = ctx.req.headers['transfer-encoding']
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    throw new UploadError('unsupported_media_type', 'The only transfer coding that is taken is chunked.')
  const length = ctx.req.headers['content-length']
  return {
    stream: ctx.req,
    length: length === undefined || !/^\d+$/.test(length) ? null : Number(length),
    digests: expectedDigests(ctx.req.headers),
    waits: waitsForContinue(ctx.req),
    accept: () => ctx.res.writeContinue(),
  }
}

/** @throws {UploadError} `unsupported_media_type` when the body was compressed on its way: it would be taken for the file. */
export function demandPlain(ctx: Ctx): void {
  const encoding = ctx.get('content-encoding').toLowerCase()
  if (encoding !== '' && encoding !== 'identity')
    throw new UploadError('unsupported_media_type', 'The body may not be compressed.')
}

/** Whether the client sends its body only when it is told to go on. */
export const waitsForContinue = (req: IncomingMessage): boolean => /^100-continue$/i.test(req.headers.expect ?? '')

/** The text of a header, of whose bytes Node has made characters: Latin-1. Clients that send UTF-8 meant UTF-8. */
export function fromBytes(header: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(header, 'latin1'))
  } catch {
    return header
  }
}

/** Reads a JSON body and checks it. @param optional an empty body counts as `{}` */
export async function readJson<T extends z.ZodType>(
  ctx: Ctx,
  schema: T,
  { optional = false } = {},
): Promise<z.output<T>> {
  const length = ctx.req.headers['content-length']
  const none = optional && (length === '0' || (length === undefined && !ctx.req.headers['transfer-encoding']))
  if (none) return validate(schema, {}, 'body')
  if (!ctx.is('application/json', 'application/*+json'))
    throw new UploadError('unsupported_media_type', 'The body must be JSON, with Content-Type: application/json.')
  demandPlain(ctx)
  if (waitsForContinue(ctx.req)) ctx.res.writeContinue()
  const text = await readText(ctx.req, length)
  if (optional && text.trim() === '') return validate(schema, {}, 'body')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new UploadError('invalid_json', 'The body is not valid JSON.', { cause })
  }
  return validate(schema, value, 'body')
}

async function readText(req: IncomingMessage, length: string | undefined): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new UploadError('request_timeout', 'The body took too long.')), jsonTimeoutMs)
  })
  let bytes: Buffer
  try {
    const whole = getRawBody(req, { limit: maxJsonBytes, ...(length === undefined ? {} : { length }) })
    bytes = await Promise.race([whole, late])
  } catch (cause) {
    if (cause instanceof UploadError) throw cause
    const type = cause instanceof Error && 'type' in cause ? cause.type : ''
    if (type === 'entity.too.large')
      throw new UploadError('body_too_large', `The body has more than ${maxJsonBytes} bytes.`)
    throw new UploadError('invalid_json', 'The body broke off.', { cause })
  } finally {
    clearTimeout(timer)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new UploadError('invalid_json', 'The body is not valid UTF-8.', { cause })
  }
}

/** @throws {UploadError} `validation_failed` with every fault. */
export function validate<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const faults: ValidationFault[] = result.error.issues.map((issue) => ({
    loc: [where, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))],
    msg: issue.message,
    type: issue.code ?? 'invalid',
  }))
  throw new UploadError('validation_failed', 'The request is not valid.', { faults })
}
