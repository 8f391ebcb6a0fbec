import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { quota } from '../../plugins/quota.ts'
import { UploadError } from '../../src/errors.ts'
import type { Plugin, Tap, UploadContext } from '../../src/plugin.ts'
import type { ObjectStore } from '../../src/uploads/object-store.ts'
import type { Upload } from '../../src/uploads/upload.ts'
import { patiently } from '../support/records.ts'
import {
  bodyOf,
  draft,
  pattern,
  principal,
  type Rig,
  type RigOptions,
  sha256,
  signal,
  startRig,
} from '../support/rig.ts'

const minuteMs = 60_000
let rig: Rig

async function start(options: RigOptions = {}): Promise<Rig> {
  return (rig = await startRig(options))
}

afterEach(async () => {
  await rig.expectClean()
  await rig.close()
})

const content = pattern(300_000)
const receive = (over: Parameters<typeof draft>[0] = {}, body = bodyOf(content)) =>
  rig.service.receive(principal, draft(over), body)
const create = (over: Parameters<typeof draft>[0] = {}) =>
  rig.service.create(principal, draft({ dialect: 'presigned', ...over }))
const confirm = (upload: Upload) => rig.service.confirm(principal, upload.id, null)
const workspace = () => rig.records.workspace('w')
const rows = async () => (await rig.records.list({ workspaceId: 'w', limit: 100 })).uploads
const counters = async () => {
  const { used, reserved } = (await workspace()) ?? {}
  return { used, reserved }
}
const codeOf = (error: unknown): string => (error instanceof UploadError ? error.code : String(error))

/** Nothing was left by what was asked, not even a record. */
async function expectNothing(): Promise<void> {
  await rig.work()
  expect(await rows()).toEqual([])
  expect(await rig.objects()).toEqual([])
  expect(await counters()).toEqual({ used: 0, reserved: 0 })
}

const waitingTap = (wait: (ctx: UploadContext) => Promise<void>): Plugin => ({
  name: 'waiting',
  tap: (ctx): Tap => ({ write: () => wait(ctx), end() {} }),
})

const refuse = (ctx: { reject: UploadContext['reject'] }): never =>
  ctx.reject('file_type_not_allowed', 'Not here.', { why: 7 })

/** The hooks that see a file before it is accepted, each doing the same. */
const hooksThat = (
  act: (ctx: { reject: UploadContext['reject'] }) => undefined,
  rest: Partial<Plugin> = {},
): readonly Plugin[] => [
  { name: 'inspect', inspect: { bytes: 10, handler: (_head, ctx) => act(ctx) }, ...rest },
  { name: 'inspect-later', inspect: { bytes: 10, handler: async (_head, ctx) => act(ctx) }, ...rest },
  { name: 'tap', tap: (ctx) => act(ctx), ...rest },
  { name: 'tap-write', tap: (ctx) => ({ write: () => act(ctx), end() {} }), ...rest },
  { name: 'tap-write-later', tap: (ctx) => ({ write: async () => act(ctx), end() {} }), ...rest },
  { name: 'tap-end', tap: (ctx) => ({ write() {}, end: () => act(ctx) }), ...rest },
  { name: 'tap-end-later', tap: (ctx) => ({ write() {}, end: async () => act(ctx) }), ...rest },
  { name: 'before-finish', beforeFinish: (_bytes, ctx) => act(ctx), ...rest },
]
const fail = (): never => {
  throw new Error('a bug')
}
const acceptsFails: Plugin = { name: 'accepts', accepts: fail, inspect: { bytes: 1, handler() {} } }

const diskFull = () => Promise.reject(new UploadError('storage_failed', 'The disk is full.', { retryAfter: 5 }))

describe('a file that comes in one request', () => {
  it('is ready when the call returns', async () => {
    await start({ plugins: [quota()] })
    const upload = await receive({ filename: 'photo.jpg', metadata: { a: 'b' } })
    expect(upload).toMatchObject({
      state: 'ready',
      size: content.length,
      received: content.length,
      sha256: sha256(content),
      reserved: 0,
      filename: 'photo.jpg',
      metadata: { a: 'b' },
      properties: { contentType: 'image/jpeg', format: 'jpeg' },
      expiresAt: null,
    })
    expect(upload.objectKey).toMatch(/^[0-9a-f]{2}\/[0-9a-f]{32}\.[0-9a-f]{12}$/)
    expect(await buffer(await rig.store.read(upload.objectKey ?? ''))).toEqual(content)
    expect(await rig.records.get(upload.id)).toEqual(upload)
    expect(await counters()).toEqual({ used: content.length, reserved: 0 })
    expect(await rig.records.jobs()).toEqual({ waiting: 0, failed: [] })
  })

  it('has an id that tells the moment of its creation', async () => {
    await start()
    const uploads = await Promise.all(Array.from({ length: 200 }, () => create()))
    for (const { id, createdAt } of uploads) expect(parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(createdAt)
    expect(Math.abs((uploads[0]?.createdAt ?? 0) - Date.now())).toBeLessThan(minuteMs)
  })

  it('is stored once its record is there, not before', async () => {
    const order: string[] = []
    await start({
      wrapStore: (store): ObjectStore => ({
        ...store,
        write(key) {
          const writer = store.write(key)
          return {
            ...writer,
            async write(chunks) {
              order.push((await rows()).map((row) => row.state).join())
              return writer.write(chunks)
            },
          }
        },
      }),
    })
    await receive()
    expect(new Set(order)).toEqual(new Set(['receiving']))
  })

  it('of a client that waits is asked for when its record is there', async () => {
    await start({ plugins: [quota()] })
    const seen: (readonly string[])[] = []
    const accept = () => void rows().then((found) => seen.push(found.map((row) => row.state)))
    await receive({ declaredSize: content.length }, bodyOf(content, { waits: true, accept }))
    expect(seen).toEqual([['receiving']])
    await rig.records.setQuota('w', 1)
    const refused = receive({ declaredSize: 5 }, bodyOf('hello', { waits: true, accept }))
    await expect(refused).rejects.toMatchObject({ code: 'quota_exceeded' })
    expect(seen).toHaveLength(1)
  })

  it.each([
    ['is empty', {}, bodyOf(''), 'empty_body'],
    ['is shorter than declared', { declaredSize: 6 }, bodyOf('hello'), 'size_mismatch'],
    ['is longer than declared', { declaredSize: 4 }, bodyOf('hello'), 'size_mismatch'],
    ['announces another length than declared', { declaredSize: 4 }, bodyOf('hello', { length: 5 }), 'size_mismatch'],
    ['announces more than is allowed', {}, bodyOf('hello', { length: 1_001 }), 'file_too_large'],
    ['has more than is allowed', {}, bodyOf(pattern(1_001)), 'file_too_large'],
    ['has more than its category allows', { category: 'small' }, bodyOf(pattern(11)), 'file_too_large'],
    [
      'has another SHA-256',
      { declaredChecksum: { algorithm: 'sha256', digest: 'x' } as const },
      bodyOf('hello'),
      'checksum_mismatch',
    ],
    [
      'has another MD5',
      { declaredChecksum: { algorithm: 'md5', digest: 'x' } as const },
      bodyOf('hello'),
      'checksum_mismatch',
    ],
  ])('that %s leaves nothing', async (_what, over, body, code) => {
    await start({ plugins: [quota()], policy: { maxFileSize: 1_000, categories: { small: { maxSize: 10 } } } })
    await expect(receive(over, body)).rejects.toMatchObject({ code })
    await expectNothing()
  })

  it.each(['md5', 'sha256'] as const)('may be declared by its %s', async (algorithm) => {
    await start()
    const digest = createHash(algorithm).update(content).digest('base64')
    expect(await receive({ declaredChecksum: { algorithm, digest } })).toMatchObject({ state: 'ready' })
  })

  it.each([0, 5, 200_000])('whose client goes away after %d bytes leaves nothing', async (bytes) => {
    await start({ plugins: [quota(), { name: 'head', inspect: { bytes: 100, handler() {} } }] })
    const stream = new PassThrough()
    const received = receive({}, bodyOf('', { stream }))
    stream.write(content.subarray(0, bytes))
    await new Promise((resolve) => setTimeout(resolve, 20))
    stream.destroy()
    await expect(received).rejects.toMatchObject({ name: 'ClientGone' })
    await expectNothing()
  })

  it('of which nothing comes any more leaves nothing', async () => {
    await start({ bodyIdleMs: 30 })
    const stream = new PassThrough()
    stream.write('hello')
    await expect(receive({}, bodyOf('', { stream }))).rejects.toMatchObject({ code: 'request_timeout' })
    await expectNothing()
  })

  it.each(['write', 'finish'] as const)('whose %s fails in the store leaves nothing', async (broken) => {
    await start({
      wrapStore: (store): ObjectStore => ({ ...store, write: (key) => ({ ...store.write(key), [broken]: diskFull }) }),
    })
    await expect(receive()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: 5 })
    await expectNothing()
  })

  it('says what was wrong with it even when the store cannot clean up', async () => {
    await start({
      plugins: [{ name: 'no', tap: (ctx) => ({ write: () => refuse(ctx), end() {} }) }],
      wrapStore(store): ObjectStore {
        const write: ObjectStore['write'] = (key) => {
          const writer = store.write(key)
          return {
            ...writer,
            async abort() {
              await writer.abort()
              throw new UploadError('storage_failed', 'The disk is gone.')
            },
          }
        }
        return { ...store, write }
      },
    })
    await expect(receive()).rejects.toMatchObject({ code: 'file_type_not_allowed' })
    expect(await rows()).toMatchObject([{ state: 'rejected' }])
    await rig.work()
  })

  it('is refused when the category or project forbids it, before anything is done', async () => {
    await start({
      policy: { categories: { image: { types: ['image/*'], extensions: ['png'] } }, projectMode: 'registered' },
    })
    const cases = [
      [{ category: 'none' }, 'validation_failed'],
      [{ category: 'image' }, 'file_type_not_allowed'],
      [{ category: 'image', filename: 'a.png', declaredType: 'text/plain' }, 'file_type_not_allowed'],
      [{ projectId: 'unknown' }, 'project_forbidden'],
    ] as const
    for (const [over, code] of cases) await expect(receive(over)).rejects.toMatchObject({ code })
    const read = { ...principal, scopes: ['uploads:read'] } as const
    await expect(rig.service.receive(read, draft(), bodyOf('x'))).rejects.toMatchObject({ code: 'scope_missing' })
    const limited = { ...principal, projects: ['p'] }
    await expect(rig.service.receive(limited, draft({ projectId: 'q' }), bodyOf('x'))).rejects.toMatchObject({
      code: 'project_forbidden',
    })
    await expectNothing()
  })

  it('must be what its category takes, by its bytes', async () => {
    const text: Plugin = {
      name: 'text',
      inspect: { bytes: 1, handler: () => ({ properties: { contentType: 'text/html', format: 'html' } }) },
    }
    await start({ plugins: [text], policy: { categories: { image: { types: ['image/*'] } } } })
    const lying = receive({ category: 'image', filename: 'a.png', declaredType: 'image/png' })
    await expect(lying).rejects.toMatchObject({ code: 'file_type_not_allowed' })
    await rig.work()
    expect(await rows()).toMatchObject([{ state: 'rejected', rejection: { code: 'file_type_not_allowed' } }])
  })
})

describe('a plugin that refuses', () => {
  it('at the creation leaves nothing', async () => {
    await start({ plugins: [{ name: 'no', beforeCreate: (_draft, ctx) => refuse(ctx) }] })
    const refusal = { code: 'file_type_not_allowed', message: 'Not here.', facts: { why: 7 } }
    await expect(receive()).rejects.toMatchObject(refusal)
    await expect(create()).rejects.toMatchObject(refusal)
    await expectNothing()
  })

  it.each(hooksThat(refuse))('in $name leaves the record with the reason, and nothing else', async (plugin) => {
    const told: Upload[] = []
    const hears: Plugin = { name: 'hears', afterTerminate: (ctx) => void told.push(ctx.upload) }
    await start({ plugins: [quota(), plugin, hears] })
    await expect(receive()).rejects.toMatchObject({ code: 'file_type_not_allowed', facts: { why: 7 } })
    await rig.work()
    expect(await rows()).toMatchObject([
      { state: 'rejected', rejection: { code: 'file_type_not_allowed', message: 'Not here.' }, objectKey: null },
    ])
    expect(await counters()).toEqual({ used: 0, reserved: 0 })
    expect(await rig.objects()).toEqual([])
    expect(told).toEqual(await rows())
  })

  it.each(hooksThat(refuse).filter((plugin) => !plugin.beforeFinish))(
    'in $name of a PUT leaves the upload as it was, for another PUT',
    async (plugin) => {
      let refuses = true
      await start({ plugins: [quota(), { ...plugin, accepts: () => refuses }] })
      const upload = await create({ declaredSize: 5 })
      await expect(rig.service.put(upload.id, bodyOf('hello'))).rejects.toMatchObject({ code: 'file_type_not_allowed' })
      expect(await rig.records.get(upload.id)).toEqual(upload)
      await rig.work()
      await rig.expectClean()
      refuses = false
      await rig.service.put(upload.id, bodyOf('hallo'))
      expect(await confirm(upload)).toMatchObject({ state: 'ready', sha256: sha256('hallo') })
    },
  )
})

describe('a plugin that fails', () => {
  it('at the creation leaves nothing', async () => {
    await start({ plugins: [{ name: 'broken', beforeCreate: fail }] })
    await expect(receive()).rejects.toMatchObject({ code: 'processing_failed', retryAfter: 5 })
    await expectNothing()
  })

  it.each([...hooksThat(fail), acceptsFails])(
    'in $name leaves nothing of the request, and says to try again',
    async (plugin) => {
      await start({ plugins: [quota(), plugin] })
      await expect(receive()).rejects.toMatchObject({ code: 'processing_failed', retryAfter: 5 })
      await expectNothing()
      expect(rig.lines).toMatchObject([{ level: 'error', facts: { plugin: plugin.name, err: { message: 'a bug' } } }])
    },
  )

  it.each([
    ...hooksThat(fail, { onFailure: 'skip' }),
    { ...acceptsFails, onFailure: 'skip' as const },
    { name: 'before-create', beforeCreate: fail, onFailure: 'skip' as const },
  ])('in $name and may be skipped is skipped, and that is logged', async (plugin) => {
    const after: Plugin = { name: 'after', inspect: { bytes: 1, handler: () => ({ properties: { format: 'seen' } }) } }
    await start({ plugins: [plugin, after] })
    expect(await receive()).toMatchObject({ state: 'ready', sha256: sha256(content), properties: { format: 'seen' } })
    expect(rig.lines.length).toBeGreaterThan(0)
    for (const line of rig.lines)
      expect(line).toMatchObject({ level: 'warn', facts: { plugin: plugin.name, err: { message: 'a bug' } } })
  })

  it('because of the store says so', async () => {
    const away = new UploadError('storage_failed', 'Away.', { retryAfter: 3 })
    const reads: Plugin = { name: 'reads', beforeFinish: async (bytes) => void (await bytes.bytes(0, 10)) }
    await start({ plugins: [reads], wrapStore: (store) => ({ ...store, bytes: () => Promise.reject(away) }) })
    await expect(receive()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: 3 })
    await expectNothing()
  })
})

describe('an upload URL', () => {
  it('takes the bytes, again and again, until the confirm', async () => {
    await start({ plugins: [quota()] })
    const upload = await create({ declaredSize: 5 })
    expect(upload).toMatchObject({ state: 'pending', reserved: 5, received: 0 })
    expect(await rig.service.put(upload.id, bodyOf('hello'))).toMatchObject({ state: 'receiving', received: 5 })
    expect(await rig.service.put(upload.id, bodyOf('hallo'))).toMatchObject({
      state: 'receiving',
      sha256: sha256('hallo'),
    })
    await rig.work()
    await rig.expectClean()
    expect(await confirm(upload)).toMatchObject({ state: 'ready', sha256: sha256('hallo') })
    await expect(rig.service.put(upload.id, bodyOf('hullo'))).rejects.toMatchObject({ code: 'upload_state_conflict' })
    expect(await counters()).toEqual({ used: 5, reserved: 0 })
    await rig.work()
  })

  it('takes an empty file', async () => {
    await start()
    const upload = await create({ declaredSize: 0 })
    await rig.service.put(upload.id, bodyOf(''))
    expect(await confirm(upload)).toMatchObject({ state: 'ready', size: 0, sha256: sha256('') })
  })

  it('keeps what came before when a later PUT breaks off', async () => {
    await start({ plugins: [quota({ step: 1_000 })] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    const stream = new PassThrough()
    const second = rig.service.put(upload.id, bodyOf('', { stream }))
    stream.write(content)
    await new Promise((resolve) => setTimeout(resolve, 20))
    stream.destroy()
    await expect(second).rejects.toMatchObject({ name: 'ClientGone' })
    await rig.work()
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'receiving', size: 5, reserved: 5 })
    expect(await confirm(upload)).toMatchObject({ state: 'ready', sha256: sha256('hello') })
  })

  it('of two PUTs at once keeps the newest, and nothing of the other', async () => {
    await start({ plugins: [quota()] })
    const upload = await create({ declaredSize: content.length })
    const other = content.toReversed()
    const older = rig.service.put(upload.id, bodyOf(content))
    const newest = rig.service.put(upload.id, bodyOf(other))
    await expect(older).rejects.toMatchObject({ code: 'upload_locked' })
    await newest
    const ready = await confirm(upload)
    expect(ready.sha256).toBe(sha256(other))
    expect(sha256(await buffer(await rig.store.read(ready.objectKey ?? '')))).toBe(ready.sha256)
    await rig.work()
  })

  it('of an upload that is not there takes nothing', async () => {
    await start()
    const upload = await create()
    await rig.service.remove(principal, upload.id)
    await expect(rig.service.put(upload.id, bodyOf('hello'))).rejects.toMatchObject({ code: 'not_found' })
    await expectNothing()
  })

  it('whose PUT is running when the upload is confirmed loses', async () => {
    const open = signal()
    let slow = false
    await start({ plugins: [waitingTap(() => (slow ? open.promise : Promise.resolve()))] })
    const upload = await create({ declaredSize: 5 })
    await rig.service.put(upload.id, bodyOf('hello'))
    slow = true
    const late = rig.service.put(upload.id, bodyOf('hallo')).catch(codeOf)
    expect(await confirm(upload)).toMatchObject({ state: 'ready', sha256: sha256('hello') })
    open.resolve()
    expect(await late).toBe('upload_state_conflict')
    await rig.work()
    expect(await rig.records.get(upload.id)).toMatchObject({ sha256: sha256('hello') })
  })
})

describe('a confirm', () => {
  it('without bytes changes nothing', async () => {
    await start()
    const upload = await create()
    await expect(confirm(upload)).rejects.toMatchObject({ code: 'upload_not_received' })
    expect(await rig.records.get(upload.id)).toEqual(upload)
  })

  it('answers the same again, and to all that ask at once, and charges once', async () => {
    let runs = 0
    const slow: Plugin = {
      name: 'slow',
      async beforeFinish() {
        runs++
        await new Promise((resolve) => setTimeout(resolve, 20))
        return { properties: { width: 7 } }
      },
    }
    await start({ plugins: [quota(), slow] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    const answers = await Promise.all(Array.from({ length: 5 }, () => confirm(upload)))
    answers.push(await confirm(upload))
    for (const answer of answers) expect(answer).toEqual(answers[0])
    expect(answers[0]).toMatchObject({ state: 'ready', properties: { width: 7 } })
    expect(runs).toBe(1)
    expect(await counters()).toEqual({ used: 5, reserved: 0 })
  })

  it('sets the context, or keeps the one from the creation', async () => {
    await start()
    const uploads = [
      await create({ context: { type: 'a', id: '1' } }),
      await create({ context: { type: 'a', id: '1' } }),
    ]
    for (const upload of uploads) await rig.service.put(upload.id, bodyOf('hello'))
    const [kept, changed] = uploads
    expect(await rig.service.confirm(principal, kept?.id ?? '', null)).toMatchObject({
      context: { type: 'a', id: '1' },
    })
    const context = { type: 'b', id: '2' }
    expect(await rig.service.confirm(principal, changed?.id ?? '', context)).toMatchObject({ context })
  })

  it('is refused with the reason, also when it is asked again, and leaves no bytes', async () => {
    await start({ plugins: [quota(), { name: 'no', beforeFinish: (_bytes, ctx) => refuse(ctx) }] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    const refusal = { code: 'file_type_not_allowed', message: 'Not here.' }
    const answers = await Promise.allSettled([confirm(upload), confirm(upload)])
    for (const answer of answers) expect(answer).toMatchObject({ status: 'rejected', reason: refusal })
    await expect(confirm(upload)).rejects.toMatchObject(refusal)
    await rig.work()
    expect(await rig.objects()).toEqual([])
    expect(await counters()).toEqual({ used: 0, reserved: 0 })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'rejected', objectKey: null })
  })

  it('of what has expired, is another workspace’s, or never was', async () => {
    await start()
    const upload = await create()
    await rig.service.expire(upload)
    await expect(confirm(upload)).rejects.toMatchObject({ code: 'upload_expired' })
    const other = { ...principal, workspaceId: 'x' }
    for (const [who, id] of [
      [other, upload.id],
      [principal, '01912345-0000-7000-8000-000000000000'],
      [principal, 'nonsense'],
    ] as const)
      await expect(rig.service.confirm(who, id, null)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('that takes longer than a request may wait answers before its verdict, which comes nevertheless', async () => {
    const open = signal()
    const slow: Plugin = { name: 'slow', beforeFinish: () => open.promise.then(() => ({ properties: { width: 3 } })) }
    await start({ plugins: [slow], syncBudgetMs: 30 })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    expect(await confirm(upload)).toMatchObject({ state: 'processing' })
    // Somebody has to finish it should the process die now.
    rig.skew.ms = minuteMs
    expect((await rig.records.claim(9, 0)).map((job) => job.work)).toEqual([{ kind: 'verdict', uploadId: upload.id }])
    const again = confirm(upload)
    open.resolve()
    expect(await again).toMatchObject({ state: 'ready', properties: { width: 3 } })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'ready', properties: { width: 3 } })
  })

  it('on which a plugin fails leaves it processing; the next one asks again', async () => {
    let broken = true
    await start({ plugins: [quota(), { name: 'once', beforeFinish: () => (broken ? fail() : undefined) }] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    await expect(confirm(upload)).rejects.toMatchObject({ code: 'processing_failed', retryAfter: 5 })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'processing', reserved: 5 })
    broken = false
    expect(await confirm(upload)).toMatchObject({ state: 'ready' })
    expect(await counters()).toEqual({ used: 5, reserved: 0 })
  })

  it.each([
    ['accepts', 'ready', undefined],
    ['refuses', 'rejected', 'file_type_not_allowed'],
  ] as const)('on which a plugin fails is finished by its job, which %s it', async (_what, state, code) => {
    let broken = true
    const once: Plugin = {
      name: 'once',
      beforeFinish: (_bytes, ctx) => (broken ? fail() : code ? ctx.reject(code, 'Not here.') : undefined),
    }
    await start({ plugins: [quota(), once] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    await expect(confirm(upload)).rejects.toMatchObject({ code: 'processing_failed' })
    rig.skew.ms = minuteMs
    await expect(rig.work()).rejects.toMatchObject({ code: 'processing_failed' })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'processing' })
    broken = false
    rig.skew.ms += minuteMs
    await rig.work()
    expect(await rig.records.get(upload.id)).toMatchObject({ state })
    expect(await counters()).toEqual({ used: state === 'ready' ? 5 : 0, reserved: 0 })
  })
})

describe('a crash', () => {
  it.each([
    ['accepts', 'ready'],
    ['refuses', 'rejected'],
  ] as const)('between the bytes and the verdict, which %s them, is made good', async (what, state) => {
    const verdicts: Plugin = {
      name: 'verdict',
      beforeFinish: (_b, ctx) => (what === 'refuses' ? refuse(ctx) : undefined),
    }
    await start({ plugins: [quota(), { name: 'stuck', beforeFinish: () => new Promise(() => {}) }], syncBudgetMs: 20 })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf(content))
    const stuck = await receive()
    expect(await confirm(upload)).toMatchObject({ state: 'processing' })
    await rig.crash({ plugins: [quota(), verdicts] })
    await rig.work()
    for (const { id } of [upload, stuck]) expect(await rig.records.get(id)).toMatchObject({ state })
    expect(await counters()).toEqual({ used: state === 'ready' ? 2 * content.length : 0, reserved: 0 })
  })

  it('in the middle of the bytes leaves none of them', async () => {
    await start({ plugins: [quota({ step: 1_000 })] })
    const pending = await create({ declaredSize: 1_000_000 })
    const [one, two] = [new PassThrough(), new PassThrough()]
    const lost = [rig.service.put(pending.id, bodyOf('', { stream: one })), receive({}, bodyOf('', { stream: two }))]
    // more than one gather, or nothing is stored yet
    for (const stream of [one, two]) stream.write(pattern(950_000))
    two.write(content)
    await expect.poll(async () => (await counters()).reserved, patiently).toBeGreaterThan(1_000_000)
    await rig.crash({ plugins: [quota()] })
    for (const stream of [one, two]) stream.destroy()
    await Promise.allSettled(lost)
    await rig.work()
    expect((await rows()).map((row) => row.state).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'expired',
      'pending',
    ])
    expect(await counters()).toEqual({ used: 0, reserved: 1_000_000 })
    await rig.service.put(pending.id, bodyOf(pattern(1_000_000)))
    expect(await confirm(pending)).toMatchObject({ state: 'ready' })
  })
})

describe('a deletion', () => {
  it('gives back the bytes at once, and the object goes by a job', async () => {
    const told: string[] = []
    const hears: Plugin = { name: 'hears', afterTerminate: (ctx) => void told.push(ctx.upload.state) }
    await start({ plugins: [quota(), hears] })
    const upload = await receive()
    await rig.service.remove(principal, upload.id)
    expect(await counters()).toEqual({ used: 0, reserved: 0 })
    expect(await rig.objects()).toEqual([upload.objectKey])
    await rig.work()
    expect(told).toEqual(['ready'])
    await expectNothing()
    await expect(rig.service.remove(principal, upload.id)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('while the bytes come stops them', async () => {
    await start({ plugins: [quota()] })
    const upload = await create()
    const streams = [new PassThrough(), new PassThrough()]
    const bringing = [
      rig.service.put(upload.id, bodyOf('', { stream: streams[0] ?? new PassThrough() })).catch(codeOf),
      receive({}, bodyOf('', { stream: streams[1] ?? new PassThrough() })).catch(codeOf),
    ]
    for (const stream of streams) stream.write(content)
    await expect.poll(() => rows(), patiently).toHaveLength(2)
    await expect.poll(async () => (await rig.backend.raw('select * from object_intent')).length, patiently).toBe(2)
    for (const { id } of await rows()) await rig.service.remove(principal, id)
    expect(await Promise.all(bringing)).toEqual(['not_found', 'not_found'])
    await expectNothing()
  })

  it('while plugins decide wins', async () => {
    const open = signal()
    await start({ plugins: [quota(), { name: 'slow', beforeFinish: () => open.promise }] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    const waiting = [confirm(upload).catch(codeOf), receive().catch(codeOf)]
    await expect
      .poll(async () => (await rows()).map((row) => row.state), patiently)
      .toEqual(['processing', 'processing'])
    for (const { id } of await rows()) await rig.service.remove(principal, id)
    open.resolve()
    expect(await Promise.all(waiting)).toEqual(['not_found', 'not_found'])
    await expectNothing()
  })

  it.each(['a PUT', 'tus'])('while the quota grows is no failure of the plugin: %s', async (way) => {
    await start({ plugins: [quota()] })
    const stream = new PassThrough()
    const body = bodyOf('', { stream })
    const whole = { metadata: null, concat: null, partial: false }
    const upload =
      way === 'tus' ? await rig.service.resumable.begin(principal, draft(), whole, null, null) : await create()
    const bringing =
      way === 'tus'
        ? rig.service.resumable
            .proceed(principal, upload.id, { offset: 0, length: null, body, sum: null })
            .catch(codeOf)
        : rig.service.put(upload.id, body).catch(codeOf)
    await expect.poll(async () => (await rig.backend.raw('select * from object_intent')).length, patiently).toBe(1)
    // Past the service, as it is for the moment until it has heard that the row has gone.
    await rig.records.remove(upload.id, { jobs: () => [] })
    stream.end(content)
    expect(await bringing).toBe('not_found')
    expect(rig.lines).toEqual([])
    await expectNothing()
  })

  it('while plugins look at the bytes is no failure of theirs', async () => {
    const open = signal()
    const looks: Plugin = {
      name: 'looks',
      async beforeFinish(bytes) {
        await open.promise
        await bytes.bytes(0, 1)
      },
    }
    await start({ plugins: [looks] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    const waiting = confirm(upload).catch(codeOf)
    await expect.poll(async () => (await rows()).map((row) => row.state), patiently).toEqual(['processing'])
    await rig.service.remove(principal, upload.id)
    await rig.work()
    open.resolve()
    expect(await waiting).toBe('not_found')
    await expectNothing()
    expect(rig.lines).toEqual([])
  })

  it('of what a project holds is refused', async () => {
    await start()
    const upload = await receive({ projectId: 'p' })
    await expect(rig.service.remove(principal, upload.id)).rejects.toMatchObject({ code: 'asset_referenced' })
    const other = { ...principal, workspaceId: 'x' }
    await expect(rig.service.remove(other, upload.id)).rejects.toMatchObject({ code: 'not_found' })
    expect(await rig.records.get(upload.id)).toEqual(upload)
  })
})

describe('the quota plugin', () => {
  it('holds what was declared from the creation on', async () => {
    await start({ plugins: [quota()] })
    await rig.records.setQuota('w', 100)
    const upload = await create({ declaredSize: 60 })
    expect(await counters()).toEqual({ used: 0, reserved: 60 })
    await expect(create({ declaredSize: 41 })).rejects.toMatchObject({
      code: 'quota_exceeded',
      facts: { bytes_left: 40 },
    })
    await expect(receive({ declaredSize: 41 }, bodyOf(pattern(41)))).rejects.toMatchObject({ code: 'quota_exceeded' })
    await receive({ declaredSize: 40 }, bodyOf(pattern(40)))
    expect(await counters()).toEqual({ used: 40, reserved: 60 })
    await rig.service.put(upload.id, bodyOf(pattern(60)))
    expect(await confirm(upload)).toMatchObject({ state: 'ready' })
    expect(await counters()).toEqual({ used: 100, reserved: 0 })
    // nothing more, but what needs no room
    await expect(create({ declaredSize: 1 })).rejects.toMatchObject({ facts: { bytes_left: 0 } })
    await create({ declaredSize: 0 })
  })

  it('holds what comes in steps when nothing was declared, to the last byte', async () => {
    await start({ plugins: [quota({ step: 1_000 })] })
    await rig.records.setQuota('w', 10_000)
    const stream = new PassThrough()
    const received = receive({}, bodyOf('', { stream }))
    const seen: (number | undefined)[] = []
    for (const bytes of [500, 400_000]) {
      stream.write(pattern(bytes).subarray(0, Math.min(bytes, 9_500)))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    stream.end()
    expect(await received).toMatchObject({ state: 'ready', size: 10_000 })
    seen.push((await counters()).used)
    expect(seen).toEqual([10_000])
    expect(await counters()).toEqual({ used: 10_000, reserved: 0 })
  })

  it('refuses the byte for which there is no room, in a request and in a PUT', async () => {
    await start({ plugins: [quota({ step: 1_000 })] })
    await rig.records.setQuota('w', 300_000)
    const refusal = { code: 'quota_exceeded', facts: { bytes_left: 300_000 } }
    await expect(receive({}, bodyOf([content, 'x']))).rejects.toMatchObject({ code: 'quota_exceeded' })
    await rig.work()
    expect(await rows()).toMatchObject([{ state: 'rejected', rejection: { code: 'quota_exceeded' } }])
    expect(await counters()).toEqual({ used: 0, reserved: 0 })
    const upload = await create()
    await expect(rig.service.put(upload.id, bodyOf([content, 'x']))).rejects.toMatchObject({ code: refusal.code })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'pending', reserved: 0 })
    await rig.service.put(upload.id, bodyOf(content))
    expect(await counters()).toEqual({ used: 0, reserved: 300_000 })
    expect(await confirm(upload)).toMatchObject({ state: 'ready' })
    await rig.work()
  })

  it('never lets more in than there is room for, however many come at once', async () => {
    await start({ plugins: [quota({ step: 10_000 })] })
    await rig.records.setQuota('w', 5 * content.length + 7)
    const uploads = Array.from({ length: 12 }, (_, i) => receive(i % 2 === 0 ? { declaredSize: content.length } : {}))
    const looks: number[] = []
    const looking = setInterval(() => {
      void counters().then(({ used = 0, reserved = 0 }) => looks.push(used + reserved))
    }, 1)
    const answers = await Promise.allSettled(uploads)
    clearInterval(looking)
    const ready = answers.filter((answer) => answer.status === 'fulfilled').length
    for (const answer of answers.filter((one) => one.status === 'rejected'))
      expect(answer.reason).toMatchObject({ code: 'quota_exceeded' })
    expect(ready).toBeGreaterThanOrEqual(1)
    expect(ready).toBeLessThanOrEqual(5)
    expect(Math.max(...looks)).toBeLessThanOrEqual(5 * content.length + 7)
    expect(await counters()).toEqual({ used: ready * content.length, reserved: 0 })
    await rig.work()
  })

  it('gives back what was held when the upload expires, is deleted or refused', async () => {
    const refuses: Plugin = {
      name: 'no',
      accepts: (upload) => upload.filename === 'no',
      beforeFinish: (_b, ctx) => refuse(ctx),
    }
    await start({ plugins: [quota(), refuses] })
    const [expires, deleted, refused] = await Promise.all(
      ['expires', 'deleted', 'no'].map((filename) => create({ filename, declaredSize: 5 })),
    )
    expect(await counters()).toEqual({ used: 0, reserved: 15 })
    if (!expires || !deleted || !refused) throw new Error('All three were made.')
    await rig.service.expire(expires)
    expect(await counters()).toEqual({ used: 0, reserved: 10 })
    await rig.service.remove(principal, deleted.id)
    expect(await counters()).toEqual({ used: 0, reserved: 5 })
    await rig.service.put(refused.id, bodyOf('hello'))
    await expect(confirm(refused)).rejects.toMatchObject({ code: 'file_type_not_allowed' })
    expect(await counters()).toEqual({ used: 0, reserved: 0 })
    await rig.work()
  })

  it('notices at the confirm what went around it', async () => {
    await start({ plugins: [] })
    const upload = await create()
    await rig.service.put(upload.id, bodyOf('hello'))
    await rig.records.setQuota('w', 4)
    await rig.crash({ plugins: [quota()] })
    await expect(confirm(upload)).rejects.toMatchObject({ code: 'quota_exceeded' })
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'rejected' })
    await rig.work()
  })
})

describe('jobs of plugins', () => {
  it('run after the finish and the end, for the files that the plugin accepts', async () => {
    const ran: string[] = []
    const images: Plugin = {
      name: 'images',
      accepts: (upload) => upload.properties.contentType.startsWith('image/'),
      afterFinish: async (bytes, ctx) =>
        void ran.push(`finished ${ctx.upload.filename} ${Buffer.from(await bytes.bytes(0, 5)).toString()}`),
      afterTerminate: (ctx) => void ran.push(`ended ${ctx.upload.filename}`),
    }
    await start({ plugins: [images] })
    const [image, text] = [await receive({ filename: 'a.png' }, bodyOf('hello')), await receive({ filename: 'a.txt' })]
    expect(ran).toEqual([])
    await rig.work()
    expect(ran).toEqual(['finished a.png hello'])
    for (const { id } of [image, text]) await rig.service.remove(principal, id)
    await rig.work()
    expect(ran).toEqual(['finished a.png hello', 'ended a.png'])
  })

  it('run again when they failed, or when the process died in them', async () => {
    const ran: number[] = []
    let broken = true
    const hook: Plugin = {
      name: 'hook',
      afterFinish() {
        ran.push(ran.length)
        if (broken) fail()
      },
    }
    await start({ plugins: [hook] })
    await receive()
    await expect(rig.work()).rejects.toMatchObject({ code: 'processing_failed' })
    broken = false
    await rig.crash({ plugins: [hook] })
    await rig.work()
    expect(ran).toEqual([0, 1])
  })

  it('of a plugin that is no longer there, or of an upload that is gone, are done', async () => {
    const ran: string[] = []
    const hook: Plugin = { name: 'hook', afterFinish: () => void ran.push('ran') }
    await start({ plugins: [hook] })
    const upload = await receive()
    await receive()
    await rig.service.remove(principal, upload.id)
    await rig.crash({ plugins: [] })
    await rig.work()
    expect(ran).toEqual([])
    expect(await rig.records.jobs()).toEqual({ waiting: 0, failed: [] })
  })
})
