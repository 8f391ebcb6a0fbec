import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusalOf } from '../contracts/dialect.ts'
import { addKeys, type Answer, type Client, clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { startIssuer, type TestIssuer, tokenBy } from '../support/jwks.ts'
import { badTokens, claims, goodTokens, jwtConfig, keys, published, publishedOddities } from '../support/token-cases.ts'

const quota = 5_000_000 // bytes
const detail = { errors: 'detail', errorType: 'application/json' } as const
const bytes = Buffer.from('what only one workspace may see')
const personalId = /^personal_[A-Za-z0-9_-]{43}$/

let issuer: TestIssuer
let gateway: TestGateway
beforeAll(async () => {
  issuer = await startIssuer(published, publishedOddities)
  gateway = await startGateway({
    config: `export default { plugins: [], ${jwtConfig} }`,
    env: { FAIRLEAD_JWT_JWKS_URL: issuer.url, FAIRLEAD_WORKSPACE_QUOTA: String(quota) },
  })
})
afterAll(async () => {
  await gateway.close()
  await issuer.leave()
})

const tokenOf = (sub: string, workspace: string | null): string =>
  tokenBy(keys.rsa, claims({ sub, org_id: workspace ?? undefined }))
/** A client with a token of the user, whose active organization is the workspace. */
const user = (sub: string, workspace: string | null = null): Client => clientOf(gateway, tokenOf(sub, workspace))
const newId = (): string => `org_${randomUUID().slice(0, 8)}`
/** The body of an answer that must be a good one. */
const worked = (answer: Answer): Answer => {
  expect(answer.status).toBeLessThan(300)
  return answer
}

interface WhoAmI {
  readonly user_id: string
  readonly workspace_id: string
  readonly scopes: readonly string[]
  readonly key_name: string | null
}
const whoami = async (by: Client): Promise<WhoAmI> =>
  worked(await by('GET', '/api/v1/auth/whoami')).json<{ data: WhoAmI }>().data

async function send(by: Client): Promise<string> {
  const answer = await by('POST', '/v1/uploads', { headers: { 'x-file-name': 'secret.txt' }, body: bytes })
  return worked(answer).json<{ data: { assetId: string } }>().data.assetId
}

const create = (by: Client): Promise<Answer> =>
  by('POST', '/api/v1/uploads', { json: { filename: 'a.txt', category: 'document', size_bytes: 3 } })
const askFor = (by: Client, workspace: string): Promise<Answer> =>
  by('GET', '/api/v1/auth/whoami', { headers: { 'x-workspace-id': workspace } })

interface Usage {
  readonly storage: { readonly used_bytes: number; readonly quota_bytes: number; readonly percent: number }
  readonly uploads: { readonly total: number }
}
const usage = async (by: Client): Promise<Usage> =>
  worked(await by('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data
const list = async (by: Client, path = '/api/v1/uploads'): Promise<unknown[]> =>
  worked(await by('GET', path)).json<{ data: unknown[] }>().data

describe('a token', () => {
  it.each(goodTokens)('that is good: $what', async ({ token, workspace }) => {
    const { workspace_id: id, key_name: name } = await whoami(clientOf(gateway, token()))
    expect([id.replace(personalId, 'personal'), name]).toEqual([workspace, null])
  })

  it.each(badTokens)('that is refused: $what', async ({ token, code, says }) => {
    const answer = await clientOf(gateway, token())('GET', '/api/v1/auth/whoami')
    expect(refusalOf(answer, detail)).toBe(`401 ${code}`)
    expect(answer.json()['detail']).toContain(says)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="fairlead", error="invalid_token"')
  })

  it('leaves the set of keys alone, but for a few searches for keys that nobody knows', async () => {
    const before = issuer.requests()
    for (let tries = 0; tries < 20; tries++) {
      const answer = await clientOf(gateway, tokenBy(keys.rsa, claims(), { kid: randomUUID() }))('GET', '/v1/assets/x')
      expect(answer.status).toBe(401)
    }
    expect(issuer.requests() - before).toBeLessThanOrEqual(1)
  })

  it('is taken as a bearer only; API keys are taken as before', async () => {
    const token = tokenOf('ann', 'acme')
    const ask = (headers: Record<string, string>) =>
      clientOf(gateway, '')('GET', '/api/v1/auth/whoami', { key: null, headers })
    expect((await ask({ authorization: `bearer ${token}` })).status).toBe(200)
    expect((await ask({ authorization: `Bearer ${token}`, 'x-api-key': token })).status).toBe(200)
    expect(refusalOf(await ask({ 'x-api-key': token }), detail)).toBe('401 unauthenticated')
    expect(refusalOf(await ask({ authorization: `Bearer ${token}`, 'x-api-key': gateway.key }), detail)).toBe(
      '401 unauthenticated',
    )
    expect((await ask({ 'x-api-key': gateway.key })).status).toBe(200)
    expect((await ask({ authorization: `Bearer ${gateway.key}` })).status).toBe(200)
  })

  it.each([
    ['no credential', {}, 'Bearer realm="fairlead"'],
    ['another scheme', { authorization: 'Basic YTpi' }, 'Bearer realm="fairlead"'],
    ['a wrong API key', { 'x-api-key': 'op_live_nonsense' }, 'Bearer realm="fairlead", error="invalid_token"'],
    ['a test key', { 'x-api-key': 'op_test_nonsense' }, 'Bearer realm="fairlead", error="invalid_token"'],
  ])('is asked for in the words of RFC 6750: %s', async (_, headers, challenge) => {
    const answer = await clientOf(gateway, '')('GET', '/v1/assets/x', { key: null, headers })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe(challenge)
  })

  it('never shows in the log', async () => {
    const token = tokenOf('log', 'acme')
    await whoami(clientOf(gateway, token))
    await clientOf(gateway, token.slice(0, -3))('GET', '/api/v1/auth/whoami')
    const [, payload = '', signature = ''] = token.split('.')
    expect(gateway.log()).not.toContain(payload.slice(0, 40))
    expect(gateway.log()).not.toContain(signature.slice(0, 40))
  })
})

describe('a workspace', () => {
  it('says who is there', async () => {
    expect(await whoami(user('user_2ann', 'org_2acme'))).toEqual({
      user_id: 'user_2ann',
      workspace_id: 'org_2acme',
      scopes: ['uploads:read', 'uploads:write'],
      key_name: null,
    })
  })

  it('that is not there yet reads as an empty one, and is made by the first upload', async () => {
    const id = newId()
    const ann = user('ann', id)
    const known = async () => {
      const { json } = await gateway.run('workspaces', 'list')
      return Array.isArray(json) && json.some((one) => one.id === id)
    }
    expect(await list(ann)).toEqual([])
    expect(await usage(ann)).toMatchObject({
      storage: { used_bytes: 0, quota_bytes: quota, percent: 0 },
      uploads: { total: 0 },
    })
    const never = `/api/v1/uploads/${randomUUID()}`
    expect((await ann('GET', never)).status).toBe(404)
    expect((await ann('DELETE', never)).status).toBe(404)
    expect((await ann('POST', `${never}/confirm`)).status).toBe(404)
    const project = randomUUID()
    expect(await list(ann, `/v1/projects/${project}/assets`)).toEqual([])
    const bound = await ann('POST', `/v1/projects/${project}/assets`, { json: { assetId: randomUUID() } })
    expect(bound.status).toBe(404)
    expect(await known()).toBe(false)

    await send(ann)
    expect(await known()).toBe(true)
    expect(await list(ann)).toHaveLength(1)
    expect((await usage(ann)).storage.used_bytes).toBe(bytes.length)
  })

  it('is made by the first upload of the presigned API too, with a project as well, and by many at once', async () => {
    expect((await create(user('ann', newId()))).status).toBe(201)
    const headers = { 'x-file-name': 'a.txt', 'x-project-id': randomUUID() }
    expect((await user('ann', newId())('POST', '/v1/uploads', { headers, body: bytes })).status).toBe(201)
    const id = newId()
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => create(user(`user${i}`, id))))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
    expect((await usage(user('ann', id))).uploads.total).toBe(8)
  })

  it('is one for users and API keys', async () => {
    const id = newId()
    const { key } = await addKeys(gateway, { key: { workspaceId: id } })
    const sent = await send(user('ann', id))
    expect((await clientOf(gateway, key)('GET', `/v1/assets/${sent}`)).status).toBe(200)
    expect((await user('bob', id)('GET', `/v1/assets/${sent}`)).status).toBe(200)
  })

  it("does not know of another one's uploads: the answer is the same as for an id that never was", async () => {
    const [a, b] = [newId(), newId()]
    const ann = user('ann', a)
    const id = await send(ann)
    const strangers = { 'a user of B': user('bob', b), 'Ann in B': user('ann', b), 'Ann herself': user('ann') }
    const never = randomUUID()
    const asks = [
      ['GET', `/api/v1/uploads/${id}`],
      ['GET', `/api/v1/uploads/${id}/download`],
      ['POST', `/api/v1/uploads/${id}/confirm`],
      ['DELETE', `/api/v1/uploads/${id}`],
      ['GET', `/v1/assets/${id}`],
      ['DELETE', `/v1/assets/${id}`],
    ] as const
    for (const by of Object.values(strangers)) {
      for (const [method, path] of asks) {
        const theirs = await by(method, path)
        const none = await by(method, path.replace(id, never))
        expect([theirs.status, theirs.bytes.toString()]).toEqual([404, none.bytes.toString()])
      }
      const project = `/v1/projects/${randomUUID()}/assets`
      expect((await by('POST', project, { json: { assetId: id } })).status).toBe(404)
      expect(await list(by)).toEqual([])
      expect((await usage(by)).uploads.total).toBe(0)
    }
    expect((await ann('GET', `/api/v1/uploads/${id}/download`)).bytes).toEqual(bytes)
  })

  it('in X-Workspace-Id must be the one of the token: others are refused alike, whether they are there or not', async () => {
    const [mine, other] = [newId(), newId()]
    await send(user('bob', other))
    const personal = (await whoami(user('ann'))).workspace_id
    expect((await askFor(user('ann', mine), mine)).status).toBe(200)
    expect((await askFor(user('ann'), personal)).status).toBe(200)
    const refused = await Promise.all(
      [other, newId(), personal, 'default', 'no id!'].map((workspace) => askFor(user('ann', mine), workspace)),
    )
    for (const answer of [...refused, await askFor(user('ann'), mine)]) {
      expect(refusalOf(answer, detail)).toBe('403 workspace_forbidden')
      expect(answer.bytes).toEqual(refused[0]?.bytes)
    }
  })
})

describe('a personal workspace', () => {
  it("is the user's alone, and always the same", async () => {
    const [ann, again, bob] = [user('ann'), user('ann'), user('bob')]
    const { workspace_id: id } = await whoami(ann)
    expect(id).toMatch(personalId)
    expect((await whoami(again)).workspace_id).toBe(id)
    expect((await whoami(bob)).workspace_id).not.toBe(id)
    const sent = await send(ann)
    expect((await again('GET', `/v1/assets/${sent}`)).status).toBe(200)
    expect((await bob('GET', `/v1/assets/${sent}`)).status).toBe(404)
  })

  it('cannot be taken by a command, but it can be given a quota and projects once it is there', async () => {
    const ann = user('carol')
    const { workspace_id: id } = await whoami(ann)
    const refused = [
      ['workspaces', 'create', 'personal_'],
      ['keys', 'create', '--workspace', id],
    ]
    for (const args of refused) {
      const { code, stderr } = await gateway.run(...args)
      expect([code, stderr.trim().split('\n').length]).toEqual([2, 1])
      expect(stderr).toContain('personal_')
    }
    expect((await gateway.run('projects', 'create', 'p', '--workspace', id)).code).toBe(1)
    await send(ann)
    expect((await gateway.run('projects', 'create', 'p', '--workspace', id)).code).toBe(0)
    expect((await gateway.run('workspaces', 'set-quota', id, '10MB')).code).toBe(0)
    expect((await usage(ann)).storage.quota_bytes).toBe(10_000_000)
    expect((await gateway.run('doctor')).code).toBe(0)
  })
})
