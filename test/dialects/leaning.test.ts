import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Answer,
  type Client,
  clientOf,
  configText,
  eventually,
  pause,
  requestHead,
  type Wire,
  wireTo,
} from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

const app = 'https://app.example.com'
/** Bytes that must pass in a window, and seconds that it has. */
const rate = 2_000
const windowSeconds = 2
const connections = 40
const strict = `server: { corsOrigins: ['${app}'], bodyIdleTimeout: 3, lowestRate: ${rate}, rateWindow: ${windowSeconds}, connectionsPerAddress: ${connections} }`

let gateway: TestGateway
let call: Client
beforeAll(async () => {
  gateway = await startGateway({ config: configText('sniffType(), quota()', strict) })
  call = clientOf(gateway, gateway.key)
})
afterAll(() => gateway.close())

const auth = () => ({ Authorization: `Bearer ${gateway.key}` })
const rawHead = (headers: Record<string, string | number>): string =>
  requestHead('POST', '/v1/uploads', { ...auth(), 'x-file-name': 'file.bin', ...headers })

/** Sends a byte every so often. Answers how it ended. */
async function crawl(head: string, begin = ''): Promise<Answer | 'closed'> {
  const wire = await wireTo(gateway.url)
  await wire.send(head + begin)
  const timer = setInterval(() => wire.socket.write('x'), 300)
  const answer = await wire.answer().catch(() => 'closed' as const)
  await wire.closed()
  clearInterval(timer)
  wire.cut()
  return answer
}
const statusOf = (answer: Answer | 'closed'): number | string => (answer === 'closed' ? answer : answer.status)

const errorCode = (answer: Answer) => {
  const body = answer.json<{ error_code?: string; errorCode?: string }>()
  return [answer.status, body.error_code ?? body.errorCode]
}

describe('one connection', () => {
  it('may have 64 requests waiting, and is closed when there are more', async () => {
    const get = requestHead('GET', '/healthz', {})
    const wire = await wireTo(gateway.url)
    await wire.send(get.repeat(65))
    for (let i = 0; i < 65; i++) expect((await wire.answer()).status).toBe(200)
    await wire.send(get.repeat(2_000))
    expect(await wire.closed()).toBe(true)
    expect((await call('GET', '/healthz')).status).toBe(200)
  })

  it('has the next answer made when the one before was taken', async () => {
    const wire = await wireTo(gateway.url)
    wire.socket.pause()
    const count = 60
    const id = `unread-${Date.now()}-`
    const heads = Array.from({ length: count }, (_, i) =>
      requestHead('GET', '/docs/swagger-ui-bundle.js', { 'X-Request-Id': `${id}${i}.` }),
    )
    await wire.send(heads.join(''))
    await pause(1_500)
    const begun = (): number => new Set(gateway.log().match(new RegExp(`${id}\\d+\\.`, 'g'))).size
    // Those that the system's buffers hold are done.
    expect(begun()).toBeLessThan(count / 2)
    wire.cut()
  })

  it('is told of a request that is not HTTP after the answers to those before it', async () => {
    const wire = await wireTo(gateway.url)
    await wire.send(`${requestHead('GET', '/readyz', { 'X-Request-Id': 'good' })}BAD\r\n\r\n`)
    const first = await wire.answer()
    expect({ status: first.status, id: first.headers.get('x-request-id') }).toEqual({ status: 200, id: 'good' })
    expect((await wire.answer()).status).toBe(400)
    expect(await wire.closed()).toBe(true)
  })

  it('gets its answer when the client has closed its side behind the body', async () => {
    const wire = await wireTo(gateway.url)
    wire.socket.end(`${rawHead({ 'Content-Length': 5 })}Hello`)
    expect((await wire.answer()).status).toBe(201)
    expect(await wire.closed()).toBe(true)
  })

  it('of HTTP/1.0 is not told to go on', async () => {
    const wire = await wireTo(gateway.url)
    const head = rawHead({ 'Content-Length': 5, Expect: '100-continue' }).replace('HTTP/1.1', 'HTTP/1.0')
    await wire.send(`${head}Hello`)
    expect((await wire.answer()).status).toBe(201)
  })
})

describe('one address', () => {
  it('holds so many connections, and may open others when it has closed some', async () => {
    const wires = await Promise.all(
      Array.from({ length: connections + 10 }, () => wireTo(gateway.url).catch(() => null)),
    )
    const open = wires.filter((wire): wire is Wire => wire !== null)
    await eventually(() => expect(open.filter(({ socket }) => socket.closed).length).toBeGreaterThanOrEqual(10))
    for (const wire of open) wire.cut()
    await eventually(async () => expect((await call('GET', '/healthz')).status).toBe(200))
  })
})

describe('slow clients', () => {
  it('that bring a body too slowly are given up', async () => {
    const made = await call('POST', '/api/v1/uploads', { json: { filename: 'a', category: 'other' } })
    const { data } = made.json<{ data: { upload_url: string } }>()
    const url = new URL(data.upload_url)
    const form = { ...auth(), 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': 100_000 }
    const answers = await Promise.all([
      crawl(rawHead({ 'Content-Length': 100_000 })),
      crawl(requestHead('PUT', url.pathname + url.search, { 'Content-Length': 100_000 })),
      crawl(requestHead('POST', '/api/v1/uploads', form), '--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n'),
      crawl(
        requestHead('POST', '/api/v1/uploads', form),
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
      ),
    ])
    expect(answers.map(statusOf)).toEqual([408, 408, 408, 408])
  })

  it('whose tus body crawls are cut off, and what has come is kept', async () => {
    const tus = { ...auth(), 'Tus-Resumable': '1.0.0' }
    const made = await call('POST', '/files', { headers: { ...tus, 'Upload-Length': '100000' } })
    const { pathname } = new URL(made.headers.get('location') ?? '')
    const patch = { ...tus, 'Upload-Offset': 0, 'Content-Type': 'application/offset+octet-stream' }
    await crawl(requestHead('PATCH', pathname, { ...patch, 'Content-Length': 100_000 }))
    const { headers } = await call('HEAD', pathname, { headers: tus })
    expect(Number(headers.get('upload-offset'))).toBeGreaterThan(0)
  })

  it('that keep the pace are not', async () => {
    const wire = await wireTo(gateway.url)
    const pieces = 12
    const piece = Buffer.alloc(rate)
    await wire.send(rawHead({ 'Content-Length': pieces * piece.length }))
    for (let i = 0; i < pieces; i++) {
      await pause(400)
      await wire.send(piece)
    }
    expect((await wire.answer()).status).toBe(201)
    wire.cut()
  })

  it('whose request was refused are not waited for', async () => {
    const head = requestHead('POST', '/v1/uploads', { 'x-file-name': 'a', 'Content-Length': 60_000 })
    const began = Date.now()
    expect(statusOf(await crawl(head))).toBe(401)
    // A tenth of what the body would take at this pace.
    expect(Date.now() - began).toBeLessThan(30_000)
  })

  it('that take nothing of an answer are cut', async () => {
    const wire = await wireTo(gateway.url)
    wire.socket.pause()
    const id = `left-${Date.now()}`
    const head = requestHead('GET', '/docs/swagger-ui-bundle.js', { 'X-Request-Id': id })
    await wire.send(head.repeat(60))
    const cut = (): boolean =>
      gateway
        .log()
        .split('\n')
        .some((line) => line.includes(id) && line.includes('"cut":true'))
    await eventually(() => expect(cut()).toBe(true))
    wire.cut()
  })
})

describe('CORS of a list', () => {
  const other = 'https://other.example.com'
  const preflight = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'tus-resumable' }

  it.each(['/files', '/v1/uploads'])('lets a listed origin send its cookies to %s', async (path) => {
    for (const headers of [{ Origin: app, ...preflight }, { Origin: app }]) {
      const answer = await call('OPTIONS', path, { headers, key: null })
      expect(answer.status).toBe(204)
      expect(answer.headers.get('access-control-allow-origin')).toBe(app)
      expect(answer.headers.get('access-control-allow-credentials')).toBe('true')
    }
  })

  it('answers every OPTIONS of another origin without', async () => {
    for (const headers of [{ Origin: other, ...preflight }, { Origin: other }, {}]) {
      const answer = await call('OPTIONS', '/files', { headers, key: null })
      expect(answer.status).toBe(204)
      expect(answer.headers.get('tus-version')).toBe('1.0.0')
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
    }
  })

  it('reaches what cannot be read as HTTP', async () => {
    for (const [origin, allowed] of [
      [app, app],
      [other, null],
    ] as const)
      for (const [status, text] of [
        [431, requestHead('GET', '/healthz', { Origin: origin, 'X-Long': 'x'.repeat(17 * 1024) })],
        [400, `POST / HTTP/1.1\r\nHost: x\r\nOrigin: ${origin}\r\nContent-Length: -1\r\n\r\n`],
        [400, `GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nOrigin: ${origin}\r\n\r\n`],
      ] as const) {
        const wire = await wireTo(gateway.url)
        await wire.send(text)
        const answer = await wire.answer()
        expect({ status: answer.status, allowed: answer.headers.get('access-control-allow-origin') }).toEqual({
          status,
          allowed,
        })
        wire.cut()
      }
  })
})

describe('paths and types', () => {
  it('are read with their case, and with or without a slash at the end', async () => {
    expect(errorCode(await call('GET', '/API/V1/uploads'))).toEqual([404, 'NOT_FOUND'])
    const headers = { 'Content-Type': 'multipart/form-data; boundary=b' }
    for (const path of ['/api/v1/uploads', '/api/v1/uploads/'])
      expect(errorCode(await call('POST', path, { headers, body: 'x', key: null }))).toEqual([401, 'UNAUTHENTICATED'])
    expect((await call('GET', '/api/v1/uploads/')).status).toBe(200)
  })

  it.each([
    'application/json; charset=utf-8',
    'text/html, application/json;indent=2;q=0.5',
    'application/*;v=1',
    'APPLICATION/JSON',
    '*/*;q=0.1',
  ])('%s accepts JSON', async (accept) => {
    expect((await call('GET', '/api/v1/uploads', { headers: { Accept: accept } })).status).toBe(200)
  })

  it.each(['text/html', 'application/json;q=0, */*', '*/*;q=0'])('%s does not', async (accept) => {
    const answer = await call('GET', '/api/v1/uploads', { headers: { Accept: accept } })
    const isLeft = accept.includes('*/*') && !accept.startsWith('*/*')
    // Errors may still be problem details.
    expect(answer.status).toBe(isLeft ? 200 : 406)
    for (const path of ['/healthz', '/readyz'])
      expect((await call('GET', path, { headers: { Accept: accept }, key: null })).status).toBe(200)
  })

  it('that are private are kept by no cache', async () => {
    for (const path of ['/api/v1/uploads', '/api/v1/auth/whoami', '/api/v1/usage/summary']) {
      const { headers } = await call('GET', path)
      expect(headers.get('cache-control')).toBe('private, no-store')
    }
  })
})
