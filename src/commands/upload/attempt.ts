import { DetailedError, type HttpResponse, Upload } from 'tus-js-client'
import { read, type Reply } from '../../connection.ts'
import { UploadFailure } from './failure.ts'
import type { Stack } from './http-stack.ts'
import type { OpenFile } from './local-file.ts'
import type { Unanswered } from './patience.ts'
import { isPassing, refusal, type Server, unanswered, unreached } from './server.ts'

/** One try to bring a file to the server, from where the server has it. */
export interface Attempt {
  readonly server: Server
  readonly stack: Stack
  readonly open: OpenFile
  readonly metadata: Readonly<Record<string, string>>
  /** Bytes of one request; Infinity: the whole file. */
  readonly chunkSize: number
  /** Where to go on; nothing: the upload has to be created. */
  readonly url: string | undefined
  /** The same for every try to create one upload: when an answer is lost, no second one is made. */
  readonly creation: string
  readonly signal: AbortSignal
  /** The upload has an address now. */
  created(url: string): void
  /** So many bytes are on the server. */
  found(offset: number): void
  /** So many bytes are there or on their way. */
  sent(bytes: number): void
}

/**
 * tus-js-client does the talking, and nothing by itself: neither does it try again, nor create a new upload because HEAD was answered by
 * a 503.
 */
export function attempt(one: Attempt): Promise<void> {
  const { server, open, url, signal } = one
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const source = {
    size: open.size,
    slice: async (start: number, end: number) => ({ value: open.slice(start, end), done: end >= open.size }),
    close() {}, // There may be another try.
  }
  // It wants to be given a file; what it reads is what the reader gives.
  const upload = new Upload(Buffer.alloc(0), {
    endpoint: url === undefined ? `${server.base}/files` : null,
    uploadUrl: url ?? null,
    metadata: { ...one.metadata },
    headers: { ...server.headers },
    chunkSize: one.chunkSize,
    retryDelays: null,
    storeFingerprintForResuming: false,
    httpStack: one.stack,
    fileReader: { openFile: async () => source },
    onBeforeRequest(request) {
      if (request.getMethod() === 'POST') request.setHeader('Idempotency-Key', one.creation)
    },
    onAfterResponse(request, response) {
      const offset = offsetOf(response)
      if (request.getMethod() === 'HEAD' && offset !== undefined) one.found(offset)
    },
    onUploadUrlAvailable() {
      if (url === undefined && upload.url !== null) one.created(upload.url)
    },
    onChunkComplete: (_, bytes) => one.found(bytes),
    onProgress: (bytes) => one.sent(bytes),
    onSuccess: () => resolve(),
    onError: reject,
  })
  const stop = (): void => {
    void upload.abort()
    reject(signal.reason)
  }
  if (signal.aborted) stop()
  else {
    signal.addEventListener('abort', stop, { once: true })
    upload.start()
  }
  return promise.finally(() => signal.removeEventListener('abort', stop))
}

const offsetOf = (response: HttpResponse): number | undefined => {
  const text = response.getStatus() < 300 ? response.getHeader('Upload-Offset') : undefined
  return /^\d{1,16}$/.test(text ?? '') ? Number(text) : undefined
}

/**
 * What a try that failed means: there is no answer that counts, or nothing at that address any more.
 *
 * @throws {UploadFailure} what ends the upload
 */
export async function meaningOf(error: unknown, { server, url }: Attempt): Promise<Unanswered | 'gone'> {
  if (!(error instanceof DetailedError)) throw error
  if (error.causingError instanceof UploadFailure) throw error.causingError
  const response = error.originalResponse
  if (!response) return unreached(error.originalRequest.getURL(), error.causingError)
  const reply = replyOf(response)
  if (isPassing(reply.status)) return unanswered(reply)
  if (reply.status < 300) throw new UploadFailure(`The server does not speak tus: ${error.message.split(',', 1)[0]}.`)
  if (error.originalRequest.getMethod() !== 'HEAD' || url === undefined) throw refusal(reply)
  // Answers to HEAD have no words.
  const objection = await server.objection(url)
  if ('why' in objection) return objection
  if (objection.status === 404 || objection.code === 'upload_expired') return 'gone'
  throw refusal(objection)
}

function replyOf(response: HttpResponse): Reply {
  const retryAfter = response.getHeader('Retry-After')
  return read({
    status: response.getStatus(),
    headers: new Headers(retryAfter === undefined ? {} : { 'Retry-After': retryAfter }),
    body: Buffer.from(response.getBody()),
  })
}
