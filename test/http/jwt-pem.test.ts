import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { pemOf, type SigningKey, tokenBy } from '../support/jwks.ts'
import { keys, now } from '../support/token-cases.ts'

const tenantClaim = 'https://example.com/tenant'
const options = `workspaceClaim: '${tenantClaim}', scopesClaim: 'access.uploads', algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA']`

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway({
    config: `export default { plugins: [], jwt: { ${options} } }`,
    env: { FAIRLEAD_JWT_PUBLIC_KEY: pemOf(keys.rsa) },
  })
})
afterAll(() => gateway.close())

const scopes = ['uploads:read', 'uploads:write']
const claims = (over: Readonly<Record<string, unknown>> = {}) => ({
  sub: 'ann',
  exp: now() + 600,
  [tenantClaim]: 'acme',
  access: { uploads: scopes },
  ...over,
})
const ask = (token: string, method = 'GET', path = '/api/v1/auth/whoami'): Promise<Answer> =>
  clientOf(gateway, token)(method, path)
const whoami = async (over: Readonly<Record<string, unknown>> = {}, key: SigningKey = keys.rsa) => {
  const answer = await ask(tokenBy(key, claims(over)))
  const { data, detail } = answer.json<{ data?: { workspace_id: string; scopes: string[] }; detail?: string }>()
  return data ? { workspace: data.workspace_id, scopes: data.scopes } : { status: answer.status, detail }
}

describe('a key in the configuration', () => {
  it('verifies what it has signed, whatever the kid, and nothing else', async () => {
    expect(await whoami()).toEqual({ workspace: 'acme', scopes })
    for (const key of [keys.rsaOther, keys.ec, keys.ed]) expect(await whoami({}, key)).toMatchObject({ status: 401 })
    expect((await ask(tokenBy(keys.rsa, claims(), { alg: 'ES256' }))).status).toBe(401)
    expect((await ask(tokenBy(keys.rsa, claims(), { kid: undefined }))).status).toBe(200)
  })

  it('warns once at the start that any issuer is taken', () => {
    expect(gateway.log().match(/jwt\.issuer is not set/g)).toHaveLength(1)
  })

  it('takes the workspace from the claim that is configured, and from no other', async () => {
    expect(await whoami({ org_id: 'other', o: { id: 'third' } })).toMatchObject({ workspace: 'acme' })
    const personal = { workspace: expect.stringMatching(/^personal_/) }
    expect(await whoami({ [tenantClaim]: undefined, org_id: 'other' })).toMatchObject(personal)
    expect(await whoami({ [tenantClaim]: 'a b' })).toMatchObject({ status: 401 })
  })

  it('keeps users of different issuers apart', async () => {
    const over = { [tenantClaim]: undefined }
    const all = await Promise.all([{ iss: 'a' }, { iss: 'b' }, {}].map((iss) => whoami({ ...over, ...iss })))
    expect(new Set(all.map((one) => one.workspace)).size).toBe(3)
    expect(await whoami({ iss: 7 })).toMatchObject({ status: 401, detail: 'The token\'s "iss" is not text.' })
  })

  it.each([
    ['text', 'openid uploads:read profile', ['uploads:read']],
    ['a list', ['uploads:write', 'admin', 7], ['uploads:write']],
    ['nothing known', 'openid', []],
    ['null', null, []],
    ['a word that only begins like one', 'uploads:reads', []],
  ])('takes the scopes from the claim that is configured: %s', async (_, uploads, expected) => {
    expect(await whoami({ access: { uploads } })).toEqual({ workspace: 'acme', scopes: expected })
  })

  it('grants no scope where the claim is missing, and refuses one that is neither text nor a list', async () => {
    expect(await whoami({ access: undefined })).toEqual({ workspace: 'acme', scopes: [] })
    expect(await whoami({ access: { uploads: { read: true } } })).toMatchObject({ status: 401 })
    const token = tokenBy(keys.rsa, claims({ access: { uploads: 'uploads:read' } }))
    expect((await ask(token, 'GET', '/api/v1/uploads')).status).toBe(200)
    const create = await clientOf(gateway, token)('POST', '/api/v1/uploads', {
      json: { filename: 'a.txt', category: 'other' },
    })
    expect([create.status, create.json()['error_code']]).toEqual([403, 'scope_missing'])
  })
})

describe('the start', () => {
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
  const junk = '-----BEGIN PUBLIC KEY-----\nbm8ga2V5\n-----END PUBLIC KEY-----\n'

  it.each([
    ['junk inside the PEM lines', junk, /is no public key and no certificate/],
    ['a weak RSA key', pemOf(keys.weak), /has 1024 bits/],
    ['a key that fits no algorithm', pemOf(curve), /type ec secp256k1 fits none of jwt\.algorithms: RS256/],
  ])('stops with one line about %s', async (_, pem, reason) => {
    await gateway.stop()
    const failed = gateway.start({ FAIRLEAD_JWT_PUBLIC_KEY: pem })
    await expect(failed).rejects.toThrow(reason)
    const line = await failed.catch((error: unknown) => String(error).split('\n').at(-2))
    expect(line).toMatch(/^fairlead: FAIRLEAD_JWT_PUBLIC_KEY/)
    expect(line).not.toContain('bm8ga2V5')
  })

  it('takes a certificate, written in one line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-certificate-'))
    const path = join(folder, 'key.pem')
    writeFileSync(path, keys.ec.privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const subject = ['-subj', '/CN=issuer', '-days', '1']
    const certificate = execFileSync('openssl', ['req', '-x509', '-key', path, ...subject], { encoding: 'utf8' })
    rmSync(folder, { recursive: true })
    await gateway.stop()
    await gateway.start({ FAIRLEAD_JWT_PUBLIC_KEY: certificate.replaceAll('\n', '\\n') })
    expect(await whoami({}, keys.ec)).toMatchObject({ workspace: 'acme' })
    expect(await whoami({}, keys.rsa)).toMatchObject({ status: 401 })
  })
})
