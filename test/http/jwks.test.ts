import pino from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { UploadError } from '../../src/errors.ts'
import { tokenVerifier, type VerifyToken } from '../../src/http/jwt.ts'
import { clientOf, eventually } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { jwkOf, startIssuer, type TestIssuer, tokenBy } from '../support/jwks.ts'
import { claims, keys } from '../support/token-cases.ts'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const { rsa, ec } = keys

let issuer: TestIssuer
let lines: string[]
beforeEach(async () => {
  issuer = await startIssuer([rsa])
  lines = []
  // The clock is moved, the rest is real: the server, the connections, their timeouts.
  vi.useFakeTimers({ toFake: ['Date'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await issuer.leave()
})

const later = (ms: number): void => void vi.setSystemTime(Date.now() + ms)

async function verifier(): Promise<VerifyToken> {
  const log = pino({}, { write: (line: string) => void lines.push(line) })
  const algorithms = ['RS256', 'ES256', 'EdDSA'] as const
  const verify = await tokenVerifier({ jwksUrl: issuer.url, issuer: undefined, algorithms, leeway: 5 }, log)
  if (!verify) throw new Error('There is no verifier.')
  lines.length = 0
  return verify
}

/** The user that a fresh token by this key proves, or the code of the error. */
const ask = (verify: VerifyToken, key: Parameters<typeof tokenBy>[0], header = {}): Promise<string> =>
  verify(tokenBy(key, claims(), header)).then(
    ({ userId }) => userId,
    (error: unknown) => (error instanceof UploadError ? error.code : String(error)),
  )
const ann = 'user_2ann'

describe('the keys of an issuer', () => {
  it('are fetched when they are first needed, once for all who wait', async () => {
    const verify = await verifier()
    expect(issuer.requests()).toBe(0)
    expect(await Promise.all(Array.from({ length: 20 }, () => ask(verify, rsa)))).toEqual(Array(20).fill(ann))
    expect(issuer.requests()).toBe(1)
    later(9 * minute)
    expect(await ask(verify, rsa)).toBe(ann)
    expect(issuer.requests()).toBe(1)
  })

  it('are renewed after a while, without a wait', async () => {
    const verify = await verifier()
    await ask(verify, rsa)
    later(11 * minute)
    issuer.answer(() => {}) // hangs
    expect(await ask(verify, rsa)).toBe(ann)
    await eventually(() => expect(issuer.open()).toBe(1))
    expect(await ask(verify, rsa)).toBe(ann)
    expect(issuer.requests()).toBe(2)
  })

  it('are forgotten when the issuer publishes them no more', async () => {
    const verify = await verifier()
    await ask(verify, rsa)
    issuer.publish([ec])
    later(11 * minute)
    await ask(verify, rsa)
    await eventually(() => expect(issuer.requests()).toBe(2))
    await eventually(async () => expect(await ask(verify, rsa)).toBe('unauthenticated'))
    expect(await ask(verify, ec)).toBe(ann)
  })

  it('are looked up anew for a new key, at once and for all who come with it', async () => {
    const verify = await verifier()
    await ask(verify, rsa)
    issuer.publish([rsa, ec])
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(verify, ec)))
    expect(answers).toEqual(Array(20).fill(ann))
    expect(issuer.requests()).toBe(2)
  })

  it('are not looked up for every key that somebody makes up', async () => {
    const verify = await verifier()
    await ask(verify, rsa)
    for (let tries = 0; tries < 50; tries++)
      expect(await ask(verify, rsa, { kid: `made-up-${tries}` })).toBe('unauthenticated')
    expect(issuer.requests()).toBe(2)
    issuer.publish([rsa, ec])
    expect(await ask(verify, ec)).toBe('unauthenticated')
    later(10 * second)
    expect(await ask(verify, ec)).toBe(ann)
    expect(issuer.requests()).toBe(3)
  })
})

describe('an issuer that cannot be reached', () => {
  const faults: readonly [string, () => void | Promise<void>][] = [
    ['is away', () => issuer.leave()],
    ['answers 500', () => issuer.answer((_, res) => res.writeHead(500).end('{"keys":[]}'))],
    ['sends somewhere else', () => issuer.answer((_, res) => res.writeHead(302, { Location: '/' }).end())],
    ['answers HTML', () => issuer.answer((_, res) => res.end('<!doctype html>'))],
    ['answers other JSON', () => issuer.answer((_, res) => res.end('{"keys":7}'))],
    ['answers no keys', () => issuer.publish([])],
    ['answers too many keys', () => issuer.publish(Array(101).fill(rsa))],
    ['answers too much', () => issuer.publish([rsa], [{ ...jwkOf(ec), x5c: ['x'.repeat(300_000)] }])],
    [
      'never ends its answer',
      () =>
        issuer.answer((_, res) => {
          const timer = setInterval(() => res.write(' '.repeat(10_000)), 1)
          res.once('close', () => clearInterval(timer))
        }),
    ],
    [
      'breaks off',
      () =>
        issuer.answer((_, res) => res.writeHead(200, { 'Content-Length': 99 }).write('{"keys":', () => res.destroy())),
    ],
  ]

  it.each(faults)('%s: keys that are there serve on, without them it is 503', async (_, fault) => {
    const [warm, cold] = [await verifier(), await verifier()]
    await ask(warm, rsa)
    await fault()
    expect(await ask(cold, rsa)).toBe('not_ready')
    for (let passed = 0; passed < 3; passed++) {
      later(hour)
      expect(await ask(warm, rsa)).toBe(ann)
    }
    // A key that is not among them may be a new one: who could tell?
    expect(await ask(warm, ec)).toBe('not_ready')
    expect(await ask(warm, rsa)).toBe(ann)
    later(6 * hour)
    expect(await ask(warm, rsa)).toBe('not_ready')
  })

  it('hangs: the wait ends, and others do not wait again', async () => {
    const verify = await verifier()
    issuer.answer(() => {})
    expect(await Promise.all([ask(verify, rsa), ask(verify, rsa)])).toEqual(['not_ready', 'not_ready'])
    expect(await ask(verify, rsa)).toBe('not_ready')
    expect(issuer.requests()).toBe(1)
  })

  it('is asked again after a moment, and believed when it is back; the log says so once each', async () => {
    const verify = await verifier()
    await issuer.leave()
    for (let tries = 0; tries < 10; tries++) {
      const error = await verify(tokenBy(rsa, claims())).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'not_ready', retryAfter: 2 })
      later(second)
    }
    await issuer.comeBack()
    later(2 * second)
    expect(await ask(verify, rsa)).toBe(ann)
    expect(lines.map((line) => /"msg":"([^"]+)"/.exec(line)?.[1])).toEqual([
      'the keys of the token issuer cannot be fetched',
      'the keys of the token issuer are there again',
    ])
  })

  it('is asked again when the clock was set back', async () => {
    const verify = await verifier()
    await issuer.leave()
    expect(await ask(verify, rsa)).toBe('not_ready')
    await issuer.comeBack()
    later(-hour)
    expect(await ask(verify, rsa)).toBe(ann)
  })
})

describe('the server', () => {
  it('lives through rotation and outage of the issuer', async () => {
    vi.useRealTimers()
    const gateway = await startGateway({
      config: 'export default { plugins: [] }',
      env: { FAIRLEAD_JWT_JWKS_URL: issuer.url },
    })
    const get = (key: typeof rsa) => clientOf(gateway, tokenBy(key, claims()))('GET', '/api/v1/auth/whoami')
    const status = async (key: typeof rsa) => (await get(key)).status
    expect(await status(rsa)).toBe(200)
    issuer.publish([ec])
    expect(await status(ec)).toBe(200)
    expect(await status(rsa)).toBe(401)
    await issuer.leave()
    expect(await status(ec)).toBe(200)

    await gateway.stop()
    await gateway.start()
    const away = await get(ec)
    expect([away.status, away.headers.get('retry-after')]).toEqual([503, '2'])
    expect(away.json()).toEqual({
      detail: 'The keys of the token issuer cannot be fetched just now.',
      error: 'Not ready',
      error_code: 'not_ready',
    })
    expect((await clientOf(gateway, gateway.key)('GET', '/api/v1/auth/whoami')).status).toBe(200)
    expect((await clientOf(gateway, '')('GET', '/readyz', { key: null })).status).toBe(200)
    await issuer.comeBack()
    await eventually(async () => expect(await status(ec)).toBe(200))
    expect(await gateway.stop()).toBe(0)
    await gateway.close()
  })
})
