import type { IncomingMessage } from 'node:http'
import type { Ctx } from './context.ts'
import { getRawBody } from 'raw-body'
import { z } from 'zod'
import { UploadError } from '../errors.ts'
import type { Body } from '../uploads/ingest.ts'
import { faultsOf, sentenceOf } from './faults.ts'
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

/** Whether the client sends its body only when it is told to go on. HTTP/1.0 has no such answer: RFC 9110, section 10.1.1. */
export const waitsForContinue = (req: IncomingMessage): boolean =>
  req.httpVersion !== '1.0' && /^100-continue$/i.test(req.headers.expect ?? '')

/** Text of which nobody says how it was written: UTF-8 where it can be, and what old devices and `btoa` write where not. */
export function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

/** The text of a header, of whose bytes Node has made characters. */
export const fromBytes = (header: string): string => textOf(Buffer.from(header, 'latin1'))

/** Reads a JSON body and checks it. @param optional an empty body, and `null`, count as `{}` */
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
  return validate(schema, optional && value === null ? {} : value, 'body')
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

/**
 * Checks what a client sent. Blank says nothing: a member in which nothing stands is as if it were not there, unless it is required.
 *
 * @throws {UploadError} `validation_failed` with every fault.
 */
export function validate<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const result = schema.safeParse(withoutBlanks(schema, value), { reportInput: true, error: sentenceOf })
  if (result.success) return result.data
  const faults = faultsOf(result.error.issues, where)
  throw new UploadError('validation_failed', 'The request is not valid.', { faults })
}

function withoutBlanks(schema: z.ZodType, value: unknown): unknown {
  if (!(schema instanceof z.ZodObject) || typeof value !== 'object' || value === null || Array.isArray(value))
    return value
  const isRequired = (name: string): boolean => {
    const member: unknown = Object.hasOwn(schema.shape, name) ? schema.shape[name] : undefined
    return member instanceof z.ZodType && !member.safeParse(undefined).success
  }
  const says = ([name, one]: readonly [string, unknown]): boolean =>
    typeof one !== 'string' || one.trim() !== '' || isRequired(name)
  return Object.fromEntries(Object.entries(value).filter(says))
}
