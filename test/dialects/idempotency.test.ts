import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { pino } from 'pino'
import { idempotency } from '../../src/http/idempotency.ts'
import { originReader } from '../../src/http/origin.ts'
import { httpHandler } from '../../src/http/handler.ts'
import { type HttpServer, startHttpServer } from '../../src/http/server.ts'
import type { Principal } from '../../src/uploads/principal.ts'
import { refusalOf } from '../contracts/dialect.ts'
import {
  addKeys,
  type Answer,
  type Ask,
  type Client,
  clientOf,
  configText,
  eventually,
  requestHead,
  type Wire,
  wireTo,
} from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { newRecord, sqliteBackend, type SqliteBackend } from '../support/records.ts'
import { principal } from '../support/rig.ts'

/**
 * A plugin that says how wide a file is when all of it has come. Where the file `kill-now` is, it kills its server then, once, and
 * takes its time when it is asked again.
 */
const killer = `{ name: 'killer', provides: ['width'], async beforeFinish() {
  const { existsSync, renameSync, rmSync } = process.getBuiltinModule('node:fs')
  if (existsSync('kill-now')) {
    renameSync('kill-now', 'killed')
    process.kill(process.pid, 'SIGKILL')
  }
  if (existsSync('killed')) {
    rmSync('killed')
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  return { properties: { width: 7 } }
} }`

let gateway: TestGateway
let workspace: string
let key: string
let call: Client
beforeAll(async () => {
  gateway = await startGateway({ config: configText(`sniffType({ deny: ['image/png'] }), quota(), ${killer}`) })
})
afterAll(() => gateway.close())
beforeEach(useWorkspace)

/** Whoever asks next does it in a workspace of his own. */
async function useWorkspace(): Promise<void> {
  workspace = randomUUID()
  key = (await addKeys(gateway, { key: { workspaceId: workspace } })).key
  reconnect()
}
const reconnect = (): void => void (call = (...asked) => clientOf(gateway, key)(...asked))

interface Usage {
  readonly storage: { readonly used_bytes: number; readonly reserved_bytes: number }
  readonly uploads: Readonly<Record<'total' | 'pending' | 'confirmed' | 'expired' | 'rejected', number>>
}
const usage = async (): Promise<Usage> => (await call('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data
const countUploads = async (): Promise<number> => (await usage()).uploads.total

/** Writes into the database, as no request could. */
function edit(sql: string, ...values: readonly unknown[]): number {
  const db = new Database(join(gateway.dataDir, 'fairlead.db'))
  try {
    return db.prepare(sql).run(...values).changes
  } finally {
    db.close()
  }
}
/** As if the server had died between making the upload and keeping its answer. */
const loseAnswer = (id: string): void =>
  expect(edit('update idempotency set status = null, answer = ? where answer like ?', id, `%${id}%`)).toBe(1)

const setQuota = (bytes: number): void =>
  expect(edit('update workspace set quota = ? where id = ?', bytes, workspace)).toBe(1)

type Send = (idempotencyKey: string, over?: { readonly name?: string; readonly key?: string }) => Promise<Answer>
const json = { filename: 'a.txt', category: 'document', size_bytes: 5, metadata: { a: '1', b: '2' } }
const sendPresigned: Send = (idempotencyKey, { name, ...over } = {}) =>
  call('POST', '/api/v1/uploads', {
    headers: { 'Idempotency-Key': idempotencyKey },
    json: { ...json, filename: name ?? json.filename },
    ...over,
  })
const sendRaw: Send = (idempotencyKey, { name = 'a.txt', ...over } = {}) =>
  call('POST', '/v1/uploads', {
    headers: { 'Idempotency-Key': idempotencyKey, 'x-file-name': name },
    body: 'hello',
    ...over,
  })

const presignedIdOf = (answer: Answer): string => answer.json<{ data: { upload: { id: string } } }>().data.upload.id
const assetIdOf = (answer: Answer): string => answer.json<{ data: { assetId: string } }>().data.assetId

const dialects = [
  {
    dialect: 'presigned',
    send: sendPresigned,
    idOf: presignedIdOf,
    shape: { errors: 'detail', errorType: 'application/json' },
    invalid: 422,
    fault: { detail: [{ loc: ['header', 'Idempotency-Key'] }] },
  },
  {
    dialect: 'raw',
    send: sendRaw,
    idOf: assetIdOf,
    shape: { errors: 'problem', errorType: 'application/json' },
    invalid: 400,
    fault: { errorCode: 'VALIDATION_FAILED', status: 400 },
  },
] as const

describe.each(dialects)('a creation by $dialect with an Idempotency-Key', ({ send, idOf, shape, invalid, fault }) => {
  it('happens once; a repetition gets the first answer, byte for byte', async () => {
    const first = await send('once')
    expect(first.status).toBe(201)
    for (let i = 0; i < 3; i++) {
      const again = await send('once')
      expect(again.status).toBe(201)
      expect(again.bytes).toEqual(first.bytes)
      for (const name of ['content-type', 'location']) expect(again.headers.get(name)).toBe(first.headers.get(name))
    }
    const { storage, uploads } = await usage()
    expect(uploads.total).toBe(1)
    expect(storage.used_bytes + storage.reserved_bytes).toBe(5)
    expect((await send('another')).bytes).not.toEqual(first.bytes)
  })

  it('takes the key bare or as a quoted string', async () => {
    const first = await send('a "b" \\c')
    expect((await send('"a \\"b\\" \\\\c"')).bytes).toEqual(first.bytes)
    expect(await countUploads()).toBe(1)
    expect((await send('A "b" \\c')).bytes).not.toEqual(first.bytes)
  })

  it('refuses the key for a different request, and keeps its answer', async () => {
    const first = await send('mine')
    expect(refusalOf(await send('mine', { name: 'b.txt' }), shape)).toBe('422 idempotency_key_reused')
    expect((await send('mine')).bytes).toEqual(first.bytes)
    expect(await countUploads()).toBe(1)
  })

  it('is one of twenty that are sent at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => send('rush')))
    const made = answers.filter(({ status }) => status === 201)
    expect(made.length).toBeGreaterThan(0)
    for (const answer of made) expect(answer.bytes).toEqual(made[0]?.bytes)
    for (const answer of answers.filter(({ status }) => status !== 201)) {
      expect(refusalOf(answer, shape)).toBe('409 idempotency_conflict')
      expect(answer.headers.get('retry-after')).toBe('1')
    }
    expect(await countUploads()).toBe(1)
    expect((await send('rush')).bytes).toEqual(made[0]?.bytes)
  })

  it('is another one for another key of the same user and workspace', async () => {
    const { second } = await addKeys(gateway, { second: { workspaceId: workspace } })
    const first = await send('shared')
    const other = await send('shared', { key: second, name: 'other.txt' })
    expect(other.status).toBe(201)
    expect(await countUploads()).toBe(2)
    expect((await send('shared')).bytes).toEqual(first.bytes)
    expect((await send('shared', { key: second, name: 'other.txt' })).bytes).toEqual(other.bytes)
  })

  it.each([
    ['of one character', '~'],
    ['of 255 characters', 'k'.repeat(255)],
    ['of 255 characters that are escaped', `"${'\\"'.repeat(255)}"`],
    ['with a comma', 'a, b'],
  ])('takes a key %s', async (_what, idempotencyKey) => {
    const first = await send(idempotencyKey)
    expect(first.status).toBe(201)
    expect((await send(idempotencyKey)).bytes).toEqual(first.bytes)
  })

  it.each([
    ['nothing', ''],
    ['an empty string', '""'],
    ['256 characters', 'k'.repeat(256)],
    ['256 characters in quotes', `"${'k'.repeat(256)}"`],
    ['a tab inside', 'a\tb'],
    ['letters beyond ASCII', 'schl\u00fcssel'],
    ['a quote that is not closed', '"abc'],
    ['a quote inside quotes', '"a"b"'],
    ['an escape of nothing', '"a\\b"'],
    ['parameters', '"abc";a=1'],
  ])('refuses a key of %s, and creates nothing', async (_what, idempotencyKey) => {
    const answer = await send(idempotencyKey)
    expect(answer.status).toBe(invalid)
    expect(answer.json()).toMatchObject(fault)
    expect(await countUploads()).toBe(0)
  })

  it('refuses two keys', async () => {
    const wire = await wireTo(gateway.url)
    const path = shape.errors === 'detail' ? '/api/v1/uploads' : '/v1/uploads'
    const body = JSON.stringify(json)
    const head = requestHead('POST', path, {
      Authorization: `Bearer ${key}`,
      'Content-Type': 'application/json',
      'x-file-name': 'a.json',
      'Content-Length': body.length,
      'Idempotency-Key': 'a',
      'idempotency-key': 'a',
    })
    await wire.send(head + body)
    expect((await wire.answer()).status).toBe(invalid)
    wire.cut()
    expect(await countUploads()).toBe(0)
  })

  it('may ask no more than the first request', async () => {
    const { reads } = await addKeys(gateway, { reads: { workspaceId: workspace, scopes: ['uploads:read'] } })
    expect(refusalOf(await send('k', { key: reads }), shape)).toBe('403 scope_missing')
    await send('k')
    expect(edit('update api_key set scopes = ? where workspace_id = ?', '["uploads:read"]', workspace)).toBe(2)
    expect(refusalOf(await send('k'), shape)).toBe('403 scope_missing')
  })

  it('works with the same key when it has failed before, also for another request', async () => {
    setQuota(4)
    for (let i = 0; i < 2; i++) expect(refusalOf(await send('again'), shape)).toBe('413 quota_exceeded')
    setQuota(10)
    const made = await send('again', { name: 'b.txt' })
    expect(made.status).toBe(201)
    expect((await send('again', { name: 'b.txt' })).bytes).toEqual(made.bytes)
    expect(refusalOf(await send('again'), shape)).toBe('422 idempotency_key_reused')
  })

  it('is answered by the first answer after its upload was deleted', async () => {
    const first = await send('kept')
    expect((await call('DELETE', `/api/v1/uploads/${idOf(first)}`)).status).toBe(200)
    expect((await send('kept')).bytes).toEqual(first.bytes)
    expect(await countUploads()).toBe(0)
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'is answered by the first answer when a %s came right after it',
    async (signal) => {
      const first = await send('kept')
      await gateway.stop(signal)
      await gateway.start()
      expect((await send('kept')).bytes).toEqual(first.bytes)
      expect(await countUploads()).toBe(1)
    },
  )

  it('answers for the upload that is there when a crash has lost the answer', async () => {
    const first = await send('lost')
    await gateway.stop('SIGKILL')
    loseAnswer(idOf(first))
    await gateway.start()
    expect(refusalOf(await send('lost', { name: 'b.txt' }), shape)).toBe('422 idempotency_key_reused')
    const again = await send('lost')
    expect(again.status).toBe(201)
    expect(idOf(again)).toBe(idOf(first))
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect((await send('lost')).bytes).toEqual(again.bytes)
    expect(await countUploads()).toBe(1)
  })

  it.each([
    ['deleted', 'delete from upload where id = ?'],
    ['expired', "update upload set state = 'expired' where id = ?"],
    ['rejected', "update upload set state = 'rejected' where id = ?"],
  ])('happens anew when the answer was lost and the upload is %s', async (_what, end) => {
    const gone = idOf(await send('gone'))
    loseAnswer(gone)
    expect(edit(end, Buffer.from(gone.replaceAll('-', ''), 'hex'))).toBe(1)
    const anew = await send('gone')
    expect(anew.status).toBe(201)
    expect(idOf(anew)).not.toBe(gone)
    expect((await send('gone')).bytes).toEqual(anew.bytes)
  })

  it('happens anew when its 24 hours are over', async () => {
    const first = await send('old')
    expect(edit('update idempotency set expires_at = ? where answer like ?', Date.now() - 1, `%${idOf(first)}%`)).toBe(
      1,
    )
    const anew = await send('old', { name: 'b.txt' })
    expect(anew.status).toBe(201)
    expect((await send('old', { name: 'b.txt' })).bytes).toEqual(anew.bytes)
    expect(await countUploads()).toBe(2)
  })
})

describe('a key that two dialects are sent', () => {
  it('is the key of the first', async () => {
    await sendRaw('both')
    expect((await sendPresigned('both')).json()).toMatchObject({ error_code: 'idempotency_key_reused' })
  })
})

const sendJson = (text: string): Promise<Answer> =>
  call('POST', '/api/v1/uploads', {
    headers: { 'Idempotency-Key': 'json', 'Content-Type': 'application/json' },
    body: text,
  })

const withList = (list: string): Promise<Answer> => sendJson(`{"filename":"a","category":"other","z":${list}}`)

describe('JSON', () => {
  it('is compared by value: order and blanks do not matter', async () => {
    const first = await sendJson('{"filename":"a.txt","category":"other","metadata":{"x":"1","y":"2"},"size_bytes":10}')
    for (const same of [
      '{ "size_bytes": 1e1,\n"metadata": {"y":"2","x":"1"}, "category":"other", "filename":"\\u0061.txt"}',
      '{"filename":"b","filename":"a.txt","category":"other","metadata":{"x":"1","y":"2"},"size_bytes":10.0}',
    ])
      expect((await sendJson(same)).bytes).toEqual(first.bytes)
    for (const other of [
      '{"filename":"a.txt","category":"other","metadata":{"x":"2","y":"1"},"size_bytes":10}',
      '{"filename":"a.txt","category":"other","metadata":{"x":"1"},"y":"2","size_bytes":10}',
      '{"filename":"a.txt","category":"other","metadata":{"x":"1","y":"2"},"size_bytes":11}',
      '{"filename":"a.txt","category":"other","metadata":{"x":"1","y":"2"}}',
      '{"filename":"a.txt","category":"other","metadata":{"x":"1","y":"2"},"size_bytes":10,"z":[[],[1]]}',
    ])
      expect((await sendJson(other)).json()).toMatchObject({ error_code: 'idempotency_key_reused' })
    expect(await countUploads()).toBe(1)
  })

  it('keeps lists and what is in them apart', async () => {
    expect((await withList('[1,[]]')).status).toBe(201)
    for (const list of ['[[1]]', '[[],1]', '["1",[]]', '[1,{}]', '[1,[],null]'])
      expect((await withList(list)).json()).toMatchObject({ error_code: 'idempotency_key_reused' })
  })

  it('may be as deep and as wide as it fits into a request', async () => {
    const deep = `{"filename":"a","category":"other","z":${'['.repeat(30_000)}${']'.repeat(30_000)}}`
    const wide = `{"filename":"a","category":"other","z":[${'1,'.repeat(30_000)}1]}`
    const first = await sendJson(deep)
    expect(first.status).toBe(201)
    expect((await sendJson(deep)).bytes).toEqual(first.bytes)
    expect((await sendJson(wide)).json()).toMatchObject({ error_code: 'idempotency_key_reused' })
  })
})

const whole = (idempotencyKey: string, ask: Partial<Ask> = {}): Promise<Answer> =>
  call('POST', '/v1/uploads', {
    headers: { 'Idempotency-Key': idempotencyKey, 'x-file-name': 'big.bin' },
    body: Buffer.alloc(1_000_000, 'x'),
    ...ask,
  })

describe('a file in the request', () => {
  const wires: Wire[] = []
  afterAll(() => wires.forEach((wire) => wire.cut()))

  /** Sends the head of a request, and as much of the body as is given. */
  async function begin(idempotencyKey: string, headers: Record<string, string | number>, body = ''): Promise<Wire> {
    const wire = await wireTo(gateway.url)
    wires.push(wire)
    const all = {
      Authorization: `Bearer ${key}`,
      'x-file-name': 'big.bin',
      'Idempotency-Key': idempotencyKey,
      ...headers,
    }
    await wire.send(requestHead('POST', '/v1/uploads', all) + body)
    return wire
  }
  const shape = { errors: 'problem', errorType: 'application/json' } as const
  const chunkedHead = { 'Transfer-Encoding': 'chunked' }
  const mebibyte = { 'Content-Length': 1_000_000 }

  it('is compared by name, type, length and project', async () => {
    const project = randomUUID()
    const headers = {
      'Idempotency-Key': 'f',
      'x-file-name': 'a b.txt',
      'Content-Type': 'text/plain',
      'x-project-id': project,
    }
    const send = (over: object, body = 'hello') =>
      call('POST', '/v1/uploads', { headers: { ...headers, ...over }, body })
    const first = await send({})
    expect((await send({ 'x-file-name': 'a%20b.txt', 'x-project-id': project.toUpperCase() })).bytes).toEqual(
      first.bytes,
    )
    for (const [over, body] of [
      [{ 'x-file-name': 'c.txt' }],
      [{ 'Content-Type': 'text/html' }],
      [{ 'x-project-id': randomUUID() }],
      [{ 'x-project-id': '' }],
      [{}, 'hello!'],
    ] as const)
      expect(refusalOf(await send(over, body), shape)).toBe('422 idempotency_key_reused')
    expect(await countUploads()).toBe(1)
  })

  it('is not read again for a repetition', async () => {
    const first = await whole('early')
    expect(first.status).toBe(201)
    const repeated = async (headers: Record<string, string | number>) => {
      const wire = await begin('early', headers)
      const again = await wire.answer() // neither asked for the body nor waited for it
      expect(again.status).toBe(201)
      expect(again.bytes).toEqual(first.bytes)
      expect(again.headers.get('connection')).toBe('close')
      expect(await wire.closed()).toBe(true)
    }
    await Promise.all([repeated(mebibyte), repeated({ ...mebibyte, Expect: '100-continue' })])
    expect(await countUploads()).toBe(1)
  })

  it('can be sent whole for a repetition: the answer arrives all the same', async () => {
    const body = Buffer.alloc(20_000_000, 'y')
    const first = await whole('whole', { body })
    expect((await whole('whole', { body })).bytes).toEqual(first.bytes)
  })

  it('is told to come when it is the first', async () => {
    const wire = await begin('expects', { 'Content-Length': 5, Expect: '100-continue' })
    expect((await wire.answer()).status).toBe(100)
    await wire.send('hello')
    expect((await wire.answer()).status).toBe(201)
  })

  it('is refused while the first is on its way, and taken when that one broke off', async () => {
    const first = await begin('slow', chunkedHead, '5\r\nhello\r\n')
    await eventually(async () => expect(await countUploads()).toBe(1))
    const second = await begin('slow', chunkedHead)
    const refused = await second.answer()
    expect(refusalOf(refused, shape)).toBe('409 idempotency_conflict')
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(refusalOf(await whole('slow'), shape)).toBe('422 idempotency_key_reused')
    first.cut()
    await eventually(async () => expect(await countUploads()).toBe(0))
    // another request than the one that failed
    await eventually(async () => expect((await whole('slow')).status).toBe(201))
    expect(await countUploads()).toBe(1)
  })

  it('that was refused leaves its key free', async () => {
    const png = Buffer.from('89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489', 'hex')
    for (let i = 0; i < 2; i++)
      expect(refusalOf(await whole('png', { body: png }), shape)).toBe('415 file_type_not_allowed')
    expect((await whole('png')).status).toBe(201)
    expect((await usage()).uploads).toMatchObject({ confirmed: 1, rejected: 2 })
  })

  it('is taken again when the server was killed in the middle of it', async () => {
    await begin('cut', chunkedHead, '5\r\nhello\r\n')
    await eventually(async () => expect(await countUploads()).toBe(1))
    await gateway.stop('SIGKILL')
    await gateway.start()
    expect((await usage()).uploads).toMatchObject({ total: 1, expired: 1 })
    const wire = await begin('cut', chunkedHead, '5\r\nhello\r\n0\r\n\r\n')
    const answer = await wire.answer()
    expect(answer.status).toBe(201)
    expect((await usage()).uploads).toMatchObject({ total: 2, expired: 1, confirmed: 1 })
    const again = await begin('cut', chunkedHead)
    expect((await again.answer()).bytes).toEqual(answer.bytes)
  })

  it('is taken again when its request has ended without a trace', async () => {
    const gone = assetIdOf(await whole('trace'))
    loseAnswer(gone)
    const id = Buffer.from(gone.replaceAll('-', ''), 'hex')
    expect(edit("update upload set state = 'receiving', object_key = null where id = ?", id)).toBe(1)
    const anew = await whole('trace')
    expect(anew.status).toBe(201)
    expect(assetIdOf(anew)).not.toBe(gone)
  })

  it('is not taken again when the server was killed while it looked at it', async () => {
    await writeFile(join(gateway.folder, 'kill-now'), '')
    await expect(whole('judged')).rejects.toThrow(/./)
    await gateway.stop('SIGKILL')
    await gateway.start()
    const again = await begin('judged', mebibyte)
    const answer = await again.answer()
    expect(answer.status).toBe(201)
    expect(answer.json()).toMatchObject({ data: { width: 7 } })
    const { storage, uploads } = await usage()
    expect(uploads).toMatchObject({ total: 1, confirmed: 1 })
    expect(storage).toMatchObject({ used_bytes: 1_000_000, reserved_bytes: 0 })
    expect((await whole('judged')).bytes).toEqual(answer.bytes)
    expect((await call('GET', `/v1/assets/${assetIdOf(answer)}`)).status).toBe(200)
  })
})

describe('a server whose clock the test holds', () => {
  const dayMs = 86_400_000
  const clock = { ahead: 0 }
  let backend: SqliteBackend
  let server: HttpServer
  let answerLength = 0
  beforeAll(async () => {
    backend = await sqliteBackend({ now: () => Date.now() + clock.ahead })
    for (const id of ['one', 'two']) await backend.records.ensureWorkspace(id)
    const once = idempotency(backend.records)
    server = await startHttpServer(
      httpHandler({
        corsOrigins: [],
        origin: originReader(null, false),
        log: pino({ level: 'silent' }),
        routes: (routes) =>
          routes.post('/v1/uploads', async (ctx) => {
            const user: Principal = { ...principal, id: 'user', workspaceId: ctx.get('x-workspace-id') }
            await once(ctx, user, {
              asked: null,
              make: (claim) => backend.records.create(newRecord({ workspaceId: user.workspaceId, claim })),
              recall: (id) => backend.records.get(id),
              answer: ({ id }) => ({ status: 201, body: { id, filler: '-'.repeat(answerLength), at: Math.random() } }),
            })
          }),
      }),
      { host: '127.0.0.1', port: 0 },
    )
  })
  afterAll(async () => {
    await server.stop(0)
    await backend.close()
  })
  const send = (idempotencyKey: string, workspaceId = 'one') =>
    clientOf(server, '')('POST', '/v1/uploads', {
      headers: { 'Idempotency-Key': idempotencyKey, 'X-Workspace-Id': workspaceId },
    })

  it('replays the answer for 24 hours, and not longer', async () => {
    const first = await send('clock')
    clock.ahead += dayMs - 60_000
    expect((await send('clock')).bytes).toEqual(first.bytes)
    clock.ahead += 60_000
    const anew = await send('clock')
    expect(anew.json()['id']).not.toBe(first.json()['id'])
    expect((await send('clock')).bytes).toEqual(anew.bytes)
  })

  it('does not answer a user of two workspaces for the other one', async () => {
    const first = await send('tenant')
    expect((await send('tenant', 'two')).json()).toMatchObject({ errorCode: 'IDEMPOTENCY_KEY_REUSED' })
    expect((await send('tenant')).bytes).toEqual(first.bytes)
  })

  it('keeps no answer that is huge, and makes it again from what is there', async () => {
    answerLength = 300 * 1024
    const first = await send('huge')
    const again = await send('huge')
    expect(again.json()['id']).toBe(first.json()['id'])
    expect(await backend.raw("select length(answer) as length from idempotency where key = 'huge'")).toEqual([
      { length: 36 },
    ])
  })
})

describe('a storm of kills', () => {
  const kills = 4
  const requests = 40

  it('makes no upload twice and loses none', { timeout: 30_000 }, async () => {
    const answers = new Map<string, Answer>()
    for (let round = 0; round < kills; round++) {
      const left = { count: 10 + round }
      const sent = Array.from({ length: requests }, async (_, i) => {
        const send = i % 2 ? sendRaw : sendPresigned
        const answer = await send(`storm-${round}-${i}`).catch(() => undefined)
        if (answer?.status !== 201) return
        answers.set(`storm-${round}-${i}`, answer)
        // The server goes in the middle of the others.
        if (--left.count === 0) await gateway.stop('SIGKILL')
      })
      await Promise.all(sent)
      await gateway.stop('SIGKILL')
      await gateway.start()
    }
    expect(answers.size).toBeLessThan(kills * requests)
    for (let round = 0; round < kills; round++)
      for (let i = 0; i < requests; i++) {
        const send = i % 2 ? sendRaw : sendPresigned
        const answer = await send(`storm-${round}-${i}`)
        expect(answer.status).toBe(201)
        // Whoever had an answer gets the same.
        expect(answer.bytes).toEqual((answers.get(`storm-${round}-${i}`) ?? answer).bytes)
      }
    const found = (await usage()).uploads
    expect(found.total - found.expired).toBe(kills * requests)
    expect(found).toMatchObject({ pending: (kills * requests) / 2, confirmed: (kills * requests) / 2 })
  })
})
