import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ObjectStore } from '../../../src/uploads/object-store.ts'
import { freshStores, keysOf, newKey, type Open, put, type RawAccess, same } from './fresh.ts'

const kib = 1024
const mib = 1024 * kib
/** Below, at and above what drivers send at a time; the largest is more than one part of S3. */
const sizes = [0, 1, 64 * kib - 1, 64 * kib, 64 * kib + 1, mib, 9 * mib + 3]

export function writingContract(open: Open): void {
  describe('writing', () => {
    const fresh = freshStores(open)
    let store: ObjectStore
    let raw: RawAccess
    beforeEach(() => {
      ;({ store, raw } = fresh())
    })

    it.each(
      sizes.flatMap(
        (size) =>
          [
            [size, 'known before', { length: size }],
            [size, 'not known', {}],
          ] as const,
      ),
    )('stores %i bytes, their number %s', async (size, _, options) => {
      const bytes = randomBytes(size)
      const key = newKey()
      await put(store, key, bytes, options)
      expect(same(await raw.get(key), bytes)).toBe(true)
      expect(same(await buffer(await store.read(key)), bytes)).toBe(true)
      expect(await store.stat(key)).toMatchObject({ key, size })
      expect(await raw.leftovers()).toEqual([])
    })

    it('stores an object of which nothing was written', async () => {
      const key = newKey()
      await store.write(key).finish()
      expect(await raw.get(key)).toHaveLength(0)
      expect(await buffer(await store.read(key))).toHaveLength(0)
    })

    it.each([
      ['crumbs in one call', 1, 5_000, 3],
      ['empty chunks among others', 1, 40, 0],
      ['many calls', 200, 16, 4 * kib],
    ])('keeps the order of %s', async (_, calls, chunks, largest) => {
      const key = newKey()
      const writer = store.write(key)
      const written: Buffer[] = []
      for (let call = 0; call < calls; call++) {
        const some = Array.from({ length: chunks }, (_chunk, i) => randomBytes((call + i) % (largest + 1)))
        written.push(...some)
        await writer.write(some)
      }
      await writer.write([])
      await writer.finish()
      expect(same(await raw.get(key), Buffer.concat(written))).toBe(true)
    })

    it('shows nothing before finish', async () => {
      const key = newKey()
      const writer = store.write(key)
      await writer.write([randomBytes(9 * mib)])
      expect(await raw.get(key)).toBeUndefined()
      expect(await store.stat(key)).toBeUndefined()
      expect(await keysOf(store)).toEqual([])
      await expect(store.read(key)).rejects.toMatchObject({ code: 'not_found' })
      await writer.finish()
      expect(await keysOf(store)).toEqual([key])
    })

    it.each([2, 50])('keeps %i objects apart that are written at once', async (count) => {
      const objects = Array.from({ length: count }, () => ({ key: newKey(), bytes: randomBytes(300 * kib) }))
      await Promise.all(
        objects.map(async ({ key, bytes }) => {
          const writer = store.write(key)
          for (let at = 0; at < bytes.length; at += 50_000) await writer.write([bytes.subarray(at, at + 50_000)])
          await writer.finish()
        }),
      )
      for (const { key, bytes } of objects) expect(same(await raw.get(key), bytes)).toBe(true)
      expect((await raw.keys()).toSorted(compare)).toEqual(objects.map(({ key }) => key).toSorted(compare))
      expect(await raw.leftovers()).toEqual([])
    })

    it('makes many objects in one directory durable together', async () => {
      const keys = Array.from({ length: 30 }, () => newKey('ab'))
      await Promise.all(keys.map((key) => put(store, key, Buffer.from(key))))
      for (const key of keys) expect(String(await raw.get(key))).toBe(key)
    })
  })
}

const compare = (a: string, b: string): number => (a < b ? -1 : 1)
