import { STATUS_CODES } from 'node:http'
import { type ErrorCode, errorTitles, UploadError, type ValidationFault } from '../errors.ts'

/** The HTTP status of every code. `storage_failed` is 503 when trying again may help. */
export const errorStatuses: Readonly<Record<ErrorCode, number>> = {
  validation_failed: 400,
  invalid_json: 400,
  empty_body: 400,
  invalid_multipart: 400,
  checksum_invalid: 400,
  unauthenticated: 401,
  api_key_reserved: 401,
  token_expired: 401,
  workspace_forbidden: 403,
  project_forbidden: 403,
  scope_missing: 403,
  signature_invalid: 403,
  upload_final: 403,
  not_found: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  request_timeout: 408,
  upload_not_received: 409,
  upload_state_conflict: 409,
  asset_referenced: 409,
  idempotency_conflict: 409,
  upload_expired: 410,
  precondition_failed: 412,
  file_too_large: 413,
  quota_exceeded: 413,
  too_many_files: 413,
  body_too_large: 413,
  unsupported_media_type: 415,
  file_type_not_allowed: 415,
  content_type_mismatch: 415,
  range_not_satisfiable: 416,
  checksum_mismatch: 422,
  size_mismatch: 422,
  idempotency_key_reused: 422,
  upload_locked: 423,
  chunk_checksum_mismatch: 460, // the tus protocol's own
  rate_limited: 429,
  internal: 500,
  storage_failed: 502,
  processing_failed: 503,
  not_ready: 503,
}

/** `type` of problem details: the class of the status. */
export const statusName = (status: number): string =>
  status === 460 ? 'CHECKSUM_MISMATCH' : (STATUS_CODES[status] ?? 'ERROR').toUpperCase().replaceAll(' ', '_')

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
}

type Shape = 'detail' | 'problem'

/** Paths of the dialects whose documentation shows `{detail, error, error_code}`. */
const detailPaths = /^\/(api\/v1\/(uploads|upload|usage|auth)|presigned)(\/|$)/
/** Paths whose documentation shows problem details as plain JSON. */
const plainJsonPaths = /^\/v1\/(uploads|assets|projects)(\/|$)/

export interface AskedAs {
  readonly path: string
  readonly method: string
  /** Media type of the request's body. */
  readonly contentType: string
  /** Whether an API key or a token came with it. */
  readonly credential?: boolean
}

/** A multipart POST to the presigned path is the form dialect. */
export function shapeOf({ path, method, contentType }: AskedAs): Shape {
  const form = path.replace(/\/$/, '') === '/api/v1/uploads' && method === 'POST' && /^multipart\//i.test(contentType)
  return detailPaths.test(path) && !form ? 'detail' : 'problem'
}

/** An error as its dialect answers it. What is not an `UploadError` is a bug, of which nothing is told. */
export function errorAnswer(error: unknown, asked: AskedAs): ErrorAnswer {
  const known =
    error instanceof UploadError ? error : new UploadError('internal', 'Something went wrong here. It was logged.')
  const shape = shapeOf(asked)
  const headers = errorHeaders(known, asked)
  if (shape === 'detail' && known.code === 'validation_failed' && known.faults.length > 0)
    return { status: 422, headers, body: { detail: known.faults.map(asListed) } }
  if (shape === 'detail') {
    const status = known.code === 'validation_failed' ? 422 : statusOf(known)
    const title = errorTitles[known.code]
    return { status, headers, body: { detail: known.message, error: title, error_code: known.code, ...known.facts } }
  }
  const status = statusOf(known)
  const media = plainJsonPaths.test(asked.path) ? 'application/json' : 'application/problem+json'
  return {
    status,
    headers: { ...headers, 'Content-Type': `${media}; charset=utf-8` },
    body: {
      type: statusName(status),
      title: errorTitles[known.code],
      status,
      detail: faultSentence(known),
      errorCode: known.code.toUpperCase(),
      ...known.facts,
    },
  }
}

function statusOf({ code, ended, retryAfter }: UploadError): number {
  if (ended) return 410
  return code === 'storage_failed' && retryAfter !== undefined ? 503 : errorStatuses[code]
}

/** The framework of these pages begins so what no rule of its own has found. */
const asListed = ({ loc, msg, type }: ValidationFault): ValidationFault => ({
  loc,
  msg: type === 'value_error' ? `Value error, ${msg}` : msg,
  type,
})

const faultSentence = (error: UploadError): string =>
  error.faults.length === 0
    ? error.message
    : error.faults.map((fault) => `${fault.loc.slice(1).join('.')}: ${fault.msg}`).join(' ')

function errorHeaders(error: UploadError, { credential = false }: AskedAs): Record<string, string> {
  const headers: Record<string, string> = { 'Cache-Control': 'no-store' }
  if (error.retryAfter !== undefined) headers['Retry-After'] = String(error.retryAfter)
  // Who sent no credential is only asked for one: RFC 6750, section 3.1.
  if (errorStatuses[error.code] === 401)
    headers['WWW-Authenticate'] = `Bearer realm="fairlead"${credential ? ', error="invalid_token"' : ''}`
  if (typeof error.facts['size'] === 'number' && error.code === 'range_not_satisfiable')
    headers['Content-Range'] = `bytes */${error.facts['size']}`
  if (typeof error.facts['upload_offset'] === 'number') headers['Upload-Offset'] = String(error.facts['upload_offset'])
  return headers
}
