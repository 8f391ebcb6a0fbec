import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { S3Store } from '../../src/stores/s3.ts'
import type { GrowingWriter, GrowOptions, Growth, Piece } from '../../src/uploads/object-store.ts'
import { type GrowthKeeper, growthKeeper } from '../support/growth.ts'
import { missingS3 } from '../support/s3.ts'
import type { FaultOptions } from '../support/s3-faults.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const kib = 1024
const mib = 1024 * kib
const part = 8 * mib
const key = 'ab/object'
const invalidPart = { status: 400, code: 'InvalidPart' }
const internalError = { status: 500, code: 'InternalError' }
const away = { code: 'storage_failed', retryAfter: 5 }

describe.skipIf(missingS3())('objects that grow in s3', () => {
  let rig: S3Rig
  let opened: OpenS3
  let store: S3Store
  let proxy: S3Proxy
  let keeper: GrowthKeeper
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open()
    ;({ store, proxy } = opened)
    keeper = growthKeeper()
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  const grow = (more?: Partial<GrowOptions>): GrowingWriter => store.grow(key, keeper.options(more))

  async function append(bytes: Uint8Array, more?: Partial<GrowOptions>): Promise<void> {
    const writer = grow({ coming: bytes.length, ...more })
    await writer.write([bytes])
    await writer.save()
    await writer.abort()
  }

  /** The last request. */
  async function end(bytes: Uint8Array, more?: Partial<GrowOptions>): Promise<void> {
    const writer = grow({ coming: bytes.length, ...more })
    await writer.write([bytes])
    await writer.finish()
  }

  async function expectStored(bytes: Uint8Array): Promise<void> {
    expect(digest((await opened.get(key)) ?? Buffer.of(0))).toBe(digest(bytes))
    expect(await opened.uploads()).toEqual([])
    expect(store.heldBytes()).toBe(0)
  }

  /** Of parts, the largest first: two are sent at once. */
  const sizesSent = (): number[] =>
    proxy
      .seen()
      .filter(({ operation }) => operation === 'UploadPart')
      .map(({ sent }) => sent)
      .toSorted((a, b) => b - a)

  /** So many parts of 5 MiB are on record, and nowhere else. What else is sent is seen. */
  async function sendsAfter(parts: number, missing: number | null): Promise<number[]> {
    const size = 5 * mib
    const upload = await opened.bucket.startUpload(opened.prefix + key)
    const pieces = Array.from({ length: parts }, (_, i): Piece => ({ start: i * size, size, ref: `${i + 1} "etag"` }))
    const growth = { bytes: parts * size, note: upload.id, pieces }
    const length = missing === null ? null : growth.bytes + missing
    const writer = grow({ growth, length, keep: async () => {} })
    await writer.write([randomBytes(6 * mib)])
    await writer.save()
    await writer.abort()
    return sizesSent()
  }

  /** The store has a part more than is on record. */
  async function withStray(bytes: Uint8Array, number: number): Promise<void> {
    await append(bytes)
    const upload = { key: opened.prefix + key, id: keeper.growth.note ?? '' }
    await opened.bucket.putPart(upload, number, randomBytes(6 * mib))
    proxy.reset()
  }

  describe('asks for little', () => {
    it.each([0, 10 * kib, part])('%i bytes in one go are one request', async (size) => {
      const bytes = randomBytes(size)
      await end(bytes, { length: size })
      expect(proxy.counts()).toEqual({ PutObject: 1 })
      expect(keeper.keeps).toBe(0)
      await expectStored(bytes)
    })

    it('a part is one request, whether it comes in a request of its own or not', async () => {
      const bytes = randomBytes(4 * part)
      const length = bytes.length
      for (const at of [0, 1, 2]) await append(bytes.subarray(at * part, (at + 1) * part), { length })
      await end(bytes.subarray(3 * part), { length })
      expect(proxy.counts()).toEqual({
        CreateMultipartUpload: 1,
        UploadPart: 4,
        CompleteMultipartUpload: 1,
        HeadObject: 1,
      })
      expect(keeper.growth.pieces.map(({ size }) => size)).toEqual([part, part, part, part])
      await expectStored(bytes)
    })

    it('what is too small for a part goes on record only', async () => {
      const bytes = randomBytes(5 * mib + 1)
      await append(bytes.subarray(0, 5 * mib - 1))
      expect(proxy.counts()).toEqual({})
      expect(keeper.growth).toMatchObject({ bytes: 5 * mib - 1, note: null })
      await append(bytes.subarray(5 * mib - 1))
      expect(sizesSent()).toEqual([bytes.length])
      expect(keeper.growth.pieces).toMatchObject([{ start: 0, size: bytes.length, ref: expect.any(String) }])
      await grow({ coming: 0 }).finish()
      expect(proxy.counts()).toEqual({
        CreateMultipartUpload: 1,
        UploadPart: 1,
        CompleteMultipartUpload: 1,
        HeadObject: 1,
      })
      await expectStored(bytes)
    })

    it('bytes that come one by one are few pieces, and no parts', async () => {
      const bytes = randomBytes(12_000)
      let most = 0
      for (let at = 0; at < bytes.length; at++) {
        await append(bytes.subarray(at, at + 1), { length: bytes.length })
        most = Math.max(most, keeper.growth.pieces.length)
      }
      expect(most).toBeLessThan(20)
      await grow({ length: bytes.length, coming: 0 }).finish()
      expect(proxy.counts()).toEqual({ PutObject: 1 })
      await expectStored(bytes)
    })
  })

  describe('keeps numbers for what is missing', () => {
    it('and cuts a part early when they suffice', async () => {
      expect(await sendsAfter(9_995, 6 * mib + 4 * part)).toEqual([6 * mib])
      proxy.reset()
      expect(await sendsAfter(9_995, 6 * mib + 4 * part + 1)).toEqual([])
    })

    it('also when it is not known what is missing', async () => {
      expect(await sendsAfter(899, null)).toEqual([6 * mib])
      proxy.reset()
      expect(await sendsAfter(900, null)).toEqual([])
    })
  })

  describe('keeps', () => {
    it('no part before those that precede it', async () => {
      const first = proxy.fault('UploadPart', { act: 'stall' })
      const bytes = randomBytes(3 * part)
      const writer = grow({ length: bytes.length })
      const written = writer.write([bytes])
      await first.hit
      await expect.poll(() => proxy.seen().filter(({ status }) => status === 200).length).toBe(2)
      expect(keeper.growth.bytes).toBe(0)
      first.release()
      await written
      await writer.finish()
      expect(keeper.growth.pieces.map(({ size }) => size)).toEqual([part, part, part])
      await expectStored(bytes)
    })

    it('everything before the parts are joined', async () => {
      const bytes = randomBytes(part + 5)
      const joined = proxy.fault('CompleteMultipartUpload', { act: 'stall' })
      const ended = end(bytes, { length: bytes.length, hold: true })
      await joined.hit
      expect(keeper.growth.bytes).toBe(bytes.length)
      expect(keeper.growth.pieces.every(({ ref }) => ref !== null)).toBe(true)
      expect(keeper.keeps).toBe(1)
      joined.release()
      await ended
      await expectStored(bytes)
    })

    it('what is held in one step', async () => {
      await append(randomBytes(2 * part + mib), { hold: true })
      expect(keeper.keeps).toBe(1)
      expect(keeper.growth.pieces.map(({ ref }) => ref !== null)).toEqual([true, true, false, false, false, false])
    })

    it('the note before a part is sent', async () => {
      const noted = Promise.withResolvers<void>()
      const begun = Promise.withResolvers<void>()
      const bytes = randomBytes(part)
      const writer = grow({
        async note(text) {
          begun.resolve()
          await noted.promise
          await keeper.options().note(text)
        },
      })
      await writer.write([bytes])
      const saved = writer.save()
      await begun.promise
      expect(proxy.counts()).toEqual({ CreateMultipartUpload: 1 })
      noted.resolve()
      await saved
      await writer.finish()
      await expectStored(bytes)
    })
  })

  describe('of equal parts', () => {
    it.each([
      ['known', true],
      ['not known', false],
    ])('leaves on record what is less than one, its length %s', async (_, isKnown) => {
      opened = rig.open({ profile: 'r2', region: 'us-east-1' })
      store = opened.store
      const bytes = randomBytes(3 * part + 7)
      const length = isKnown ? bytes.length : null
      for (const [from, to] of [
        [0, 6 * mib],
        [6 * mib, 15 * mib],
        [15 * mib, 23 * mib],
        [23 * mib, 23 * mib + 1],
      ] as const) {
        await append(bytes.subarray(from, to), { length })
        expect(keeper.growth.bytes).toBe(to)
      }
      await end(bytes.subarray(23 * mib + 1), { length: bytes.length })
      expect(sizesSent()).toEqual([part, part, part, 7])
      await expectStored(bytes)
    })

    it('goes on with the size it has begun with', async () => {
      opened = rig.open({ profile: 'r2', region: 'us-east-1', largestObject: 100 * 1024 * mib })
      store = opened.store
      const bytes = randomBytes(30 * mib)
      await append(bytes.subarray(0, 13 * mib))
      await end(bytes.subarray(13 * mib), { length: bytes.length })
      expect(sizesSent()).toEqual([12 * mib, 12 * mib, 6 * mib])
      await expectStored(bytes)
    })
  })

  describe('when the server fails', () => {
    it.each<[string, FaultOptions]>([
      ['answered 500', { act: internalError }],
      ['cut in the middle', { act: 'cut', when: 'sending', bytes: 3 * mib + 5 }],
      ['done, and its answer lost', { act: 'cut', when: 'after' }],
    ])('a part of which some is on record is sent again, %s', async (_, fault) => {
      const bytes = randomBytes(part + 9)
      await append(bytes.subarray(0, 3 * mib), { length: bytes.length })
      const broken = proxy.fault('UploadPart', fault)
      await append(bytes.subarray(3 * mib, part), { length: bytes.length })
      expect(broken.hits()).toBe(1)
      await end(bytes.subarray(part), { length: bytes.length })
      await expectStored(bytes)
    })

    it('an object of which some is on record is sent again', async () => {
      const bytes = randomBytes(2 * mib)
      await append(bytes.subarray(0, mib), { length: bytes.length })
      proxy.fault('PutObject', { act: 'cut', when: 'sending', bytes: mib + 5 })
      await end(bytes.subarray(mib), { length: bytes.length })
      expect(proxy.counts()).toEqual({ PutObject: 2 })
      await expectStored(bytes)
    })

    it('says that it is away, and another goes on', async () => {
      const bytes = randomBytes(3 * part)
      await append(bytes.subarray(0, mib), { length: bytes.length })
      const broken = proxy.fault('UploadPart', { act: internalError, times: Infinity })
      const writer = grow({ length: bytes.length })
      await writer.write([bytes.subarray(mib, 7 * mib)])
      await expect(writer.save()).rejects.toMatchObject(away)
      await writer.abort()
      expect(keeper.growth).toMatchObject({ bytes: mib, note: expect.any(String) })
      broken.release()
      await end(bytes.subarray(mib), { length: bytes.length })
      await expectStored(bytes)
    })

    it('leaves nothing of a beginning whose answer was lost', async () => {
      const bytes = randomBytes(2 * part)
      proxy.fault('CreateMultipartUpload', { act: 'cut', when: 'after' })
      await append(bytes.subarray(0, part), { length: bytes.length })
      await end(bytes.subarray(part), { length: bytes.length })
      expect(proxy.counts()).toMatchObject({ CreateMultipartUpload: 2, AbortMultipartUpload: 1 })
      await expectStored(bytes)
    })

    it('joins again what another has sent', async () => {
      const bytes = randomBytes(part + mib)
      const broken = proxy.fault('CompleteMultipartUpload', { act: internalError, times: Infinity })
      await expect(end(bytes, { length: bytes.length })).rejects.toMatchObject(away)
      broken.release()
      proxy.reset()
      await grow({ length: bytes.length, coming: 0 }).finish()
      expect(proxy.counts()).toEqual({ CompleteMultipartUpload: 1, HeadObject: 1 })
      await expectStored(bytes)
    })

    it('takes for joined what is there, when the server has forgotten the upload', async () => {
      const bytes = randomBytes(part + mib)
      await end(bytes, { length: bytes.length })
      proxy.fault('CompleteMultipartUpload', { act: { status: 404, code: 'NoSuchUpload' }, times: 2 })
      await grow({ length: bytes.length, coming: 0 }).finish()
      await opened.bucket.remove(opened.prefix + key)
      await expect(grow({ length: bytes.length, coming: 0 }).finish()).rejects.toMatchObject({ code: 'storage_failed' })
    })

    it('fails when what is on record cannot be read', async () => {
      const failure = new Error('The records are away.')
      await append(randomBytes(mib))
      const writer = grow({ kept: () => Promise.reject(failure) })
      await writer.write([randomBytes(5 * mib)])
      await expect(writer.save()).rejects.toMatchObject({ code: 'storage_failed', cause: failure })
      await writer.abort()
      expect(keeper.growth.bytes).toBe(mib)
      expect(store.heldBytes()).toBe(0)
    })

    it.each<[string, Growth]>([
      ['of another store', { bytes: 5, note: 'id', pieces: [{ start: 0, size: 5, ref: 'file-5' }] }],
      ['of a store that knows by itself', { bytes: 5, note: null, pieces: [] }],
      ['without the note', { bytes: 5, note: null, pieces: [{ start: 0, size: 5, ref: '1 "etag"' }] }],
    ])('refuses a record %s', (_, growth) => {
      expect(() => grow({ growth })).toThrow(expect.objectContaining({ code: 'storage_failed' }))
    })
  })

  describe('with parts that do not count', () => {
    it('sends the number again', async () => {
      const bytes = randomBytes(7 * mib)
      await withStray(bytes.subarray(0, 6 * mib), 2)
      await end(bytes.subarray(6 * mib), { length: bytes.length })
      expect(proxy.counts()).toEqual({ UploadPart: 1, CompleteMultipartUpload: 1, HeadObject: 1 })
      await expectStored(bytes)
    })

    it('joins the others', async () => {
      const bytes = randomBytes(6 * mib)
      await withStray(bytes, 2)
      await grow({ length: bytes.length, coming: 0 }).finish()
      await expectStored(bytes)
    })

    it('makes them empty where the server does not leave them out', async () => {
      const bytes = randomBytes(6 * mib)
      await withStray(bytes, 2)
      proxy.fault('CompleteMultipartUpload', { act: invalidPart })
      await grow({ length: bytes.length, coming: 0 }).finish()
      expect(proxy.seen().map(({ operation }) => operation)).toEqual([
        'CompleteMultipartUpload',
        'ListParts',
        'UploadPart',
        'CompleteMultipartUpload',
        'HeadObject', // Ceph names no ETag of what it has joined
      ])
      expect(sizesSent()).toEqual([0])
      await expectStored(bytes)
    })

    it('fails when the server has none of them, and still refuses', async () => {
      await append(randomBytes(6 * mib))
      proxy.fault('CompleteMultipartUpload', { act: invalidPart, times: Infinity })
      const writer = grow()
      await expect(writer.finish()).rejects.toMatchObject({ code: 'storage_failed', cause: { name: 'InvalidPart' } })
      await writer.abort()
      expect(proxy.counts()).toMatchObject({ CompleteMultipartUpload: 1, ListParts: 1 })
    })

    it('uses a multipart upload that was begun, also for nothing', async () => {
      const refused = grow({ hold: true })
      await refused.write([randomBytes(part + 1)])
      await expect.poll(() => keeper.growth.note).not.toBeNull()
      await refused.abort()
      await proxy.idle()
      await grow({ coming: 0 }).finish()
      await expectStored(Buffer.alloc(0))
    })
  })

  describe('in little memory', () => {
    it('is enough for several at once', async () => {
      opened = rig.open({ memoryBytes: 16 * mib })
      store = opened.store
      const objects = Array.from({ length: 6 }, (_, i) => ({
        name: `ab/${i}`,
        records: growthKeeper(),
        bytes: randomBytes(13 * mib + i * 100_003),
      }))
      await Promise.all(
        objects.map(async ({ name, records, bytes }) => {
          const step = 7 * mib
          for (let at = 0; at < bytes.length; at += step) {
            const writer = store.grow(name, records.options({ length: bytes.length, hold: at === 0 }))
            for (let from = at; from < at + step; from += 700 * kib)
              await writer.write([bytes.subarray(from, Math.min(from + 700 * kib, at + step))])
            if (at + step < bytes.length) await writer.save()
            else await writer.finish()
          }
        }),
      )
      expect(store.heldBytes()).toBe(0)
      for (const { name, bytes } of objects) expect(digest((await opened.get(name)) ?? Buffer.of())).toBe(digest(bytes))
    })

    it('is given back by clients that have stopped sending', async () => {
      opened = rig.open({ memoryBytes: 16 * mib })
      store = opened.store
      const content = randomBytes(part + 5)
      const length = content.length
      const slow = await Promise.all(
        [6 * mib, 300 * kib, 256 * kib].map(async (bytes, i) => {
          const records = growthKeeper()
          const writer = store.grow(`ab/slow-${i}`, records.options({ length }))
          const waits = writer.write([content.subarray(0, bytes)])
          return { name: `ab/slow-${i}`, records, bytes, writer, waits }
        }),
      )
      const quick = randomBytes(part)
      await writeObject(store, 'ab/quick', quick, { length: quick.length })
      const waiting = store.grow('ab/waiting', growthKeeper().options({ length: 20 * mib }))
      const waits = waiting.write([randomBytes(20 * mib)])
      for (const { records, bytes } of slow)
        await expect.poll(() => records.growth.bytes, { timeout: 30_000 }).toBe(bytes)
      await waits
      await waiting.abort()
      expect(store.heldBytes()).toBe(0)
      for (const one of slow) {
        await one.waits
        await one.writer.write([content.subarray(one.bytes)])
        await one.writer.finish()
        expect(digest((await opened.get(one.name)) ?? Buffer.of())).toBe(digest(content))
      }
    })
  })
})

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
