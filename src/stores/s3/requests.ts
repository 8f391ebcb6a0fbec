import { setTimeout as sleep } from 'node:timers/promises'
import { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { collectCapped } from './capped.ts'
import { storageUnavailable, UploadError } from '../../errors.ts'

/** Milliseconds in which a connection must stand. */
const connectMs = 5_000
/**
 * Milliseconds in which the store must answer, or at least take more of what is sent. Three tries of it end before the minute after
 * which the proxies in front of us and many clients lose patience: a store that is silent is told to them as such.
 */
const silenceMs = 15_000
/** Milliseconds after which a request that was given up for its silence is not sent again. */
const patienceMs = 40_000
/** Bytes a millisecond at which a store must at least copy, or join, what it has … */
const leastInnerRate = 16 * 1024
/** … and milliseconds that it may have for that at most. */
const longestInnerMs = 5 * 60_000
const maxTries = 3
/** Milliseconds before the second try; doubled with every further one. */
const firstBackoffMs = 100
const maxSockets = 256

export interface S3Address {
  readonly endpoint: string | undefined
  readonly region: string
  readonly forcePathStyle: boolean
  /** Absent: as the SDK finds them in the environment, its own files or the machine's role. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} }

/** A client of the SDK that leaves retries to us, and asks no server for what only AWS has. */
export function s3Client(address: S3Address): S3Client {
  return new S3Client({
    region: address.region,
    forcePathStyle: address.forcePathStyle,
    ...(address.endpoint === undefined ? {} : { endpoint: address.endpoint }),
    ...(address.credentials && { credentials: address.credentials }),
    // A stream cannot be sent again by the SDK, and one kind of retry is enough.
    maxAttempts: 1,
    // Otherwise it prints some warnings of its own; whoever asked us hears of every failure.
    logger: silent,
    streamCollector: collectCapped,
    // The default sends chunked bodies with a trailer, which many servers refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: connectMs,
      httpAgent: { keepAlive: true, maxSockets },
      httpsAgent: { keepAlive: true, maxSockets },
    },
  })
}

/** Milliseconds for a request that makes the store move so many bytes inside. */
export const innerMs = (bytes: number): number => Math.min(longestInnerMs, silenceMs + bytes / leastInnerRate)

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for one try, counted anew whenever it calls `alive`. @default 15 s */
  readonly deadlineMs?: number
  /** Milliseconds after which no other try follows one that has met its deadline. @default 40 s */
  readonly patienceMs?: number
}

/**
 * Asks the store, again when it is away or busy.
 *
 * @param message what could not be done, for whoever asked us
 * @param send one try; calls `alive` whenever the store has taken something
 * @throws {UploadError} `storage_failed` · the signal's reason
 */
export async function request<T>(
  message: string,
  send: (signal: AbortSignal, alive: () => void) => Promise<T>,
  { signal, deadlineMs = silenceMs, ...options }: RequestOptions = {},
): Promise<T> {
  const patient = performance.now() + (options.patienceMs ?? patienceMs)
  for (let tries = 1; ; tries++) {
    signal?.throwIfAborted()
    // Not AbortSignal.timeout: the body of an answer may come for longer.
    const deadline = new AbortController()
    const late = new DOMException('The store took too long.', 'TimeoutError')
    const timer = setTimeout(() => deadline.abort(late), deadlineMs)
    try {
      return await send(signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal, () => timer.refresh())
    } catch (cause) {
      signal?.throwIfAborted()
      const wasSilent = deadline.signal.aborted && performance.now() > patient
      if (tries >= maxTries || wasSilent || !isPassing(cause)) throw failure(message, cause)
    } finally {
      clearTimeout(timer)
    }
    const backoffMs = firstBackoffMs * 2 ** (tries - 1) * (0.5 + Math.random())
    await sleep(backoffMs, undefined, signal ? { signal } : {}).catch(() => {}) // the next round says that it was aborted
  }
}

/** Codes of answers that say "later", whatever their status is. */
const passingCodes = new Set([
  'SlowDown',
  'RequestTimeout',
  'Throttling',
  'ServiceUnavailable',
  'OperationAborted',
  'RequestTimeTooSkewed',
])

/** The store did not answer, or said that it cannot now. */
function isPassing(error: unknown): boolean {
  if (error instanceof S3ServiceException) {
    // One of the clocks was set; the client goes by the server's now. An answer to HEAD has no code, so this tells.
    if ('clockSkewCorrected' in error.$metadata) return true
    const status = error.$metadata.httpStatusCode ?? 500
    return status >= 500 || status === 429 || passingCodes.has(error.name)
  }
  // Errors of the network have a code, such as ECONNRESET; a deadline of ours or the SDK's has a name.
  return error instanceof Error && ('code' in error || error.name === 'AbortError' || error.name === 'TimeoutError')
}

function failure(message: string, cause: unknown): UploadError {
  if (cause instanceof UploadError) return cause
  return isPassing(cause) ? storageUnavailable(message, cause) : new UploadError('storage_failed', message, { cause })
}

/** For `catch`: such an answer is none. */
export const ignoring =
  (...names: readonly (string | number)[]) =>
  (error: unknown): undefined => {
    if (!answered(error, ...names)) throw error
  }

/** Whether the store has answered with one of these codes or this status. */
export const answered = (error: unknown, ...names: readonly (string | number)[]): boolean =>
  error instanceof S3ServiceException &&
  (names.includes(error.name) || names.includes(error.$metadata.httpStatusCode ?? 0))
