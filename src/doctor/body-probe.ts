import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { read, type Reply } from '../connection.ts'
import { type Check, failed, passed } from '../uploads/diagnosis.ts'

/** Milliseconds: the server itself answers at once. */
const patienceMs = 3_000
/** Bytes that are sent of the body that is announced. */
const begun = 1_024
/** Bytes of the answer that are read. */
const mostBytes = 64 * 1024

/**
 * Begins to send the largest file that the gateway takes, without its name: the server refuses that before the body. A proxy that
 * limits bodies refuses first, and one that gathers them says nothing.
 */
export async function probeBodies(base: string, key: string, largest: number): Promise<Check> {
  const check = 'gateway.bodies'
  const answer = await begin(`${base}/v1/uploads`, key, largest)
  if (answer === undefined)
    return failed(check, {
      detail: `A proxy at ${base} holds bodies back until they have come whole, or does not pass them on.`,
      remedy: 'Switch request buffering off in it (nginx: proxy_request_buffering off).',
    })
  if (answer.status === 413 && answer.code === undefined)
    return failed(check, {
      detail: `A proxy at ${base} refuses bodies of ${largest} bytes (413), which limits.maxFileSize allows.`,
      remedy: 'Raise its limit (nginx: client_max_body_size 0), or lower FAIRLEAD_MAX_FILE_SIZE.',
    })
  return passed(check)
}

type Begun = Pick<Reply, 'status' | 'code'>

/** Nothing: no answer in time. A connection that breaks is somebody else's finding. */
function begin(url: string, key: string, largest: number): Promise<Begun | undefined> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest
  return new Promise((resolve) => {
    const headers = {
      Authorization: `Bearer ${key}`,
      'Content-Type': 'application/octet-stream',
      'Content-Length': largest,
    }
    const sent = request(url, { method: 'POST', headers, agent: false })
    const end = (answer: Begun | undefined): void => {
      clearTimeout(timer)
      sent.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => end(undefined), patienceMs)
    sent.once('error', () => end({ status: 0, code: undefined }))
    sent.once('response', (answer) => {
      const status = answer.statusCode ?? 0
      const chunks: Buffer[] = []
      let bytes = 0
      const done = (): void => end(read({ status, headers: new Headers(), body: Buffer.concat(chunks) }))
      answer.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        bytes += chunk.length
        if (bytes > mostBytes) done()
      })
      answer.once('end', done)
      answer.once('error', done)
    })
    sent.write(Buffer.alloc(Math.min(begun, largest)))
  })
}
