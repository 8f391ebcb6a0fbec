import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { UploadError } from '../../src/errors.ts'
import { originReader } from '../../src/http/origin.ts'
import { limited, networkOf } from '../../src/http/rate-limit.ts'
import { httpHandler } from '../../src/http/handler.ts'
import { type HttpServer, startHttpServer } from '../../src/http/server.ts'
import { refusalOf } from '../contracts/dialect.ts'
import { addKeys, type Answer, type Ask, type Client, clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { principal } from '../support/rig.ts'

const limit = 12
const raw = { errors: 'problem', errorType: 'application/json' } as const
const presigned = { errors: 'detail', errorType: 'application/json' } as const
const wrongKey = (i: number): string => `op_live_${String(i).padStart(32, '0')}`

const from = (ip: string) => ({ 'X-Forwarded-For': ip })

/** What the answer says about a limit: how much is left, and for how many seconds. */
function limitOf(answer: Answer, policy = 'requests'): { readonly left: number; readonly seconds: number } {
  expect(answer.headers.get('ratelimit-policy')).toBe(`"${policy}";q=${limit};w=60`)
  const [, left, seconds] = /^"(?:\w+)";r=(\d+);t=(\d+)$/.exec(answer.headers.get('ratelimit') ?? '') ?? []
  expect(answer.headers.get('ratelimit')).toContain(`"${policy}"`)
  expect(Number(seconds)).toBeGreaterThan(0)
  expect(Number(seconds)).toBeLessThanOrEqual(60)
  return { left: Number(left), seconds: Number(seconds) }
}

describe('a server with a rate limit', () => {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await startGateway({
      env: {
        FAIRLEAD_RATE_LIMIT: String(limit),
        FAIRLEAD_TRUST_PROXY: 'true',
        FAIRLEAD_CORS_ORIGINS: 'https://app.example.org',
      },
    })
  })
  afterAll(() => gateway.close())
  beforeEach(async () => {
    call = clientOf(gateway, (await addKeys(gateway, { key: {} })).key)
  })
  it('counts down with every request, whatever its answer', async () => {
    const answers = [
      await call('GET', '/api/v1/auth/whoami'),
      await call('GET', '/api/v1/uploads'),
      await call('GET', '/v1/assets/nothing'),
      await call('POST', '/api/v1/uploads', { json: {} }),
      await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, body: 'a' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 422, 201])
    expect(answers.map((answer) => limitOf(answer).left)).toEqual([11, 10, 9, 8, 7])
    for (const answer of answers) expect(answer.headers.get('retry-after')).toBeNull()
  })

  it('takes exactly so many of a crowd, and tells the others when to come again', async () => {
    const answers = await Promise.all(Array.from({ length: 3 * limit }, () => call('GET', '/v1/assets/nothing')))
    const refused = answers.filter(({ status }) => status !== 404)
    expect(refused).toHaveLength(2 * limit)
    for (const answer of refused) {
      expect(refusalOf(answer, raw)).toBe('429 rate_limited')
      const { left, seconds } = limitOf(answer)
      expect(left).toBe(0)
      expect(answer.headers.get('retry-after')).toBe(String(seconds))
    }
    expect(refusalOf(await call('GET', '/api/v1/uploads'), presigned)).toBe('429 rate_limited')
  })

  it('creates nothing for whom it refuses, and reads no body', async () => {
    for (let i = 0; i < limit; i++) await call('GET', '/api/v1/auth/whoami')
    const body = Buffer.alloc(5_000_000)
    expect(refusalOf(await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, body }), raw)).toBe(
      '429 rate_limited',
    )
    const json = { filename: 'late.bin', category: 'other' }
    expect(refusalOf(await call('POST', '/api/v1/uploads', { json }), presigned)).toBe('429 rate_limited')
    const { other } = await addKeys(gateway, { other: {} })
    const listed = await clientOf(gateway, other)('GET', '/api/v1/uploads')
    expect(listed.bytes.toString()).not.toContain('late.bin')
  })

  it('counts every key for itself, also those of one user', async () => {
    for (let i = 0; i < limit + 1; i++) await call('GET', '/api/v1/auth/whoami')
    const { other } = await addKeys(gateway, { other: {} })
    const answer = await call('GET', '/api/v1/auth/whoami', { key: other })
    expect(answer.status).toBe(200)
    expect(limitOf(answer).left).toBe(limit - 1)
  })

  it('counts the URLs that it hands out as little as probes and preflights', async () => {
    const create = await call('POST', '/api/v1/uploads', { json: { filename: 'a.txt', category: 'other' } })
    const { upload, upload_url: url } = create.json<{ data: { upload: { id: string }; upload_url: string } }>().data
    const answers: Answer[] = []
    for (let i = 0; i < limit + 1; i++) answers.push(await call('PUT', url, { key: null, body: 'a' }))
    const confirmed = await call('POST', `/api/v1/uploads/${upload.id}`)
    const { download_url: download } = confirmed.json<{ data: { download_url: string } }>().data
    for (let i = 0; i < limit + 1; i++) {
      answers.push(await call('GET', download, { key: null }))
      answers.push(await call('GET', '/healthz', { key: null }), await call('GET', '/readyz', { key: null }))
    }
    const preflight = { Origin: 'https://app.example.org', 'Access-Control-Request-Method': 'POST' }
    for (let i = 0; i < limit + 1; i++)
      answers.push(await call('OPTIONS', '/v1/uploads', { key: null, headers: preflight }))
    for (const answer of answers) {
      expect(answer.status).toBeLessThan(300)
      expect(answer.headers.get('ratelimit')).toBeNull()
    }
    expect(limitOf(await call('GET', '/api/v1/auth/whoami')).left).toBe(limit - 3)
  })

  it('lets browsers read the limit', async () => {
    const answer = await call('GET', '/api/v1/auth/whoami', { headers: { Origin: 'https://app.example.org' } })
    const exposed = answer.headers.get('access-control-expose-headers')?.toLowerCase().split(',')
    for (const name of ['ratelimit', 'ratelimit-policy', 'retry-after']) expect(exposed).toContain(name)
  })

  it('tells an address that has tried too many keys to wait, but takes a valid one', async () => {
    const guess = (i: number, ip = '192.0.2.1') => call('GET', '/v1/assets/x', { key: wrongKey(i), headers: from(ip) })
    for (let i = 0; i < limit; i++) {
      const answer = await guess(i)
      expect(refusalOf(answer, raw)).toBe('401 unauthenticated')
      expect(limitOf(answer, 'failures').left).toBe(limit - 1 - i)
    }
    const refused = await guess(limit)
    expect(refusalOf(refused, raw)).toBe('429 rate_limited')
    expect(refused.headers.get('retry-after')).toBe(String(limitOf(refused, 'failures').seconds))
    const valid = await call('GET', '/api/v1/uploads', { headers: from('192.0.2.1') })
    expect(valid.status).toBe(200)
    expect(limitOf(valid).left).toBe(limit - 1)
    expect(refusalOf(await guess(limit + 1), raw)).toBe('429 rate_limited')
    const elsewhere = await call('GET', '/api/v1/uploads', { headers: from('192.0.2.2') })
    expect(elsewhere.status).toBe(200)
    expect(limitOf(elsewhere).left).toBe(limit - 2)
    expect(refusalOf(await guess(0, '192.0.2.2'), raw)).toBe('401 unauthenticated')
  })

  const ask = (over: Pick<Ask, 'key'>, headers: Record<string, string> = {}): Promise<Answer> =>
    call('GET', '/v1/assets/x', { ...over, headers: { ...from('192.0.2.3'), ...headers } })

  it('counts whatever is wrong with credentials, and nothing else', async () => {
    const { reads, expired } = await addKeys(gateway, {
      reads: { scopes: ['uploads:write'] },
      expired: { expiresAt: 1 },
    })
    const refused = [
      await ask({ key: null }),
      await ask({ key: 'op_test_x' }),
      await ask({ key: 'x'.repeat(9_000) }),
      await ask({ key: expired }),
      await ask({}, { 'X-Workspace-Id': 'elsewhere' }),
    ]
    expect(refused.map(({ status }) => status)).toEqual([401, 401, 401, 401, 403])
    expect(refused.map((answer) => limitOf(answer, 'failures').left)).toEqual([11, 10, 9, 8, 7])
    expect(refusalOf(await ask({ key: reads }), raw)).toBe('403 scope_missing')
    expect(limitOf(await ask({ key: wrongKey(0) }), 'failures').left).toBe(6)
  })

  it('lets an upload in small pieces come to its end, and ends what only looks like one', async () => {
    const tus = { 'Tus-Resumable': '1.0.0' }
    const pieces = 5 * limit
    const made = await call('POST', '/files', { headers: { ...tus, 'Upload-Length': String(pieces) } })
    const path = new URL(made.headers.get('location') ?? '').pathname
    const patch = (at: number) =>
      call('PATCH', path, {
        headers: { ...tus, 'Upload-Offset': String(at), 'Content-Type': 'application/offset+octet-stream' },
        body: 'x',
      })
    for (let at = 0; at < pieces; at++) expect((await patch(at)).status).toBe(204)
    expect((await call('HEAD', path, { headers: tus })).headers.get('upload-offset')).toBe(String(pieces))
    expect(limitOf(await call('GET', '/api/v1/auth/whoami')).left).toBe(limit - 2)
    let last = 0
    for (let i = 0; i < 100 * limit && last !== 429; i++) last = (await patch(pieces)).status
    expect(last).toBe(429)
  })

  it('takes the whole network of an IPv6 address for one', async () => {
    for (let i = 0; i < limit; i++)
      await call('GET', '/v1/assets/x', { key: wrongKey(i), headers: from(`2001:db8::${i}`) })
    const last = { key: wrongKey(0), headers: from('2001:db8::ffff:1') }
    expect((await call('GET', '/v1/assets/x', last)).status).toBe(429)
    expect((await call('GET', '/v1/assets/x', { ...last, headers: from('2001:db8:0:1::1') })).status).toBe(401)
  })
})

it('a server without a limit still limits what has no valid credentials', async () => {
  const gateway = await startGateway()
  try {
    const call = clientOf(gateway, gateway.key)
    const statuses: number[] = []
    for (let i = 0; i < 302; i++) statuses.push((await call('GET', '/v1/assets/x', { key: wrongKey(i) })).status)
    expect([statuses[0], statuses.at(-1)]).toEqual([401, 429])
    expect((await call('GET', '/api/v1/auth/whoami')).status).toBe(200)
  } finally {
    await gateway.close()
  }
})

it('a server without a limit says nothing of one', async () => {
  const gateway = await startGateway()
  try {
    const answer = await clientOf(gateway, gateway.key)('GET', '/api/v1/auth/whoami')
    expect(answer.status).toBe(200)
    for (const name of ['ratelimit', 'ratelimit-policy']) expect(answer.headers.get(name)).toBeNull()
  } finally {
    await gateway.close()
  }
})

describe('the window', () => {
  let server: HttpServer
  let call: Client
  let failure: Error | undefined
  beforeEach(async () => {
    failure = undefined
    vi.useFakeTimers({ toFake: ['Date'] })
    const authenticate = limited(async () => (failure ? Promise.reject(failure) : principal), limit)
    server = await startHttpServer(
      httpHandler({
        corsOrigins: [],
        origin: originReader(null, true),
        log: pino({ level: 'silent' }),
        routes: (routes) =>
          routes.get('/v1/assets/x', async (ctx) => {
            await authenticate(ctx)
            ctx.body = {}
          }),
      }),
      { host: '127.0.0.1', port: 0 },
    )
    call = clientOf(server, '')
  })
  afterEach(async () => {
    vi.useRealTimers()
    await server.stop(0)
  })
  const ask = () => call('GET', '/v1/assets/x')

  it('begins with the first request and gives everything back at its end', async () => {
    expect(limitOf(await ask())).toEqual({ left: limit - 1, seconds: 60 })
    vi.advanceTimersByTime(59_500)
    for (let i = 1; i < limit; i++) await ask()
    const refused = await ask()
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('1')
    vi.advanceTimersByTime(500)
    expect(limitOf(await ask())).toEqual({ left: limit - 1, seconds: 60 })
  })

  it('of an address ends as well', async () => {
    failure = new UploadError('token_expired', 'x')
    for (let i = 0; i < limit; i++) expect((await ask()).status).toBe(401)
    expect((await ask()).status).toBe(429)
    vi.advanceTimersByTime(60_000)
    expect((await ask()).status).toBe(401)
  })

  it('is not used up by what is nobody’s fault', async () => {
    failure = new UploadError('storage_failed', 'x', { retryAfter: 5 })
    for (let i = 0; i <= limit; i++) expect((await ask()).status).toBe(503)
    failure = undefined
    expect((await ask()).status).toBe(200)
  })
})

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
    ['1::', '1:0:0:0'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:0DB8:0:0:ffff::', '2001:db8:0:0'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1::5:6:7:8', '2001:db8:1:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['no address', 'no address'],
  ])('%s is %s', (ip, network) => {
    expect(networkOf(ip)).toBe(network)
  })
})
