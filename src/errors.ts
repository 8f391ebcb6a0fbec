/**
 * Every way in which a request can fail, with the title that a person reads.
 * The HTTP status of each code stands in `src/http/problem.ts`, the remedy in `docs/errors.md`; a test compares the three.
 */
export const errorTitles = {
  validation_failed: 'Validation failed',
  invalid_json: 'Invalid JSON',
  empty_body: 'Empty body',
  invalid_multipart: 'Invalid multipart body',
  checksum_invalid: 'Checksum cannot be checked',
  unauthenticated: 'Authentication required',
  api_key_reserved: 'API key reserved',
  token_expired: 'Token expired',
  workspace_forbidden: 'Workspace forbidden',
  project_forbidden: 'Project forbidden',
  scope_missing: 'Scope missing',
  signature_invalid: 'Signature invalid',
  not_found: 'Not found',
  method_not_allowed: 'Method not allowed',
  not_acceptable: 'Not acceptable',
  request_timeout: 'Request timeout',
  upload_not_received: 'Upload not received',
  upload_state_conflict: 'Upload state conflict',
  asset_referenced: 'Asset referenced',
  idempotency_conflict: 'Idempotency conflict',
  upload_expired: 'Upload expired',
  precondition_failed: 'Precondition failed',
  file_too_large: 'File too large',
  quota_exceeded: 'Quota exceeded',
  too_many_files: 'Too many files',
  body_too_large: 'Request body too large',
  unsupported_media_type: 'Unsupported media type',
  file_type_not_allowed: 'File type not allowed',
  content_type_mismatch: 'Content type mismatch',
  range_not_satisfiable: 'Range not satisfiable',
  checksum_mismatch: 'Checksum mismatch',
  size_mismatch: 'Size mismatch',
  idempotency_key_reused: 'Idempotency key reused',
  upload_locked: 'Upload locked',
  upload_final: 'Upload is final',
  chunk_checksum_mismatch: 'Chunk checksum mismatch',
  rate_limited: 'Too many requests',
  internal: 'Internal error',
  storage_failed: 'Storage failed',
  processing_failed: 'Processing failed',
  not_ready: 'Not ready',
} as const

export type ErrorCode = keyof typeof errorTitles

/** One fault of a request that failed validation, in the shape that the `presigned` and `direct` dialects answer. */
export interface ValidationFault {
  readonly loc: readonly (string | number)[]
  readonly msg: string
  readonly type: string
}

export interface UploadErrorOptions {
  readonly cause?: unknown
  /** Extra facts for the answer's body, such as `bytes_left`. Never holds what the caller may not see. */
  readonly facts?: Readonly<Record<string, string | number>>
  /** Every fault, when `code` is `validation_failed`. */
  readonly faults?: readonly ValidationFault[]
  /** Seconds after which trying again makes sense. On `storage_failed` it tells a store that is away (503) from one that answered wrongly (502). */
  readonly retryAfter?: number
  /** The upload was ended by this before: it is gone. */
  readonly ended?: boolean
  /** Nothing is wrong: what was asked for waits for its turn, and its job asks again. */
  readonly postponed?: boolean
}

/** A failure with a code from the catalogue. The domain throws it; only `src/http/problem.ts` knows HTTP. */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  readonly code: ErrorCode
  readonly facts: Readonly<Record<string, string | number>>
  readonly faults: readonly ValidationFault[]
  readonly retryAfter: number | undefined
  readonly ended: boolean
  readonly postponed: boolean

  constructor(code: ErrorCode, message: string, options: UploadErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.facts = options.facts ?? {}
    this.faults = options.faults ?? []
    this.retryAfter = options.retryAfter
    this.ended = options.ended ?? false
    this.postponed = options.postponed ?? false
  }
}

/** A file was refused, for good: by a plugin or a check. Every other error of a hook is a failure, which is tried again. */
export class Rejection extends UploadError {}

/** Seconds after which a store that is away is asked again. */
const storeRetrySeconds = 5

/** The store is away, full or too slow: trying again may help. */
export const storageUnavailable = (message: string, cause?: unknown): UploadError =>
  new UploadError('storage_failed', message, { cause, retryAfter: storeRetrySeconds })

/** The code of an error of the system, such as `ENOENT`. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** For `catch`: a file that is not there is none. */
export function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error
}

/** The same answer for what never was and for what another workspace owns. */
export const notFound = (what = 'such thing here'): UploadError => new UploadError('not_found', `There is no ${what}.`)

/** Seconds after which a request whose first attempt is still running is sent again. */
const runningRetrySeconds = 1

/** The first request with the same `Idempotency-Key` has no answer yet. */
export const stillRunning = (): UploadError =>
  new UploadError('idempotency_conflict', 'The first request with this Idempotency-Key is still running.', {
    retryAfter: runningRetrySeconds,
  })
