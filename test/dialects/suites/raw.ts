import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dialectContract, refusalOf } from '../../contracts/dialect.ts'
import {
  addKeys,
  type Answer,
  type Ask,
  chunked,
  type Client,
  clientOf,
  command,
  eventually,
  oddId,
  requestHead,
  sha256,
  wireTo,
} from '../../support/client.ts'
import type { TestGateway } from '../../support/gateway.ts'
import { type Place, strays } from '../../support/places.ts'
import { samplePath } from '../../support/samples.ts'

const maxFileSize = 300_000 // bytes
const shape = { errors: 'problem', errorType: 'application/json' } as const
const contractProject = randomUUID()

interface Asset {
  readonly assetId: string
  readonly type: string
  readonly source: string
  readonly filename: string
  readonly mimetype: string
  readonly size: number
  readonly fileUrl: string
  readonly fileKey: string
  readonly width: number | null
  readonly height: number | null
  readonly duration: number | null
}

const assets = (project: string): string => `/v1/projects/${project}/assets`

/** What this API does wherever the files are. */
export function rawSuite(place: Place): void {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await place.start({ env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
    call = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway.close())

  dialectContract('raw', {
    gateway: () => gateway,
    ...shape,
    endpoints: [
      {
        method: 'POST',
        path: () => '/v1/uploads',
        ask: () => ({ headers: { 'x-file-name': 'a.txt' }, body: 'a' }),
        status: 201,
        scope: 'uploads:write',
        one: false,
      },
      { method: 'GET', path: (id) => `/v1/assets/${id}`, status: 200, scope: 'uploads:read', one: true },
      { method: 'DELETE', path: (id) => `/v1/assets/${id}`, status: 204, scope: 'uploads:write', one: true },
      {
        method: 'GET',
        path: () => `/v1/projects/${contractProject}/assets`,
        status: 200,
        scope: 'uploads:read',
        one: false,
      },
      {
        method: 'POST',
        path: () => `/v1/projects/${contractProject}/assets`,
        ask: (assetId) => ({ json: { assetId } }),
        status: 200,
        scope: 'uploads:write',
        one: true,
      },
      {
        method: 'DELETE',
        path: (id) => `/v1/projects/${contractProject}/assets/${id}`,
        prepare: (client, assetId) => client('POST', `/v1/projects/${contractProject}/assets`, { json: { assetId } }),
        status: 204,
        scope: 'uploads:write',
        one: true,
      },
    ],
  })

  const upload = (body: Ask['body'], name = 'file.bin', headers: Record<string, string> = {}): Promise<Answer> =>
    call('POST', '/v1/uploads', {
      headers: { 'x-file-name': name, ...headers },
      ...(body === undefined ? {} : { body }),
    })

  async function made(body: Ask['body'], name?: string, headers?: Record<string, string>): Promise<Asset> {
    const answer = await upload(body, name, headers)
    expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 201 })
    const { data, meta } = answer.json<{ data: Asset; meta: object }>()
    expect(meta).toEqual({})
    return data
  }

  interface Summary {
    readonly storage: { readonly used_bytes: number; readonly reserved_bytes: number }
    readonly uploads: Readonly<Record<string, number>>
  }
  const usage = async (client = call): Promise<Summary> =>
    (await client('GET', '/api/v1/usage/summary')).json<{ data: Summary }>().data

  /** Nothing of a refused request remains: not in the records, not in the counters, not in the store. */
  async function leavesNothing(act: () => Promise<void>): Promise<void> {
    const before = await usage()
    await act()
    await eventually(async () => {
      const { storage, uploads } = await usage()
      expect({ storage, uploads }).toEqual({ storage: before.storage, uploads: before.uploads })
      expect(await strays(place, gateway)).toEqual([])
    })
  }

  const refusal = (answer: Answer): string => refusalOf(answer, shape)

  describe('POST /v1/uploads', () => {
    it('makes an asset of exactly these bytes', async () => {
      const bytes = randomBytes(200_000)
      const answer = await upload(bytes, 'noise')
      expect(answer.status).toBe(201)
      const { data } = answer.json<{ data: Asset }>()
      expect(data).toEqual({
        assetId: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        type: 'other',
        source: 'upload',
        filename: 'noise',
        mimetype: 'application/octet-stream',
        size: 200_000,
        fileUrl: expect.stringContaining(`${gateway.url}/`),
        fileKey: expect.stringMatching(/\S/),
        width: null,
        height: null,
        duration: null,
      })
      expect(answer.headers.get('location')).toBe(`/v1/assets/${data.assetId}`)
      const file = await call('GET', data.fileUrl, { key: null })
      expect(file.status).toBe(200)
      expect(sha256(file.bytes)).toBe(sha256(bytes))
    })

    it('puts nothing that the client sent into the key', async () => {
      const { fileKey } = await made('x', 'secret-name.exe', { 'Content-Type': 'application/x-evil' })
      expect(fileKey).not.toMatch(/secret|name|exe|evil|default/)
    })

    it.each([
      ['picture.png', 'image', 'image/png'],
      ['film.webm', 'video', 'video/webm'],
      ['sound.flac', 'audio', 'audio/flac'],
      ['ascii.pdf', 'document', 'application/pdf'],
      ['plain.zip', 'archive', 'application/zip'],
      ['plain.txt', 'text', 'text/plain'],
      ['module.wasm', 'other', 'application/wasm'],
    ])('%s is of the type %s', async (file, type, mimetype) => {
      expect(await made(await readFile(samplePath({ file })), file)).toMatchObject({ type, mimetype })
    })

    it('corrects a name and a Content-Type that lie', async () => {
      const png = await readFile(samplePath({ file: 'picture.png' }))
      const asset = await made(png, 'notes.txt', { 'Content-Type': 'text/plain; charset=utf-8' })
      expect(asset).toMatchObject({ type: 'image', mimetype: 'image/png', filename: 'notes.txt' })
    })

    it('tells the meaning of an ambiguous name from a Content-Type, parameters or none', async () => {
      const sound = await readFile(samplePath({ file: 'voice.webm' }))
      for (const type of ['audio/webm', 'audio/webm; codecs=opus'])
        expect(await made(sound, 'voice.webm', { 'Content-Type': type })).toMatchObject({ mimetype: 'audio/webm' })
    })

    it('takes a chunked body', async () => {
      const parts = Array.from({ length: 9 }, () => randomBytes(7_001))
      const asset = await made(chunked(parts, 1))
      expect(asset.size).toBe(63_009)
      expect(sha256((await call('GET', asset.fileUrl, { key: null })).bytes)).toBe(sha256(Buffer.concat(parts)))
    })

    it('takes a file of exactly the largest size, announced or chunked', async () => {
      const bytes = randomBytes(maxFileSize)
      expect((await made(bytes)).size).toBe(maxFileSize)
      expect((await made(chunked([bytes]))).size).toBe(maxFileSize)
    })

    it('is charged to the workspace', async () => {
      const before = await usage()
      await made('12345')
      const after = await usage()
      expect(after.storage.used_bytes - before.storage.used_bytes).toBe(5)
      expect(after.storage.reserved_bytes).toBe(before.storage.reserved_bytes)
      expect((after.uploads['confirmed'] ?? 0) - (before.uploads['confirmed'] ?? 0)).toBe(1)
    })

    it.each([
      ['of a Content-Length of 0', { 'Content-Length': 0 }, ''],
      ['that does not exist', {}, ''],
      ['of no chunks', { 'Transfer-Encoding': 'chunked' }, '0\r\n\r\n'],
    ])('refuses a body %s as empty', async (_what, headers, body) => {
      await leavesNothing(async () => {
        const wire = await wireTo(gateway.url)
        const auth = { Authorization: `Bearer ${gateway.key}`, 'x-file-name': 'a.txt' }
        await wire.send(requestHead('POST', '/v1/uploads', { ...auth, ...headers }) + body)
        expect(refusal(await wire.answer())).toBe('400 empty_body')
        wire.cut()
      })
    })

    it('refuses what is announced as too large before any byte of it', async () => {
      await leavesNothing(async () => {
        const wire = await wireTo(gateway.url)
        const headers = {
          Authorization: `Bearer ${gateway.key}`,
          'x-file-name': 'a',
          'Content-Length': maxFileSize + 1,
        }
        await wire.send(requestHead('POST', '/v1/uploads', headers))
        expect(refusal(await wire.answer())).toBe('413 file_too_large')
        expect(await wire.closed()).toBe(true)
      })
    })

    it('cuts a chunked body off at the limit and keeps nothing', async () => {
      await leavesNothing(async () => {
        expect(refusal(await upload(chunked([randomBytes(maxFileSize), randomBytes(1)])))).toBe('413 file_too_large')
      })
    })

    it('refuses a form, and says where forms go; a file that is one has another type', async () => {
      const form = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
      const send = (type: string) =>
        call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.mht', 'Content-Type': type }, body: form })
      await leavesNothing(async () => {
        for (const type of [
          'multipart/form-data; boundary=b',
          'Multipart/Form-Data;boundary=b',
          'multipart/form-data',
        ]) {
          const answer = await send(type)
          expect([type, refusal(answer)]).toEqual([type, '415 unsupported_media_type'])
          expect(answer.json()['detail']).toContain('/v2/{team_id}/project/{project_id}/upload')
        }
      })
      for (const type of ['application/octet-stream', 'message/rfc822', 'multipart/related; boundary=b'])
        expect([type, (await send(type)).status]).toEqual([type, 201])
    })

    it('refuses a content coding, which nobody here would undo', async () => {
      await leavesNothing(async () => {
        expect(refusal(await upload('gzipped', 'a.txt', { 'Content-Encoding': 'gzip' }))).toBe(
          '415 unsupported_media_type',
        )
      })
    })
  })

  describe('x-file-name', () => {
    it.each([
      ['plain', 'report 2026.txt', 'report 2026.txt'],
      ['percent-encoded', 'Gr%C3%BC%C3%9Fe%20%E2%82%AC.txt', 'Grüße €.txt'],
      ['UTF-8 as it is', Buffer.from('Grüße 日本.txt').toString('latin1'), 'Grüße 日本.txt'],
      ['a percent sign that encodes nothing', '100%.txt', '100%.txt'],
      ['an escape of what is no UTF-8', '%FF.txt', '%FF.txt'],
      ['a path', '/etc/passwd', 'passwd'],
      ['a path upwards', '../../up.txt', 'up.txt'],
      ['an encoded path', '..%2F..%2Fup.txt', 'up.txt'],
      ['a path of Windows', String.raw`C:\Users\me\photo.jpg`, 'photo.jpg'],
      ['an encoded path of Windows', 'C:%5Cphoto.jpg', 'photo.jpg'],
      ['encoded control characters', 'a%00b%0D%0Ac%7Fd%C2%85e.txt', 'abcde.txt'],
      ['blanks around it', '%20%20a.txt%20', 'a.txt'],
      ['three dots', '...', '...'],
      ['quotes and semicolons', "a\";b='c'.txt", "a\";b='c'.txt"],
      ['512 characters', 'n'.repeat(512), 'n'.repeat(512)],
      ['513 characters', 'n'.repeat(513), 'n'.repeat(512)],
      ['513 encoded characters', encodeURIComponent(`${'é'.repeat(509)}.txt`), `${'é'.repeat(508)}.txt`],
      ['a long path', `${'folder/'.repeat(100)}a.txt`, 'a.txt'],
      ['512 characters that need many bytes', encodeURIComponent('é'.repeat(512)), 'é'.repeat(512)],
      ['512 characters beyond the basic plane', encodeURIComponent('😀'.repeat(512)), '😀'.repeat(512)],
    ])('%s', async (_what, header, filename) => {
      const asset = await made('x', header)
      expect(asset.filename).toBe(filename)
      const read = await call('GET', `/v1/assets/${asset.assetId}`)
      expect(read.json<{ data: Asset }>().data.filename).toBe(filename)
    })

    it.each([
      ['none', undefined],
      ['an empty one', ''],
      ['blanks', '   '],
      ['encoded blanks', '%20%20'],
      ['a dot', '.'],
      ['two dots', '..'],
      ['encoded dots', '%2E%2E'],
      ['a path that ends with a slash', 'folder/'],
      ['a path that ends with dots', 'folder/..'],
      ['an encoded slash', '%2F'],
      ['a backslash', '\\'],
      ['control characters only', '%00%0A%1F'],
    ])('refuses %s', async (_what, header) => {
      await leavesNothing(async () => {
        const headers = header === undefined ? {} : { 'x-file-name': header }
        expect(refusal(await call('POST', '/v1/uploads', { headers, body: 'x' }))).toBe('400 validation_failed')
      })
    })
  })

  describe('assets', () => {
    it('are read again as they were made', async () => {
      const asset = await made('Hello', 'hello.txt')
      const answer = await call('GET', `/v1/assets/${asset.assetId}`)
      expect(answer.status).toBe(200)
      const { data, meta } = answer.json<{ data: Asset; meta: object }>()
      expect(meta).toEqual({})
      expect({ ...data, fileUrl: '' }).toEqual({ ...asset, fileUrl: '' })
      expect((await call('GET', data.fileUrl, { key: null })).bytes.toString()).toBe('Hello')
    })

    it('are no assets before their bytes have come', async () => {
      const created = await call('POST', '/api/v1/uploads', { json: { filename: 'a.txt', category: 'document' } })
      const { id } = created.json<{ data: { upload: { id: string } } }>().data.upload
      expect(refusal(await call('GET', `/v1/assets/${id}`))).toBe('404 not_found')
    })

    it('are deleted with 204, then 404; bytes and charge go', async () => {
      const before = await usage()
      const asset = await made(randomBytes(1_000))
      const answer = await call('DELETE', `/v1/assets/${asset.assetId}`)
      expect(answer.status).toBe(204)
      expect(answer.bytes).toHaveLength(0)
      expect((await usage()).storage).toEqual(before.storage)
      for (const method of ['GET', 'DELETE'])
        expect(refusal(await call(method, `/v1/assets/${asset.assetId}`))).toBe('404 not_found')
      expect((await call('GET', asset.fileUrl, { key: null })).status).toBe(404)
      await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    })

    it.each(['nonsense', '00000000-0000-0000-0000-000000000000', oddId, '%00', '..%2F..'])('%s is none', async (id) => {
      expect(refusal(await call('GET', `/v1/assets/${id}`))).toBe('404 not_found')
    })
  })

  interface Page {
    readonly data: readonly Asset[]
    readonly meta: { readonly nextPageCursor: string | null }
  }
  const page = async (project: string, query = ''): Promise<Page> => {
    const answer = await call('GET', assets(project) + query)
    expect(answer.status).toBe(200)
    return answer.json<Page>()
  }
  const idsOf = ({ data }: Page): string[] => data.map((asset) => asset.assetId)

  describe('projects', () => {
    it('hold what was uploaded with x-project-id until it is unbound', async () => {
      const project = randomUUID()
      const { assetId } = await made('x', 'a.txt', { 'x-project-id': project })
      expect(idsOf(await page(project))).toEqual([assetId])
      expect(refusal(await call('DELETE', `/v1/assets/${assetId}`))).toBe('409 asset_referenced')
      const presigned = await call('DELETE', `/api/v1/uploads/${assetId}`)
      expect(presigned.status).toBe(409)
      expect(presigned.json()).toMatchObject({ error_code: 'asset_referenced' })
      expect((await call('DELETE', `${assets(project)}/${assetId}`)).status).toBe(204)
      expect(refusal(await call('DELETE', `${assets(project)}/${assetId}`))).toBe('404 not_found')
      expect(idsOf(await page(project))).toEqual([])
      expect((await call('DELETE', `/v1/assets/${assetId}`)).status).toBe(204)
    })

    it('are the same project in capital letters', async () => {
      const project = randomUUID()
      const { assetId } = await made('x', 'a.txt', { 'x-project-id': project.toUpperCase() })
      expect(idsOf(await page(project))).toEqual([assetId])
    })

    it.each(['project-1', '123', `${randomUUID()}0`, '{x}'])('refuse the id %s, which is no UUID', async (project) => {
      await leavesNothing(async () => {
        expect(refusal(await upload('x', 'a.txt', { 'x-project-id': project }))).toBe('400 validation_failed')
      })
      const { assetId } = await made('x')
      expect(refusal(await call('GET', assets(encodeURIComponent(project))))).toBe('400 validation_failed')
      expect(refusal(await call('POST', assets(encodeURIComponent(project)), { json: { assetId } }))).toBe(
        '400 validation_failed',
      )
      expect(refusal(await call('DELETE', `${assets(encodeURIComponent(project))}/${assetId}`))).toBe(
        '400 validation_failed',
      )
    })

    it('bind an asset, once however often it is asked, and several projects one asset', async () => {
      const [one, two] = [randomUUID(), randomUUID()]
      const asset = await made('x', 'a.txt')
      const answers = await Promise.all(
        [one, one, one, two].map((project) => call('POST', assets(project), { json: { assetId: asset.assetId } })),
      )
      for (const answer of answers) {
        expect(answer.status).toBe(200)
        const { data } = answer.json<{ data: Asset }>()
        expect({ ...data, fileUrl: '' }).toEqual({ ...asset, fileUrl: '' })
      }
      expect(idsOf(await page(one))).toEqual([asset.assetId])
      expect((await call('DELETE', `${assets(one)}/${asset.assetId}`)).status).toBe(204)
      expect(refusal(await call('DELETE', `/v1/assets/${asset.assetId}`))).toBe('409 asset_referenced')
      expect((await call('DELETE', `${assets(two)}/${asset.assetId}`)).status).toBe(204)
      expect((await call('DELETE', `/v1/assets/${asset.assetId}`)).status).toBe(204)
    })

    it.each([
      ['no assetId', {}],
      ['an assetId that is no UUID', { assetId: 'x' }],
      ['a number', { assetId: 1 }],
      ['a list', []],
    ])('refuse to bind %s', async (_what, json) => {
      expect(refusal(await call('POST', assets(randomUUID()), { json }))).toBe('400 validation_failed')
    })

    it('refuse to bind what is not there, or what another workspace owns', async () => {
      const { foreign } = await addKeys(gateway, { foreign: { workspaceId: 'elsewhere' } })
      const { assetId } = await made('x')
      const never = await call('POST', assets(randomUUID()), { json: { assetId: randomUUID() } })
      const theirs = await call('POST', assets(randomUUID()), { json: { assetId }, key: foreign })
      const odd = await call('POST', assets(randomUUID()), { json: { assetId: oddId } })
      expect(refusal(odd)).toBe('404 not_found')
      expect(refusal(never)).toBe('404 not_found')
      expect(refusal(theirs)).toBe('404 not_found')
      expect(theirs.bytes).toEqual(never.bytes)
    })

    it('of the same id in two workspaces have nothing in common', async () => {
      const project = randomUUID()
      const { foreign } = await addKeys(gateway, { foreign: { workspaceId: 'elsewhere' } })
      const { assetId } = await made('x', 'a.txt', { 'x-project-id': project })
      const theirs = await call('GET', assets(project), { key: foreign })
      expect(theirs.json<Page>().data).toEqual([])
      expect(refusal(await call('DELETE', `${assets(project)}/${assetId}`, { key: foreign }))).toBe('404 not_found')
      expect(idsOf(await page(project))).toEqual([assetId])
    })

    it('outside the key’s list are forbidden in every call', async () => {
      const [mine, other] = [randomUUID(), randomUUID()]
      const { limited } = await addKeys(gateway, { limited: { projects: [mine] } })
      const { assetId } = await made('x')
      const headers = { 'x-file-name': 'a.txt', 'x-project-id': other }
      for (const answer of [
        await call('POST', '/v1/uploads', { headers, body: 'x', key: limited }),
        await call('GET', assets(other), { key: limited }),
        await call('POST', assets(other), { json: { assetId }, key: limited }),
        await call('DELETE', `${assets(other)}/${assetId}`, { key: limited }),
      ])
        expect(refusal(answer)).toBe('403 project_forbidden')
      const allowed = { ...headers, 'x-project-id': mine }
      expect((await call('POST', '/v1/uploads', { headers: allowed, body: 'x', key: limited })).status).toBe(201)
    })

    it('are listed newest first, 80 to a page, with a cursor that does not mind changes', async () => {
      const project = randomUUID()
      const made82: string[] = []
      for (let i = 0; i < 82; i++) made82.push((await made('x', `${i}.txt`, { 'x-project-id': project })).assetId)
      const newestFirst = made82.toReversed()
      const first = await page(project)
      expect(idsOf(first)).toEqual(newestFirst.slice(0, 80))
      expect(first.meta.nextPageCursor).not.toBeNull()

      const three = await page(project, '?pageSize=3')
      expect(idsOf(three)).toEqual(newestFirst.slice(0, 3))
      // One comes in front of the cursor, the last one of the page and the next one go.
      await made('x', 'new.txt', { 'x-project-id': project })
      for (const gone of newestFirst.slice(2, 4)) await call('DELETE', `${assets(project)}/${gone}`)
      const next = await page(project, `?pageSize=2&pageCursor=${three.meta.nextPageCursor}`)
      expect(idsOf(next)).toEqual(newestFirst.slice(4, 6))

      const last = await page(project, `?pageSize=100&pageCursor=${first.meta.nextPageCursor}`)
      expect(last).toMatchObject({ meta: { nextPageCursor: null } })
      expect(idsOf(last)).toEqual(newestFirst.slice(80))
      expect((await page(project, '?pageSize=100')).data).toHaveLength(81)
    })

    it('takes blank parameters for none', async () => {
      const project = randomUUID()
      const { assetId } = await made('x', 'a.txt', { 'x-project-id': project })
      expect(idsOf(await page(project, '?pageSize=&pageCursor=&other='))).toEqual([assetId])
    })

    it.each(['pageSize=0', 'pageSize=101', 'pageSize=-1', 'pageSize=1.5', 'pageSize=x', 'pagesize=1', 'pageCursor=x'])(
      'refuse to be listed with %s',
      async (query) => {
        expect(refusal(await call('GET', `${assets(randomUUID())}?${query}`))).toBe('400 validation_failed')
      },
    )
  })

  describe('quota', () => {
    it('is kept to, by declared size and by what comes', async () => {
      const { small } = await addKeys(gateway, { small: { workspaceId: 'small' } })
      const client = clientOf(gateway, small)
      await command(gateway, 'workspaces', 'set-quota', 'small', '1000')
      const send = (body: Ask['body']) =>
        client('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, ...(body === undefined ? {} : { body }) })
      expect((await send(randomBytes(400))).status).toBe(201)
      const announced = await send(randomBytes(601))
      expect(refusal(announced)).toBe('413 quota_exceeded')
      expect(announced.json()).toMatchObject({ bytes_left: 600 })
      const flowing = await send(chunked([randomBytes(601)]))
      expect(refusal(flowing)).toBe('413 quota_exceeded')
      expect(flowing.json()).toMatchObject({ bytes_left: 600 })
      await eventually(async () =>
        expect((await usage(client)).storage).toMatchObject({ used_bytes: 400, reserved_bytes: 0 }),
      )
      expect((await send(chunked([randomBytes(600)]))).status).toBe(201)
      expect((await usage(client)).storage).toMatchObject({ used_bytes: 1_000, reserved_bytes: 0, percent: 100 })
    })
  })

  describe('an installation with rules', () => {
    const known = randomUUID()
    let strict: TestGateway
    let ask: Client
    beforeAll(async () => {
      strict = await place.start({
        plugins: `sniffType({ mode: 'reject', deny: ['application/x-msdownload'] }), quota()`,
        more: `projects: { mode: 'registered' }`,
      })
      ask = clientOf(strict, strict.key)
      await command(strict, 'projects', 'create', known)
    })
    afterAll(() => strict.close())

    interface Listed {
      readonly data: readonly { readonly status: string; readonly filename: string; readonly download_url: null }[]
    }

    it.each([
      ['a denied type', 'program.exe', 'application/octet-stream', 'file_type_not_allowed'],
      ['a Content-Type that lies', 'picture.png', 'application/pdf', 'content_type_mismatch'],
      ['a Content-Type with parameters that lies', 'picture.png', 'text/html; charset=utf-8', 'content_type_mismatch'],
    ] as const)('rejects %s and keeps only the record', async (_what, file, type, code) => {
      const body = await readFile(samplePath({ file }))
      const name = `${randomUUID()}.bin`
      const answer = await ask('POST', '/v1/uploads', { headers: { 'x-file-name': name, 'Content-Type': type }, body })
      expect(refusal(answer)).toBe(`415 ${code}`)
      const rejected = await ask('GET', '/api/v1/uploads?status=rejected')
      expect(rejected.json<Listed>().data).toContainEqual(
        expect.objectContaining({ filename: name, status: 'rejected', download_url: null }),
      )
      expect((await usage(ask)).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      await eventually(async () => expect(await place.stored(strict)).toEqual([]))
    })

    it('takes what keeps to them', async () => {
      const body = await readFile(samplePath({ file: 'picture.png' }))
      const headers = { 'x-file-name': 'a.png', 'Content-Type': 'image/png', 'x-project-id': known }
      const answer = await ask('POST', '/v1/uploads', { headers, body })
      expect(answer.status).toBe(201)
      const { assetId } = answer.json<{ data: Asset }>().data
      expect((await ask('DELETE', `/v1/projects/${known}/assets/${assetId}`)).status).toBe(204)
      expect((await ask('DELETE', `/v1/assets/${assetId}`)).status).toBe(204)
    })

    it('refuses a project that is not registered', async () => {
      const headers = { 'x-file-name': 'a.txt', 'x-project-id': randomUUID() }
      const before = (await usage(ask)).uploads
      expect(refusal(await ask('POST', '/v1/uploads', { headers, body: 'x' }))).toBe('403 project_forbidden')
      expect((await usage(ask)).uploads).toEqual(before)
      const { assetId } = (await ask('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt' }, body: 'x' })).json<{
        data: Asset
      }>().data
      expect(refusal(await ask('POST', `/v1/projects/${randomUUID()}/assets`, { json: { assetId } }))).toBe(
        '403 project_forbidden',
      )
    })
  })
}
