import { randomBytes, randomInt } from 'node:crypto'
import { getEventListeners, once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { PassThrough, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gatherBudget, type Intake, intake, type IntakeOptions } from '../../src/uploads/receive.ts'

const kib = 1024
const mib = 1024 * kib
/** The smallest gathers that a body can have. */
const crowded = gatherBudget(0)
const usual = { limit: 100 * mib, idleTimeoutMs: 5_000 }

let server: Server
let port: number
let arrived: (request: IncomingMessage, response: ServerResponse) => void
const sockets = new Set<Socket>()

beforeEach(async () => {
  server = createServer((request, response) => arrived(request, response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  port = typeof address === 'object' && address ? address.port : 0
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

/** The next request that the server gets. */
const nextRequest = (): Promise<{ request: IncomingMessage; response: ServerResponse }> =>
  new Promise((resolve) => {
    arrived = (request, response) => resolve({ request, response })
  })

function client(): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  sockets.add(socket)
  return socket
}

const head = (length: number | 'chunked'): string =>
  `PUT / HTTP/1.1\r\nHost: test\r\n${length === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`}\r\n\r\n`

function chunked(bytes: Buffer, size: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

it('a body that comes while the process stands still is not silent', async () => {
  const coming = nextRequest()
  const socket = client()
  socket.write(head(2))
  socket.write('a')
  const { request } = await coming
  const body = intake(request, { ...usual, idleTimeoutMs: 100 })
  socket.write('b')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  expect(await body.drain(async () => {})).toEqual({ bytes: 2, end: 'whole' })
})

/** Sends what stands there and takes it in on the other side. */
async function send(text: string, bytes: Uint8Array, options: Partial<IntakeOptions> = {}) {
  const coming = nextRequest()
  const socket = client()
  socket.write(text)
  socket.write(bytes)
  const { request, response } = await coming
  return { socket, request, response, source: intake(request, { ...usual, ...options }) }
}

/** Keeps what the intake hands over. */
async function collect(source: Intake) {
  const gathers: Buffer[] = []
  const { bytes, end } = await source.drain(async (chunks, size) => {
    const gather = Buffer.concat(chunks)
    expect(gather).toHaveLength(size)
    gathers.push(gather)
  })
  return { bytes, end, gathers, body: Buffer.concat(gathers) }
}

const same = (found: Uint8Array, expected: Uint8Array): boolean => Buffer.compare(found, expected) === 0

describe('a whole body', () => {
  it.each([0, 1, 65_536, 300_000, 5 * mib + 7])('of %i bytes arrives', async (size) => {
    const sent = randomBytes(size)
    const { source } = await send(head(size), sent)
    const { bytes, end, body } = await collect(source)
    expect({ bytes, end }).toEqual({ bytes: size, end: 'whole' })
    expect(same(body, sent)).toBe(true)
  })

  it.each([1, 100, 5_000, 200_000])('arrives in chunks of %i bytes', async (size) => {
    const sent = randomBytes(Math.min(3 * mib, size * 20_000) + 1)
    const { source } = await send(head('chunked'), Buffer.concat([chunked(sent, size), Buffer.from('0\r\n\r\n')]))
    const { bytes, end, body } = await collect(source)
    expect({ bytes, end }).toEqual({ bytes: sent.length, end: 'whole' })
    expect(same(body, sent)).toBe(true)
  })

  it('is handed over at once when it fits', async () => {
    const { source } = await send(head(900_000), randomBytes(900_000))
    await source.headBytes(100)
    expect((await collect(source)).gathers).toHaveLength(1)
  })

  it('leaves the connection to the next request', async () => {
    const [first, second] = [randomBytes(300_000), randomBytes(5_000)]
    const found: Buffer[] = []
    arrived = (request, response) => void answer(request, response)
    async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
      const { body } = await collect(intake(request, usual))
      found.push(body)
      response.end(`got ${body.length}\n`)
    }
    const socket = client()
    for (const bytes of [first, second]) {
      socket.write(head(bytes.length))
      socket.write(bytes)
    }
    let answers = ''
    for await (const data of socket) if ((answers += String(data)).includes('got 5000')) break
    expect(answers.match(/HTTP\/1.1 200 OK/g)).toHaveLength(2)
    expect(found.map((body, i) => same(body, i === 0 ? first : second))).toEqual([true, true])
  })

  it('takes no listener along, but the one for late errors', async () => {
    const { signal } = new AbortController()
    const body = new PassThrough()
    const listeners = () => [
      ...['data', 'end', 'close', 'error'].map((event) => body.listenerCount(event)),
      getEventListeners(signal, 'abort').length,
    ]
    const [data = 0, end = 0, close = 0, error = 0] = listeners()
    const source = intake(body, { ...usual, signal })
    expect(listeners()).toEqual([data + 1, end + 1, close + 1, error + 1, 1])
    body.end('bytes')
    await collect(source)
    expect(listeners()).toEqual([data, end, close, error + 1, 0])
  })
})

describe('head bytes', () => {
  const sent = randomBytes(400_000)

  it.each([0, 1, 4_100, 70_000, 200_000])('of %i bytes are given, and come again', async (count) => {
    // 200,000 is more than one of these gathers.
    const { source } = await send(head(sent.length), sent, { memory: crowded })
    expect(same(await source.headBytes(count), sent.subarray(0, count))).toBe(true)
    expect(same((await collect(source)).body, sent)).toBe(true)
  })

  it('are all bytes of a body that is shorter', async () => {
    const { source } = await send(head(300), sent.subarray(0, 300))
    expect(same(await source.headBytes(4_100), sent.subarray(0, 300))).toBe(true)
    expect((await collect(source)).bytes).toBe(300)
  })

  it('may be asked for when more than a gather would be needed, and one is full', async () => {
    const { source, request } = await send(head(sent.length), sent, { memory: crowded })
    while (!request.isPaused()) await sleep(5)
    expect(same(await source.headBytes(300_000), sent.subarray(0, 300_000))).toBe(true)
    expect(same((await collect(source)).body, sent)).toBe(true)
  })

  it('are collected from crumbs', async () => {
    const { source } = await send(head('chunked'), chunked(sent.subarray(0, 5_000), 1))
    expect(same(await source.headBytes(4_100), sent.subarray(0, 4_100))).toBe(true)
    source.stop()
    const { bytes, body } = await collect(source)
    expect(bytes).toBeGreaterThanOrEqual(4_100)
    expect(same(body, sent.subarray(0, bytes))).toBe(true)
  })

  it('are what came, when the body is cut', async () => {
    const { source, socket } = await send(head(5_000), sent.subarray(0, 50))
    socket.end()
    expect(same(await source.headBytes(4_100), sent.subarray(0, 50))).toBe(true)
    expect(await collect(source)).toMatchObject({ bytes: 50, end: 'cut' })
  })
})

describe('a body that does not arrive whole', () => {
  it.each(Array.from({ length: 12 }, () => randomInt(3 * mib)))('is cut after %i bytes', async (size) => {
    const sent = randomBytes(size)
    const { source, socket } = await send(head(4 * mib), sent)
    socket.end()
    const { bytes, end, body } = await collect(source)
    expect(end).toBe('cut')
    // What is still in node's own buffers when the connection breaks is lost.
    expect(bytes).toBeGreaterThanOrEqual(Math.max(0, size - 512 * kib))
    expect(same(body, sent.subarray(0, bytes))).toBe(true)
  })

  it('is cut when the connection is reset', async () => {
    const { source, socket } = await send(head(4 * mib), randomBytes(100_000))
    await source.headBytes(1)
    socket.resetAndDestroy()
    expect((await collect(source)).end).toBe('cut')
  })

  it('is cut when it was destroyed before', async () => {
    const coming = nextRequest()
    const socket = client()
    socket.write(head(10_000))
    const { request } = await coming
    const closed = once(request, 'close').catch(() => {})
    request.on('error', () => {})
    socket.destroy()
    await closed
    const source = intake(request, usual)
    expect(await source.headBytes(10)).toHaveLength(0)
    expect(await collect(source)).toMatchObject({ bytes: 0, end: 'cut' })
  })

  it('is cut when somebody else has read it', async () => {
    const body = new PassThrough({ autoDestroy: false })
    body.end('bytes')
    await once(body.resume(), 'end')
    expect(await collect(intake(body, usual))).toMatchObject({ bytes: 0, end: 'cut' })
  })

  it('is silent when nothing comes', async () => {
    const { source } = await send(head(1_000), randomBytes(600), { idleTimeoutMs: 60 })
    expect(await collect(source)).toMatchObject({ bytes: 600, end: 'silent' })
  })

  it('is not silent while a little comes', async () => {
    const { source, socket } = await send(head(10), randomBytes(1), { idleTimeoutMs: 200 })
    for (let i = 0; i < 9; i++) {
      await sleep(50)
      socket.write('x')
    }
    expect(await collect(source)).toMatchObject({ bytes: 10, end: 'whole' })
  })

  it('is not silent while we are not reading', async () => {
    const sent = randomBytes(mib)
    const { source } = await send(head(sent.length), sent, { idleTimeoutMs: 100, memory: crowded })
    let first = true
    const { bytes, end } = await source.drain(async () => {
      if (first) await sleep(300)
      first = false
    })
    expect({ bytes, end }).toEqual({ bytes: mib, end: 'whole' })
  })

  it.each([0, 1, 100_000, 300_000])('overflows above %i bytes', async (limit) => {
    const sent = randomBytes(mib)
    const { source, request } = await send(head('chunked'), chunked(sent, 50_000), { limit, memory: crowded })
    const { bytes, end, body } = await collect(source)
    expect(end).toBe('overflow')
    expect(bytes).toBeLessThanOrEqual(limit)
    expect(same(body, sent.subarray(0, bytes))).toBe(true)
    expect(request.isPaused()).toBe(true)
  })

  it('does not overflow at the limit', async () => {
    const { source } = await send(head(5_000), randomBytes(5_000), { limit: 5_000 })
    expect(await collect(source)).toMatchObject({ bytes: 5_000, end: 'whole' })
  })
})

describe('stopping', () => {
  it.each(['stop', 'signal'])('by %s hands over what came', async (how) => {
    const abort = new AbortController()
    const { source, request } = await send(head(mib), randomBytes(5_000), { signal: abort.signal })
    await source.headBytes(5_000)
    setTimeout(() => (how === 'stop' ? source.stop() : abort.abort()), 20)
    expect(await collect(source)).toMatchObject({ bytes: 5_000, end: 'stopped' })
    expect(request.isPaused()).toBe(true)
    expect(request.destroyed).toBe(false)
  })

  it('by a signal that is aborted already takes nothing', async () => {
    const { source } = await send(head(10), randomBytes(10), { signal: AbortSignal.abort() })
    expect(await collect(source)).toMatchObject({ bytes: 0, end: 'stopped' })
  })

  it('after the end changes nothing', async () => {
    const { source } = await send(head(10), randomBytes(10))
    const received = await collect(source)
    source.stop()
    expect(received).toMatchObject({ bytes: 10, end: 'whole' })
  })

  it('leaves a listener for a late reset', async () => {
    const { source, socket, request } = await send(head(mib), randomBytes(10))
    source.stop()
    const closed = new Promise((resolve) => request.once('close', resolve))
    socket.resetAndDestroy()
    await closed
    expect(await collect(source)).toMatchObject({ end: 'stopped' })
  })
})

describe('a sink', () => {
  it('that fails ends the reading, and its error comes out', async () => {
    const { source, request } = await send(head(8 * mib), randomBytes(8 * mib), { memory: crowded })
    const failure = new Error('disk on fire')
    let calls = 0
    const drained = source.drain(async () => {
      if (++calls === 2) throw failure
    })
    await expect(drained).rejects.toBe(failure)
    expect(request.isPaused()).toBe(true)
    expect(calls).toBe(2)
  })

  it('that is slow holds the client back', async () => {
    const size = 16 * mib
    const sent = randomBytes(size)
    const { source, request } = await send(head(size), sent, { memory: crowded })
    let written = 0
    let most = 0
    const { end } = await source.drain(async (chunks, bytes) => {
      await sleep(5)
      most = Math.max(most, request.socket.bytesRead - written)
      expect(chunks.length).toBeLessThan(200)
      written += bytes
    })
    expect({ end, written }).toEqual({ end: 'whole', written: size })
    // Two gathers of 128 KiB, each one chunk too many, and what node holds.
    expect(most).toBeLessThan(640 * kib)
  })

  it('gets crumbs in few pieces', async () => {
    const sent = randomBytes(300_000)
    const body = new PassThrough()
    const source = intake(body, { ...usual, memory: crowded })
    const pieces: Buffer[] = []
    const drained = source.drain(async (chunks) => void pieces.push(...chunks))
    // Large chunks in between must not make each crumb a block of its own.
    for (let at = 0; at < sent.length;) {
      const size = at % 7 === 0 ? 2_000 : 1
      body.write(sent.subarray(at, at + size))
      at += size
    }
    body.end()
    await drained
    expect(same(Buffer.concat(pieces), sent)).toBe(true)
    expect(pieces.length).toBeLessThan(500)
    expect(new Set(pieces.map((piece) => piece.buffer)).size).toBeLessThan(300)
  })

  it('works while the next gather comes', async () => {
    const size = 2 * mib
    const { source, request } = await send(head(size), randomBytes(size), { memory: crowded })
    const arrivedMeanwhile: number[] = []
    await source.drain(async () => {
      const before = request.socket.bytesRead
      await sleep(10)
      arrivedMeanwhile.push(request.socket.bytesRead - before)
    })
    expect(Math.max(...arrivedMeanwhile)).toBeGreaterThan(0)
  })
})

describe('the budget', () => {
  it('gives less to each of many', () => {
    const budget = gatherBudget(32 * mib)
    const found: number[] = []
    for (let i = 1; i <= 1_000; i++) {
      budget.open()
      if ([1, 16, 32, 128, 1_000].includes(i)) found.push(budget.gatherBytes() / kib)
    }
    expect(found).toEqual([1024, 1024, 512, 128, 128])
  })

  it('may grow while a full gather waits', async () => {
    const budget = gatherBudget(512 * kib)
    budget.open()
    const sent = randomBytes(mib)
    const { source, request } = await send(head(sent.length), sent, { memory: budget })
    while (!request.isPaused()) await sleep(5)
    budget.close()
    expect(same((await collect(source)).body, sent)).toBe(true)
  })

  it('gets back what every end leaves', async () => {
    const budget = gatherBudget(32 * mib)
    const bodies: Readable[] = Array.from({ length: 64 }, () => new PassThrough())
    const sources = bodies.map((body) => intake(body, { ...usual, memory: budget }))
    expect(budget.gatherBytes()).toBe(256 * kib)
    for (const [i, source] of sources.entries()) {
      if (i % 2 === 0) source.stop()
      else bodies[i]?.destroy()
    }
    await Promise.all(sources.map(collect))
    expect(budget.gatherBytes()).toBe(mib)
  })
})

describe('what has come of a body', () => {
  it('is counted, and handed over when somebody asks, though no gather is full', async () => {
    const sent = randomBytes(3_000)
    const { source, socket } = await send(head(sent.length), sent.subarray(0, 1_000))
    const gathers: number[] = []
    let heard = Promise.withResolvers<void>()
    const ended = source.drain(async (_, bytes) => {
      gathers.push(bytes)
      heard.resolve()
    })
    const asked = async (): Promise<void> => {
      heard = Promise.withResolvers()
      source.flush()
      await heard.promise
    }
    while (source.received < 1_000) await sleep(5)
    await asked()
    await asked()
    expect(gathers).toEqual([1_000, 0])
    socket.write(sent.subarray(1_000))
    expect(await ended).toEqual({ bytes: 3_000, end: 'whole' })
    expect([gathers, source.received]).toEqual([[1_000, 0, 2_000], 3_000])
  })
})
