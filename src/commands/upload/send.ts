import { randomUUID } from 'node:crypto'
import { DetailedError, type HttpResponse, Upload } from 'tus-js-client'
import { read, type Reply } from '../../doctor/visitor.ts'
import { typeOfName } from '../../uploads/names.ts'
import { FileChanged, UploadFailure } from './failure.ts'
import type { Stack } from './http-stack.ts'
import { type LocalFile, openFile, type OpenFile } from './local-file.ts'
import { type Patience, patience, type Unanswered } from './patience.ts'
import type { FileProgress } from './progress.ts'
import { isPassing, refusal, type Server, unanswered, unreached, type UploadRecord } from './server.ts'
import type { StoredUrls } from './stored-urls.ts'

/** What all files of one command have in common. */
export interface Sending {
  readonly server: Server
  readonly stack: Stack
  readonly stored: StoredUrls
  readonly workspace: string
  readonly category: string | null
  readonly project: string | null
  /** Bytes of one request; Infinity: the whole file. */
  readonly chunkSize: number
  readonly signal: AbortSignal
}

export interface Sent {
  readonly id: string
  /** `null`: this key may not read it. */
  readonly record: UploadRecord | null
  readonly recordUrl: string
  /** Bytes that an earlier run had brought. */
  readonly resumedFrom: number
}

/**
 * Sends one file, from where the server has it; waits and tries again as long as that may help. Every try asks the server first how far
 * it is: what was only sent counts for nothing.
 *
 * @throws {UploadFailure} when it cannot be; or whatever the signal ends it with
 */
export async function sendFile(file: LocalFile, sending: Sending, progress: FileProgress): Promise<Sent> {
  const { server, stored, signal } = sending
  const { path, size, modified } = file
  const { workspace, category, project } = sending
  const identity = { path, size, modified, server: server.base, workspace, category, project }
  const patient = patience(signal, (why, ms) => progress.waits(why, ms))
  let url = await stored.find(identity)
  /** Of an earlier run; it may long be gone. */
  let isOld = url !== undefined
  let creation = randomUUID()
  let resumedFrom = 0
  let reached = 0

  const toSend = (open: OpenFile): Attempt => ({
    ...sending,
    file,
    open,
    url,
    creation,
    progress,
    created(made) {
      url = made
      stored.keep(identity, made)
    },
    found(offset) {
      if (offset > reached) patient.moved()
      reached = offset
      if (isOld) {
        resumedFrom = offset
        progress.resumes(offset)
      }
      isOld = false
    },
  })

  const open = await openFile(file)
  try {
    for (;;) {
      const next = await attempt(toSend(open)).catch((error: unknown) => after(error, { server, url, isOld, signal }))
      if (next === 'sent' && url !== undefined) {
        const recordUrl = server.recordUrl(url)
        const record = await readRecord(server, url, patient)
        if (record?.status === 'rejected')
          throw new UploadFailure('The server has refused the file.', { code: 'rejected', resumable: false })
        await stored.forget(identity, url)
        return { id: server.idOf(url), record, recordUrl, resumedFrom }
      }
      if (next === 'anew' && url !== undefined) {
        await stored.forget(identity, url)
        url = undefined
        isOld = false
        creation = randomUUID()
      } else if (typeof next === 'object') await patient.wait(next)
    }
  } catch (error) {
    if (url !== undefined && error instanceof FileChanged) await server.remove(url)
    if (url !== undefined && error instanceof UploadFailure && !error.resumable) await stored.forget(identity, url)
    throw error
  } finally {
    await open.close()
  }
}

async function readRecord(server: Server, url: string, patient: Patience): Promise<UploadRecord | null> {
  for (;;) {
    const record = await server.record(url)
    if (record === null || !('why' in record)) return record
    await patient.wait(record)
  }
}

interface Attempt extends Sending {
  readonly file: LocalFile
  readonly open: OpenFile
  readonly url: string | undefined
  /** The same for every try to create the same upload: one whose answer was lost is found again. */
  readonly creation: string
  readonly progress: FileProgress
  created(url: string): void
  /** How far the server says that it is. */
  found(offset: number): void
}

/** One try: tus-js-client neither repeats nor creates anew by itself, whatever HEAD says. */
function attempt({ file, open, url, ...with_ }: Attempt): Promise<'sent'> {
  const { server, signal, progress } = with_
  const { promise, resolve, reject } = Promise.withResolvers<'sent'>()
  const type = typeOfName(file.name, null)?.contentType
  const metadata = {
    filename: file.name,
    ...(type === undefined ? {} : { filetype: type }),
    ...(with_.category === null ? {} : { category: with_.category }),
    ...(with_.project === null ? {} : { project_id: with_.project }),
  }
  const source = {
    size: file.size,
    slice: async (start: number, end: number) => ({ value: open.slice(start, end), done: end >= file.size }),
    close() {},
  }
  // The library insists on a file, and opens it by the reader.
  const upload = new Upload(Buffer.alloc(0), {
    endpoint: url === undefined ? `${server.base}/files` : null,
    uploadUrl: url ?? null,
    metadata,
    headers: { ...server.headers },
    chunkSize: with_.chunkSize,
    retryDelays: null,
    storeFingerprintForResuming: false,
    httpStack: with_.stack,
    fileReader: { openFile: async () => source },
    onBeforeRequest(request) {
      if (request.getMethod() === 'POST') request.setHeader('Idempotency-Key', with_.creation)
    },
    onAfterResponse(request, response) {
      const offset = offsetOf(response)
      if (request.getMethod() === 'HEAD' && offset !== undefined) with_.found(offset)
    },
    onUploadUrlAvailable() {
      if (url === undefined && upload.url !== null) with_.created(upload.url)
    },
    onProgress: (bytes) => progress.at(bytes),
    onSuccess: () => resolve('sent'),
    onError: reject,
  })
  const stop = (): void => {
    void upload.abort()
    reject(signal.reason)
  }
  if (signal.aborted) stop()
  else {
    signal.addEventListener('abort', stop, { once: true })
    progress.begins()
    upload.start()
  }
  return promise.finally(() => signal.removeEventListener('abort', stop))
}

const offsetOf = (response: HttpResponse): number | undefined => {
  const text = response.getStatus() < 300 ? response.getHeader('Upload-Offset') : undefined
  return /^\d{1,16}$/.test(text ?? '') ? Number(text) : undefined
}

interface Situation {
  readonly server: Server
  readonly url: string | undefined
  readonly isOld: boolean
  readonly signal: AbortSignal
}

/** What to do after a try that failed. @throws what ends the upload */
async function after(error: unknown, { server, url, isOld, signal }: Situation): Promise<Unanswered | 'anew'> {
  if (signal.aborted || !(error instanceof DetailedError)) throw error
  if (error.causingError instanceof UploadFailure) throw error.causingError
  const response = error.originalResponse
  if (!response) return unreached(error.causingError)
  const status = response.getStatus()
  const reply = replyOf(response)
  if (isPassing(status)) return unanswered(reply)
  if (status < 300) throw new UploadFailure(`The server does not speak tus: ${error.message.split(',')[0]}.`)
  if (error.originalRequest.getMethod() !== 'HEAD' || url === undefined) throw refusal(reply)
  const objection = await server.objection(url)
  if ('why' in objection) return objection
  if (isOld && (objection.status === 404 || objection.code === 'upload_expired')) return 'anew'
  throw refusal(objection)
}

function replyOf(response: HttpResponse): Reply {
  const retryAfter = response.getHeader('Retry-After')
  return read({
    status: response.getStatus(),
    headers: new Headers(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
    body: Buffer.from(response.getBody()),
  })
}
