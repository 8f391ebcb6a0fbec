import { randomUUID } from 'node:crypto'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../config/load.ts'
import { startGateway as startInProcess } from '../../src/app.ts'
import {
  addKeys,
  type Answer,
  type Ask,
  type Client,
  clientOf,
  command,
  configText,
  pause,
  requestHead,
  wireTo,
} from '../support/client.ts'
import {
  assertDocumented,
  documentedClient,
  documentedOperations,
  operationAt,
  type Seen,
} from '../support/documented.ts'
import { type Blob, blobFor } from '../support/direct.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { field, file, formBytes, formType } from '../support/multipart.ts'

type Json = Readonly<Record<string, unknown>>
interface Document extends Json {
  readonly openapi: string
  readonly servers: readonly { readonly url: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}
interface Operation {
  readonly operationId: string
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly security?: readonly Json[]
}
interface Created {
  readonly upload: { readonly id: string; readonly download_url: string | null }
  readonly upload_url: string
  readonly upload_headers: Record<string, string>
}

const methodsOfPaths = ['get', 'head', 'put', 'post', 'delete', 'patch', 'options', 'trace']
const metricsToken = 'a-token-for-the-metrics'

let gateway: TestGateway
let hasty: TestGateway
beforeAll(async () => {
  const plugins = `sniffType({ deny: ['application/x-executable'] }), quota()`
  const more = `categories: { image: { types: ['image/*'] }, other: {} }`
  const env = { FAIRLEAD_MAX_FILE_SIZE: '100000', FAIRLEAD_METRICS_TOKEN: metricsToken }
  ;[gateway, hasty] = await Promise.all([
    startGateway({ config: configText(plugins, more), env }),
    startGateway({ config: configText('sniffType()', 'download: { ttl: 1 }'), env: { FAIRLEAD_PRESIGN_TTL: '1' } }),
  ])
})
afterAll(() => Promise.all([gateway.close(), hasty.close()]))

async function documentOf(url: string): Promise<Document> {
  const answer = await clientOf({ url }, '')('GET', '/openapi.json', { key: null })
  expect(answer.status).toBe(200)
  return answer.json<Document>()
}

/** `post /api/v1/uploads/{}`, for every one; how a parameter is called is nobody's business. */
const operationsOf = (document: Document): string[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((key) => methodsOfPaths.includes(key))
      .map((method) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`),
  )

/** What the document need not tell of. */
const isAside = (one: string): boolean => one.startsWith('head ') || / \/files(\/|$)/.test(one)

describe('the document', () => {
  it('tells of every route that is served, and of nothing else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fairlead-routes-'))
    const env = { FAIRLEAD_PORT: '0', FAIRLEAD_DATA_DIR: join(folder, 'data') }
    const served = await startInProcess(await loadConfig({ cwd: folder, env }), pino({ level: 'silent' }))
    try {
      const routes = served.routes.flatMap(({ methods, path }) =>
        methods.map((method) => `${method.toLowerCase()} ${path.replaceAll(/:\w+/g, '{}')}`),
      )
      const documented = operationsOf(await documentOf(served.url))
      expect(routes.length).toBeGreaterThan(20)
      expect(documented.filter((one) => !routes.includes(one))).toEqual([])
      // The router adds HEAD to every GET; the document says so once, in words. Of tus any method may stand for another.
      expect(routes.filter((one) => !documented.includes(one) && !isAside(one))).toEqual([])
    } finally {
      await served.stop()
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate({ ...(await documentOf(gateway.url)) })).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
    expect((await new Validator().validate({ ...(await documentOf(gateway.url)), paths: 7 })).valid).toBe(false)
  })

  it('names every path parameter, and every operation once', async () => {
    const { paths } = await documentOf(gateway.url)
    const ids: string[] = []
    for (const [path, item] of Object.entries(paths))
      for (const { operationId, parameters = [] } of Object.values(item)) {
        ids.push(operationId)
        const named = parameters.filter((one) => one.in === 'path').map(({ name }) => `{${name}}`)
        expect(path.match(/\{\w+\}/g) ?? []).toEqual(named)
      }
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('leads nowhere outside of itself', async () => {
    const text = JSON.stringify(await documentOf(gateway.url))
    const refs = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref)
    expect(refs.length).toBeGreaterThan(100)
    expect(refs.filter((ref) => !ref.startsWith('#/components/'))).toEqual([])
  })

  it('has what this installation decides: categories and limits', async () => {
    const { paths } = await documentOf(gateway.url)
    const create = JSON.stringify(paths['/api/v1/uploads']?.['post'])
    expect(create).toContain('"enum":["image","other"]')
    expect(create).toContain('100000 bytes')
  })

  it('asks for credentials where the gateway does', async () => {
    const { paths } = await documentOf(gateway.url)
    const open = Object.values(paths)
      .flatMap((item) => Object.values(item))
      .filter(({ security = [] }) => security.length === 0)
    expect(open.map(({ operationId }) => operationId).toSorted()).toEqual(
      [
        'discoverTus',
        'docs',
        'docsFile',
        'health',
        'llms',
        'openapi',
        'page',
        'pageFile',
        'putUploadBytes',
        'readiness',
      ].toSorted(),
    )
  })

  it('follows the address that was asked, or the public one', async () => {
    expect((await documentOf(gateway.url)).servers).toEqual([{ url: gateway.url }])
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('GET', '/openapi.json', { Host: 'files.example.org' }))
    expect((await wire.answer()).json<Document>().servers).toEqual([{ url: 'http://files.example.org' }])
    wire.cut()
    await hasty.stop()
    await hasty.start({ FAIRLEAD_PUBLIC_URL: 'https://up.example.org/files' })
    expect((await documentOf(hasty.url)).servers).toEqual([{ url: 'https://up.example.org/files' }])
    const guide = await clientOf(hasty, '')('GET', '/llms.txt', { key: null })
    expect(guide.bytes.toString()).toContain('curl https://up.example.org/files/v1/uploads ')
    await hasty.stop()
    await hasty.start()
  })
})

describe('every answer is as the document says', () => {
  const seen: Seen = new Set()
  let keys: Record<'own' | 'reads' | 'writes' | 'limited' | 'small' | 'foreign', string>
  let call: Client
  beforeAll(async () => {
    keys = await addKeys(gateway, {
      own: {},
      reads: { scopes: ['uploads:read'] },
      writes: { scopes: ['uploads:write'] },
      limited: { projects: [randomUUID()] },
      small: { workspaceId: 'small' },
      foreign: { workspaceId: 'other' },
    })
    await command(gateway, 'workspaces', 'set-quota', 'small', '100')
    call = documentedClient(clientOf(gateway, keys.own), seen)
  })

  /** Sends it, and expects this status. */
  async function expectStatus(status: number, method: string, path: string, ask: Ask = {}): Promise<Answer> {
    const answer = await call(method, path, ask)
    expect({ method, path, status: answer.status, body: answer.bytes.toString('utf8', 0, 300) }).toMatchObject({
      status,
    })
    return answer
  }
  async function created(body: object = {}, by = call): Promise<Created> {
    const json = { filename: 'file.bin', category: 'other', ...body }
    return (await by('POST', '/api/v1/uploads', { json })).json<{ data: Created }>().data
  }
  const put = (status: number, { upload_url: url, upload_headers: headers }: Created, body: string, query = '') =>
    expectStatus(status, 'PUT', url + query, { key: null, headers, body })
  async function confirmed(body = 'Hello'): Promise<string> {
    const made = await created()
    await put(200, made, body)
    await expectStatus(200, 'POST', `/api/v1/uploads/${made.upload.id}`)
    return made.upload.id
  }
  const asset = async (headers: Record<string, string> = {}): Promise<string> => {
    const ask = { headers: { 'x-file-name': 'a.txt', ...headers }, body: 'Hello' }
    return (await expectStatus(201, 'POST', '/v1/uploads', ask)).json<{ data: { assetId: string } }>().data.assetId
  }
  /** Everybody who may not. */
  async function forbidden(method: string, path: string, ask: Ask = {}): Promise<void> {
    await expectStatus(401, method, path, { ...ask, key: null })
    await expectStatus(401, method, path, { ...ask, key: keys.own.replace('live', 'test') })
    await expectStatus(403, method, path, { ...ask, headers: { ...ask.headers, 'X-Workspace-Id': 'nowhere' } })
  }

  it('creating an upload', async () => {
    const json = { filename: 'a.png', category: 'image', content_type: 'image/png', metadata: { a: 'b' } }
    await expectStatus(201, 'POST', '/api/v1/uploads', { json: { ...json, context_type: 't', context_id: 'i' } })
    await forbidden('POST', '/api/v1/uploads', { json })
    await expectStatus(403, 'POST', '/api/v1/uploads', { json, key: keys.reads })
    await expectStatus(406, 'POST', '/api/v1/uploads', { json, headers: { Accept: 'text/html' } })
    await expectStatus(413, 'POST', '/api/v1/uploads', { json: { ...json, size_bytes: 100_001 } })
    await expectStatus(413, 'POST', '/api/v1/uploads', { json: { ...json, size_bytes: 101 }, key: keys.small })
    await expectStatus(413, 'POST', '/api/v1/uploads', { json: { ...json, more: 'x'.repeat(70_000) } })
    await expectStatus(415, 'POST', '/api/v1/uploads', { json: { ...json, content_type: 'text/plain' } })
    await expectStatus(415, 'POST', '/api/v1/uploads', { body: 'a=b', headers: { 'Content-Type': 'text/plain' } })
    await expectStatus(422, 'POST', '/api/v1/uploads', { json: { category: 'none', size_bytes: -1, checksum: 'x' } })
    const headers = { 'Content-Type': 'application/json' }
    await expectStatus(400, 'POST', '/api/v1/uploads', { body: '{', headers })
  })

  it('putting the bytes, and confirming', async () => {
    const made = await created({ size_bytes: 5, checksum: `sha256:${'A'.repeat(43)}=` })
    const { id } = made.upload
    await expectStatus(409, 'POST', `/api/v1/uploads/${id}`)
    await put(422, made, 'Hell')
    await put(422, made, 'Hello')
    await put(403, made, 'Hello', 'x')
    await put(200, await created(), 'Hello')
    const image = await created({ category: 'image', filename: 'a.png' })
    await put(415, image, 'no image at all')
    await forbidden('POST', `/api/v1/uploads/${id}/confirm`)
    for (const path of ['', '/confirm']) {
      await expectStatus(404, 'POST', `/api/v1/uploads/${randomUUID()}${path}`)
      await expectStatus(422, 'POST', `/api/v1/uploads/${id}${path}`, { json: { context_type: 'x' } })
      await expectStatus(403, 'POST', `/api/v1/uploads/${id}${path}`, { key: keys.reads })
      await expectStatus(406, 'POST', `/api/v1/uploads/${id}${path}`, { headers: { Accept: 'image/*' } })
    }
    const whole = await created()
    await put(200, whole, 'Hello')
    await expectStatus(200, 'POST', `/api/v1/uploads/${whole.upload.id}/confirm`)
    await expectStatus(200, 'POST', `/api/v1/uploads/${whole.upload.id}/confirm`)
    await put(409, whole, 'Hello')
    const tiny = await created({}, documentedClient(clientOf(gateway, keys.small), seen))
    await put(413, tiny, 'x'.repeat(101))
  })

  it('uploads and URLs whose time is over', async () => {
    const late = documentedClient(clientOf(hasty, hasty.key), seen)
    const [open, done] = [await created({}, late), await created({}, late)]
    expect((await late('PUT', done.upload_url, { key: null, body: 'Hello' })).status).toBe(200)
    const confirm = await late('POST', `/api/v1/uploads/${done.upload.id}`)
    const url = confirm.json<{ data: Created['upload'] }>().data.download_url ?? ''
    await pause(2_100)
    expect((await late('PUT', open.upload_url, { key: null, body: 'Hello' })).status).toBe(410)
    expect((await late('GET', url, { key: null })).status).toBe(410)
  })

  it('reading, listing and deleting uploads', async () => {
    const id = await confirmed()
    await expectStatus(200, 'GET', `/api/v1/uploads/${id}`)
    await expectStatus(200, 'HEAD', `/api/v1/uploads/${id}`)
    await forbidden('GET', `/api/v1/uploads/${id}`)
    await expectStatus(403, 'GET', `/api/v1/uploads/${id}`, { key: keys.writes })
    await expectStatus(404, 'GET', `/api/v1/uploads/${id}`, { key: keys.foreign })
    await expectStatus(404, 'GET', '/api/v1/uploads/no-uuid')
    await expectStatus(200, 'GET', '/api/v1/uploads?limit=1&content_type=text/*&status=confirmed')
    await expectStatus(200, 'GET', '/api/v1/uploads', { key: keys.foreign })
    await expectStatus(422, 'GET', '/api/v1/uploads?limit=0&cursor=x')
    await forbidden('GET', '/api/v1/uploads')
    await expectStatus(403, 'GET', `/api/v1/uploads?project_id=${randomUUID()}`, { key: keys.limited })
    await forbidden('DELETE', `/api/v1/uploads/${id}`)
    await expectStatus(200, 'DELETE', `/api/v1/uploads/${id}`)
    await expectStatus(404, 'DELETE', `/api/v1/uploads/${id}`)
    const held = await asset({ 'x-project-id': randomUUID() })
    await expectStatus(409, 'DELETE', `/api/v1/uploads/${held}`)
    await expectStatus(403, 'GET', `/api/v1/uploads/${held}`, { key: keys.limited })
  })

  it('forms', async () => {
    const headers = { 'Content-Type': formType }
    const ask = { headers, body: formBytes([file('a.txt', 'a'), field('projectId', 'p')]) }
    const path = '/v2/default/project/p/upload'
    for (const to of [path, '/api/v1/uploads']) {
      await expectStatus(201, 'POST', to, ask)
      await forbidden('POST', to, ask)
      await expectStatus(400, 'POST', to, { headers, body: formBytes([field('name', 'n')]) })
      await expectStatus(400, 'POST', to, { headers, body: 'no form' })
      await expectStatus(403, 'POST', to, { ...ask, key: keys.reads })
      await expectStatus(413, 'POST', to, { headers, body: formBytes([file('a.bin', Buffer.alloc(100_001))]) })
      await expectStatus(415, 'POST', to, { ...ask, headers: { 'Content-Type': 'multipart/mixed' } })
      await expectStatus(406, 'POST', to, { ...ask, headers: { ...headers, Accept: 'text/html' } })
    }
    const one = `${path}/${(await call('POST', path, ask)).json<{ id: string }>().id}`
    await expectStatus(200, 'GET', one)
    await expectStatus(403, 'GET', one, { key: keys.foreign })
    await expectStatus(404, 'GET', `${path}/upl_x`)
    await expectStatus(400, 'GET', `/v2/default/project/${'p'.repeat(65)}/upload/x`)
    await forbidden('GET', one)
    await forbidden('DELETE', one)
    await expectStatus(204, 'DELETE', one)
    await expectStatus(404, 'DELETE', one)
  })

  it('usage and whoami', async () => {
    await confirmed()
    for (const range of ['', '?range=7d', '?range=90d']) await expectStatus(200, 'GET', `/api/v1/usage/summary${range}`)
    await expectStatus(200, 'GET', '/api/v1/usage/summary', { key: keys.small })
    await expectStatus(422, 'GET', '/api/v1/usage/summary?range=1d')
    await expectStatus(403, 'GET', '/api/v1/usage/summary', { key: keys.writes })
    await forbidden('GET', '/api/v1/usage/summary')
    await expectStatus(200, 'GET', '/api/v1/auth/whoami')
    await expectStatus(406, 'GET', '/api/v1/auth/whoami', { headers: { Accept: 'text/html' } })
    await forbidden('GET', '/api/v1/auth/whoami')
  })

  it('downloads', async () => {
    const id = await confirmed('0123456789')
    const path = `/api/v1/uploads/${id}/download`
    const whole = await expectStatus(200, 'GET', path)
    await expectStatus(200, 'HEAD', path)
    await expectStatus(206, 'GET', path, { headers: { Range: 'bytes=1-2' } })
    await expectStatus(206, 'GET', path, { headers: { Range: 'bytes=1-2,4-5' } })
    await expectStatus(200, 'HEAD', path, { headers: { Range: 'bytes=1-2' } })
    await expectStatus(304, 'GET', path, { headers: { 'If-None-Match': whole.headers.get('etag') ?? '' } })
    await expectStatus(304, 'HEAD', path, { headers: { 'If-None-Match': '*' } })
    await expectStatus(412, 'GET', path, { headers: { 'If-Match': '"x"' } })
    await expectStatus(416, 'GET', path, { headers: { Range: 'bytes=99-' } })
    await expectStatus(200, 'HEAD', path, { headers: { Range: 'bytes=99-' } })
    await expectStatus(403, 'GET', `${path}?expires=1&signature=x`, { key: null })
    await forbidden('GET', path)
    await expectStatus(404, 'GET', path, { key: keys.foreign })
    await expectStatus(409, 'GET', `/api/v1/uploads/${(await created()).upload.id}/download`)
  })

  it('assets and projects', async () => {
    const project = randomUUID()
    const send = { headers: { 'x-file-name': 'a.txt' }, body: 'Hello' }
    const id = await asset({ 'x-project-id': project })
    await forbidden('POST', '/v1/uploads', send)
    await expectStatus(400, 'POST', '/v1/uploads', { body: 'Hello' })
    await expectStatus(400, 'POST', '/v1/uploads', { ...send, body: '' })
    await expectStatus(400, 'POST', '/v1/uploads', { ...send, headers: { ...send.headers, 'x-project-id': 'x' } })
    await expectStatus(413, 'POST', '/v1/uploads', { ...send, body: 'x'.repeat(100_001) })
    await expectStatus(413, 'POST', '/v1/uploads', { ...send, body: 'x'.repeat(101), key: keys.small })
    await expectStatus(415, 'POST', '/v1/uploads', {
      ...send,
      headers: { ...send.headers, 'Content-Encoding': 'gzip' },
    })
    await expectStatus(403, 'POST', '/v1/uploads', { ...send, key: keys.reads })
    await expectStatus(406, 'POST', '/v1/uploads', { ...send, headers: { ...send.headers, Accept: 'image/*' } })

    await expectStatus(200, 'GET', `/v1/assets/${id}`)
    await forbidden('GET', `/v1/assets/${id}`)
    await expectStatus(404, 'GET', `/v1/assets/${randomUUID()}`)
    await expectStatus(200, 'GET', `/v1/projects/${project}/assets?pageSize=1`)
    await expectStatus(400, 'GET', `/v1/projects/${project}/assets?pageSize=0`)
    await expectStatus(400, 'GET', '/v1/projects/x/assets')
    await expectStatus(403, 'GET', `/v1/projects/${project}/assets`, { key: keys.limited })
    await forbidden('GET', `/v1/projects/${project}/assets`)
    await expectStatus(200, 'POST', `/v1/projects/${project}/assets`, { json: { assetId: id } })
    await expectStatus(400, 'POST', `/v1/projects/${project}/assets`, { json: { assetId: 'x' } })
    await expectStatus(404, 'POST', `/v1/projects/${project}/assets`, { json: { assetId: randomUUID() } })
    await expectStatus(415, 'POST', `/v1/projects/${project}/assets`, { body: 'x' })
    await forbidden('POST', `/v1/projects/${project}/assets`, { json: { assetId: id } })

    await expectStatus(409, 'DELETE', `/v1/assets/${id}`)
    await forbidden('DELETE', `/v1/projects/${project}/assets/${id}`)
    await expectStatus(204, 'DELETE', `/v1/projects/${project}/assets/${id}`)
    await expectStatus(404, 'DELETE', `/v1/projects/${project}/assets/${id}`)
    await forbidden('DELETE', `/v1/assets/${id}`)
    await expectStatus(204, 'DELETE', `/v1/assets/${id}`)
    await expectStatus(404, 'DELETE', `/v1/assets/${id}`)
  })

  it('direct uploads', async () => {
    const path = '/api/v1/upload/direct'
    const blob = blobFor(Buffer.from('Hello'), { content_type: 'text/plain' })
    const ask = { json: { blob } }
    const made = (await expectStatus(200, 'POST', path, ask)).json<Blob>()
    await expectStatus(422, 'POST', path, { json: {} })
    await expectStatus(413, 'POST', path, { json: { blob: { ...blob, byte_size: 100_001 } } })
    await expectStatus(415, 'POST', path, { body: 'x' })
    await expectStatus(400, 'POST', path, { body: '{', headers: { 'Content-Type': 'application/json' } })
    await forbidden('POST', path, ask)
    const look = `${path}/${made.signed_id}`
    expect((await expectStatus(200, 'GET', look)).json()).toMatchObject({ metadata: {} })
    const { url = '', headers } = made.direct_upload ?? {}
    await expectStatus(403, 'PUT', url, { body: 'Hello', key: null })
    await expectStatus(422, 'PUT', url, { ...(headers && { headers }), body: 'hello', key: null })
    await expectStatus(200, 'PUT', url, { ...(headers && { headers }), body: 'Hello', key: null })
    expect((await expectStatus(200, 'GET', look)).json()).toMatchObject({ metadata: { identified: true } })
    await expectStatus(404, 'GET', `${look}x`)
    await expectStatus(404, 'GET', look, { key: keys.foreign })
    await forbidden('GET', look)
  })

  it('a store that is away', async () => {
    const objects = join(gateway.dataDir, 'objects')
    await rename(objects, `${objects}.away`)
    try {
      const ask = { headers: { 'x-file-name': 'a.txt' }, body: 'Hello' }
      expect((await call('POST', '/v1/uploads', ask)).status).toBeGreaterThanOrEqual(502)
      await expectStatus(503, 'GET', '/readyz', { key: null })
    } finally {
      await rename(`${objects}.away`, objects)
    }
  })

  it('resumable uploads', async () => {
    const version = { 'Tus-Resumable': '1.0.0' }
    const chunk = { ...version, 'Content-Type': 'application/offset+octet-stream' }
    const creation = { ...version, 'Upload-Length': '5', 'Upload-Metadata': 'filename YS50eHQ=' }
    await expectStatus(204, 'OPTIONS', '/files', { key: null })
    await forbidden('POST', '/files', { headers: creation })
    const made = await expectStatus(201, 'POST', '/files', { headers: creation })
    const path = new URL(made.headers.get('location') ?? '').pathname
    await expectStatus(200, 'HEAD', path, { headers: version })
    for (const [status, headers] of [
      [400, { ...version, 'Upload-Length': '-1' }],
      [403, { ...creation, 'Upload-Metadata': 'project_id b3RoZXI=' }],
      [412, { ...creation, 'Tus-Resumable': '0.2.2' }],
      [413, { ...creation, 'Upload-Length': '100001' }],
    ] as const)
      await expectStatus(status, 'POST', '/files', { headers, key: status === 403 ? keys.limited : keys.own })
    for (const [status, headers] of [
      [400, chunk],
      [409, { ...chunk, 'Upload-Offset': '1' }],
      [415, { ...version, 'Content-Type': 'text/plain', 'Upload-Offset': '0' }],
      [412, { ...chunk, 'Tus-Resumable': '2' }],
      [460, { ...chunk, 'Upload-Offset': '0', 'Upload-Checksum': `sha256 ${'A'.repeat(43)}=` }],
    ] as const)
      await expectStatus(status, 'PATCH', path, { headers, body: 'Hello' })
    await expectStatus(413, 'PATCH', path, { headers: { ...chunk, 'Upload-Offset': '0' }, body: 'Hello, you' })
    await expectStatus(409, 'GET', path)
    await expectStatus(204, 'PATCH', path, { headers: { ...chunk, 'Upload-Offset': '0' }, body: 'Hello' })
    await expectStatus(200, 'HEAD', path, { headers: version })
    const { etag } = Object.fromEntries((await expectStatus(200, 'GET', path)).headers)
    await expectStatus(206, 'GET', path, { headers: { Range: 'bytes=1-2' } })
    await expectStatus(304, 'GET', path, { headers: { 'If-None-Match': etag ?? '', 'Cache-Control': 'max-age=0' } })
    await expectStatus(412, 'GET', path, { headers: { 'If-Match': '"other"' } })
    await expectStatus(416, 'GET', path, { headers: { Range: 'bytes=9-' } })
    await forbidden('HEAD', path, { headers: version })
    await expectStatus(404, 'HEAD', path, { headers: version, key: keys.foreign })
    await expectStatus(404, 'PATCH', '/files/none', { headers: { ...chunk, 'Upload-Offset': '0' }, body: 'Hello' })
    await expectStatus(204, 'DELETE', path, { headers: version })
    await expectStatus(404, 'DELETE', path, { headers: version })
  })

  it('operations and documentation', async () => {
    const nobody = { key: null }
    const browser = { ...nobody, headers: { Accept: 'text/html' } }
    await expectStatus(200, 'GET', '/healthz', nobody)
    await expectStatus(200, 'GET', '/healthz', browser)
    const other = documentedClient(clientOf(hasty, ''), seen) // this one's store was away a moment ago
    expect((await other('GET', '/readyz', nobody)).status).toBe(200)
    const about = [
      '/openapi.json',
      '/docs',
      '/llms.txt',
      '/docs/start.js',
      '/docs/swagger-ui.css',
      '/',
      '/page/page.js',
    ]
    for (const path of about) {
      await expectStatus(200, 'GET', path, browser)
      await expectStatus(200, 'HEAD', path, browser)
    }
    await expectStatus(404, 'GET', '/docs/package.json', browser)
    await expectStatus(404, 'GET', '/page/index.html', browser)
    await expectStatus(401, 'GET', '/metrics', browser)
    await expectStatus(200, 'GET', '/metrics', { key: metricsToken, headers: { Accept: 'text/plain' } })
    for (const path of ['/docs/swagger-ui-bundle.js', '/', '/page/page.css']) {
      const { etag } = Object.fromEntries((await expectStatus(200, 'GET', path, nobody)).headers)
      const known = { 'If-None-Match': etag ?? '', 'Cache-Control': 'max-age=0' }
      await expectStatus(304, 'GET', path, { ...nobody, headers: known })
    }
  })

  it('and every success that is documented was seen', () => {
    const successes = documentedOperations.flatMap(({ id, answers }) => Object.keys(answers).map((s) => `${id} ${s}`))
    const elsewhere = ['downloadUpload 302', 'downloadTusUpload 302'] // with another store
    expect(successes.filter((one) => !seen.has(one) && !elsewhere.includes(one))).toEqual([])
  })
})

describe('what is not as documented is found', () => {
  it.each<[string, (body: Record<string, unknown>) => void]>([
    ['a member more', (body) => (body['more'] = 1)],
    ['a member less', (body) => delete body['status']],
    ['another type', (body) => (body['size_bytes'] = '5')],
    ['another word', (body) => (body['status'] = 'ready')],
    ['a time of another shape', (body) => (body['created_at'] = '2026-11-21')],
  ])('%s', async (_what, change) => {
    const call = clientOf(gateway, gateway.key)
    const made = await call('POST', '/api/v1/uploads', { json: { filename: 'a', category: 'other' } })
    const { id } = made.json<{ data: Created }>().data.upload
    const answer = await call('GET', `/api/v1/uploads/${id}`)
    const operation = operationAt('GET', `/api/v1/uploads/${id}`)
    if (!operation) throw new Error('It is not documented.')
    assertDocumented(operation, answer)
    const body = answer.json<{ data: Record<string, unknown> }>()
    change(body.data)
    const bytes = Buffer.from(JSON.stringify(body))
    const forged: Answer = { ...answer, bytes, json: () => JSON.parse(bytes.toString()) }
    expect(() => assertDocumented(operation, forged)).toThrow('the body is not as documented')
    expect(() => assertDocumented(operation, { ...answer, status: 202 })).toThrow('the status is not documented')
    expect(() => assertDocumented(operation, { ...answer, headers: new Headers() })).toThrow('the headers are not')
  })

  it('an error with a code that the operation does not have', async () => {
    const answer = await clientOf(gateway, gateway.key)('GET', `/api/v1/uploads/${randomUUID()}`)
    const text = answer.bytes.toString().replace('not_found', 'rate_limited')
    const operation = operationAt('GET', '/api/v1/uploads/x')
    if (!operation) throw new Error('It is not documented.')
    assertDocumented(operation, answer)
    expect(() => assertDocumented(operation, { ...answer, json: () => JSON.parse(text) })).toThrow('error_code')
  })
})

const page = (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
  clientOf(gateway, '')('GET', path, { key: null, headers })

describe('/docs', () => {
  it.each(['/docs', '/docs/'])('%s loads nothing from elsewhere, and everything that it loads is there', async (at) => {
    const answer = await page(at, { Accept: 'text/html' })
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = answer.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/unsafe|\*|https:/)
    const html = answer.bytes.toString()
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|style=|\son\w+=/)
    const loaded = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url = '']) => new URL(url, gateway.url + at))
    expect(loaded).toHaveLength(4)
    for (const url of loaded) {
      expect(url.origin).toBe(gateway.url)
      const asked = await page(url.pathname)
      expect(asked.status).toBe(200)
      expect(asked.headers.get('content-type')).toMatch(/charset=utf-8$|^image\/png$/)
      expect(asked.headers.get('content-length')).toBe(String(asked.bytes.length))
    }
    const start = (await page('/docs/start.js')).bytes.toString()
    const relative = /new URL\('([^']+)'/.exec(start)?.[1] ?? ''
    expect(new URL(relative, `${gateway.url}/docs/start.js`).pathname).toBe('/openapi.json')
    expect(start).toContain('validatorUrl: null')
  })

  it.each(["a';script-src x", 'a; script-src *', 'a:99999', '1.2.3.999', '[::g]', '..'])(
    'keeps its policy for who asks for the host %s',
    async (host) => {
      const wire = await wireTo(gateway.url)
      await wire.send(requestHead('GET', '/docs', { Host: host }))
      const answer = await wire.answer()
      wire.cut()
      expect(answer.status).toBe(200)
      const policy = answer.headers.get('content-security-policy') ?? ''
      expect(policy.split('; ').filter((one) => !one.startsWith('connect-src '))).toEqual([
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ])
    },
  )

  it.each([
    'package.json',
    'index.html',
    'swagger-ui-bundle.js.map',
    '..%2f..%2fpackage.json',
    '%2e%2e%2fdocs%2fswagger-ui.css',
    encodeURIComponent(`${projectRoot}/package.json`),
    'swagger-ui.css%00',
    'constructor',
  ])('serves no %s', async (name) => {
    const answer = await page(`/docs/${name}`)
    expect(answer.status).toBe(404)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
  })
})

describe('/llms.txt', () => {
  it('is a title, a summary, links that lead somewhere, and calls that work', async () => {
    const call = clientOf(gateway, gateway.key)
    const text = (await call('GET', '/llms.txt', { key: null })).bytes.toString()
    expect(text).toMatch(/^# Fairlead\n\n> \S/)
    const links = [...text.matchAll(/\]\((\S+)\)/g)].map(([, url = '']) => url)
    expect(links).toEqual([`${gateway.url}/openapi.json`, `${gateway.url}/docs`])
    for (const link of links) expect((await call('GET', link, { key: null })).status).toBe(200)
    const asked = [...text.matchAll(/curl (?:-X (\w+) )?(http:\S+)/g)]
    expect(asked.length).toBeGreaterThanOrEqual(3)
    const unknown = asked.filter(([, method = 'POST', url = '']) => !operationAt(method, new URL(url).pathname))
    expect(unknown).toEqual([])
  })
})
