import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { beforeAll, describe, expect, it } from 'vitest'
import { errorTitles } from '../../src/errors.ts'
import type { Scope } from '../../src/uploads/records.ts'
import { addKeys, type Answer, type Ask, type Client, clientOf, eventually } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'

/** One call that a dialect answers. */
export interface Endpoint {
  readonly method: string
  /** Path of the call about one upload, or about none in particular. */
  readonly path: (id: string) => string
  readonly ask?: (id: string) => Ask
  /** What must have happened to the upload before. */
  readonly prepare?: (client: Client, id: string) => Promise<unknown>
  /** Status of a call that works. */
  readonly status: number
  /** What the key must be allowed; `null`: any valid key will do. */
  readonly scope: Scope | null
  /** About one upload, which another workspace must not be able to tell from one that never was. */
  readonly one: boolean
  /** Status of HEAD, where it tells of something else than GET does. */
  readonly head?: number
  /** The path names the workspace, so that another one is refused whatever else it names. */
  readonly namesWorkspace?: boolean
}

export interface DialectContract {
  readonly gateway: () => TestGateway
  /** Which of the two shapes its errors have, and under which media type. */
  readonly errors: 'detail' | 'problem'
  readonly errorType: string
  /** Answers with JSON, and refuses clients that will not take it. @default true */
  readonly json?: boolean
  readonly endpoints: readonly Endpoint[]
}

/**
 * What an error answer says, such as `404 not_found`, once its body, media type and headers have the shape that the dialect promises.
 */
export function refusalOf(answer: Answer, shape: Pick<DialectContract, 'errors' | 'errorType'>): string {
  expect(answer.headers.get('content-type')?.split(';')[0]).toBe(shape.errorType)
  expect(answer.headers.get('x-request-id')).toMatch(/\S/)
  expect(answer.headers.get('www-authenticate') ?? '').toMatch(answer.status === 401 ? /^Bearer/ : /^$/)
  const body = answer.json()
  const code = String(shape.errors === 'detail' ? body['error_code'] : body['errorCode']).toLowerCase()
  const title = new Map<string, string>(Object.entries(errorTitles)).get(code)
  const detail = expect.stringMatching(/\S/)
  const type = STATUS_CODES[answer.status]?.toUpperCase().replaceAll(/\W+/g, '_')
  expect(body).toMatchObject(
    shape.errors === 'detail'
      ? { detail, error: title, error_code: code }
      : { type, title, status: answer.status, detail, errorCode: code.toUpperCase() },
  )
  return `${answer.status} ${code}`
}

const projectA = randomUUID()
const projectB = randomUUID()
const neverMade = 'op_live_0123456789abcdefghijABCDEFGHIJ01'

type Keys = Record<
  'own' | 'second' | 'foreign' | 'revoked' | 'expired' | 'reads' | 'writes' | 'onlyA' | 'onlyB',
  string
>

interface Refusal {
  readonly what: string
  readonly headers: (keys: Keys) => Record<string, string>
  readonly answer: string
}

const bearer = (key: string) => ({ Authorization: `Bearer ${key}` })
const unauthenticated = { answer: '401 unauthenticated' }
const reserved = { answer: '401 api_key_reserved' }
const forbidden = { answer: '403 workspace_forbidden' }

const refusals: readonly Refusal[] = [
  { what: 'no credential', headers: () => ({}), ...unauthenticated },
  { what: 'an empty bearer', headers: () => ({ Authorization: 'Bearer ' }), ...unauthenticated },
  { what: 'another scheme', headers: ({ own }) => ({ Authorization: `Basic ${own}` }), ...unauthenticated },
  { what: 'a key without a scheme', headers: ({ own }) => ({ Authorization: own }), ...unauthenticated },
  { what: 'two words', headers: ({ own }) => ({ Authorization: `Bearer ${own} ${own}` }), ...unauthenticated },
  { what: 'what is no key', headers: () => bearer('letmein'), ...unauthenticated },
  { what: 'a key that is cut', headers: ({ own }) => bearer(own.slice(0, -1)), ...unauthenticated },
  { what: 'a key that goes on', headers: ({ own }) => bearer(`${own}A`), ...unauthenticated },
  { what: 'a key that was never made', headers: () => bearer(neverMade), ...unauthenticated },
  { what: 'a revoked key', headers: ({ revoked }) => bearer(revoked), ...unauthenticated },
  { what: 'an expired key', headers: ({ expired }) => bearer(expired), ...unauthenticated },
  { what: 'an x-api-key that was never made', headers: () => ({ 'x-api-key': neverMade }), ...unauthenticated },
  { what: 'a revoked x-api-key', headers: ({ revoked }) => ({ 'x-api-key': revoked }), ...unauthenticated },
  {
    what: 'two keys, both good',
    headers: ({ own, second }) => ({ ...bearer(own), 'x-api-key': second }),
    ...unauthenticated,
  },
  { what: 'a test key', headers: ({ own }) => bearer(own.replace('live', 'test')), ...reserved },
  { what: 'a public key', headers: ({ own }) => bearer(own.replace('live', 'pub')), ...reserved },
  { what: 'a test x-api-key', headers: ({ own }) => ({ 'x-api-key': own.replace('live', 'test') }), ...reserved },
  { what: 'another workspace', headers: ({ own }) => ({ ...bearer(own), 'X-Workspace-Id': 'other' }), ...forbidden },
  {
    what: 'a workspace that never was',
    headers: ({ own }) => ({ ...bearer(own), 'X-Workspace-Id': 'nowhere' }),
    ...forbidden,
  },
]

const acceptances: readonly Pick<Refusal, 'what' | 'headers'>[] = [
  { what: 'a bearer', headers: ({ own }) => bearer(own) },
  { what: 'a scheme in small letters', headers: ({ own }) => ({ Authorization: `bearer ${own}` }) },
  { what: 'x-api-key', headers: ({ own }) => ({ 'x-api-key': own }) },
  { what: 'both headers, equal', headers: ({ own }) => ({ ...bearer(own), 'x-api-key': own }) },
  { what: 'its own workspace', headers: ({ own }) => ({ ...bearer(own), 'X-Workspace-Id': 'default' }) },
]

const titleOf = ({ method, path }: Endpoint): string => `${method} ${path(':id')}`

/** What every dialect does alike: who may call, whose uploads are whose, how errors look, what HTTP asks for. */
export function dialectContract(name: string, contract: DialectContract): void {
  const { endpoints } = contract
  const cases = <T extends { readonly what: string }>(list: readonly T[]) =>
    endpoints.flatMap((endpoint) => list.map((one) => ({ ...one, endpoint, title: titleOf(endpoint) })))
  const all = endpoints.map((endpoint) => ({ endpoint, title: titleOf(endpoint) }))
  const about = all.filter(({ endpoint }) => endpoint.one)

  let keys: Keys
  let client: Client
  beforeAll(async () => {
    keys = await addKeys(contract.gateway(), {
      own: {},
      second: {},
      foreign: { workspaceId: 'other' },
      revoked: { revokedAt: Date.now() },
      expired: { expiresAt: Date.now() - 1 },
      reads: { scopes: ['uploads:read'] },
      writes: { scopes: ['uploads:write'] },
      onlyA: { projects: [projectA] },
      onlyB: { projects: [projectB] },
    })
    client = clientOf(contract.gateway(), keys.own)
  })

  /** A finished upload of the default workspace, by the one request that every gateway takes. */
  async function make(projectId?: string): Promise<string> {
    const headers = { 'x-file-name': 'hello.txt', ...(projectId === undefined ? {} : { 'x-project-id': projectId }) }
    const answer = await client('POST', '/v1/uploads', { headers, body: 'Hello' })
    expect(answer.status).toBe(201)
    return answer.json<{ data: { assetId: string } }>().data.assetId
  }

  async function makeFor(endpoint: Endpoint, projectId?: string): Promise<string> {
    const id = await make(projectId)
    await endpoint.prepare?.(client, id)
    return id
  }

  const call = (endpoint: Endpoint, id: string, over: Ask = {}): Promise<Answer> => {
    const ask = endpoint.ask?.(id) ?? {}
    return client(endpoint.method, endpoint.path(id), { ...ask, ...over, headers: { ...ask.headers, ...over.headers } })
  }
  const present = async (id: string): Promise<boolean> => (await client('GET', `/api/v1/uploads/${id}`)).status === 200

  describe(`${name}: who may call`, () => {
    /** One upload for all refusals of an endpoint: none may touch it. */
    const untouched = new Map<Endpoint, Promise<string>>()

    it.each(cases(refusals))('$title refuses $what', async ({ endpoint, headers, answer }) => {
      const made = untouched.get(endpoint) ?? makeFor(endpoint)
      untouched.set(endpoint, made)
      const id = await made
      expect(refusalOf(await call(endpoint, id, { headers: headers(keys), key: null }), contract)).toBe(answer)
      expect(await present(id)).toBe(true)
    })

    it.each(cases(acceptances))('$title takes $what', async ({ endpoint, headers }) => {
      const answer = await call(endpoint, await makeFor(endpoint), { headers: headers(keys), key: null })
      expect(answer.status).toBe(endpoint.status)
    })

    it.each(all.filter(({ endpoint }) => endpoint.scope !== null))(
      '$title asks for its scope',
      async ({ endpoint }) => {
        const id = await makeFor(endpoint)
        const wrong = endpoint.scope === 'uploads:write' ? keys.reads : keys.writes
        expect(refusalOf(await call(endpoint, id, { key: wrong }), contract)).toBe('403 scope_missing')
        expect(await present(id)).toBe(true)
      },
    )

    it.each(all)('$title asks for no other scope', async ({ endpoint }) => {
      const id = await makeFor(endpoint)
      const right = endpoint.scope === 'uploads:write' ? keys.writes : keys.reads
      expect((await call(endpoint, id, { key: right })).status).toBe(endpoint.status)
    })
  })

  describe(`${name}: whose is what`, () => {
    it.each(about)('$title: what another workspace owns never was', async ({ endpoint }) => {
      const id = await makeFor(endpoint)
      const theirs = await call(endpoint, id, { key: keys.foreign })
      const never = await call(endpoint, randomUUID(), { key: keys.foreign })
      const refusal = endpoint.namesWorkspace ? '403 workspace_forbidden' : '404 not_found'
      expect(refusalOf(never, contract)).toBe(refusal)
      expect(refusalOf(theirs, contract)).toBe(refusal)
      expect(theirs.bytes.toString()).toBe(never.bytes.toString())
      expect(await present(id)).toBe(true)
    })

    it.each(about)('$title: an upload of a project outside the key’s list is forbidden', async ({ endpoint }) => {
      const id = await makeFor(endpoint, projectB)
      expect(refusalOf(await call(endpoint, id, { key: keys.onlyA }), contract)).toBe('403 project_forbidden')
      expect(await present(id)).toBe(true)
    })

    it('shows nothing of another workspace in any list', async () => {
      const id = await make()
      for (const endpoint of endpoints.filter(({ method, one }) => method === 'GET' && !one)) {
        const theirs = await call(endpoint, id, { key: keys.foreign })
        expect(theirs.status).toBe(endpoint.status)
        expect(theirs.bytes.toString()).not.toContain(id)
      }
      expect(await present(id)).toBe(true)
    })
  })

  describe(`${name}: HTTP`, () => {
    it.each(all)('$title: a request id, made or kept', async ({ endpoint }) => {
      const made = await call(endpoint, await makeFor(endpoint))
      expect(made.headers.get('x-request-id')).toMatch(/^req_[A-Za-z0-9]{16,}$/)
      const kept = await call(endpoint, await makeFor(endpoint), {
        headers: { 'X-Request-Id': 'req_0a1B2c3D4e5F6g7H' },
      })
      expect(kept.headers.get('x-request-id')).toBe('req_0a1B2c3D4e5F6g7H')
      await eventually(() => expect(contract.gateway().log()).toContain('"req_0a1B2c3D4e5F6g7H"'))
      const replaced = await call(endpoint, await makeFor(endpoint), { headers: { 'X-Request-Id': 'req_ "a b"' } })
      expect(replaced.headers.get('x-request-id')).toMatch(/^req_[A-Za-z0-9]{16,}$/)
    })

    it.each(all)('$title: errors carry the request id too', async ({ endpoint }) => {
      const headers = { 'X-Request-Id': 'req_0a1B2c3D4e5F6g7H' }
      const answer = await call(endpoint, randomUUID(), { headers, key: null })
      expect(answer.status).toBe(401)
      expect(answer.headers.get('x-request-id')).toBe('req_0a1B2c3D4e5F6g7H')
    })

    it.each(all)('$title: 404 below it', async ({ endpoint }) => {
      const answer = await client('GET', `${endpoint.path(randomUUID())}/nothing/at/all`)
      expect(refusalOf(answer, contract)).toBe('404 not_found')
    })

    it.each(all)('$title: 405 with Allow', async ({ endpoint }) => {
      const id = randomUUID()
      const path = endpoint.path(id)
      const methods = endpoints.filter((other) => other.path(id) === path).map(({ method }) => method)
      const answer = await client('PATCH', path)
      expect(refusalOf(answer, contract)).toBe('405 method_not_allowed')
      const allowed = answer.headers.get('allow')?.split(', ') ?? []
      expect(allowed).toEqual(expect.arrayContaining(methods))
      expect(allowed).not.toContain('PATCH')
    })

    it.each(contract.json === false ? [] : all)('$title: 406 for who takes no JSON', async ({ endpoint }) => {
      const id = await makeFor(endpoint)
      const refused = await call(endpoint, id, { headers: { Accept: 'text/html, image/*;q=0.9' } })
      expect(refusalOf(refused, contract)).toBe('406 not_acceptable')
      expect(await present(id)).toBe(true)
      const taken = await call(endpoint, id, { headers: { Accept: 'text/html, application/*;q=0.1' } })
      expect(taken.status).toBe(endpoint.status)
    })

    it.each(all.filter(({ endpoint }) => endpoint.method === 'GET'))('$title: HEAD', async ({ endpoint }) => {
      const id = await makeFor(endpoint)
      const get = await call(endpoint, id)
      const head = await call({ ...endpoint, method: 'HEAD' }, id)
      expect(head.status).toBe(endpoint.head ?? get.status)
      expect(head.bytes).toHaveLength(0)
      if (endpoint.head !== undefined) return
      expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'))
      expect(head.headers.get('content-length')).toBe(String(get.bytes.length))
    })
  })
}
