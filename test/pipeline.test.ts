import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { UploadError } from '../src/errors.ts'
import { storedBytes } from '../src/pipeline/bytes.ts'
import { pluginRunner } from '../src/pipeline/runner.ts'
import { BudgetError, type ByteSource, type Plugin, type Tap, type Upload, type UploadContext } from '../src/plugin.ts'
import { diskStore } from '../src/stores/disk.ts'
import type { ObjectStore } from '../src/uploads/object-store.ts'
import { sampleUpload } from './support/plugin-harness.ts'
import { draft, pattern, recordingLog, sha256 } from './support/rig.ts'

const content = pattern(1_000_000)
const key = '00/sample'
const options = { reserve: async () => {} }
const stored = sampleUpload({ objectKey: key, size: content.length, received: content.length })
const abortedBy = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)))

let directory: string
let store: ObjectStore
let recording = recordingLog()

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fairlead-pipeline-'))
  store = diskStore({ directory })
  await store.recover()
  const writer = store.write(key)
  await writer.write([content])
  await writer.finish()
})
afterAll(() => rm(directory, { recursive: true, force: true }))
beforeEach(() => void (recording = recordingLog()))

const bug = (): never => {
  throw new Error('a bug')
}

const reserving = (name: string, reserve: number | undefined, extra: object): Plugin => ({
  name,
  beforeCreate: async (_draft, ctx) => ({
    ...(reserve === undefined ? {} : { reserve }),
    extra: { ...extra, workspace: ctx.workspaceId },
  }),
})

const runner = (...plugins: readonly Plugin[]) => pluginRunner({ plugins, store, log: recording.log })

describe('hooks', () => {
  it('run in order, and each sees what the ones before have found', async () => {
    const seen: unknown[] = []
    const plugin = (name: string, properties: object): Plugin => ({
      name,
      inspect: {
        bytes: 10,
        handler(_head, ctx) {
          seen.push({ name, ...ctx.upload.properties, extra: ctx.upload.extra })
          return { properties, extra: { [name]: true } }
        },
      },
    })
    const pipeline = runner(plugin('a', { width: 1, format: 'png' }), plugin('b', { width: 2 }), plugin('c', {}))
    const upload = sampleUpload({ extra: { client: 1 } })
    const type = { contentType: 'application/octet-stream' }
    expect(await pipeline.inspect(upload, content, options)).toEqual({
      properties: { width: 2, format: 'png' },
      extra: { a: true, b: true, c: true },
    })
    expect(seen).toEqual([
      { name: 'a', ...type, format: null, extra: { client: 1 } },
      { name: 'b', ...type, format: 'png', width: 1, extra: { client: 1, a: true } },
      { name: 'c', ...type, format: 'png', width: 2, extra: { client: 1, a: true, b: true } },
    ])
    expect(upload.properties).toEqual({ ...type, format: null })
  })

  it('at the creation add up: the largest reservation counts', async () => {
    const pipeline = runner(
      reserving('a', 5, { a: 1 }),
      reserving('b', 9, { b: 1 }),
      reserving('c', undefined, { a: 2 }),
    )
    expect(await pipeline.beforeCreate(draft(), 'w')).toEqual({
      reserve: 9,
      patch: { properties: {}, extra: { a: 2, b: 1, workspace: 'w' } },
    })
    expect(await runner().beforeCreate(draft(), 'w')).toEqual({ reserve: 0, patch: {} })
  })

  it('run for the files only that their plugin accepts, as they are known then', async () => {
    const ran: string[] = []
    const types: Plugin = { name: 'types', inspect: { bytes: 4, handler: () => ({ properties: { format: 'png' } }) } }
    const images: Plugin = {
      name: 'images',
      accepts: (upload) => upload.properties.format === 'png',
      inspect: { bytes: 4, handler: () => void ran.push('inspect') },
      tap: () => void ran.push('tap'),
      beforeFinish: () => void ran.push('beforeFinish'),
      afterFinish: () => {},
      afterTerminate: () => {},
    }
    const pipeline = runner(images, types)
    // The one that finds out comes later here.
    await pipeline.inspect(sampleUpload(), content, options)
    pipeline.taps(sampleUpload(), options)
    await pipeline.beforeFinish(stored, options)
    expect([pipeline.afterFinish(stored), pipeline.afterTerminate(stored)]).toEqual([[], []])
    expect(ran).toEqual([])
    const png = { ...stored, properties: { ...stored.properties, format: 'png' } }
    pipeline.taps(png, options)
    await pipeline.beforeFinish(png, options)
    expect([pipeline.afterFinish(png), pipeline.afterTerminate(png)]).toEqual([['images'], ['images']])
    await runner(types, images).inspect(sampleUpload(), content, options)
    expect(ran).toEqual(['tap', 'beforeFinish', 'inspect'])
  })

  it('are asked for the longest beginning, and get as much as they asked for', async () => {
    const seen: number[] = []
    const plugin = (bytes: number): Plugin => ({
      name: `p${bytes}`,
      inspect: { bytes, handler: (head) => void seen.push(head.length) },
    })
    const pipeline = runner(plugin(10), plugin(4_100), { name: 'none' })
    expect(pipeline.headBytes).toBe(4_100)
    expect(runner().headBytes).toBe(0)
    await pipeline.inspect(sampleUpload(), content, options)
    await pipeline.inspect(sampleUpload(), content.subarray(0, 7), options)
    expect(seen).toEqual([10, 4_100, 7, 7])
  })

  it('that are not there cost no look at the filter', async () => {
    let asked = 0
    const plugin: Plugin = { name: 'p', accepts: () => (asked++, true), afterFinish: () => {} }
    const pipeline = runner(plugin)
    await pipeline.inspect(sampleUpload(), content, options)
    pipeline.taps(sampleUpload(), options)
    await pipeline.beforeFinish(stored, options)
    pipeline.afterTerminate(stored)
    expect(asked).toBe(0)
  })

  it('whose filter fails lose no job by it', () => {
    const pipeline = runner({ name: 'p', accepts: bug, afterFinish() {}, afterTerminate() {} })
    expect([pipeline.afterFinish(stored), pipeline.afterTerminate(stored)]).toEqual([['p'], ['p']])
    expect(recording.lines).toMatchObject([{ level: 'error' }, { level: 'error' }])
  })
})

/** A plugin none of whose hooks ends, and the reasons with which their signals were aborted. */
function slow(rest: Partial<Plugin> = {}) {
  const aborted: Promise<unknown>[] = []
  const wait = (ctx: { signal: AbortSignal }) => {
    aborted.push(abortedBy(ctx.signal))
    return new Promise<undefined>(() => {})
  }
  const plugin: Plugin = {
    name: 'slow',
    timeoutMs: 20,
    beforeCreate: (_draft, ctx) => wait(ctx),
    inspect: { bytes: 1, handler: (_head, ctx) => wait(ctx) },
    tap: (ctx) => ({ write: () => wait(ctx), end: () => wait(ctx) }),
    beforeFinish: (_bytes, ctx) => wait(ctx),
    afterFinish: (_bytes, ctx) => wait(ctx),
    afterTerminate: (ctx) => wait(ctx),
    ...rest,
  }
  return { aborted, pipeline: runner(plugin) }
}
describe('a hook that takes too long', () => {
  type Slow = ReturnType<typeof slow>['pipeline']
  const calls: readonly (readonly [string, (pipeline: Slow) => Promise<unknown>])[] = [
    ['beforeCreate', (pipeline) => pipeline.beforeCreate(draft(), 'w')],
    ['inspect', (pipeline) => pipeline.inspect(sampleUpload(), content, options)],
    ['a tap', async (pipeline) => pipeline.taps(sampleUpload(), options)?.write([content])],
    ['the end of a tap', async (pipeline) => pipeline.taps(sampleUpload(), options)?.end()],
    ['beforeFinish', (pipeline) => pipeline.beforeFinish(stored, options)],
    ['afterFinish', (pipeline) => pipeline.after('afterFinish', 'slow', stored)],
    ['afterTerminate', (pipeline) => pipeline.after('afterTerminate', 'slow', stored)],
  ]

  it.each(calls)('has failed: %s', async (_what, call) => {
    const { aborted, pipeline } = slow()
    await expect(call(pipeline)).rejects.toMatchObject({
      code: 'processing_failed',
      retryAfter: 5,
      cause: { message: 'The hook took more than 20 ms.' },
    })
    expect(await Promise.all(aborted)).toMatchObject([{ message: 'The hook took more than 20 ms.' }])
  })

  it.each(calls)('is skipped where it may be: %s', async (_what, call) => {
    const { aborted, pipeline } = slow({ onFailure: 'skip' })
    await call(pipeline)
    expect(await Promise.all(aborted)).toHaveLength(1)
    expect(recording.lines).toMatchObject([{ level: 'warn', message: 'a plugin failed and was skipped' }])
  })

  it('may fail later without harm, and what it finds later counts no more', async () => {
    const pipeline = runner(
      { name: 'late', timeoutMs: 10, onFailure: 'skip', beforeFinish: () => sleep(30).then(bug) },
      { name: 'found', timeoutMs: 10, onFailure: 'skip', beforeFinish: () => sleep(30, { properties: { width: 1 } }) },
    )
    expect(await pipeline.beforeFinish(stored, options)).toEqual({})
    await sleep(50)
    expect(recording.lines).toHaveLength(2)
  })

  it('is told when the upload is stopped, in its time', async () => {
    const stop = new AbortController()
    const reasons: unknown[] = []
    const wait = async (_head: Uint8Array, ctx: UploadContext) => {
      reasons.push(await abortedBy(ctx.signal))
      ctx.signal.throwIfAborted()
    }
    const running = runner({ name: 'p', inspect: { bytes: 1, handler: wait } }).inspect(sampleUpload(), content, {
      ...options,
      signal: stop.signal,
    })
    stop.abort(new Error('gone'))
    await expect(running).rejects.toMatchObject({ code: 'processing_failed' })
    expect(reasons).toEqual([new Error('gone')])
    expect(recording.lines).toMatchObject([{ level: 'debug', message: 'a plugin was stopped' }])
  })
})

const pieces = (size: number) =>
  Array.from({ length: Math.ceil(content.length / size) }, (_, i) => content.subarray(i * size, (i + 1) * size))

/** Collects what it sees; holds some chunks back for a moment. */
const collecting = (name: string, holds: (i: number) => boolean) => {
  const seen: Buffer[] = []
  let busy = false
  const tap: Tap = {
    write(chunk) {
      if (busy) throw new Error('Two at once.')
      seen.push(Buffer.from(chunk))
      if (!holds(seen.length)) return undefined
      busy = true
      return sleep(1).then(() => void (busy = false))
    },
    end: () => ({ extra: { [name]: sha256(Buffer.concat(seen)) } }),
  }
  return { name, tap: () => tap }
}

const later = (name: string): Plugin => ({
  name,
  tap: () => ({ write: () => sleep(5).then(() => Promise.reject(new Error(name))), end() {} }),
})
const aborting = (name: string, abort: () => void): Plugin => ({ name, tap: () => ({ write() {}, end() {}, abort }) })

describe('taps', () => {
  it('see every byte once and in order, also those that are slow', async () => {
    const line = runner(
      collecting('fast', () => false),
      collecting('slow', (i) => i % 7 === 0),
      collecting('slowest', (i) => i % 3 === 0),
    ).taps(sampleUpload(), options)
    const chunks = pieces(12_345)
    for (let i = 0; i < chunks.length; i += 5) await line?.write(chunks.slice(i, i + 5))
    const digest = sha256(content)
    expect(await line?.end()).toMatchObject({ extra: { fast: digest, slow: digest, slowest: digest } })
  })

  it('that are fast cost no wait', () => {
    const line = runner(collecting('fast', () => false)).taps(sampleUpload(), options)
    expect(line?.write(pieces(100_000))).toBeUndefined()
  })

  it('are none where no plugin wants to see anything', () => {
    const none = runner({ name: 'a' }, { name: 'b', tap: () => undefined })
    expect(none.taps(sampleUpload(), options)).toBeUndefined()
  })

  it('that fail and may be skipped see no more, and the others go on', async () => {
    let writes = 0
    const broken: Plugin = {
      name: 'broken',
      onFailure: 'skip',
      tap: () => ({
        write() {
          if (++writes === 3) throw new Error('a bug')
        },
        end: () => ({ extra: { broken: true } }),
      }),
    }
    const line = runner(
      broken,
      collecting('whole', (i) => i % 2 === 0),
    ).taps(sampleUpload(), options)
    for (const chunk of pieces(50_000)) await line?.write([chunk])
    expect(await line?.end()).toEqual({ properties: {}, extra: { whole: sha256(content) } })
    expect(writes).toBe(3)
    expect(recording.lines).toMatchObject([{ level: 'warn', facts: { plugin: 'broken', hook: 'tap' } }])
  })

  it('that fail together are all heard', async () => {
    const now: Plugin = {
      name: 'now',
      tap: () => ({
        write() {
          throw new Error('now')
        },
        end() {},
      }),
    }
    const unheard: unknown[] = []
    const hear = (reason: unknown) => void unheard.push(reason)
    process.on('unhandledRejection', hear)
    const line = runner(later('one'), now, later('two')).taps(sampleUpload(), options)
    await expect(line?.write([content])).rejects.toMatchObject({ cause: { message: 'now' } })
    await sleep(20)
    process.off('unhandledRejection', hear)
    expect(unheard).toEqual([])
  })

  it('are told when the upload ends before its time, each of them', () => {
    const told: string[] = []
    const line = runner(
      aborting('a', () => {
        told.push('a')
        throw new Error('a bug')
      }),
      aborting('b', () => void told.push('b')),
      { name: 'c', tap: () => ({ write() {}, end() {} }) },
    ).taps(sampleUpload(), options)
    line?.abort()
    line?.abort()
    expect(told).toEqual(['a', 'b'])
  })

  it('may ask for quota, and refuse', async () => {
    const asked: number[] = []
    const reserve = async (bytes: number) => void asked.push(bytes)
    const plugin: Plugin = {
      name: 'p',
      tap: (ctx) => ({ write: (chunk) => ctx.reserve(chunk.length), end: () => ctx.reject('file_too_large', 'No.') }),
    }
    const line = runner(plugin).taps(sampleUpload(), { reserve })
    await line?.write([content])
    expect(asked).toEqual([content.length])
    await expect(line?.end()).rejects.toMatchObject({ code: 'file_too_large' })
  })
})

/** A store whose objects are no files, as far as anybody can tell. */
function remote(): ObjectStore {
  const pathless = { ...store }
  delete pathless.path
  return pathless
}

describe('the bytes that a plugin reads', () => {
  const never = new AbortController().signal
  const source = (from: ObjectStore = store, signal = never) => storedBytes(from, key, content.length, signal)
  it('come by ranges, cut at the end of the file', async () => {
    const { source: bytes } = source()
    expect(bytes.size).toBe(content.length)
    const at = async (start: number, end: number) => Buffer.from(await bytes.bytes(start, end))
    expect(await at(0, 10)).toEqual(content.subarray(0, 10))
    expect(await at(500, 501)).toEqual(content.subarray(500, 501))
    expect(await at(content.length - 5, content.length + 100)).toEqual(content.subarray(-5))
    for (const [start, end] of [
      [content.length, content.length + 10],
      [content.length + 5, content.length + 10],
      [7, 7],
      [9, 7],
    ] as const)
      expect(await at(start, end)).toHaveLength(0)
  })

  it('are limited by what was read and by how often', async () => {
    const large = storedBytes(store, key, content.length, never).source
    for (let i = 0; i < 67; i++) await large.bytes(0, content.length)
    await expect(large.bytes(0, content.length)).rejects.toThrow(BudgetError)
    const often = source().source
    for (let i = 0; i < 4_096; i++) await often.bytes(i, i + 1)
    await expect(often.bytes(0, 1)).rejects.toThrow(BudgetError)
    // The whole file in order is another matter.
    expect(sha256(await buffer(await often.stream()))).toBe(sha256(content))
  })

  it('come as a stream, as often as it is asked for', async () => {
    const { source: bytes } = source()
    for (let i = 0; i < 2; i++) expect(sha256(await buffer(await bytes.stream()))).toBe(sha256(content))
  })

  it('are a file where the store has files', async () => {
    const given = source()
    const bytes = given.source
    const path = await bytes.toFile()
    expect(path).toBe(join(directory, key))
    await given.dispose()
    expect(existsSync(path)).toBe(true)
  })

  it('become a file of their own where it has none, one for all who ask, and go with the hook', async () => {
    const given = source(remote())
    const bytes = given.source
    const [one, two] = await Promise.all([bytes.toFile(), bytes.toFile()])
    expect(two).toBe(one)
    expect(readFileSync(one).equals(content)).toBe(true)
    expect(statSync(one).mode & 0o777).toBe(0o600)
    expect(statSync(join(one, '..')).mode & 0o777).toBe(0o700)
    await given.dispose()
    expect(existsSync(join(one, '..'))).toBe(false)
  })

  it('leave no file when copying them breaks off', async () => {
    const opened: Readable[] = []
    const breaking: ObjectStore = {
      ...remote(),
      async read(...args) {
        const stream = await store.read(...args)
        opened.push(stream)
        stream.once('data', () => stream.destroy(new UploadError('storage_failed', 'Away.')))
        return stream
      },
    }
    const given = source(breaking)
    const bytes = given.source
    await expect(bytes.toFile()).rejects.toMatchObject({ code: 'storage_failed' })
    await given.dispose()
    expect(opened[0]?.destroyed).toBe(true)
  })

  it('are closed when the hook ends, whatever it has left open', async () => {
    const opened: Readable[] = []
    const watched: ObjectStore = {
      ...store,
      async read(...args) {
        const stream = await store.read(...args)
        opened.push(stream)
        return stream
      },
    }
    const careless: Plugin = {
      name: 'careless',
      async beforeFinish(bytes) {
        await bytes.stream()
        for await (const chunk of await bytes.stream()) if (chunk.length > 0) break
      },
    }
    await pluginRunner({ plugins: [careless], store: watched, log: recording.log }).beforeFinish(stored, options)
    expect(opened.map((stream) => stream.destroyed)).toEqual([true, true])
  })

  it('end with the signal', async () => {
    const stop = new AbortController()
    const { source: bytes } = source(remote(), stop.signal)
    stop.abort()
    await expect(bytes.bytes(0, 10)).rejects.toThrow(/abort/)
    await expect(bytes.stream()).rejects.toThrow(/abort/)
    await expect(bytes.toFile()).rejects.toThrow(/abort/)
  })

  it('are what beforeFinish and afterFinish see', async () => {
    const seen: string[] = []
    const digest = async (bytes: ByteSource) => void seen.push(sha256(readFileSync(await bytes.toFile())))
    const pipeline = runner({ name: 'p', beforeFinish: digest, afterFinish: digest })
    await pipeline.beforeFinish(stored, options)
    await pipeline.after('afterFinish', 'p', stored)
    expect(seen).toEqual([sha256(content), sha256(content)])
  })
})

describe('hooks after the end', () => {
  it('cannot hold quota, and a refusal is a failure', async () => {
    const plugin: Plugin = {
      name: 'p',
      afterFinish: (_bytes, ctx) => ctx.reserve(1),
      afterTerminate: (ctx) => ctx.reject('file_too_large', 'No.'),
    }
    await expect(runner(plugin).after('afterFinish', 'p', stored)).rejects.toMatchObject({ code: 'internal' })
    await expect(runner(plugin).after('afterTerminate', 'p', stored)).rejects.toMatchObject({ code: 'file_too_large' })
  })

  it('of the plugin that is asked for run, of no other', async () => {
    const ran: string[] = []
    const plugin = (name: string): Plugin => ({ name, afterTerminate: (ctx) => void ran.push(name + ctx.upload.id) })
    const pipeline = runner(plugin('a'), plugin('b'))
    const upload: Upload = sampleUpload({ id: '-1' })
    await pipeline.after('afterTerminate', 'b', upload)
    await pipeline.after('afterTerminate', 'gone', upload)
    expect(ran).toEqual(['b-1'])
  })

  it('plugins are closed in the opposite order', async () => {
    const closed: string[] = []
    const plugin = (name: string): Plugin => ({ name, close: async () => void closed.push(name) })
    await runner(plugin('a'), { name: 'b' }, plugin('c')).close()
    expect(closed).toEqual(['c', 'a'])
  })
})
