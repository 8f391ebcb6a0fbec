import { once } from 'node:events'
import { Agent, type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './ports.ts'
import { type Fate, type Fault, type FaultOptions, faults as noFaults, pipeUntil, type Seen } from './s3-faults.ts'
import { readS3Request, type S3Operation } from './s3-operations.ts'

/** A connection to the server that rests longer may be closed by it at any moment, and a body cannot be sent twice. */
const restMs = 10_000

export interface S3Proxy {
  readonly endpoint: string
  /** Every request since the last `reset`, in order of coming. */
  seen(): readonly Seen[]
  /** Requests of each operation since the last `reset`. */
  counts(): Partial<Record<S3Operation, number>>
  /** Forgets what it has seen, and every fault; lets go what stalls. */
  reset(): void
  /** Breaks requests of that operation on purpose; the oldest fault counts. */
  fault(operation: S3Operation | 'any', options: FaultOptions): Fault
  /** Resolves when the server has answered all that has reached it, also when nobody waits for the answer any more. */
  idle(): Promise<void>
  /** By how many milliseconds every answer comes later. */
  slowDown(latencyMs: number): void
  /** The server goes away: connections break, and new ones are refused. */
  down(): Promise<void>
  /** At the same address again. */
  up(): Promise<void>
  close(): Promise<void>
}

/**
 * Stands between a client and an S3 server: counts what passes, and breaks it on purpose. Requests go on as they came, with the `Host` that
 * was signed.
 */
export async function startS3Proxy(upstream: string): Promise<S3Proxy> {
  const target = new URL(upstream)
  const port = await freePort()
  const agent = new Agent({ keepAlive: true, timeout: restMs })
  const faults = noFaults()
  let seen: Seen[] = []
  let latencyMs = 0
  const underWay = new Set<Promise<unknown>>()

  const server = createServer((req, res) => void serve(req, res))
    .on('checkContinue', (req, res) => void serve(req, res))
    .on('clientError', (_error, socket) => socket.destroy())
  // Clients keep their connections until they want no more; a store that closes them is `down`.
  server.keepAliveTimeout = 0
  server.requestTimeout = 0

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { method = '', url = '/', headers } = req
    const one: Seen = { ...readS3Request(method, url, headers), method, headers, sent: 0, received: 0 }
    seen.push(one)
    req.on('error', () => {})
    res.on('error', () => {})
    const fate = faults.fateOf(one)
    if (fate.when === 'before' && !(await fate.befall(req, res))) return
    if (res.destroyed) return

    const forwarded = forward(req, res)
    // What became of the request is not known then, and the client is not told anything else.
    forwarded.once('error', () => res.destroy())
    // A server does what it was asked, although nobody waits for the answer; half a request it cannot do.
    res.once('close', () => {
      if (!forwarded.writableEnded) forwarded.destroy()
    })
    forwarded.once('response', (answer: IncomingMessage) => void deliver(answer, one, fate, req, res))
    req.on('data', (chunk: Buffer) => (one.sent += chunk.length))
    if (fate.when !== 'sending') return void req.pipe(forwarded)
    const goOn = await pipeUntil(req, forwarded, fate.bytes)
    if (await fate.befall(req, res)) goOn()
    else forwarded.destroy()
  }

  async function deliver(
    answer: IncomingMessage,
    one: Seen,
    fate: Fate,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<void> {
    answer.once('error', () => res.destroy())
    res.once('close', () => answer.destroy())
    answer.on('data', (chunk: Buffer) => (one.received += chunk.length)).pause()
    if (latencyMs > 0) await delay(latencyMs)
    if (fate.when === 'after' && !(await fate.befall(req, res))) return void answer.destroy()
    if (res.destroyed) return void answer.destroy()
    one.status = answer.statusCode ?? 0
    res.writeHead(one.status, answer.statusMessage, answer.rawHeaders)
    if (fate.when !== 'answering') return void answer.pipe(res)
    const goOn = await pipeUntil(answer.resume(), res, fate.bytes)
    if (await fate.befall(req, res)) goOn()
  }

  function forward(req: IncomingMessage, res: ServerResponse): ClientRequest {
    const { method = '', url = '/', rawHeaders } = req
    const isBodyless = req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined
    // Otherwise Node would announce a body in chunks.
    const headers = isBodyless && method.startsWith('P') ? [...rawHeaders, 'Content-Length', '0'] : rawHeaders
    const { hostname, port: serverPort } = target
    const forwarded = request({ agent, hostname, port: serverPort, method, path: url, headers })
    const done = new Promise<void>((resolve) => forwarded.once('close', resolve)).finally(() => underWay.delete(done))
    underWay.add(done)
    if (req.headers.expect !== undefined) {
      forwarded.once('continue', () => res.writeContinue())
      forwarded.flushHeaders()
    }
    return forwarded
  }

  const proxy: S3Proxy = {
    endpoint: `http://127.0.0.1:${port}`,
    seen: () => seen,
    counts() {
      const counts: Partial<Record<S3Operation, number>> = {}
      for (const { operation } of seen) counts[operation] = (counts[operation] ?? 0) + 1
      return counts
    },
    reset() {
      seen = []
      latencyMs = 0
      faults.clear()
    },
    fault: (operation, options) => faults.add(operation, options),
    async idle() {
      while (underWay.size > 0) await Promise.allSettled(underWay)
    },
    slowDown: (ms) => void (latencyMs = ms),
    async down() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
    async up() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    async close() {
      faults.clear()
      await proxy.down()
      agent.destroy()
    },
  }
  await proxy.up()
  return proxy
}
