import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { S3StoreOptions } from '../../src/stores/s3.ts'
import type { StoredObject } from '../../src/uploads/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import type { FaultOptions } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import { type OpenS3, type S3Rig, startS3Rig } from '../support/s3-rig.ts'

const mib = 1024 * 1024
const key = 'ab/whole'
const internalError = { status: 500, code: 'InternalError' }

describe.skipIf(missingS3())('putting objects together in s3', () => {
  let rig: S3Rig
  let opened: OpenS3
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open()
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  let whole: Buffer
  /** Objects of these sizes; what they make is `whole`. */
  async function objects(sizes: readonly number[], options?: Partial<S3StoreOptions>) {
    if (options) opened = rig.open(options)
    const all = sizes.map((size, i) => ({ key: `ab/${i}`, size, bytes: randomBytes(size) }))
    for (const one of all) await opened.bucket.put(opened.prefix + one.key, one.bytes)
    whole = Buffer.concat(all.map(({ bytes }) => bytes))
    return all.map((one): Pick<StoredObject, 'key' | 'size'> => ({ key: one.key, size: one.size }))
  }

  async function expectWhole(): Promise<void> {
    expect(digest((await opened.get(key)) ?? Buffer.of(0))).toBe(digest(whole))
    expect(await opened.uploads()).toEqual([])
    expect(opened.store.heldBytes()).toBe(0)
  }

  it.each<[string, readonly number[], Partial<Record<S3Operation, number>>, Partial<S3StoreOptions>?]>([
    ['nothing by one PUT', [0, 0], { PutObject: 1 }],
    ['what is small by one PUT', [1, 2 * mib, 0, 5], { GetObject: 3, PutObject: 1 }],
    ['what fits in one part by one PUT', [3 * mib, 3 * mib], { GetObject: 2, PutObject: 1 }],
    ['large ones without a byte of theirs', [6 * mib, 5 * mib, 9 * mib], copies(3)],
    ['a seam by one part', [6 * mib, mib, 11 * mib], { ...copies(2), GetObject: 2, UploadPart: 1 }],
    ['an object above the largest copy in several', [25 * mib, 6 * mib], copies(4), { largestCopy: 10 * mib }],
    [
      'parts of one size where the server wants that',
      [9 * mib, 8 * mib, 7 * mib + 5],
      { ...copies(1), GetObject: 5, UploadPart: 3 },
      { profile: 'r2', region: 'us-east-1' },
    ],
  ])('makes %s', async (_, sizes, counts, options) => {
    const sources = await objects(sizes, options)
    await opened.store.concat(sources, key, {})
    expect(opened.proxy.counts()).toEqual(counts)
    await expectWhole()
  })

  it('keeps the note before anything is copied', async () => {
    const sources = await objects([6 * mib, 6 * mib])
    const failure = new Error('The records are away.')
    await expect(opened.store.concat(sources, key, { note: () => Promise.reject(failure) })).rejects.toBe(failure)
    expect(opened.proxy.counts()).toEqual({ CreateMultipartUpload: 1 })
  })

  it.each<[S3Operation, string, FaultOptions]>([
    ['UploadPartCopy', 'answered 500', { act: internalError }],
    ['UploadPartCopy', 'done, and its answer lost', { act: 'cut', when: 'after' }],
    ['GetObject', 'answered 500', { act: internalError }],
    ['GetObject', 'cut in the middle', { act: 'cut', when: 'answering', bytes: 100_000 }],
    ['UploadPart', 'cut in the middle', { act: 'cut', when: 'sending', bytes: 3 * mib }],
    ['CompleteMultipartUpload', 'done, and its answer lost', { act: 'cut', when: 'after' }],
  ])('asks again: %s %s', async (operation, _, fault) => {
    const sources = await objects([6 * mib, mib, 6 * mib])
    const broken = opened.proxy.fault(operation, fault)
    await opened.store.concat(sources, key, {})
    expect(broken.hits()).toBe(1)
    await expectWhole()
  })

  it.each<S3Operation>(['UploadPartCopy', 'GetObject', 'UploadPart', 'CompleteMultipartUpload'])(
    'stops in the middle of %s, and nothing comes after',
    async (operation) => {
      const sources = await objects([6 * mib, mib, 6 * mib])
      const stalled = opened.proxy.fault(operation, { act: 'stall' })
      const stop = new AbortController()
      let noted: string | null = null
      const note = async (text: string): Promise<void> => void (noted = text)
      const failed = opened.store.concat(sources, key, { note, signal: stop.signal }).catch((error: unknown) => error)
      await stalled.hit
      stop.abort()
      expect(await failed).toMatchObject({ name: 'AbortError' })
      expect(opened.store.heldBytes()).toBe(0)
      const asked = opened.proxy.seen().length
      await opened.proxy.idle()
      expect(opened.proxy.seen()).toHaveLength(asked)
      await opened.store.clear(key, noted)
      expect((await opened.objects()).map((one) => one.key)).toEqual(sources.map((one) => one.key))
      expect(await opened.uploads()).toEqual([])
    },
  )

  it('fails when an object has become smaller, and says when the server is away', async () => {
    const sources = await objects([3 * mib, 3 * mib])
    await opened.bucket.put(`${opened.prefix}ab/1`, randomBytes(mib))
    await expect(opened.store.concat(sources, key, {})).rejects.toMatchObject({ code: 'storage_failed' })
    await opened.proxy.down()
    const away = { code: 'storage_failed', retryAfter: 5 }
    await expect(opened.store.concat(sources, key, {})).rejects.toMatchObject(away)
    expect(opened.store.heldBytes()).toBe(0)
    await opened.proxy.up()
    expect(await opened.get(key)).toBeUndefined()
  })

  it('shares the memory with what is written meanwhile', async () => {
    const sources = await objects([2 * mib, 2 * mib, 2 * mib, 9 * mib, mib, 7 * mib], { memoryBytes: 16 * mib })
    const keys = Array.from({ length: 4 }, (_, i) => `ab/whole-${i}`)
    await Promise.all(keys.map((one) => opened.store.concat(sources, one, {})))
    for (const one of keys) expect(digest((await opened.get(one)) ?? Buffer.of())).toBe(digest(whole))
    expect(opened.store.heldBytes()).toBe(0)
  })
})

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const copies = (count: number) => ({
  CreateMultipartUpload: 1,
  UploadPartCopy: count,
  CompleteMultipartUpload: 1,
  HeadObject: 1, // Ceph names no ETag of what it has joined
})
