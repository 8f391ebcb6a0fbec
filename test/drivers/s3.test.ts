import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { S3Store } from '../../src/stores/s3.ts'
import { objectStoreContract } from '../contracts/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const kib = 1024
const mib = 1024 * kib
const part = 8 * mib
const key = 'ab/object'

describe.skipIf(missingS3())('on a real S3 server', () => {
  let rig: S3Rig
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  afterAll(() => rig.close())

  objectStoreContract('s3', async () => {
    const one = rig.open()
    await one.store.recover()
    return {
      store: one.store,
      raw: {
        get: (name) => one.get(name),
        put: (name, bytes) => one.bucket.put(one.prefix + name, Buffer.from(bytes)),
        keys: async () => (await one.objects()).map((object) => object.key),
        leftovers: async () => (await one.uploads()).map((upload) => upload.key),
      },
      settled: () => one.proxy.idle(),
      close: () => one.close(),
    }
  })

  describe('s3', () => {
    let opened: OpenS3
    let store: S3Store
    let proxy: S3Proxy
    beforeEach(() => {
      opened = rig.open()
      ;({ store, proxy } = opened)
    })
    afterEach(() => opened.close())

    describe.each([
      ['known before', true],
      ['not known', false],
    ])('of a length %s', (_, isKnown) => {
      it.each(
        [0, 256 * kib, part, 2 * part]
          .flatMap((border) => [border - 1, border, border + 1])
          .filter((size) => size >= 0),
      )('stores %i bytes with the fewest requests', async (size) => {
        const bytes = randomBytes(size)
        await writeObject(store, key, bytes, { length: isKnown ? size : null, chunk: 100_003 })
        const parts = {
          CreateMultipartUpload: 1,
          UploadPart: Math.ceil(size / part),
          CompleteMultipartUpload: 1,
          HeadObject: 1,
        }
        expect(proxy.counts()).toEqual(size > part ? parts : { PutObject: 1 })
        expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(1), bytes)).toBe(0)
        expect(await opened.uploads()).toEqual([])
        expect(store.heldBytes()).toBe(0)
      })
    })

    it('sends 20 MiB as three parts', async () => {
      await writeObject(store, key, randomBytes(20 * mib), { length: 20 * mib })
      expect(proxy.seen().map(({ operation }) => operation)).toEqual([
        'CreateMultipartUpload',
        ...Array.from({ length: 3 }, () => 'UploadPart'),
        'CompleteMultipartUpload',
        'HeadObject', // Ceph names no ETag of what it has joined
      ])
      const sizes = proxy.seen().filter(({ operation }) => operation === 'UploadPart')
      expect(sizes.map(({ sent }) => sent)).toEqual([part, part, 4 * mib])
    })

    it('asks once for each thing', async () => {
      await writeObject(store, key, randomBytes(10 * kib))
      await buffer(await store.read(key))
      await store.bytes(key, { start: 5, end: 10 })
      await store.stat(key)
      await store.check()
      await store.remove(key)
      expect(proxy.counts()).toEqual({ PutObject: 1, GetObject: 2, HeadObject: 1, HeadBucket: 1, DeleteObject: 1 })
      expect(proxy.seen().filter(({ operation }) => operation === 'GetObject')).toMatchObject([
        { received: 10 * kib },
        { received: 5, headers: { range: 'bytes=5-9' } },
      ])
    })

    it('clears what it has noted without looking for it', async () => {
      await store.clear(key, null)
      expect(proxy.counts()).toEqual({ ListMultipartUploads: 1, DeleteObject: 1 })
      proxy.reset()
      const upload = await opened.bucket.startUpload(opened.prefix + key)
      await store.clear(key, upload.id)
      expect(proxy.counts()).toEqual({ AbortMultipartUpload: 1, DeleteObject: 1 })
      expect(await opened.uploads()).toEqual([])
      await store.clear(key, upload.id)
    })

    it('clears the open uploads of one key, and of no other that begins with it', async () => {
      const longer = `${key}.longer`
      for (const one of [key, key, longer]) await opened.bucket.startUpload(opened.prefix + one)
      await store.clear(key, null)
      expect((await opened.uploads()).map((upload) => upload.key)).toEqual([longer])
    })

    it('lists what is unfinished, with what clear needs', async () => {
      let noted = ''
      const writer = store.write(key, { note: async (text) => void (noted = text) })
      await writer.write([randomBytes(20 * mib)])
      await expect.poll(() => noted).not.toBe('')
      await rig.bucket.startUpload('foreign/ab/object')
      const found = await Array.fromAsync(store.unfinished?.() ?? [])
      expect(found).toMatchObject([{ key, note: noted }])
      expect(Math.abs((found[0]?.startedAt ?? 0) - Date.now())).toBeLessThan(60_000)
      await writer.abort()
      await store.clear(key, noted)
      expect(await Array.fromAsync(store.unfinished?.() ?? [])).toEqual([])
      for (const upload of await rig.bucket.uploads('foreign/')) await rig.bucket.abort(upload)
    })

    it('shares the bucket with others, and lists no keys that are not its own', async () => {
      await writeObject(store, key, Buffer.from('bytes'))
      await opened.bucket.put('foreign/ab/object', Buffer.from('foreign'))
      await opened.bucket.put(`${opened.prefix}Foreign`, Buffer.from('foreign'))
      expect((await Array.fromAsync(store.list())).map((object) => object.key)).toEqual([key])
      await opened.bucket.remove('foreign/ab/object')
    })

    it('lists more than one page', async () => {
      const keys = Array.from({ length: 1_005 }, (_, i) => `ab/${String(i).padStart(4, '0')}`)
      const todo = keys.values()
      const work = async (): Promise<void> => {
        for (const one of todo) await opened.bucket.put(opened.prefix + one, Buffer.alloc(0))
      }
      await Promise.all(Array.from({ length: 16 }, work))
      const found = (await Array.fromAsync(store.list())).map((object) => object.key)
      expect(found.toSorted()).toEqual(keys)
      expect(proxy.counts()).toEqual({ ListObjectsV2: 2 })
    })

    it('keeps all parts but the last of one size where the server wants that', async () => {
      const equal = rig.open({ profile: 'r2', region: 'us-east-1' })
      const bytes = randomBytes(20 * mib)
      await writeObject(equal.store, key, bytes, { chunk: 3 * mib })
      const parts = proxy.seen().filter(({ operation }) => operation === 'UploadPart')
      expect(parts.map(({ sent }) => sent)).toEqual([part, part, 4 * mib])
      expect(Buffer.compare((await equal.get(key)) ?? Buffer.of(), bytes)).toBe(0)
      await equal.close()
    })

    it('says when the bucket is not there, or the key is wrong', async () => {
      const { credentials } = rig.options()
      const secretAccessKey = 'wrong'
      const mistakes = [
        { bucket: 'fairlead-test-none' },
        { credentials: { accessKeyId: credentials?.accessKeyId ?? '', secretAccessKey } },
      ]
      for (const mistake of mistakes) {
        const wrong = rig.open(mistake)
        const failure = { code: 'storage_failed', retryAfter: undefined }
        await expect(wrong.store.check()).rejects.toMatchObject(failure)
        await expect(writeObject(wrong.store, key, Buffer.from('x'))).rejects.toMatchObject(failure)
        await expect(Array.fromAsync(wrong.store.list())).rejects.toMatchObject(failure)
        wrong.store.close()
      }
    })
  })
})
