import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { Readable, pipeline } from 'node:stream'
import type { HttpRequest, HttpResponse, HttpStack } from 'tus-js-client'
import { UploadFailure } from './failure.ts'
import { FileSlice } from './local-file.ts'

/** Milliseconds in which nothing moves, after which a connection is given up. The server needs a while for its verdict. */
const silenceMs = 90_000
/** Bytes of an answer that are kept. */
const mostBytes = 64 * 1024

export interface Stack extends HttpStack {
  close(): void
}

/**
 * How tus-js-client sends. Its own way knows no timeouts, does not notice an answer that breaks off, and takes the program down when
 * a file cannot be read.
 *
 * @param base the server; a key that was sent there by https goes nowhere without it
 */
export function httpStack(base: string): Stack {
  const secure = base.startsWith('https:')
  const http = new HttpAgent({ keepAlive: true })
  const https = new HttpsAgent({ keepAlive: true })

  function begin(method: string, url: string, headers: Record<string, string>): ClientRequest {
    const options = { method, headers, timeout: silenceMs }
    if (url.startsWith('https:')) return httpsRequest(url, { ...options, agent: https })
    if (!secure) return httpRequest(url, { ...options, agent: http })
    throw new UploadFailure(
      `The server sends uploads to ${new URL(url).origin}, without TLS: set its FAIRLEAD_PUBLIC_URL or FAIRLEAD_TRUST_PROXY.`,
      { resumable: false },
    )
  }

  return {
    getName: () => 'fairlead',
    createRequest: (method, url) => newRequest(method, url, begin),
    close() {
      http.destroy()
      https.destroy()
    },
  }
}

type Begin = (method: string, url: string, headers: Record<string, string>) => ClientRequest

function newRequest(method: string, url: string, begin: Begin): HttpRequest {
  const headers: Record<string, string> = {}
  let onProgress: ((bytes: number) => void) | undefined
  let running: ClientRequest | undefined
  /** Why the file cannot be read on; the request only says that it was broken off. */
  let fault: unknown

  async function* counted(slice: FileSlice): AsyncGenerator<Buffer> {
    let bytes = 0
    try {
      for await (const chunk of slice.chunks()) {
        yield chunk
        bytes += chunk.length
        onProgress?.(bytes)
      }
    } catch (error) {
      fault = error
      throw error
    }
  }

  async function send(body: unknown): Promise<HttpResponse> {
    if (body instanceof FileSlice) headers['Content-Length'] = String(body.size)
    const request = begin(method, url, headers)
    running = request
    const answered = new Promise<HttpResponse>((resolve, reject) => {
      request.once('timeout', () => request.destroy(silence()))
      request.on('error', (error) => reject(fault ?? error))
      request.once('response', (answer) => {
        readAnswer(answer)
          .then(resolve, reject)
          // Whoever answers before all has come does not want the rest.
          .finally(() => request.writableFinished || request.destroy())
      })
    })
    // An error of either ends the other.
    if (body instanceof FileSlice) pipeline(Readable.from(counted(body), { highWaterMark: 1 }), request, () => {})
    else request.end()
    return answered
  }

  return {
    send,
    getMethod: () => method,
    getURL: () => url,
    setHeader(name, value) {
      headers[name] = value
    },
    getHeader: (name) => headers[name],
    setProgressHandler(handler) {
      onProgress = handler
    },
    async abort() {
      running?.destroy()
    },
    getUnderlyingObject: () => running,
  }
}

const silence = (): Error => Object.assign(new Error('Nothing moves.'), { code: 'ETIMEDOUT' })

/** @throws when it breaks off */
async function readAnswer(answer: IncomingMessage): Promise<HttpResponse> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer) {
    const part = Buffer.from(chunk)
    if (bytes < mostBytes) chunks.push(part)
    bytes += part.length
  }
  const text = Buffer.concat(chunks).toString()
  return {
    getStatus: () => answer.statusCode ?? 0,
    getHeader(name) {
      const value = answer.headers[name.toLowerCase()]
      return Array.isArray(value) ? value.join(', ') : value
    },
    getBody: () => text,
    getUnderlyingObject: () => answer,
  }
}
