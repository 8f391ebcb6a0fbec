import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { freePort } from './ports.ts'

export interface RelayOptions {
  /** Serves https with these. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Headers of requests as they go on: `undefined` takes one away. */
  readonly send?: Readonly<Record<string, string | undefined>>
  /** Headers of answers as they come back. */
  readonly answer?: () => Readonly<Record<string, string>>
  /** Answers in the place of the server; whether it has. */
  readonly instead?: (req: IncomingMessage, res: ServerResponse) => boolean
  /** Gathers bodies before anything goes on. */
  readonly gathers?: boolean
}

export interface Relay {
  readonly url: string
  close(): Promise<void>
}

/** A proxy of the kind that stands in front of servers, with its faults. Without a server behind it: another program. */
export async function startRelay(upstream: string | undefined, options: RelayOptions = {}): Promise<Relay> {
  const port = await freePort()
  const serve: RequestListener = (req, res) => {
    if (options.instead?.(req, res)) return
    if (upstream === undefined) {
      res.writeHead(404, { 'content-type': 'text/html' }).end('<!doctype html><p>Nothing<br>here')
      return
    }
    const headers: Record<string, string | string[] | undefined> = { ...req.headers, ...options.send }
    for (const name of Object.keys(headers)) if (headers[name] === undefined) delete headers[name]
    const target = new URL(upstream)
    const send = (body?: Buffer): void => {
      const forwarded = request({
        host: target.hostname,
        port: target.port,
        method: req.method,
        path: req.url,
        headers,
      })
      forwarded.on('error', () => res.destroy())
      forwarded.on('response', (answer) => {
        res.writeHead(answer.statusCode ?? 0, { ...answer.headers, ...options.answer?.() })
        answer.pipe(res)
      })
      if (body) forwarded.end(body)
      else req.pipe(forwarded)
    }
    if (options.gathers !== true) return send()
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => send(Buffer.concat(chunks)))
  }
  const server = options.tls ? createTlsServer(options.tls, serve) : createServer(serve)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    async close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
