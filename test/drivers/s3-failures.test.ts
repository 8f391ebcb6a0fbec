import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { S3Store } from '../../src/stores/s3.ts'
import type { ObjectWriter } from '../../src/uploads/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import type { FaultOptions } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const kib = 1024
const mib = 1024 * kib
const key = 'ab/object'
const small = randomBytes(10 * kib)
/** Two parts. */
const large = randomBytes(9 * mib)
const internalError = { status: 500, code: 'InternalError' }
const slowDown = { status: 503, code: 'SlowDown' }
const away = { code: 'storage_failed', retryAfter: 5 }

/** Requests by which an object comes into the store, and the object of which they are one. */
const writes: readonly (readonly [S3Operation, Buffer])[] = [
  ['PutObject', small],
  ['CreateMultipartUpload', large],
  ['UploadPart', large],
  ['CompleteMultipartUpload', large],
]

describe.skipIf(missingS3())('s3, when the server fails', () => {
  let rig: S3Rig
  let opened: OpenS3
  let store: S3Store
  let proxy: S3Proxy
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open()
    ;({ store, proxy } = opened)
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  async function expectStored(bytes: Buffer): Promise<void> {
    expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), bytes)).toBe(0)
    expect(await opened.uploads()).toEqual([])
    expect(store.heldBytes()).toBe(0)
  }

  async function expectNothingAfterClear(note: string | null): Promise<void> {
    await store.clear(key, note)
    await proxy.idle()
    await store.clear(key, note)
    expect(await opened.objects()).toEqual([])
    expect(await opened.uploads()).toEqual([])
    expect(store.heldBytes()).toBe(0)
  }

  describe.each(writes)('%s', (operation, bytes) => {
    it.each<[string, FaultOptions]>([
      ['answered 500', { act: internalError }],
      ['answered SlowDown', { act: slowDown }],
      ['cut before it came', { act: 'cut' }],
      ['done, and its answer lost', { act: 'cut', when: 'after' }],
      ['done, and answered 500', { act: internalError, when: 'after' }],
    ])('%s, is asked again', async (_, fault) => {
      const broken = proxy.fault(operation, fault)
      await writeObject(store, key, bytes)
      expect(broken.hits()).toBe(1)
      await expectStored(bytes)
    })

    it.each<[string, FaultOptions['act'], unknown]>([
      ['500', internalError, { ...away, cause: { name: 'InternalError' } }],
      ['nothing', 'cut', away],
    ])('answered %s for ever, fails as away', async (_, act, failure) => {
      const broken = proxy.fault(operation, { act, times: Infinity })
      let note: string | null = null
      const options = { note: async (text: string) => void (note = text) }
      await expect(writeObject(store, key, bytes, options)).rejects.toMatchObject(failure ?? {})
      // Both parts are on their way at once.
      const [least, most] = operation === 'UploadPart' ? [3, 6] : [3, 3]
      expect(broken.hits()).toBeGreaterThanOrEqual(least)
      expect(broken.hits()).toBeLessThanOrEqual(most)
      proxy.reset()
      await expectNothingAfterClear(note)
    })

    it('answered 403, is not asked again', async () => {
      const act = { status: 403, code: 'AccessDenied' }
      proxy.fault(operation, { act, times: Infinity })
      const failure = { code: 'storage_failed', retryAfter: undefined, cause: { name: 'AccessDenied' } }
      await expect(writeObject(store, key, bytes)).rejects.toMatchObject(failure)
      expect(proxy.counts()[operation]).toBeLessThanOrEqual(operation === 'UploadPart' ? 2 : 1)
      proxy.reset()
      await expectNothingAfterClear(null)
    })

    it.each(['before', 'after'] as const)(
      'is given up at once when the writer is aborted, %s it is done',
      async (when) => {
        const fault = proxy.fault(operation, { act: 'stall', when })
        let note: string | null = null
        const writer = store.write(key, { note: async (text) => void (note = text) })
        const written = finished(writer, bytes)
        await fault.hit
        await writer.abort()
        expect(await written).toBeInstanceOf(Error)
        expect(store.heldBytes()).toBe(0)
        proxy.reset()
        await expectNothingAfterClear(note)
      },
    )
  })

  it.each<S3Operation>(['PutObject', 'UploadPart'])(
    'sends %s again when it breaks off in the middle',
    async (operation) => {
      const bytes = operation === 'PutObject' ? large.subarray(0, 6 * mib) : large
      const fault = proxy.fault(operation, { act: 'cut', when: 'sending', bytes: 512 * kib })
      await writeObject(store, key, bytes)
      expect(fault.hits()).toBe(1)
      await expectStored(bytes)
    },
  )

  it.each<S3Operation>(['PutObject', 'UploadPart'])('gives up %s in the middle when aborted', async (operation) => {
    const bytes = operation === 'PutObject' ? large.subarray(0, 6 * mib) : large
    const fault = proxy.fault(operation, { act: 'stall', when: 'sending', bytes: 512 * kib })
    const writer = store.write(key)
    const written = finished(writer, bytes)
    await fault.hit
    await writer.abort()
    expect(await written).toBeInstanceOf(Error)
    proxy.reset()
    await expectNothingAfterClear(null)
  })

  it('takes for joined what is there after the answer was lost', async () => {
    // Most servers have forgotten an upload that is complete; others answer as before.
    proxy.fault('CompleteMultipartUpload', { act: 'cut', when: 'after' })
    proxy.fault('CompleteMultipartUpload', { act: { status: 404, code: 'NoSuchUpload' }, nth: 2 })
    await writeObject(store, key, large)
    expect(proxy.counts()).toMatchObject({ CompleteMultipartUpload: 2, HeadObject: 1 })
    await expectStored(large)
  })

  it('does not take for joined what somebody has aborted', async () => {
    const writer = store.write(key)
    await writer.write([large])
    proxy.fault('CompleteMultipartUpload', { act: internalError })
    const fault = proxy.fault('CompleteMultipartUpload', { act: 'stall', nth: 2 })
    const written = writer.finish()
    await fault.hit
    for (const upload of await opened.bucket.uploads(opened.prefix)) await opened.bucket.abort(upload)
    fault.release()
    await expect(written).rejects.toMatchObject({ code: 'storage_failed' })
    await writer.abort()
    await expectNothingAfterClear(null)
  })

  it('does not take an error for success that comes with status 200', async () => {
    // A server that has begun to answer while it joins the parts cannot say otherwise that it failed.
    proxy.fault('CompleteMultipartUpload', { act: { status: 200, code: 'InternalError' } })
    await writeObject(store, key, large)
    expect(proxy.counts().CompleteMultipartUpload).toBe(2)
    await expectStored(large)
  })

  it('ends the other one when an upload was begun twice', async () => {
    proxy.fault('CreateMultipartUpload', { act: 'cut', when: 'after' })
    await writeObject(store, key, large)
    expect(proxy.counts()).toMatchObject({ CreateMultipartUpload: 2, ListMultipartUploads: 1, AbortMultipartUpload: 1 })
    await expectStored(large)
  })

  it('keeps what is complete when the other one cannot be ended, which can be found', async () => {
    proxy.fault('CreateMultipartUpload', { act: 'cut', when: 'after' })
    proxy.fault('ListMultipartUploads', { act: internalError, times: 3 })
    await writeObject(store, key, large)
    expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), large)).toBe(0)
    const open = await opened.uploads()
    expect(open).toHaveLength(1)
    const found = await Array.fromAsync(store.unfinished?.() ?? [])
    expect(found.map(({ note }) => note)).toEqual(open.map(({ id }) => id))
  })

  it('sends no part before the note is kept', async () => {
    const noted = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const writer = store.write(key, {
      note: () => {
        begun.resolve()
        return noted.promise
      },
    })
    const written = finished(writer, large)
    await begun.promise
    expect(proxy.counts()).toEqual({ CreateMultipartUpload: 1 })
    noted.resolve()
    expect(await written).toBeUndefined()
    await expectStored(large)
  })

  it('writes nothing more when the note cannot be kept', async () => {
    const failure = new Error('The records are away.')
    await expect(writeObject(store, key, large, { note: () => Promise.reject(failure) })).rejects.toBe(failure)
    expect(proxy.counts()).toEqual({ CreateMultipartUpload: 1 })
    await expectNothingAfterClear(null)
  })

  it('says of everything that the server is away, and goes on when it is back', async () => {
    await writeObject(store, key, small)
    const writer = store.write('cd/object')
    await writer.write([large.subarray(0, 5 * mib)])
    await proxy.down()
    const calls: Promise<unknown>[] = [
      writer.finish(),
      writeObject(store, 'ef/object', large),
      store.read(key),
      store.bytes(key, { start: 0, end: 9 }),
      store.stat(key),
      store.remove(key),
      store.clear(key, null),
      store.clear(key, 'noted'),
      Array.fromAsync(store.list()),
      Array.fromAsync(store.unfinished?.() ?? []),
      store.check(),
    ]
    const failures = await Promise.all(calls.map(failureOf))
    for (const failure of failures) expect(failure).toMatchObject(away)
    await writer.abort()
    expect(store.heldBytes()).toBe(0)
    await proxy.up()
    await store.check()
    expect(Buffer.compare(await buffer(await store.read(key)), small)).toBe(0)
    await writeObject(store, 'cd/object', large)
  })

  it('tells a reader that the bytes have stopped short', async () => {
    await opened.bucket.put(opened.prefix + key, large)
    proxy.fault('GetObject', { act: 'cut', when: 'answering', bytes: mib, times: 2 })
    const stream = await store.read(key)
    await expect(buffer(stream)).rejects.toMatchObject(away)
    await expect(store.bytes(key, { start: 0, end: 3 * mib })).rejects.toMatchObject(away)
  })

  it('tells a reader who comes later that the bytes have stopped short', async () => {
    await opened.bucket.put(opened.prefix + key, large)
    const fault = proxy.fault('GetObject', { act: 'stall', when: 'answering', bytes: mib })
    const stream = await store.read(key)
    await fault.hit
    await proxy.down()
    await proxy.up()
    await expect(buffer(stream)).rejects.toMatchObject(away)
  })

  it('reads and looks again when the server fails in passing', async () => {
    await opened.bucket.put(opened.prefix + key, small)
    proxy.fault('any', { act: internalError, times: 2 })
    expect(Buffer.compare(await buffer(await store.read(key)), small)).toBe(0)
    proxy.fault('any', { act: 'cut' })
    expect(await store.stat(key)).toMatchObject({ size: small.length })
    proxy.fault('any', { act: 'cut', when: 'after' })
    await store.remove(key)
    proxy.fault('any', { act: slowDown })
    expect(await Array.fromAsync(store.list())).toEqual([])
  })

  it.each([-1, 1])('goes on when the clock of the machine is set by %i hours', async (hours) => {
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      for (const ask of [() => writeObject(store, key, small), () => store.stat(key)]) {
        vi.setSystemTime(Date.now() + hours * 3_600_000)
        await ask()
      }
    } finally {
      vi.useRealTimers()
    }
    await writeObject(store, key, large)
    await expectStored(large)
  })

  it('waits no longer than the signal', async () => {
    await opened.bucket.put(opened.prefix + key, large)
    const range = { start: 0, end: 9 }
    const waits: readonly (readonly [S3Operation, (signal: AbortSignal) => Promise<unknown>])[] = [
      ['GetObject', (signal) => store.read(key, range, signal)],
      ['GetObject', (signal) => store.bytes(key, range, signal)],
      ['ListObjectsV2', (signal) => Array.fromAsync(store.list(signal))],
      ['ListMultipartUploads', (signal) => Array.fromAsync(store.unfinished?.(signal) ?? [])],
    ]
    for (const [operation, wait] of waits) {
      const abort = new AbortController()
      const fault = proxy.fault(operation, { act: 'stall' })
      const waited = failureOf(wait(abort.signal))
      await fault.hit
      abort.abort()
      expect(await waited).toMatchObject({ name: 'AbortError' })
    }
    const abort = new AbortController()
    const fault = proxy.fault('GetObject', { act: 'stall', when: 'answering', bytes: mib })
    const read = failureOf(buffer(await store.read(key, undefined, abort.signal)))
    await fault.hit
    abort.abort()
    expect(await read).toMatchObject({ name: 'AbortError' })
  })

  it.each([
    ['known', true],
    ['lost', false],
  ])('clears what a killed process has left, its note %s', async (_, isKnown) => {
    const script = `
      import { s3Store } from ${JSON.stringify(join(import.meta.dirname, '../../src/stores/s3.ts'))}
      const store = s3Store(${JSON.stringify(rig.options(opened.prefix))})
      const writer = store.write('${key}', { note: async (text) => console.log(text) })
      for (;;) await writer.write([new Uint8Array(1024 * 1024)])`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(child.stdout, 'data')
    const third = proxy.fault('UploadPart', { act: 'stall', nth: 3 })
    await third.hit
    child.kill('SIGKILL')
    await once(child, 'exit')
    const upload = { key: opened.prefix + key, id: String(line).trim() }
    await proxy.idle()
    expect((await opened.bucket.parts(upload)).length).toBeGreaterThan(0)
    await expectNothingAfterClear(isKnown ? upload.id : null)
  })
})

const failureOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  )

/** Writes all of it; returns the failure, if there is one. */
function finished(writer: ObjectWriter, bytes: Uint8Array): Promise<unknown> {
  return failureOf(writer.write([bytes]).then(() => writer.finish()))
}
