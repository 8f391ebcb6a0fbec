import { randomBytes, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dialectContract, refusalOf } from '../contracts/dialect.ts'
import {
  addKeys,
  type Answer,
  chunked,
  type Client,
  clientOf,
  command,
  configText,
  eventually,
  pause,
  requestHead,
  sha256,
  storedFiles,
  wireTo,
} from '../support/client.ts'
import { documentedClient } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { inventory } from '../support/inventory.ts'
import { samplePath } from '../support/samples.ts'
import { boundary, field, file, formBytes, formType, type Part } from '../support/multipart.ts'

const maxFileSize = 300_000 // bytes
const filesPerBatch = 5
const shape = { errors: 'problem', errorType: 'application/problem+json' } as const
const path = '/v2/default/project/proj_123456/upload'
const gif = readFileSync(samplePath({ file: '../media/still.gif' }))

interface Task {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly fileType: string
  readonly fileSize: number
  readonly error?: { readonly errorCode: string; readonly detail: string }
}
interface Batch {
  readonly id: string
  readonly name: string
  readonly projectId: string
  readonly status: string
  readonly fileType: string
  readonly fileSize: number
  readonly createdAt: string
  readonly updatedAt: string
  readonly tasks: readonly Task[]
}
interface Payload {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly files: Readonly<Record<string, Omit<Task, 'id'> & { readonly downloadUrl: string | null }>>
  readonly meta: readonly unknown[]
}

let gateway: TestGateway
let call: Client
beforeAll(async () => {
  gateway = await startGateway({
    config: configText(`sniffType({ deny: ['image/gif'] }), quota()`, `limits: { filesPerBatch: ${filesPerBatch} }`),
    env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) },
  })
  call = documentedClient(clientOf(gateway, gateway.key))
})
afterAll(() => gateway.close())

const send = (parts: readonly Part[], headers: Record<string, string> = {}, to = path): Promise<Answer> =>
  sendBytes(formBytes(parts), headers, to)
const sendBytes = (body: Uint8Array, headers: Record<string, string> = {}, to = path): Promise<Answer> =>
  call('POST', to, { headers: { 'Content-Type': formType, ...headers }, body })

async function made(answer: Promise<Answer>): Promise<Batch> {
  const given = await answer
  expect([given.status, given.bytes.toString()]).toEqual([201, expect.any(String)])
  return given.json<Batch>()
}
const refusal = async (answer: Promise<Answer>): Promise<string> => refusalOf(await answer, shape)

async function download(id: string, by: Client = call): Promise<Buffer> {
  const answer = await by('GET', `/api/v1/uploads/${id}/download`)
  expect(answer.status).toBe(200)
  return answer.bytes
}

interface Usage {
  readonly storage: { readonly used_bytes: number; readonly reserved_bytes: number }
  readonly uploads: Readonly<Record<string, number>>
}
async function usage(by: Client = call): Promise<Usage> {
  return (await by('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data
}

const metaOf = (entries: number): string =>
  JSON.stringify(Array.from({ length: entries }, () => ({ name: 'a', value: 'b' })))
/** How many requests have ended without an answer. */
const broken = (): number => gateway.log().match(/"cut":true/g)?.length ?? 0

/** Uploads, bytes and objects are in the end what they were before. */
async function leavesNothing(work: () => Promise<void>, at: TestGateway = gateway, by: Client = call): Promise<void> {
  await eventually(async () => expect((await inventory(at.dataDir)).breaches).toEqual([]))
  const before = { ...(await usage(by)), objects: await storedFiles(at) }
  await work()
  await eventually(async () => {
    expect((await inventory(at.dataDir)).breaches).toEqual([])
    const { storage, uploads } = await usage(by)
    expect({ storage, uploads, objects: await storedFiles(at) }).toMatchObject({
      storage: before.storage,
      uploads: before.uploads,
      objects: before.objects,
    })
  })
}

/** The batches that the contract's calls are about, by the uploads that it has made for them. */
const contractBatches = new Map<string, string>()
const prepare = async (client: Client, id: string): Promise<void> => {
  const ask = { headers: { 'Content-Type': formType }, body: formBytes([file('a.txt', 'a')]) }
  contractBatches.set(id, (await client('POST', path, ask)).json<Batch>().id)
}
const oneBatch = {
  path: (id: string) => `${path}/${contractBatches.get(id) ?? id}`,
  prepare,
  one: true,
  namesWorkspace: true,
}

dialectContract('form', {
  gateway: () => gateway,
  ...shape,
  endpoints: [
    {
      method: 'POST',
      path: () => path,
      ask: () => ({ headers: { 'Content-Type': formType }, body: formBytes([file('a.txt', 'a')]) }),
      status: 201,
      scope: 'uploads:write',
      one: false,
    },
    { ...oneBatch, method: 'GET', status: 200, scope: 'uploads:read' },
    { ...oneBatch, method: 'DELETE', status: 204, scope: 'uploads:write' },
  ],
})

/** Of a part. */
const partHead = (more: string): string => `--${boundary}\r\nContent-Disposition: form-data; ${more}\r\n\r\n`

describe('a form with one file', () => {
  it('is answered as the page shows, with its task', async () => {
    const meta = '[{"name":"category", "value":"invoice"},{"name":"department", "value":"finance"}]'
    const parts = [file('document.pdf', '%PDF-1.7\n%%EOF'), field('name', 'Important Document'), field('meta', meta)]
    const batch = await made(send(parts))
    expect(batch).toEqual({
      id: expect.stringMatching(/^upl_[A-Za-z0-9_-]{22,26}$/),
      name: 'Important Document',
      projectId: 'proj_123456',
      status: 'completed',
      fileType: 'pdf',
      fileSize: 14,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      tasks: [{ id: expect.any(String), name: 'document.pdf', status: 'completed', fileType: 'pdf', fileSize: 14 }],
    })
    const answer = await call('GET', `${path}/${batch.id}`)
    const [task = { id: '' }] = batch.tasks
    expect(answer.json()).toEqual({
      payload: {
        id: batch.id,
        name: 'Important Document',
        status: 'completed',
        files: {
          [task.id]: {
            name: 'document.pdf',
            status: 'completed',
            fileType: 'pdf',
            fileSize: 14,
            width: null,
            height: null,
            duration: null,
            sha256: sha256(Buffer.from('%PDF-1.7\n%%EOF')),
            codecs: null,
            pages: null,
            extra: { 'sniff-type': expect.objectContaining({ found: 'application/pdf' }) },
            downloadUrl: expect.stringMatching(/^http/),
          },
        },
        meta: JSON.parse(meta),
        folder_id: null,
        created_at: batch.createdAt,
      },
    })
    expect((await download(task.id)).toString()).toBe('%PDF-1.7\n%%EOF')
    const upload = (await call('GET', `/api/v1/uploads?project_id=proj_123456&limit=1`)).json<{
      data: [{ id: string }]
    }>()
    expect(upload.data[0].id).toBe(task.id)
  })

  it('takes what a page leaves blank for nothing', async () => {
    const blank = ['name', 'meta', 'projectId'].flatMap((name) => ['', ' ', '\r\n'].map((value) => field(name, value)))
    const unchosen = [file('', ''), { head: ['Content-Disposition: form-data; name="file"'], body: '' }]
    const batch = await made(send([...blank, ...unchosen, file('a.txt', 'a'), ...unchosen, ...blank]))
    expect(batch).toMatchObject({ name: 'a.txt', projectId: 'proj_123456', tasks: [{ name: 'a.txt' }] })
    expect(batch.tasks).toHaveLength(1)
    const both = await made(send([field('name', ''), file('a.txt', 'a'), field('name', 'n')]))
    expect(both.name).toBe('n')
    const own = await made(
      send([field('projectId', ''), field('projectId', 'p'), file('a.txt', 'a')], {}, '/api/v1/uploads'),
    )
    expect(own.projectId).toBe('p')
    expect(await refusal(send([file('a.txt', 'a'), field('projectId', '')], {}, '/api/v1/uploads'))).toBe(
      '400 validation_failed',
    )
  })

  it.each([1, 7, 10_000])('takes parts that are nothing but headers, in pieces of %s bytes', async (size) => {
    const parts = [
      partHead('name="x"'),
      partHead('name="name"'),
      partHead('name="file"; filename="a.txt"'),
      partHead('name="file"; filename="b"'),
    ]
    const bytes = Buffer.from(`${parts.join('')}b\r\n${partHead('name="y"')}--${boundary}--\r\n`)
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    )
    const answer = call('POST', path, { headers: { 'Content-Type': formType }, body: chunked(pieces) })
    const { tasks } = await made(answer)
    expect(tasks.map(({ name, fileSize }) => [name, fileSize])).toEqual([
      ['a.txt', 0],
      ['b', 1],
    ])
  })

  it('takes the name of the file, and an empty one', async () => {
    const { name, fileType, fileSize } = await made(send([file('notes', '')]))
    expect({ name, fileType, fileSize }).toEqual({ name: 'notes', fileType: 'bin', fileSize: 0 })
  })
})

describe('clients', () => {
  const inOwn = '/api/v1/uploads'
  const meta = '[{"name":"category","value":"invoice"},{"name":"department","value":"finance"}]'
  /** What .NET makes of its own objects. */
  const netMeta = '[{"Name":"category","Value":"invoice"},{"Name":"department","Value":"finance"}]'

  async function expectSample(answer: Promise<Answer>, contents: string): Promise<void> {
    const batch = await made(answer)
    expect(batch).toMatchObject({ name: 'Important Document', projectId: 'proj_123456', status: 'completed' })
    expect(batch.tasks).toMatchObject([{ name: 'document.pdf' }])
    expect((await download(batch.tasks[0]?.id ?? '')).toString()).toBe(contents)
    const { payload } = (await call('GET', `${path}/${batch.id}`)).json<{ payload: Payload }>()
    expect(payload.meta).toEqual(JSON.parse(meta))
  }

  it('fetch with FormData', async () => {
    const formData = new FormData()
    formData.append('file', new File(['file content'], 'document.pdf', { type: 'application/pdf' }))
    formData.append('name', 'Important Document')
    formData.append('projectId', 'proj_123456')
    formData.append('meta', meta)
    const headers = { Authorization: `Bearer ${gateway.key}` }
    const response = await fetch(new URL(inOwn, gateway.url), { method: 'POST', headers, body: formData })
    expect(response.status).toBe(201)
    expect(await response.json()).toMatchObject({
      name: 'Important Document',
      projectId: 'proj_123456',
      tasks: [{ name: 'document.pdf' }],
    })
  })

  /** What the clients write, byte by byte; fields come before the file with requests, after it with .NET. */
  const wires = {
    'requests in Python': {
      type: 'multipart/form-data; boundary=0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3',
      body: [
        '--0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3',
        'Content-Disposition: form-data; name="name"',
        '',
        'Important Document',
        '--0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3',
        'Content-Disposition: form-data; name="projectId"',
        '',
        'proj_123456',
        '--0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3',
        'Content-Disposition: form-data; name="meta"',
        '',
        meta,
        '--0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3',
        'Content-Disposition: form-data; name="file"; filename="document.pdf"',
        '',
        'sample',
        '--0f57b4fd3fa34f5f8ee7e5b4ba4ea1d3--',
        '',
      ],
    },
    '.NET as it is': {
      type: 'multipart/form-data; boundary="7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4"',
      body: [
        '--7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4',
        'Content-Type: application/octet-stream',
        "Content-Disposition: form-data; name=file; filename=document.pdf; filename*=utf-8''document.pdf",
        '',
        'sample',
        '--7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Disposition: form-data; name=name',
        '',
        'Important Document',
        '--7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Disposition: form-data; name=projectId',
        '',
        'proj_123456',
        '--7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Disposition: form-data; name=meta',
        '',
        netMeta,
        '--7c36f4b6-8e1c-4b65-9f9e-8ba8bcb9a2c4--',
        '',
      ],
    },
    '.NET with quoted names': {
      type: 'multipart/form-data; boundary="7c36f4b6"',
      body: [
        '--7c36f4b6',
        'Content-Type: application/octet-stream',
        'Content-Disposition: form-data; name="file"; filename="document.pdf"; filename*=utf-8\'\'document.pdf',
        '',
        'sample',
        '--7c36f4b6',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Disposition: form-data; name="name"',
        '',
        'Important Document',
        '--7c36f4b6',
        'Content-Disposition: form-data; name="projectId"',
        '',
        'proj_123456',
        '--7c36f4b6',
        'Content-Disposition: form-data; name="meta"',
        '',
        meta,
        '--7c36f4b6--',
        '',
      ],
    },
  } as const

  it.each(Object.entries(wires))('%s', async (_, { type, body }) => {
    const headers = { 'Content-Type': type }
    await expectSample(call('POST', inOwn, { headers, body: body.join('\r\n') }), 'sample')
  })

  it('whose pieces end anywhere', async () => {
    const { type, body } = wires['.NET as it is']
    const bytes = body.join('\r\n')
    const wire = await wireTo(gateway.url)
    const headers = { 'x-api-key': gateway.key, 'Content-Type': type, 'Content-Length': bytes.length }
    await wire.send(requestHead('POST', inOwn, headers))
    wire.socket.setNoDelay(true)
    for (const byte of bytes) await wire.send(byte)
    expect((await wire.answer()).json()).toMatchObject({ name: 'Important Document', status: 'completed' })
    wire.cut()
  })

  it('need a project there, and get its errors in this shape', async () => {
    const form = { 'Content-Type': formType }
    expect(await refusal(send([file('a.txt', 'a')], {}, inOwn))).toBe('400 validation_failed')
    expect(await refusal(call('POST', inOwn, { headers: form, body: formBytes([]), key: null }))).toBe(
      '401 unauthenticated',
    )
    const mixed = { 'Content-Type': 'multipart/mixed; boundary=x' }
    expect(await refusal(call('POST', inOwn, { headers: mixed, body: '--x--' }))).toBe('415 unsupported_media_type')
  })
})

describe('names', () => {
  it.each([
    ['filename="C:\\docs\\report.pdf"', 'report.pdf'],
    ['filename="../../etc/passwd"', 'passwd'],
    ['filename="say %22hi%22.txt"', 'say "hi".txt'],
    ['filename="say \\"hi\\".txt"', 'say "hi".txt'],
    ['filename="a%0D%0Ab.txt"', 'ab.txt'],
    ['filename="50%.txt"', '50%.txt'],
    ['filename="naïve – 文件.txt"', 'naïve – 文件.txt'],
    ['filename="a; name=b.txt"', 'a; name=b.txt'],
    ['filename=two words.txt', 'two words.txt'],
    [`filename="=?utf-8?B?w6Q=?="; filename*=utf-8''%C3%A4.txt`, 'ä.txt'],
    [`filename*=UTF-8''na%C3%AFve.txt`, 'naïve.txt'],
    [`filename="plain.txt"; filename*=utf-8''%FF`, 'plain.txt'],
    [`filename="plain.txt"; filename*=nonsense''a.txt`, 'plain.txt'],
    [`filename="plain.txt"; filename*=utf-8''`, 'plain.txt'],
    [`filename="plain.txt"; filename*=utf-8''50%.txt`, 'plain.txt'],
    [`filename*=iso-8859-1'de'%E4.txt; filename="plain.txt"`, 'ä.txt'],
    [`filename="\\"a.csv\\""; filename*=utf-8''%22a.csv%22`, 'a.csv'],
    ['filename="=?utf-8?B?w6QvYi50eHQ=?="', 'b.txt'],
    [`filename="=?utf-8?B?${Buffer.from('???>>>.txt').toString('base64')}?="`, '???>>>.txt'],
    ['filename="=?UTF-8?Q?r=C3=A4k_sm=3F.txt?="', 'räk sm?.txt'],
    ['filename="=?UTF-8?Q?a=C3=A4?= =?UTF-8?Q?b.txt?="', 'aäb.txt'],
    ['filename="=?iso-8859-1?q?=E4.txt?="', 'ä.txt'],
    ['filename="=?utf-8?B?/w==?=.txt"', 'w==?=.txt'],
    ['filename="=?nonsense?Q?a?=.txt"', '=?nonsense?Q?a?=.txt'],
    [`filename="${'a'.repeat(300)}.txt"`, `${'a'.repeat(251)}.txt`],
  ])('%s', async (parameter, name) => {
    const head = [`Content-Disposition: form-data; name="file"; ${parameter}`]
    expect((await made(send([{ head, body: 'x' }]))).tasks[0]?.name).toBe(name)
  })

  it('in Latin-1', async () => {
    const [before = '', after = ''] = formBytes([file('#.txt', 'x')])
      .toString('latin1')
      .split('#')
    const body = Buffer.from(`${before}\xe4${after}`, 'latin1')
    expect((await made(sendBytes(body))).tasks[0]?.name).toBe('ä.txt')
  })

  it.each(['filename=""', 'filename=" "', 'filename="/"', 'filename=".."', 'x=y'])('refuses %s', async (parameter) => {
    const head = [`Content-Disposition: form-data; name="file"; ${parameter}`]
    expect(await refusal(send([{ head, body: 'x' }]))).toBe('400 validation_failed')
  })
})

describe('several files', () => {
  it('are tasks in their order, whatever stands between them', async () => {
    const parts = [
      file('b.txt', 'second letter'),
      field('projectId', 'proj_123456'),
      field('attachment', 'nobody knows this field'),
      file('a.pdf', '%PDF-1.7\n%%EOF'),
      field('name', 'Two'),
    ]
    const batch = await made(send(parts))
    expect(batch).toMatchObject({ name: 'Two', fileType: 'mixed', fileSize: 27, status: 'completed' })
    expect(batch.tasks.map(({ name, fileSize }) => [name, fileSize])).toEqual([
      ['b.txt', 13],
      ['a.pdf', 14],
    ])
  })

  it('keep what was accepted when one is refused', async () => {
    const batch = await made(send([file('a.txt', 'a'), file('no.gif', gif), file('b.txt', 'bb')]))
    expect(batch).toMatchObject({ status: 'partial', fileSize: 3 })
    expect(batch.tasks).toMatchObject([
      { status: 'completed' },
      { status: 'failed', fileSize: 0, error: { errorCode: 'FILE_TYPE_NOT_ALLOWED' } },
      { status: 'completed' },
    ])
    const { payload } = (await call('GET', `${path}/${batch.id}`)).json<{ payload: Payload }>()
    expect(payload.status).toBe('partial')
    expect(Object.keys(payload.files)).toEqual(batch.tasks.map(({ id }) => id))
    expect(payload.files[batch.tasks[1]?.id ?? '']).toMatchObject({ status: 'failed', downloadUrl: null })
  })

  it('go on after a refused file that is large', async () => {
    const large = Buffer.concat([gif, randomBytes(250_000)])
    const batch = await made(send([file('no.gif', large), file('b.txt', 'bb')]))
    expect(batch.tasks.map(({ status }) => status)).toEqual(['failed', 'completed'])
  })

  it('fail with the reason of the first when all are refused', async () => {
    const before = await usage()
    expect(await refusal(send([file('a.gif', gif), file('b.gif', gif)]))).toBe('415 file_type_not_allowed')
    expect((await usage()).storage).toEqual(before.storage)
  })

  it('go together', async () => {
    await leavesNothing(async () => {
      const batch = await made(send([file('a.txt', 'a'), file('b.txt', 'b')]))
      expect((await call('DELETE', `${path}/${batch.id}`)).status).toBe(204)
      expect(await refusal(call('GET', `${path}/${batch.id}`))).toBe('404 not_found')
      expect(await refusal(call('DELETE', `${path}/${batch.id}`))).toBe('404 not_found')
      for (const { id } of batch.tasks) expect((await call('GET', `/api/v1/uploads/${id}`)).status).toBe(404)
    })
  })

  it('may go one by one; the batch goes with the last', async () => {
    const batch = await made(send([file('a.txt', 'a'), file('b.txt', 'b')]))
    const [a, b] = batch.tasks.map(({ id }) => `/api/v1/uploads/${id}`)
    await call('DELETE', a ?? '')
    const { payload } = (await call('GET', `${path}/${batch.id}`)).json<{ payload: Payload }>()
    expect(Object.keys(payload.files)).toHaveLength(1)
    await call('DELETE', b ?? '')
    expect(await refusal(call('GET', `${path}/${batch.id}`))).toBe('404 not_found')
  })

  it('stay where a project holds one of them', async () => {
    const batch = await made(send([file('a.txt', 'a'), file('b.txt', 'b')]))
    const held = `/v1/projects/0d9f0f1e-0000-4000-8000-000000000000/assets`
    await call('POST', held, { json: { assetId: batch.tasks[1]?.id } })
    expect(await refusal(call('DELETE', `${path}/${batch.id}`))).toBe('409 asset_referenced')
    expect((await call('GET', `${path}/${batch.id}`)).json()).toMatchObject({ payload: { status: 'completed' } })
  })
})

describe('whose is what', () => {
  it('another project, another workspace: there is no such batch', async () => {
    const { id } = await made(send([file('a.txt', 'a')]))
    expect(await refusal(call('GET', `/v2/default/project/other/upload/${id}`))).toBe('404 not_found')
    const { foreign } = await addKeys(gateway, { foreign: { workspaceId: 'other' } })
    const theirs = await call('GET', `/v2/other/project/proj_123456/upload/${id}`, { key: foreign })
    const never = await call('GET', `/v2/other/project/proj_123456/upload/upl_${'A'.repeat(22)}`, { key: foreign })
    expect(refusalOf(theirs, shape)).toBe('404 not_found')
    expect(theirs.bytes.toString()).toBe(never.bytes.toString())
    const gone = await call('DELETE', `/v2/other/project/proj_123456/upload/${id}`, { key: foreign })
    expect(refusalOf(gone, shape)).toBe('404 not_found')
  })

  it('a forbidden project leaves nothing, wherever it is named', async () => {
    const { limited } = await addKeys(gateway, { limited: { projects: ['mine'] } })
    const asking = { key: limited, headers: { 'Content-Type': formType } }
    await leavesNothing(async () => {
      expect(await refusal(call('POST', path, { ...asking, body: formBytes([file('a.txt', 'a')]) }))).toBe(
        '403 project_forbidden',
      )
      for (const parts of [
        [file('a.txt', 'a'), field('projectId', 'yours')],
        [field('projectId', 'yours'), file('a.txt', 'a')],
      ])
        expect(await refusal(call('POST', '/api/v1/uploads', { ...asking, body: formBytes(parts) }))).toBe(
          '403 project_forbidden',
        )
    })
    const mine = formBytes([file('a.txt', 'a'), field('projectId', 'mine')])
    const answer = await call('POST', '/api/v1/uploads', { ...asking, body: mine })
    expect(answer.json()).toMatchObject({ projectId: 'mine', status: 'completed' })
  })
})

const type = (value: string) => ({ 'Content-Type': `multipart/form-data${value}` })

describe('a form that is wrong', () => {
  const good = file('a.txt', 'a')
  const long = 'x'.repeat(70_000)

  it.each<[string, string, Uint8Array, Record<string, string>?]>([
    ['no file', '400 validation_failed', formBytes([field('name', 'n')])],
    ['an input without a file alone', '400 validation_failed', formBytes([file('', '')])],
    ['another project than the path', '400 validation_failed', formBytes([good, field('projectId', 'other')])],
    ['a project that is none', '400 validation_failed', formBytes([good, field('projectId', 'a/b')])],
    ['a name that is too long', '400 validation_failed', formBytes([good, field('name', 'n'.repeat(256))])],
    ['a field twice', '400 validation_failed', formBytes([good, field('name', 'a'), field('name', 'b')])],
    ['meta that is no JSON', '400 validation_failed', formBytes([good, field('meta', '[')])],
    ['meta that is no array', '400 validation_failed', formBytes([good, field('meta', '{"name":"a","value":"b"}')])],
    ['meta with numbers', '400 validation_failed', formBytes([good, field('meta', '[{"name":"a","value":1}]')])],
    ['meta with too many entries', '400 validation_failed', formBytes([good, field('meta', metaOf(65))])],
    ['a field that is not UTF-8', '400 validation_failed', formBytes([good, field('name', Buffer.from([0xff]))])],
    ['a field that is too large', '413 body_too_large', formBytes([good, field('name', long)])],
    ['too many fields', '413 body_too_large', formBytes([good, ...Array<Part>(101).fill(field('x', ''))])],
    ['too many files', '413 too_many_files', formBytes(Array<Part>(filesPerBatch + 1).fill(good))],
    ['thousands of empty parts', '413 body_too_large', formBytes(Array<Part>(5_000).fill(field('x', '')))],
    ['an unknown part that is large', '400 validation_failed', formBytes([good, field('x', Buffer.alloc(1_100_000))])],
    ['a file that is too large', '413 file_too_large', formBytes([good, file('b', Buffer.alloc(maxFileSize + 1))])],
    [
      'a refused file that does not end in time',
      '413 file_too_large',
      formBytes([good, file('b.gif', Buffer.concat([gif, Buffer.alloc(3 * maxFileSize)]))]),
    ],
    ['no boundary', '400 invalid_multipart', formBytes([good]), type('')],
    ['two boundaries', '400 invalid_multipart', formBytes([good]), type(`; boundary=${boundary}; boundary=x`)],
    ['a boundary of 71', '400 invalid_multipart', formBytes([good]), type(`; boundary=${'b'.repeat(71)}`)],
    ['an empty boundary', '400 invalid_multipart', formBytes([good]), type('; boundary=""')],
    ['another boundary', '400 invalid_multipart', formBytes([good]), type('; boundary=other')],
    ['an empty body', '400 invalid_multipart', Buffer.alloc(0)],
    ['only the last boundary', '400 validation_failed', formBytes([])],
    ['no last boundary', '400 invalid_multipart', formBytes([good], '')],
    ['half of the last boundary', '400 invalid_multipart', formBytes([good], `--${boundary}-`)],
    ['a part without headers', '400 invalid_multipart', formBytes([{ head: [], body: 'a' }])],
    [
      'a part without a name',
      '400 invalid_multipart',
      formBytes([{ head: ['Content-Disposition: form-data'], body: 'a' }]),
    ],
    [
      'a part that is no form-data',
      '400 invalid_multipart',
      formBytes([{ head: ['Content-Disposition: attachment; name="file"; filename="a"'], body: 'a' }]),
    ],
    ['two dispositions', '400 invalid_multipart', formBytes([{ head: [...good.head, ...good.head], body: 'a' }])],
    [
      'headers that are too large',
      '400 invalid_multipart',
      formBytes([{ head: [...good.head, `X: ${long}`], body: 'a' }]),
    ],
    [
      'headers of megabytes',
      '400 invalid_multipart',
      formBytes([{ head: [`X: ${long.repeat(40)}`, ...good.head], body: 'a' }]),
    ],
    [
      'too many headers',
      '400 invalid_multipart',
      formBytes([{ head: [...good.head, ...Array<string>(100).fill('X: y')], body: 'a' }]),
    ],
    [
      'headers that do not end',
      '400 invalid_multipart',
      Buffer.from(`--${boundary}\r\n${good.head[0]}\r\n--${boundary}--`),
    ],
    [
      'base64',
      '400 invalid_multipart',
      formBytes([{ head: [...good.head, 'Content-Transfer-Encoding: base64'], body: 'YQ==' }]),
    ],
    [
      'parts within a part',
      '400 invalid_multipart',
      formBytes([
        {
          head: ['Content-Disposition: form-data; name="file"', 'Content-Type: multipart/mixed; boundary=i'],
          body: '--i--',
        },
      ]),
    ],
    ['a preamble without end', '400 invalid_multipart', Buffer.concat([Buffer.alloc(200_000, 'p'), formBytes([good])])],
    ['an epilogue without end', '400 invalid_multipart', formBytes([good], `--${boundary}--${'e'.repeat(200_000)}`)],
    ['line feeds only', '400 invalid_multipart', Buffer.from(formBytes([good]).toString().replaceAll('\r\n', '\n'))],
    ['a compressed body', '415 unsupported_media_type', formBytes([good]), { 'Content-Encoding': 'gzip' }],
    ['no form', '415 unsupported_media_type', Buffer.from('{}'), { 'Content-Type': 'application/json' }],
  ])('%s', async (_, expected, body, headers) => {
    await leavesNothing(async () => {
      expect(await refusal(sendBytes(body, headers))).toBe(expected)
    })
  })

  it.each<[string, Uint8Array]>([
    [
      'a preamble and an epilogue',
      Buffer.concat([Buffer.from('hello\r\n'), formBytes([good], `--${boundary}--\r\nbye\r\n`)]),
    ],
    ['no line end after the last boundary', formBytes([good], `--${boundary}--`)],
    ['a line end before the first boundary', Buffer.concat([Buffer.from('\r\n'), formBytes([good])])],
    [
      'headers in other letters',
      formBytes([
        { head: good.head.map((line) => line.toUpperCase().replace('NAME="FILE"', 'name="file"')), body: 'a' },
      ]),
    ],
    [
      'Content-Transfer-Encoding: binary',
      formBytes([{ head: [...good.head, 'Content-Transfer-Encoding: binary'], body: 'a' }]),
    ],
    [
      'a field in another charset',
      formBytes([
        good,
        {
          head: [...field('name', '').head, 'Content-Type: text/plain; charset=iso-8859-1'],
          body: Buffer.from([0xe4]),
        },
      ]),
    ],
    [
      'meta as a file',
      formBytes([
        good,
        {
          head: ['Content-Disposition: form-data; name="meta"; filename="blob"', 'Content-Type: application/json'],
          body: '[]',
        },
      ]),
    ],
    ['64 entries', formBytes([good, field('meta', metaOf(64))])],
  ])('but not %s', async (_, body) => {
    expect((await made(sendBytes(body))).status).toBe('completed')
  })

  it('stores bytes that look like a boundary, in pieces that end anywhere', async () => {
    const near = [`\r\n--${boundary.slice(0, -1)}`, '\r\n--', '\r', `--${boundary}--`, `\r\n-${boundary}`, '\n\r']
    const pieces = Array.from({ length: 4_000 }, () => Buffer.from(near[randomInt(near.length)] ?? ''))
    const contents = Buffer.concat([Buffer.from('text '), ...pieces])
    const body = formBytes([file('near.bin', contents), file('next.txt', 'next')])
    const wire = await wireTo(gateway.url)
    wire.socket.setNoDelay(true)
    const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, 'Content-Length': body.length }
    await wire.send(requestHead('POST', path, headers))
    for (let at = 0; at < body.length;) {
      const next = at + 1 + randomInt(4_000)
      await wire.send(body.subarray(at, next))
      at = next
    }
    const batch = (await wire.answer()).json<Batch>()
    wire.cut()
    expect(batch.tasks.map(({ fileSize }) => fileSize)).toEqual([contents.length, 4])
    expect(sha256(await download(batch.tasks[0]?.id ?? ''))).toBe(sha256(contents))
  })
})

describe('connections', () => {
  it('that break anywhere leave nothing', async () => {
    const body = formBytes([
      file('a.bin', randomBytes(120_000)),
      field('name', 'n'),
      file('b.bin', randomBytes(120_000)),
    ])
    await leavesNothing(async () => {
      const before = broken()
      for (let i = 0; i < 50; i++) {
        const wire = await wireTo(gateway.url)
        const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, 'Content-Length': body.length }
        await wire.send(requestHead('POST', path, headers))
        await wire.send(body.subarray(0, randomInt(body.length)))
        // Of a connection that is reset the server may never have seen anything.
        if (i % 2 === 0) wire.cut()
        else wire.socket.destroy()
      }
      await eventually(() => expect(broken() - before).toBeGreaterThanOrEqual(25))
    })
  })

  it('are told to go on only when the project may be used', async () => {
    const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, Expect: '100-continue' }
    const body = formBytes([file('a.txt', 'a')])
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('POST', path, { ...headers, 'Content-Length': body.length }))
    expect((await wire.answer()).status).toBe(100)
    await wire.send(body)
    expect((await wire.answer()).status).toBe(201)
    const { limited } = await addKeys(gateway, { limited: { projects: ['mine'] } })
    await wire.send(requestHead('POST', path, { ...headers, 'x-api-key': limited, 'Content-Length': body.length }))
    expect((await wire.answer()).status).toBe(403)
    wire.cut()
  })

  it('that are still open: nobody else finishes a file of theirs', async () => {
    const body = formBytes([file('open-form.txt', 'first'), file('b.bin', randomBytes(100_000))])
    const wire = await wireTo(gateway.url)
    const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, 'Content-Length': body.length }
    await wire.send(requestHead('POST', path, headers))
    await wire.send(body.subarray(0, 10_000))
    interface Listed {
      readonly id: string
      readonly filename: string
      readonly received_bytes: number
    }
    let first: Listed | undefined
    await eventually(async () => {
      const { data } = (await call('GET', '/api/v1/uploads?status=pending')).json<{ data: Listed[] }>()
      first = data.find(({ filename }) => filename === 'open-form.txt')
      expect(first?.received_bytes).toBe(5)
    })
    const answer = await call('POST', `/api/v1/uploads/${first?.id}/confirm`)
    expect([answer.status, answer.json()['error_code']]).toEqual([409, 'upload_not_received'])
    await wire.send(body.subarray(10_000))
    expect((await wire.answer()).json<Batch>()).toMatchObject({ status: 'completed', tasks: [{ id: first?.id }, {}] })
    wire.cut()
  })

  it('take the next request after a small form that was refused on its way', async () => {
    const body = formBytes([{ head: ['X: y'], body: 'a' }, file('a.txt', 'a'.repeat(9_000))])
    const good = formBytes([file('a.txt', 'a')])
    const wire = await wireTo(gateway.url)
    const headers = { 'x-api-key': gateway.key, 'Content-Type': formType }
    await wire.send(requestHead('POST', path, { ...headers, 'Content-Length': body.length }))
    await wire.send(body.subarray(0, 1_000))
    expect((await wire.answer()).status).toBe(400)
    await wire.send(body.subarray(1_000))
    await wire.send(requestHead('POST', path, { ...headers, 'Content-Length': good.length }))
    await wire.send(good)
    expect((await wire.answer()).status).toBe(201)
    wire.cut()
  })

  it('take chunks, and the next request', async () => {
    const body = formBytes([file('a.txt', 'chunked')])
    const wire = await wireTo(gateway.url)
    const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, 'Transfer-Encoding': 'chunked' }
    for (let i = 0; i < 2; i++) {
      await wire.send(requestHead('POST', path, headers))
      await wire.send(`${body.length.toString(16)}\r\n`)
      await wire.send(body)
      await wire.send('\r\n0\r\n\r\n')
      expect((await wire.answer()).json<Batch>().fileSize).toBe(7)
    }
    wire.cut()
  })
})

describe('Idempotency-Key', () => {
  it('makes one batch of two requests, at once or one after the other', async () => {
    const before = await usage()
    const parts = [file('a.txt', 'once'), field('name', 'Once')]
    const key = { 'Idempotency-Key': 'form-1' }
    const answers = await Promise.all([send(parts, key), send(parts, key)])
    const batches = answers.filter(({ status }) => status === 201).map((answer) => answer.json<Batch>().id)
    expect(answers.map(({ status }) => status).every((status) => status === 201 || status === 409)).toBe(true)
    const again = await made(send(parts, key))
    expect(new Set([...batches, again.id]).size).toBe(1)
    expect((await usage()).storage.used_bytes).toBe(before.storage.used_bytes + 4)
    expect(await refusal(send([...parts, field('meta', '[]')], key))).toBe('422 idempotency_key_reused')
  })

  it('is free again after a failure', async () => {
    const key = { 'Idempotency-Key': 'form-2' }
    expect(await refusal(send([file('a.gif', gif)], key))).toBe('415 file_type_not_allowed')
    expect(await refusal(send([field('name', 'n')], key))).toBe('400 validation_failed')
    expect((await made(send([file('a.txt', 'a')], key))).status).toBe('completed')
  })
})

describe('the quota', () => {
  it('refuses the whole form, and gives everything back', async () => {
    const { small } = await addKeys(gateway, { small: { workspaceId: 'small' } })
    await command(gateway, 'workspaces', 'set-quota', 'small', '100000')
    const by = documentedClient(clientOf(gateway, small))
    const parts = [file('a.bin', randomBytes(60_000)), file('b.bin', randomBytes(60_000))]
    const ask = { headers: { 'Content-Type': formType }, body: formBytes(parts) }
    await leavesNothing(
      async () => {
        const answer = await by('POST', '/v2/small/project/p/upload', ask)
        expect(refusalOf(answer, shape)).toBe('413 quota_exceeded')
        expect(answer.json()).toHaveProperty('bytes_left')
      },
      gateway,
      by,
    )
    const one = await by('POST', '/v2/small/project/p/upload', { ...ask, body: formBytes(parts.slice(0, 1)) })
    expect(one.status).toBe(201)
    expect((await usage(by)).storage).toMatchObject({ used_bytes: 60_000, reserved_bytes: 0 })
  })
})

const taskWords = ({ tasks }: Batch) => tasks.map(({ status }) => status)

describe('what takes its time', () => {
  /** Of a plugin that is slow with one file, fails with another and refuses the name of a third. */
  const moody = `{
    name: 'moody',
    beforeCreate({ filename }, ctx) {
      if (filename === 'unloved.txt') ctx.reject('file_type_not_allowed', 'Not this name.')
    },
    async beforeFinish(bytes, { upload }) {
      if (upload.filename === 'slow.txt') await new Promise((resolve) => setTimeout(resolve, 1500))
      if (upload.filename === 'fails.txt') throw new Error('It fails.')
    },
  }`
  let hasty: TestGateway
  let by: Client
  beforeAll(async () => {
    const more =
      'server: { bodyIdleTimeout: 1 }, pipeline: { syncBudget: 1 }, presign: { confirmWithin: 1 }, sweep: { interval: 1 }'
    hasty = await startGateway({ config: configText(`sniffType(), quota(), ${moody}`, more) })
    by = documentedClient(clientOf(hasty, hasty.key))
  })
  afterAll(() => hasty.close())
  const make = (parts: readonly Part[]) =>
    made(by('POST', path, { headers: { 'Content-Type': formType }, body: formBytes(parts) }))

  it('is processing until it is done', async () => {
    const batch = await make([file('slow.txt', 'a'), file('quick.txt', 'b')])
    expect([batch.status, ...taskWords(batch)]).toEqual(['processing', 'processing', 'completed'])
    await eventually(async () => {
      const { payload } = (await by('GET', `${path}/${batch.id}`)).json<{ payload: Payload }>()
      expect(payload.status).toBe('completed')
    })
  })

  it('is processing as long as a plugin fails; one that refuses a name fails a task', async () => {
    const batch = await make([file('unloved.txt', 'a'), file('fails.txt', 'b'), file('quick.txt', 'c')])
    expect([batch.status, ...taskWords(batch)]).toEqual(['processing', 'failed', 'processing', 'completed'])
    expect(batch.tasks[0]?.error).toEqual({ errorCode: 'FILE_TYPE_NOT_ALLOWED', detail: 'Not this name.' })
    expect((await by('DELETE', `${path}/${batch.id}`)).status).toBe(204)
    expect((await usage(by)).storage).toMatchObject({ reserved_bytes: 0 })
  })

  it('is given up when it is silent: before the first part, in its headers, in a file, after the last', async () => {
    const body = formBytes([file('a.bin', randomBytes(10_000)), field('name', 'n')])
    const headers = { 'x-api-key': hasty.key, 'Content-Type': formType, 'Content-Length': body.length }
    const silentAfter = async (bytes: number): Promise<void> => {
      const wire = await wireTo(hasty.url)
      await wire.send(requestHead('POST', path, headers))
      await wire.send(body.subarray(0, bytes))
      expect(refusalOf(await wire.answer(), shape)).toBe('408 request_timeout')
      wire.cut()
    }
    const silences = async () => void (await Promise.all([0, 40, 5_000, body.length - 8].map(silentAfter)))
    await leavesNothing(silences, hasty, by)
  })

  it('may go on for longer than bytes are kept that nobody confirms', async () => {
    const body = formBytes([file('a.txt', 'first'), file('b.bin', randomBytes(10_000))])
    const wire = await wireTo(hasty.url)
    const headers = { 'x-api-key': hasty.key, 'Content-Type': formType, 'Content-Length': body.length }
    await wire.send(requestHead('POST', path, headers))
    for (let at = 0; at < body.length; at += 2_000) {
      await wire.send(body.subarray(at, at + 2_000))
      await pause(400)
    }
    expect((await wire.answer()).json<Batch>().status).toBe('completed')
    wire.cut()
  })
})

describe('a process that is killed in the middle', () => {
  it('has nothing of the form when it starts again, and takes it anew', async () => {
    const own = await startGateway({ config: configText() })
    try {
      const by = clientOf(own, own.key)
      const body = formBytes([file('a.bin', randomBytes(100_000)), file('b.bin', randomBytes(100_000))])
      const headers = { 'x-api-key': own.key, 'Content-Type': formType, 'Idempotency-Key': 'k' }
      const wire = await wireTo(own.url)
      await wire.send(requestHead('POST', path, { ...headers, 'Content-Length': body.length }))
      await wire.send(body.subarray(0, 150_000))
      await eventually(async () => expect((await usage(by)).storage.reserved_bytes).toBeGreaterThanOrEqual(100_000))
      await own.stop('SIGKILL')
      await own.start()
      const again = clientOf(own, own.key)
      await eventually(async () => expect((await inventory(own.dataDir)).breaches).toEqual([]))
      expect(await storedFiles(own)).toEqual([])
      expect(await usage(again)).toMatchObject({ storage: { used_bytes: 0, reserved_bytes: 0 }, uploads: { total: 0 } })
      const answer = await again('POST', path, { headers, body })
      expect(answer.json()).toMatchObject({ status: 'completed', fileSize: 200_000 })
      wire.cut()
    } finally {
      await own.close()
    }
  })
})
