import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ByteRange, ObjectStore } from '../../../src/uploads/object-store.ts'
import { freshStores, newKey, type Open, type RawAccess, same } from './fresh.ts'

const mib = 1024 * 1024

export function readingContract(open: Open): void {
  describe('reading', () => {
    const fresh = freshStores(open)
    let store: ObjectStore
    let raw: RawAccess
    beforeEach(() => {
      ;({ store, raw } = fresh())
    })

    const bytes = randomBytes(2 * mib + 5)
    const last = bytes.length
    const key = newKey()
    beforeEach(() => raw.put(key, bytes))

    it.each<[string, ByteRange]>([
      ['everything', { start: 0, end: last }],
      ['the first byte', { start: 0, end: 1 }],
      ['the last byte', { start: last - 1, end: last }],
      ['the middle', { start: mib - 70_001, end: mib + 70_001 }],
      ['more than there is', { start: last - 10, end: last + 10 }],
      ['only what is not there', { start: last, end: last + 10 }],
    ])('gives %s', async (_, range) => {
      const expected = bytes.subarray(range.start, range.end)
      expect(same(await buffer(await store.read(key, range)), expected)).toBe(true)
      expect(same(await store.bytes(key, range), expected)).toBe(true)
    })

    it.each<ByteRange>([
      { start: 5, end: 5 },
      { start: 5, end: 4 },
      { start: -1, end: 4 },
      { start: 0.5, end: 4 },
      { start: 0, end: NaN },
    ])('refuses $start to $end as a range', async (range) => {
      await expect(store.read(key, range)).rejects.toThrow(RangeError)
      await expect(store.bytes(key, range)).rejects.toThrow(RangeError)
    })

    it('says that an object is not there before any byte', async () => {
      const range = { start: 0, end: 1 }
      await expect(store.read(newKey())).rejects.toMatchObject({ code: 'not_found' })
      await expect(store.read(newKey(), range)).rejects.toMatchObject({ code: 'not_found' })
      await expect(store.bytes(newKey(), range)).rejects.toMatchObject({ code: 'not_found' })
      expect(await store.stat(newKey())).toBeUndefined()
    })

    it('stops when its signal is aborted', async () => {
      const abort = new AbortController()
      const stream = await store.read(key, undefined, abort.signal)
      await once(stream, 'readable')
      const closed = closing(stream)
      abort.abort()
      expect(await closed).toMatchObject({ name: 'AbortError' })
      expect(stream.readableEnded).toBe(false)
      expect(same(await buffer(await store.read(key)), bytes)).toBe(true)
    })

    it('stops when its signal is aborted before anybody reads', async () => {
      const abort = new AbortController()
      const stream = await store.read(key, undefined, abort.signal)
      const closed = closing(stream)
      abort.abort()
      expect(await closed).toMatchObject({ name: 'AbortError' })
    })

    it('does not begin when its signal is aborted already', async () => {
      const signal = AbortSignal.abort()
      await expect(store.read(key, undefined, signal)).rejects.toMatchObject({ name: 'AbortError' })
      await expect(store.bytes(key, { start: 0, end: 9 }, signal)).rejects.toMatchObject({ name: 'AbortError' })
    })

    it.each([0, 1])('lets go of a stream that was destroyed after %i chunks', async (chunks) => {
      const stream = await store.read(key)
      for (let i = 0; i < chunks; i++) await once(stream, 'data')
      const closed = closing(stream)
      stream.destroy()
      expect(await closed).toBeUndefined()
    })
  })
}

/** The error with which a stream closes, if there is one. */
function closing(stream: Readable): Promise<unknown> {
  return new Promise((resolve) => {
    let failure: unknown
    stream.once('error', (error) => (failure = error)).once('close', () => resolve(failure))
  })
}
