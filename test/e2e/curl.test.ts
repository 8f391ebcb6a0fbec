import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKeys, clientOf, md5 } from '../support/client.ts'
import { type CurlAnswer, curlIn, missingOf } from '../support/curl.ts'
import { type Blob, directBase } from '../support/direct.ts'
import type { TestGateway } from '../support/gateway.ts'
import { disk, type Place, s3Place } from '../support/places.ts'
import { type Created, base, time, type View } from '../support/presigned.ts'

/**
 * What the documentation of the four APIs tells its readers to type, with another host, key and id, and what it says they will see.
 * Members beyond those are ours to add; none may be missing, and none of another type.
 */

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const address = /^https?:\/\/\S+$/
const text: unknown = expect.stringMatching(/./)
const moment: unknown = expect.stringMatching(time)
const meta = { request_id: text, timestamp: moment }
const json = 'application/json'
const asJson = ['-H', `Content-Type: ${json}`]

const script = 'print(sum([1, 2, 3]))\n'
const pdf = '%PDF-1.7\n1 0 obj\n<< >>\nendobj\ntrailer\n<< >>\n%%EOF\n'
/** Bytes: small enough to be gone over by a test. */
const maxFileSize = 100_000

interface Calls {
  readonly gateway: TestGateway
  /** curl in a folder with `document.pdf` and `script.py`; a path is one of the gateway. */
  readonly curl: (path: string, ...args: readonly string[]) => Promise<CurlAnswer>
  /** Credentials, as these pages send them. */
  readonly bearer: readonly string[]
}

function started(place: Place): () => Calls {
  let calls: Calls | undefined
  beforeAll(async () => {
    const gateway = await place.start({ env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
    await writeFile(join(gateway.folder, 'document.pdf'), pdf)
    await writeFile(join(gateway.folder, 'script.py'), script)
    await writeFile(join(gateway.folder, 'large.bin'), Buffer.alloc(maxFileSize + 1))
    calls = {
      gateway,
      bearer: ['-H', `Authorization: Bearer ${gateway.key}`],
      curl: (path, ...args) => curlIn(gateway.folder, ...args, new URL(path, gateway.url).href),
    }
  })
  afterAll(() => calls?.gateway.close())
  return () => {
    if (!calls) throw new Error('The gateway has not started.')
    return calls
  }
}

function expectAnswer(answer: CurlAnswer, status: number, type = json): void {
  const seen = { status: answer.status, type: answer.type.split(';')[0], body: answer.body }
  expect(seen).toMatchObject({ status, type })
}

/** `{detail, error, error_code}`, all of them text. */
const expectDetail = (answer: CurlAnswer, status: number): void => {
  expectAnswer(answer, status)
  expect(answer.json()).toMatchObject({ detail: text, error: text, error_code: text })
}
const expectFaults = (answer: CurlAnswer, ...fields: readonly string[]): void => {
  expectAnswer(answer, 422)
  const faults = fields.map((name) => ({ loc: expect.arrayContaining(['body', name]), msg: text, type: text }))
  expect(answer.json()).toEqual({ detail: expect.arrayContaining(faults) })
}

function presignedPages(the: () => Calls): void {
  const creation = '{\n"filename": "data_analysis_script.py",\n"category": "script"\n}'
  const create = () => the().curl(base, '-X', 'POST', ...the().bearer, ...asJson, '-d', creation)

  it('presigned: create: an upload that waits for its bytes, and where they go', async () => {
    const answer = await create()
    expectAnswer(answer, 201)
    expect(answer.json()).toMatchObject({
      data: {
        upload: {
          id: expect.stringMatching(uuid),
          user_id: text,
          filename: 'data_analysis_script.py',
          category: 'script',
          content_type: 'text/x-python',
          status: 'pending',
          created_at: moment,
          updated_at: moment,
          workspace_id: text,
          format: 'py',
          // Not known yet.
          size_bytes: null,
          download_url: null,
          context_type: null,
          context_id: null,
        },
        upload_url: expect.stringMatching(address),
      },
      meta,
    })
  })

  it('presigned: PUT and confirm: all that the page shows is known then', async () => {
    const { curl, bearer } = the()
    const { upload, upload_url: url } = (await create()).json<{ data: Created }>().data
    expect((await curl(url, '-T', 'script.py')).status).toBe(200)
    const context = { context_type: 'project', context_id: '9f8e7d6c-5b4a-3c2d-1e0f-9a8b7c6d5e4f' }
    const answer = await curl(`${base}/${upload.id}`, '-X', 'POST', ...bearer, ...asJson, '-d', JSON.stringify(context))
    expectAnswer(answer, 200)
    expect(answer.json()).toMatchObject({
      data: {
        id: upload.id,
        filename: 'data_analysis_script.py',
        category: 'script',
        content_type: 'text/x-python',
        status: 'confirmed',
        format: 'py',
        size_bytes: script.length,
        download_url: expect.stringMatching(address),
        ...context,
      },
      meta,
    })
    const { download_url: from } = answer.json<{ data: View }>().data
    expect((await curl(from ?? '', '--location')).body).toBe(script)
  })

  it('presigned: delete: nothing but the meta is left', async () => {
    const { curl, bearer } = the()
    const { id } = (await create()).json<{ data: Created }>().data.upload
    const remove = () => curl(`${base}/${id}`, '-X', 'DELETE', ...bearer, ...asJson, '-d', '{}')
    const answer = await remove()
    expectAnswer(answer, 200)
    expect(answer.json()).toEqual({ data: {}, meta })
    expectDetail(await remove(), 404)
  })

  it('presigned: what cannot be right is a 422 with every fault', async () => {
    const { curl, bearer } = the()
    const wrong = '{"filename": "", "category": "poem"}'
    expectFaults(await curl(base, '-X', 'POST', ...bearer, ...asJson, '-d', wrong), 'filename', 'category')
  })
}

function directPage(the: () => Calls): void {
  const details = {
    filename: 'document.pdf',
    content_type: 'application/pdf',
    byte_size: pdf.length,
    checksum: md5(Buffer.from(pdf)),
  }
  const create = (body: unknown = { blob: details }) =>
    the().curl(directBase, '-X', 'POST', ...the().bearer, ...asJson, '-d', JSON.stringify(body))
  const look = (signedId: string) => the().curl(`${directBase}/${signedId}`, ...the().bearer)

  it('direct: the record, and the PUT that it asks for', async () => {
    const answer = await create()
    expectAnswer(answer, 200)
    const { direct_upload: put, ...record } = answer.json<Blob>()
    expect({ ...record, direct_upload: put }).toMatchObject({
      id: expect.any(Number),
      key: text,
      ...details,
      metadata: {},
      service_name: text,
      created_at: moment,
      signed_id: text,
      direct_upload: {
        url: expect.stringMatching(address),
        headers: {
          'Content-Type': details.content_type,
          'Content-MD5': details.checksum,
          'Content-Disposition': expect.stringContaining('document.pdf'),
        },
      },
    })
    expect(Number.isSafeInteger(record.id)).toBe(true)

    const headers = Object.entries(put?.headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
    const { curl, bearer } = the()
    expect((await curl(put?.url ?? '', '-T', 'script.py', ...headers)).status).toBeGreaterThanOrEqual(400)
    expect((await curl(put?.url ?? '', '-T', 'document.pdf', ...headers)).status).toBe(200)
    expect((await look(record.signed_id)).json()).toMatchObject({ ...details, metadata: { identified: true } })
    expect((await curl(`${base}/${record.key}/download`, '--location', ...bearer)).body).toBe(pdf)
  })

  it('direct: errors', async () => {
    expectFaults(await create({}), 'blob')
    expectFaults(await create({ blob: {} }), 'filename', 'content_type', 'byte_size', 'checksum')
    expectDetail(await look('none'), 404)
  })
}

function formPage(the: () => Calls): void {
  const path = '/v2/team_123456/project/proj_123456/upload'
  const fields = [
    '-F',
    'name=Important Document',
    '-F',
    'meta=[{"name":"category", "value":"invoice"},{"name":"department", "value":"finance"}]',
  ]
  let keys: Record<'team' | 'elsewhere', string>
  beforeAll(async () => {
    const team = { workspaceId: 'team_123456' }
    keys = await addKeys(the().gateway, { team, elsewhere: { ...team, projects: ['proj_other'] } })
  })
  const send = (key: string, ...args: readonly string[]) =>
    the().curl(path, '-X', 'POST', '-H', `Authorization: Bearer ${key}`, ...args)

  it('form: an upload with a task', async () => {
    const answer = await send(keys.team, '-F', 'file=@document.pdf', ...fields)
    expectAnswer(answer, 201)
    const shown = {
      id: expect.stringMatching(/^upl_/),
      name: 'Important Document',
      projectId: 'proj_123456',
      status: expect.stringMatching(/^(processing|completed)$/),
      fileType: 'pdf',
      fileSize: pdf.length,
      createdAt: moment,
      updatedAt: moment,
    }
    expect(answer.json()).toMatchObject({ ...shown, tasks: [{ name: 'document.pdf' }] })
    const call = clientOf(the().gateway, keys.team)
    const found = await call('GET', `${path}/${answer.json<{ id: string }>().id}`)
    expect(found.json()).toMatchObject({
      payload: {
        meta: [
          { name: 'category', value: 'invoice' },
          { name: 'department', value: 'finance' },
        ],
      },
    })
  })

  it('form: a task for every file', async () => {
    const answer = await send(keys.team, '-F', 'file=@document.pdf', '-F', 'file=@script.py', ...fields)
    expectAnswer(answer, 201)
    expect(answer.json()).toMatchObject({
      fileSize: pdf.length + script.length,
      tasks: [{ name: 'document.pdf' }, { name: 'script.py' }],
    })
  })

  it('form: errors 400, 401, 403, 413', async () => {
    const problem = 'application/problem+json'
    const file = ['-F', 'file=@document.pdf']
    expectAnswer(await send(keys.team, ...fields), 400, problem)
    expectAnswer(await send(keys.team, ...file, '-F', 'meta=invoice'), 400, problem)
    expectAnswer(await send('YOUR_API_KEY', ...file, ...fields), 401, problem)
    expectAnswer(await send(the().gateway.key, ...file, ...fields), 403, problem)
    expectAnswer(await send(keys.elsewhere, ...file, ...fields), 403, problem)
    expectAnswer(await send(keys.team, '-F', 'file=@large.bin', ...fields), 413, problem)
  })
}

function rawPage(the: () => Calls): void {
  const headers = ['-H', 'x-file-name: string', '-H', 'Content-Type: application/octet-stream']
  const send = (...args: readonly string[]) =>
    the().curl('/v1/uploads', '-X', 'POST', ...headers, '-d', 'string', ...args)

  it('raw: an asset', async () => {
    const answer = await send('-H', `x-api-key: ${the().gateway.key}`)
    expectAnswer(answer, 201)
    expect(answer.json()).toEqual({
      data: {
        assetId: expect.stringMatching(uuid),
        type: text,
        source: 'upload',
        filename: 'string',
        mimetype: expect.stringMatching(/^\w+\/\S+$/),
        size: 'string'.length,
        fileUrl: expect.stringMatching(address),
        fileKey: text,
        // Text has none.
        width: null,
        height: null,
        duration: null,
      },
      meta: {},
    })
    const { fileUrl } = answer.json<{ data: { fileUrl: string } }>().data
    expect((await the().curl(fileUrl, '--location')).body).toBe('string')
  })

  it('raw: errors', async () => {
    const readOnly = await addKeys(the().gateway, { one: { scopes: ['uploads:read'] } })
    const refused = await send('-H', `x-api-key: ${readOnly.one}`)
    expectAnswer(refused, 403)
    expect(refused.json()).toEqual({
      type: 'FORBIDDEN',
      title: text,
      status: 403,
      detail: text,
      errorCode: expect.stringMatching(/^[A-Z_]+$/),
    })
    expectAnswer(await send(), 401)
  })
}

const missing = missingOf('curl')
describe.skipIf(missing)(`the lines of the public pages, typed${missing === undefined ? '' : ` (${missing})`}`, () => {
  describe('files on the disk', () => {
    const the = started(disk)
    presignedPages(the)
    directPage(the)
    formPage(the)
    rawPage(the)
  })

  const s3 = s3Place('settle: 1')
  describe.skipIf(s3.missing)('files in S3', () => {
    afterAll(() => s3.close())
    const the = started(s3)
    presignedPages(the)
    directPage(the)
  })
})
