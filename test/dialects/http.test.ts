import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { rename } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusalOf } from '../contracts/dialect.ts'
import {
  addKeys,
  type Answer,
  type Client,
  clientOf,
  command,
  configText,
  eventually,
  pause,
  requestHead,
  sha256,
  storedFiles,
  type Wire,
  wireTo,
} from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const maxFileSize = 400_000 // bytes
const detail = { errors: 'detail', errorType: 'application/json' } as const
const problem = { errors: 'problem', errorType: 'application/json' } as const

interface Created {
  readonly upload: { readonly id: string }
  readonly upload_url: string
}
interface View {
  readonly status: string
  readonly received_bytes: number
  readonly download_url: string | null
}

let gateway: TestGateway
let call: Client
beforeAll(async () => {
  gateway = await startGateway({ config: configText(), env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
  call = clientOf(gateway, gateway.key)
})
afterAll(() => gateway.close())

const auth = (key = gateway.key) => ({ Authorization: `Bearer ${key}` })
const rawHead = (headers: Record<string, string | number>, key = gateway.key): string =>
  requestHead('POST', '/v1/uploads', { ...auth(key), 'x-file-name': 'file.bin', ...headers })

async function create(body: object = {}, by = call): Promise<Created> {
  const answer = await by('POST', '/api/v1/uploads', { json: { filename: 'file.bin', category: 'other', ...body } })
  expect(answer.status).toBe(201)
  return answer.json<{ data: Created }>().data
}
const putHead = ({ upload_url: url }: Created, headers: Record<string, string | number>): string => {
  const { pathname, search } = new URL(url)
  return requestHead('PUT', pathname + search, headers)
}
const view = async (id: string, by = call): Promise<View> =>
  (await by('GET', `/api/v1/uploads/${id}`)).json<{ data: View }>().data

interface Totals {
  readonly storage: { readonly used_bytes: number; readonly reserved_bytes: number }
  readonly uploads: { readonly total: number }
}
const usage = async (by = call): Promise<Totals> =>
  (await by('GET', '/api/v1/usage/summary')).json<{ data: Totals }>().data

/** A workspace in which nothing is yet. */
async function newWorkspace(): Promise<{ key: string; by: Client; id: string }> {
  const id = randomUUID()
  const { key } = await addKeys(gateway, { key: { workspaceId: id } })
  return { key, by: clientOf(gateway, key), id }
}

/** The server still answers, on a new connection. */
async function alive(): Promise<void> {
  expect((await call('GET', '/healthz')).status).toBe(200)
}

const preflight = (on: TestGateway, path: string, method: string, origin: string): Promise<Answer> =>
  clientOf(on, '')('OPTIONS', path, {
    key: null,
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': method,
      'Access-Control-Request-Headers': 'authorization, content-type, x-file-name',
    },
  })
const words = (header: string | null): string[] => (header ?? '').toLowerCase().split(/\s*,\s*/)

describe('the log', () => {
  it('has a line for each request, and those of probes only for whoever looks closely', async () => {
    const seen = new Map<string, number>()
    for (const path of ['/healthz', '/readyz', '/nothing']) await call('GET', path)
    await eventually(() => {
      for (const [, level, path = ''] of gateway.log().matchAll(/"level":(\d+).*"path":"([^"]*)"/g))
        seen.set(path, Number(level))
      expect(Object.fromEntries(seen)).toMatchObject({ '/healthz': 20, '/readyz': 20, '/nothing': 30 })
    })
  })
})

describe('CORS', () => {
  const app = 'https://app.example.com'
  let listed: TestGateway
  beforeAll(async () => {
    listed = await startGateway({
      config: configText(),
      env: { FAIRLEAD_CORS_ORIGINS: `${app},http://localhost:3000` },
    })
  })
  afterAll(() => listed.close())

  it.each([
    ['POST', '/api/v1/uploads'],
    ['POST', '/v1/uploads'],
    ['PUT', `/presigned/upload/${randomUUID()}`],
    ['DELETE', `/api/v1/uploads/${randomUUID()}`],
    ['GET', `/api/v1/uploads/${randomUUID()}/download`],
  ])('answers the preflight of %s %s without credentials', async (method, path) => {
    const answer = await preflight(gateway, path, method, 'https://anywhere.example')
    expect(answer.status).toBeGreaterThanOrEqual(200)
    expect(answer.status).toBeLessThan(300)
    expect(answer.headers.get('access-control-allow-origin')).toBe('*')
    expect(words(answer.headers.get('access-control-allow-methods'))).toContain(method.toLowerCase())
    const allowed = words(answer.headers.get('access-control-allow-headers'))
    expect(allowed).toEqual(expect.arrayContaining(['authorization', 'content-type', 'x-file-name']))
    expect(Number(answer.headers.get('access-control-max-age'))).toBeGreaterThan(0)
  })

  it('lets pages read answers, errors too', async () => {
    const headers = { Origin: app }
    const created = await create()
    for (const answer of [
      await call('GET', '/api/v1/uploads', { headers }),
      await call('GET', '/api/v1/uploads', { headers, key: null }),
      await call('GET', '/nowhere', { headers }),
      await call('PUT', created.upload_url, { headers, body: 'x', key: null }),
      await call('PUT', `${created.upload_url}x`, { headers, body: 'x', key: null }),
      await call('POST', '/v1/uploads', { headers, body: 'x' }),
    ]) {
      expect(answer.headers.get('access-control-allow-origin')).toBe('*')
      expect(words(answer.headers.get('access-control-expose-headers'))).toEqual(
        expect.arrayContaining(['location', 'etag', 'content-range', 'content-disposition', 'x-request-id']),
      )
    }
  })

  it.each([app, 'http://localhost:3000'])('with a list: %s is on it', async (origin) => {
    const answer = await preflight(listed, '/v1/uploads', 'POST', origin)
    expect(answer.headers.get('access-control-allow-origin')).toBe(origin)
    expect(words(answer.headers.get('vary'))).toContain('origin')
    const real = await clientOf(listed, listed.key)('GET', '/api/v1/uploads', { headers: { Origin: origin } })
    expect(real.headers.get('access-control-allow-origin')).toBe(origin)
    expect(words(real.headers.get('vary'))).toContain('origin')
  })

  it.each(['https://evil.example', 'https://app.example.com.evil.example', 'http://app.example.com', 'null'])(
    'with a list: %s is not',
    async (origin) => {
      const answer = await preflight(listed, '/v1/uploads', 'POST', origin)
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
      const real = await clientOf(listed, listed.key)('GET', '/api/v1/uploads', { headers: { Origin: origin } })
      expect(real.status).toBe(200)
      expect(real.headers.get('access-control-allow-origin')).toBeNull()
      expect(words(real.headers.get('vary'))).toContain('origin')
    },
  )
})

describe('limits', () => {
  it('takes 15 KiB of headers and answers 431 to more than 16', async () => {
    expect((await call('GET', '/api/v1/uploads', { headers: { 'X-Long': 'x'.repeat(15 * 1024) } })).status).toBe(200)
    for (const much of [
      requestHead('GET', '/healthz', { 'X-Long': 'x'.repeat(17 * 1024) }),
      `GET /${'x'.repeat(99_999)}`,
    ]) {
      const wire = await wireTo(gateway.url)
      await wire.send(much)
      const answer = await wire.answer()
      expect(answer.status).toBe(431)
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
      expect(answer.json()).toMatchObject({ type: 'REQUEST_HEADER_FIELDS_TOO_LARGE', status: 431 })
      expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
      expect(await wire.closed()).toBe(true)
    }
    await alive()
  })

  it.each([
    ['announced', false],
    ['chunked', true],
  ])('answers 413 to a JSON body beyond all reason, %s', async (_what, chunks) => {
    const wire = await wireTo(gateway.url)
    const body = JSON.stringify({ filename: 'a', category: 'other', metadata: { a: 'x'.repeat(1024 * 1024) } })
    const headers = { ...auth(), 'Content-Type': 'application/json' }
    const framed = chunks
      ? `${requestHead('POST', '/api/v1/uploads', { ...headers, 'Transfer-Encoding': 'chunked' })}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      : requestHead('POST', '/api/v1/uploads', { ...headers, 'Content-Length': body.length }) + body
    await wire.send(framed)
    expect((await wire.answer()).status).toBe(413)
    wire.cut()
    await alive()
  })
})

describe('Expect: 100-continue', () => {
  const expects = { Expect: '100-continue' }

  it('lets expectations pass of which it knows nothing', async () => {
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('GET', '/healthz', { Expect: 'tea' }))
    const answer = await wire.answer()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
  })

  it('is answered when the body is wanted', async () => {
    const wire = await wireTo(gateway.url)
    await wire.send(rawHead({ ...expects, 'Content-Length': 5 }))
    expect((await wire.answer()).status).toBe(100)
    await wire.send('Hello')
    const answer = await wire.answer()
    expect(answer.status).toBe(201)
    expect(answer.json()).toMatchObject({ data: { size: 5 } })
    await wire.send(requestHead('GET', '/healthz', {}))
    expect((await wire.answer()).status).toBe(200)
    wire.cut()
  })

  it('is answered to the client of node:http, at every way in', async () => {
    const created = await create({ size_bytes: 4 })
    const json = JSON.stringify({ filename: 'a', category: 'other' })
    const asked = [
      [gateway.url + '/v1/uploads', 'POST', { ...auth(), 'x-file-name': 'a' }, 'Hello', 201],
      [created.upload_url, 'PUT', {}, 'body', 200],
      [gateway.url + '/api/v1/uploads', 'POST', { ...auth(), 'Content-Type': 'application/json' }, json, 201],
    ] as const
    for (const [url, method, headers, body, status] of asked) {
      const sent = request(url, { method, headers: { ...headers, ...expects, 'Content-Length': body.length } })
      sent.flushHeaders()
      await once(sent, 'continue')
      sent.end(body)
      const answered = new Promise<number | undefined>((resolve) => {
        sent.once('response', (response) => {
          response.resume()
          resolve(response.statusCode)
        })
      })
      expect(await answered).toBe(status)
    }
  })

  const refusals: readonly (readonly [what: string, head: (key: string) => Promise<string>, status: number])[] = [
    ['too large', async () => rawHead({ ...expects, 'Content-Length': maxFileSize + 1 }), 413],
    ['without credentials', async () => rawHead({ ...expects, 'Content-Length': 5, Authorization: 'Bearer x' }), 401],
    ['without a name', async () => rawHead({ ...expects, 'Content-Length': 5, 'x-file-name': '..' }), 400],
    ['over the quota', async (key) => rawHead({ ...expects, 'Content-Length': 11 }, key), 413],
    ['of another size', async () => putHead(await create({ size_bytes: 4 }), { ...expects, 'Content-Length': 5 }), 422],
    [
      'with a bad signature',
      async () => {
        const created = await create()
        const url = created.upload_url.replace('signature=', 'signature=A')
        return putHead({ ...created, upload_url: url }, { ...expects, 'Content-Length': 5 })
      },
      403,
    ],
  ]

  it('is not answered when the body is refused', async () => {
    const { key, id } = await newWorkspace()
    await command(gateway, 'workspaces', 'set-quota', id, '10')
    await Promise.all(
      refusals.map(async ([what, head, status]) => {
        const wire = await wireTo(gateway.url)
        await wire.send(await head(key))
        // The first answer is the last: there is no 100 before it.
        const answer = await wire.answer()
        expect({ what, status: answer.status, closed: await wire.closed() }).toEqual({ what, status, closed: true })
      }),
    )
  })
})

describe('a refused body', () => {
  const announced = 1024 ** 3 // bytes
  const piece = randomBytes(64 * 1024)
  const enough = 64 * 1024 * 1024 // bytes: far more than sockets on both sides can hold

  const refusals: readonly (readonly [what: string, head: () => Promise<string>, status: number])[] = [
    ['too large', async () => rawHead({ 'Content-Length': announced }), 413],
    ['from nobody', async () => rawHead({ 'Content-Length': announced, Authorization: 'Bearer x' }), 401],
    [
      'for a bad URL',
      async () =>
        putHead(
          { ...(await create()), upload_url: `${gateway.url}/presigned/upload/1` },
          { 'Content-Length': announced },
        ),
      403,
    ],
  ]

  async function pour([what, head, status]: (typeof refusals)[number]): Promise<void> {
    const wire = await wireTo(gateway.url)
    await wire.send(await head())
    const sending = (async () => {
      for (let sent = 0; sent < enough && !wire.socket.destroyed; sent += piece.length)
        if (!wire.socket.write(piece)) await pause(5)
    })()
    const answer = await wire.answer()
    expect({ what, status: answer.status }).toEqual({ what, status })
    expect(answer.json()).toMatchObject({ detail: expect.stringMatching(/\S/) })
    expect(answer.headers.get('connection')).toBe('close')
    expect(await wire.closed()).toBe(true)
    wire.cut()
    await sending
    expect(wire.socket.bytesWritten).toBeLessThan(enough / 4)
  }

  it('is not read: the answer comes early, and the client can read it', async () => {
    await Promise.all(refusals.map(pour))
    await alive()
  })

  it('that breaks the limit on the way is cut off there', async () => {
    const { key, by } = await newWorkspace()
    const wire = await wireTo(gateway.url)
    await wire.send(rawHead({ 'Transfer-Encoding': 'chunked' }, key))
    const frame = `${piece.length.toString(16)}\r\n`
    for (let i = 0; i < 40 && !wire.socket.destroyed; i++) {
      wire.socket.write(Buffer.concat([Buffer.from(frame), piece, Buffer.from('\r\n')]))
      await pause(1)
    }
    expect(refusalOf(await wire.answer(), problem)).toBe('413 file_too_large')
    expect(await wire.closed()).toBe(true)
    await eventually(async () => {
      expect((await usage(by)).uploads.total).toBe(0)
      expect((await usage(by)).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
    })
  })
})

const rawLines = (...lines: string[]): string =>
  ['POST /v1/uploads HTTP/1.1', 'Host: x', `Authorization: Bearer ${gateway.key}`, 'x-file-name: a', ...lines].join(
    '\r\n',
  )

describe('requests that two servers could read in two ways', () => {
  it('may not come with two credentials', async () => {
    const wire = await wireTo(gateway.url)
    const own = `Authorization: Bearer ${gateway.key}`
    await wire.send(`GET /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\n${own}\r\n${own.slice(0, -1)}\r\n\r\n`)
    const answer = await wire.answer()
    expect(answer.status).toBe(401)
    expect(answer.json()).toMatchObject({ error_code: 'unauthenticated' })
  })

  const smuggled = `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`
  it.each<[string, () => string]>([
    [
      'Content-Length and chunks',
      () => `${rawLines('Content-Length: 4', 'Transfer-Encoding: chunked')}\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    [
      'chunks and Content-Length',
      () => `${rawLines('Transfer-Encoding: chunked', 'Content-Length: 4')}\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    ['two Content-Lengths', () => `${rawLines('Content-Length: 5', 'Content-Length: 6')}\r\n\r\nHello!`],
    ['the same Content-Length twice', () => `${rawLines('Content-Length: 5', 'Content-Length: 5')}\r\n\r\nHello`],
    ['a list of Content-Lengths', () => `${rawLines('Content-Length: 5, 5')}\r\n\r\nHello`],
    ['a Content-Length with a sign', () => `${rawLines('Content-Length: +5')}\r\n\r\nHello`],
    ['a negative Content-Length', () => `${rawLines('Content-Length: -5')}\r\n\r\nHello`],
    ['a Content-Length in hexadecimal', () => `${rawLines('Content-Length: 0x5')}\r\n\r\nHello`],
    ['a Content-Length beyond all integers', () => `${rawLines('Content-Length: 99999999999999999999')}\r\n\r\nHello`],
    ['an unknown coding', () => `${rawLines('Transfer-Encoding: xchunked')}\r\n\r\n5\r\nHello\r\n0\r\n\r\n`],
    [
      'a coding below the chunks',
      () => `${rawLines('Transfer-Encoding: gzip, chunked')}\r\n\r\n5\r\nHello\r\n0\r\n\r\n`,
    ],
    [
      'a coding above the chunks',
      () => `${rawLines('Transfer-Encoding: chunked, identity')}\r\n\r\n5\r\nHello\r\n0\r\n\r\n`,
    ],
    ['chunks twice', () => `${rawLines('Transfer-Encoding: chunked, chunked')}\r\n\r\n5\r\nHello\r\n0\r\n\r\n`],
    ['no coding', () => `${rawLines('Transfer-Encoding: identity')}\r\n\r\nHello`],
    ['a blank before the colon', () => `${rawLines('Content-Length: 5', 'Transfer-Encoding : chunked')}\r\n\r\nHello`],
    [
      'a folded header',
      () => `${rawLines('X-Folded: a', ' Transfer-Encoding: chunked', 'Content-Length: 5')}\r\n\r\nHello`,
    ],
    ['a chunk of no size', () => `${rawLines('Transfer-Encoding: chunked')}\r\n\r\nzz\r\nHello\r\n0\r\n\r\n`],
    ['a chunk longer than it says', () => `${rawLines('Transfer-Encoding: chunked')}\r\n\r\n3\r\nHello\r\n0\r\n\r\n`],
    [
      'a chunk of overflowing size',
      () => `${rawLines('Transfer-Encoding: chunked')}\r\n\r\nfffffffffffffffff\r\nHello\r\n0\r\n\r\n`,
    ],
    [
      'no Host',
      () =>
        `POST /v1/uploads HTTP/1.1\r\nAuthorization: Bearer ${gateway.key}\r\nx-file-name: a\r\nContent-Length: 5\r\n\r\nHello`,
    ],
    ['two Hosts', () => `${rawLines('Host: y', 'Content-Length: 5')}\r\n\r\nHello`],
  ])('%s: one refusal, and nothing is kept', async (_what, bytes) => {
    const before = await usage()
    const wire = await wireTo(gateway.url)
    await wire.send(bytes())
    const answer = await wire.answer()
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
    expect(await wire.closed()).toBe(true)
    expect(wire.rest()).toHaveLength(0)
    await eventually(async () => expect((await usage()).uploads.total).toBe(before.uploads.total))
  })

  it('keeps nothing of chunks that break in the middle', async () => {
    const { key, by } = await newWorkspace()
    const wire = await wireTo(gateway.url)
    const good = randomBytes(150_000)
    await wire.send(rawHead({ 'Transfer-Encoding': 'chunked' }, key))
    await wire.send(`${good.length.toString(16)}\r\n`)
    await wire.send(good)
    await wire.send('\r\nnonsense\r\n')
    expect((await wire.answer()).status).toBe(400)
    await eventually(async () => expect((await usage(by)).uploads.total).toBe(0))
  })
})

describe('one connection', () => {
  it('goes on after every kind of refusal', async () => {
    const created = await create({ size_bytes: 4 })
    const done = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, body: 'Hello' })
    const { assetId } = done.json<{ data: { assetId: string } }>().data
    const download = `/api/v1/uploads/${assetId}/download`
    const json = { 'Content-Type': 'application/json' }
    const asked: readonly (readonly [status: number, head: string, body?: string])[] = [
      [400, requestHead('POST', '/api/v1/uploads', { ...auth(), ...json, 'Content-Length': 1 }), '{'],
      [400, rawHead({ 'Content-Length': 0 })],
      [401, requestHead('POST', '/v1/uploads', { 'x-file-name': 'a', 'Content-Length': 5 }), 'Hello'],
      [403, requestHead('GET', '/api/v1/uploads', { ...auth(), 'X-Workspace-Id': 'other' })],
      [404, requestHead('GET', '/nowhere', {})],
      [405, requestHead('PATCH', '/v1/uploads', { 'Content-Length': 5 }), 'Hello'],
      [406, requestHead('GET', '/api/v1/uploads', { ...auth(), Accept: 'text/html' })],
      [409, requestHead('POST', `/api/v1/uploads/${created.upload.id}`, auth())],
      [412, requestHead('GET', download, { ...auth(), 'If-Match': '"x"' })],
      [
        413,
        requestHead('POST', '/api/v1/uploads', { ...auth(), ...json, 'Content-Length': 64 }),
        JSON.stringify({ filename: 'a', category: 'other', size_bytes: 1e12 }).padEnd(64),
      ],
      [
        415,
        requestHead('POST', '/api/v1/uploads', { ...auth(), 'Content-Type': 'text/plain', 'Content-Length': 2 }),
        '{}',
      ],
      [416, requestHead('GET', download, { ...auth(), Range: 'bytes=99-' })],
      [422, requestHead('POST', '/api/v1/uploads', { ...auth(), ...json, 'Content-Length': 2 }), '{}'],
      [422, putHead(created, { 'Content-Length': 5 }), 'Hello'],
      [422, putHead(created, { 'Transfer-Encoding': 'chunked' }), '3\r\nabc\r\n0\r\n\r\n'],
    ]
    const wire = await wireTo(gateway.url)
    for (const [status, head, body = ''] of asked) {
      await wire.send(head)
      if (body !== '') {
        // In two pieces: the refusal may come between them.
        await pause(5)
        await wire.send(body.slice(0, 1))
        await pause(5)
        await wire.send(body.slice(1))
      }
      const answer = await wire.answer()
      expect({ head: head.split('\r\n')[0], status: answer.status }).toMatchObject({ status })
      expect(answer.headers.get('connection')).not.toBe('close')
      await wire.send(requestHead('GET', '/healthz', {}))
      expect((await wire.answer()).status).toBe(200)
    }
    wire.cut()
  })

  it('goes on, or says that it does not, after a body that was refused half way', async () => {
    const { key, id } = await newWorkspace()
    await command(gateway, 'workspaces', 'set-quota', id, '10')
    for (const length of [1_000, 60_000]) {
      const wire = await wireTo(gateway.url)
      await wire.send(rawHead({ 'Content-Length': length }, key))
      await wire.send(Buffer.alloc(500))
      const answer = await wire.answer()
      expect(refusalOf(answer, problem)).toBe('413 quota_exceeded')
      const ends = answer.headers.get('connection') === 'close'
      await wire.send(Buffer.alloc(length - 500))
      await wire.send(requestHead('GET', '/healthz', {}))
      const next = await wire.answer().then(
        ({ status }) => status,
        () => 'closed',
      )
      expect(next).toBe(ends ? 'closed' : 200)
      wire.cut()
    }
  })

  it('answers requests that come all at once, in their order', async () => {
    const wire = await wireTo(gateway.url)
    const missing = randomUUID()
    await wire.send(
      [
        requestHead('GET', '/healthz', { 'X-Request-Id': 'first' }),
        `${rawHead({ 'Content-Length': 5, 'X-Request-Id': 'second' })}Hello`,
        requestHead('GET', `/v1/assets/${missing}`, { ...auth(), 'X-Request-Id': 'third' }),
        `${rawHead({ 'Transfer-Encoding': 'chunked', 'X-Request-Id': 'fourth' })}5\r\nWorld\r\n0\r\n\r\n`,
        requestHead('GET', '/api/v1/auth/whoami', { ...auth(), 'X-Request-Id': 'fifth' }),
      ].join(''),
    )
    const answers: [string | null, number][] = []
    for (let i = 0; i < 5; i++) {
      const answer = await wire.answer()
      answers.push([answer.headers.get('x-request-id'), answer.status])
    }
    expect(answers).toEqual([
      ['first', 200],
      ['second', 201],
      ['third', 404],
      ['fourth', 201],
      ['fifth', 200],
    ])
    wire.cut()
  })

  it('serves many requests of one agent', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ports = new Set<number | undefined>()
    for (let i = 0; i < 20; i++) {
      const sent = request(`${gateway.url}/v1/uploads`, {
        agent,
        method: 'POST',
        headers: { ...auth(), 'x-file-name': i % 2 === 0 ? `${i}.txt` : '..' },
      })
      sent.end('Hello')
      const answered = new Promise<number | undefined>((resolve) => {
        sent.once('response', (response) => {
          ports.add(response.socket.localPort)
          response.resume()
          response.once('end', () => resolve(response.statusCode))
        })
      })
      expect(await answered).toBe(i % 2 === 0 ? 201 : 400)
    }
    expect(ports.size).toBe(1)
    agent.destroy()
  })
})

describe('chunked bodies', () => {
  it('of odd chunks, extensions and trailers are the bytes between', async () => {
    const bytes = randomBytes(3_000)
    const sizes = [1, 1, 2, 996, 1_000, 1_000]
    const wire = await wireTo(gateway.url)
    await wire.send(rawHead({ 'Transfer-Encoding': 'chunked', Trailer: 'X-Sum' }))
    let at = 0
    for (const size of sizes) {
      await wire.send(`${size.toString(16).toUpperCase().padStart(4, '0')};name=value\r\n`)
      await wire.send(bytes.subarray(at, (at += size)))
      await wire.send('\r\n')
    }
    await wire.send('0\r\nX-Sum: 1\r\n\r\n')
    const answer = await wire.answer()
    expect(answer.status).toBe(201)
    const { fileUrl } = answer.json<{ data: { fileUrl: string } }>().data
    const { pathname, search } = new URL(fileUrl)
    expect(sha256((await call('GET', pathname + search)).bytes)).toBe(sha256(bytes))
    wire.cut()
  })
})

const files = async (): Promise<string[]> => (await storedFiles(gateway)).toSorted()

describe('connections that drop', () => {
  const size = 200_000 // bytes
  const drops = 25
  const bytes = randomBytes(size)
  const positions = Array.from({ length: drops }, (_, i) => Math.floor(((i + Math.random()) * (size - 1)) / drops))

  async function drop(head: string, at: number): Promise<void> {
    const wire = await wireTo(gateway.url)
    await wire.send(head)
    await wire.send(bytes.subarray(0, at))
    if (at % 2 === 0) await pause(at % 10)
    wire.cut()
  }
  it('leave nothing of a raw upload', async () => {
    const { key, by } = await newWorkspace()
    const before = await files()
    for (const at of positions) await drop(rawHead({ 'Content-Length': size }, key), at)
    await Promise.all(positions.map((at) => drop(`${rawHead({ 'Transfer-Encoding': 'chunked' }, key)}30d40\r\n`, at)))
    await eventually(async () => {
      expect((await usage(by)).storage).toMatchObject({
        used_bytes: 0,
        reserved_bytes: 0,
      })
      expect((await usage(by)).uploads.total).toBe(0)
      expect((await by('GET', '/api/v1/uploads')).json<{ data: unknown[] }>().data).toEqual([])
      expect(await files()).toEqual(before)
    })
  })

  it('leave a presigned upload pending, and its URL usable', async () => {
    const { by } = await newWorkspace()
    const before = await files()
    const created = await create({ size_bytes: size }, by)
    for (const at of positions) await drop(putHead(created, { 'Content-Length': size }), at)
    await eventually(async () => {
      expect(await files()).toEqual(before)
      expect(await view(created.upload.id, by)).toMatchObject({ status: 'pending', received_bytes: 0 })
      expect((await usage(by)).storage).toMatchObject({ used_bytes: 0, reserved_bytes: size })
    })
    // The server may only now come to one of those that were dropped, which is the newest then.
    await eventually(async () =>
      expect((await call('PUT', created.upload_url, { body: bytes, key: null })).status).toBe(200),
    )
    const confirmed = await by('POST', `/api/v1/uploads/${created.upload.id}`)
    const { download_url: url } = confirmed.json<{ data: View }>().data
    expect(sha256((await call('GET', url ?? '', { key: null })).bytes)).toBe(sha256(bytes))
  })

  it('give back what a PUT of unknown size held', async () => {
    const { by } = await newWorkspace()
    const created = await create({}, by)
    for (const at of positions.slice(0, 8))
      await drop(`${putHead(created, { 'Transfer-Encoding': 'chunked' })}30d40\r\n`, at)
    await eventually(async () => {
      expect((await usage(by)).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      expect(await view(created.upload.id, by)).toMatchObject({ status: 'pending', received_bytes: 0 })
    })
  })
})

const uploadUrl = async (wire: Wire, headers: Record<string, string>): Promise<string> => {
  const body = JSON.stringify({ filename: 'a', category: 'other' })
  const json = { 'Content-Type': 'application/json', 'Content-Length': body.length }
  await wire.send(requestHead('POST', '/api/v1/uploads', { ...auth(), ...json, ...headers }) + body)
  return (await wire.answer()).json<{ data: Created }>().data.upload_url
}

describe('addresses that the gateway hands out', () => {
  it('follow the Host that was asked, and believe no forwarded header', async () => {
    const wire = await wireTo(gateway.url)
    const forwarded = {
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-Proto': 'https',
      Forwarded: 'host=evil.example',
    }
    const url = await uploadUrl(wire, { Host: 'files.example.org:8080', ...forwarded })
    expect(url).toMatch(/^http:\/\/files\.example\.org:8080\/presigned\/upload\//)
    expect(await uploadUrl(wire, { Host: 'evil.example/"><script>' })).not.toContain('evil.example')
    wire.cut()
  })
})

describe('probes', () => {
  it('/readyz says 503 while the store does not answer, and 200 when it does again', async () => {
    const folder = join(gateway.dataDir, 'objects/tmp')
    await rename(folder, `${folder}-away`)
    await eventually(async () => {
      const answer = await call('GET', '/readyz', { key: null })
      expect(refusalOf(answer, { errors: 'problem', errorType: 'application/problem+json' })).toBe('503 not_ready')
      expect(answer.bytes.toString()).not.toContain(gateway.dataDir)
    })
    await alive()
    await rename(`${folder}-away`, folder)
    await eventually(async () => expect((await call('GET', '/readyz', { key: null })).status).toBe(200))
  })

  it.each(['/healthz', '/readyz'])('%s needs no credentials', async (path) => {
    const answer = await call('GET', path, { key: null })
    expect(answer.status).toBe(200)
    expect((await call('HEAD', path, { key: null })).status).toBe(200)
  })

  it('an unknown address is a problem', async () => {
    const answer = await call('GET', '/nowhere', { key: null })
    expect(refusalOf(answer, { errors: 'problem', errorType: 'application/problem+json' })).toBe('404 not_found')
    expect(refusalOf(await call('GET', '/api/v1/uploads/x/y/z'), detail)).toBe('404 not_found')
  })
})

describe('SIGTERM', () => {
  it('lets a running upload end, takes no new connection, closes idle ones, exits 0', async () => {
    const ending = await startGateway({ config: configText() })
    const ask = clientOf(ending, ending.key)
    const bytes = randomBytes(60_000)
    const [slow, idle] = [await wireTo(ending.url), await wireTo(ending.url)]
    await idle.send(requestHead('GET', '/healthz', {}))
    expect((await idle.answer()).status).toBe(200)
    await slow.send(
      requestHead('POST', '/v1/uploads', {
        ...auth(ending.key),
        'x-file-name': 'slow.bin',
        'Content-Length': bytes.length,
      }),
    )
    await slow.send(bytes.subarray(0, 20_000))
    await pause(100)

    const ended = ending.stop('SIGTERM')
    expect(await idle.closed()).toBe(true)
    await expect(ask('GET', '/healthz')).rejects.toThrow('fetch failed')
    await slow.send(bytes.subarray(20_000, 40_000))
    await pause(100)
    await slow.send(bytes.subarray(40_000))
    const answer = await slow.answer()
    expect(answer.status).toBe(201)
    expect(await slow.closed()).toBe(true)
    expect(await ended).toBe(0)

    await ending.start()
    const { assetId } = answer.json<{ data: { assetId: string } }>().data
    const file = await clientOf(ending, ending.key)('GET', `/api/v1/uploads/${assetId}/download`)
    expect(sha256(file.bytes)).toBe(sha256(bytes))
    await ending.close()
  })
})
