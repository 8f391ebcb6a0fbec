import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ByteRange, ObjectStore, ObjectWriter, WriteOptions } from '../../src/uploads/object-store.ts'

/** The bytes, seen through another client than the driver. */
export interface RawAccess {
  get(key: string): Promise<Buffer | undefined>
  put(key: string, bytes: Uint8Array): Promise<void>
  keys(): Promise<string[]>
  /** Whatever unfinished writers have left in the store, by any name. */
  leftovers(): Promise<string[]>
}

export interface OpenStore {
  /** Empty, and recovered. */
  readonly store: ObjectStore
  readonly raw: RawAccess
  /** For a store with `settledMs`: resolves when nothing that was given up can have an effect any more. */
  settled?(): Promise<void>
  close(): Promise<void>
}

const kib = 1024
const mib = 1024 * kib
/** Below, at and above what drivers send at a time; the largest is more than one part of S3. */
const sizes = [0, 1, 64 * kib - 1, 64 * kib, 64 * kib + 1, mib, 9 * mib + 3]
const badKeys = [
  '',
  'name',
  'ab',
  'ab/',
  '/ab/name',
  '../name',
  'ab/..',
  'ab/.',
  'ab/.name',
  'ab/../name',
  'ab/cd/name',
  'ab\\name',
  'AB/name',
  'ab/Name',
  'zz/name',
  'abc/name',
  'ab/né',
  'ab/na me',
  'ab/name\n',
  'ab/na\0me',
  `ab/${'n'.repeat(81)}`,
]

/** What every object store must do. `open` gives a new, empty one for each test. */
export function objectStoreContract(name: string, open: () => Promise<OpenStore>): void {
  describe(`${name} as an object store`, () => {
    let store: ObjectStore
    let raw: RawAccess
    let opened: OpenStore

    beforeEach(async () => {
      opened = await open()
      ;({ store, raw } = opened)
    })
    afterEach(() => opened.close())

    async function put(key: string, bytes: Uint8Array, options?: WriteOptions): Promise<void> {
      const writer = store.write(key, options)
      await writer.write([bytes])
      await writer.finish()
    }

    async function expectNothing(key: string): Promise<void> {
      expect(await raw.leftovers()).toEqual([])
      expect(await raw.keys()).toEqual([])
      expect(await store.stat(key)).toBeUndefined()
    }

    /** As the service does it: at once, and again when nothing can come after. */
    async function clear(key: string, note: string | null): Promise<void> {
      await store.clear(key, note)
      if (store.settledMs === undefined) return
      await opened.settled?.()
      await store.clear(key, note)
    }

    describe('writing', () => {
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
        await put(key, bytes, options)
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
        await Promise.all(keys.map((key) => put(key, Buffer.from(key))))
        for (const key of keys) expect(String(await raw.get(key))).toBe(key)
      })
    })

    describe('aborting', () => {
      const attempts: [string, (key: string, options: WriteOptions) => Promise<void>][] = [
        ['before the first byte', (key, options) => store.write(key, options).abort()],
        [
          'during a write',
          async (key, options) => {
            const writer = store.write(key, options)
            const written = writer.write([randomBytes(9 * mib)])
            await Promise.all([writer.abort(), written.catch(() => {})])
          },
        ],
        [
          'between writes',
          async (key, options) => {
            const writer = await begun(store, key, options, 9 * mib)
            await writer.write([randomBytes(10)])
            await writer.abort()
          },
        ],
        [
          'twice',
          async (key, options) => {
            const writer = await begun(store, key, options, 10)
            await writer.abort()
            await writer.abort()
          },
        ],
        ...[10, 9 * mib].map((bytes): (typeof attempts)[number] => [
          `during finish of ${bytes} bytes`,
          async (key, options) => {
            const writer = await begun(store, key, options, bytes)
            const finished = writer.finish()
            await Promise.all([writer.abort(), finished.catch(() => {})])
          },
        ]),
      ]
      it.each(attempts)('%s leaves nothing that clear does not remove', async (_, attempt) => {
        const key = newKey()
        let noted: string | null = null
        await attempt(key, {
          async note(text) {
            noted = text
          },
        })
        await clear(key, noted)
        await expectNothing(key)
      })

      it.each(attempts)('%s leaves nothing when the note is lost', async (_, attempt) => {
        const key = newKey()
        await attempt(key, {})
        await clear(key, null)
        await expectNothing(key)
      })

      it('does nothing after finish', async () => {
        const key = newKey()
        const writer = store.write(key)
        await writer.write([Buffer.from('kept')])
        await writer.finish()
        await writer.abort()
        expect(String(await raw.get(key))).toBe('kept')
      })

      it('refuses what comes later', async () => {
        const writer = store.write(newKey())
        await writer.abort()
        await expect(writer.write([Buffer.from('late')])).rejects.toMatchObject({ code: 'storage_failed' })
        await expect(writer.finish()).rejects.toMatchObject({ code: 'storage_failed' })
        expect(await raw.leftovers()).toEqual([])
      })
    })

    describe('reading', () => {
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

    it('knows size and time of an object', async () => {
      const key = newKey()
      const before = Date.now()
      await put(key, Buffer.from('bytes'))
      const object = await store.stat(key)
      expect(object).toMatchObject({ key, size: 5 })
      // A service that gives times in seconds rounds down.
      expect(object?.modifiedAt).toBeGreaterThan(before - 2_000)
      expect(object?.modifiedAt).toBeLessThan(Date.now() + 2_000)
    })

    it('lists every finished object, and nothing else', async () => {
      const keys = ['00', '7f', 'ff', 'ff'].map((directory) => newKey(directory))
      for (const [i, key] of keys.entries()) await put(key, randomBytes(i))
      const unfinished = store.write(newKey())
      await unfinished.write([randomBytes(9 * mib)])
      const found: Record<string, number> = {}
      for await (const { key, size } of store.list()) found[key] = size
      expect(found).toEqual(Object.fromEntries(keys.map((key, i) => [key, i])))
      await unfinished.abort()
    })

    it('stops listing when its signal is aborted', async () => {
      await put(newKey(), Buffer.from('bytes'))
      await expect(keysOf(store, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
    })

    it('removes, and counts what is not there as removed', async () => {
      const key = newKey()
      await put(key, Buffer.from('bytes'))
      await store.remove(key)
      expect(await raw.keys()).toEqual([])
      await store.remove(key)
      await expect(store.read(key)).rejects.toMatchObject({ code: 'not_found' })
      expect(await store.stat(key)).toBeUndefined()
    })

    it('lets a reader finish when the object is removed meanwhile, or tells it', async () => {
      const key = newKey()
      const bytes = randomBytes(3 * mib)
      await put(key, bytes)
      const stream = await store.read(key)
      await store.remove(key)
      const read = await buffer(stream).catch(() => bytes)
      expect(same(read, bytes)).toBe(true)
      expect(await raw.get(key)).toBeUndefined()
    })

    it('refuses what is no key', async () => {
      const range = { start: 0, end: 1 }
      const taken: string[] = []
      for (const key of badKeys) {
        if (!(await refuses(() => store.write(key)))) taken.push(`write ${key}`)
        if (!(await refuses(() => store.read(key)))) taken.push(`read ${key}`)
        if (!(await refuses(() => store.bytes(key, range)))) taken.push(`bytes ${key}`)
        if (!(await refuses(() => store.stat(key)))) taken.push(`stat ${key}`)
        if (!(await refuses(() => store.remove(key)))) taken.push(`remove ${key}`)
        if (!(await refuses(() => store.clear(key, null)))) taken.push(`clear ${key}`)
      }
      expect(taken).toEqual([])
    })

    it('takes the longest key', async () => {
      const key = `ff/${'n'.repeat(80)}`
      await put(key, Buffer.from('bytes'))
      expect(await raw.keys()).toEqual([key])
    })

    it('clears one key only, also when there is nothing', async () => {
      const key = newKey('ab')
      const longer = `${key}.0`
      await put(key, Buffer.from('bytes'))
      await store.clear(longer, null)
      expect(await raw.keys()).toEqual([key])
      await put(longer, Buffer.from('bytes'))
      await store.clear(key, null)
      await store.clear(key, null)
      expect(await raw.keys()).toEqual([longer])
    })

    it('keeps every object when it recovers', async () => {
      const key = newKey()
      await put(key, Buffer.from('bytes'))
      await store.recover()
      expect(await raw.keys()).toEqual([key])
    })

    it('checks itself without leaving anything', async () => {
      await store.check()
      expect(await raw.keys()).toEqual([])
      expect(await raw.leftovers()).toEqual([])
    })
  })
}

function newKey(directory = randomBytes(1).toString('hex')): string {
  return `${directory}/${randomBytes(16).toString('hex')}.${randomBytes(6).toString('hex')}`
}

async function begun(store: ObjectStore, key: string, options: WriteOptions, bytes: number): Promise<ObjectWriter> {
  const writer = store.write(key, options)
  await writer.write([randomBytes(bytes)])
  return writer
}

async function keysOf(store: ObjectStore, signal?: AbortSignal): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(signal)) keys.push(key)
  return keys
}

async function refuses(call: () => unknown): Promise<boolean> {
  try {
    await call()
    return false
  } catch (error) {
    return error instanceof TypeError
  }
}

/** The error with which a stream closes, if there is one. */
function closing(stream: Readable): Promise<unknown> {
  return new Promise((resolve) => {
    let failure: unknown
    stream.once('error', (error) => (failure = error)).once('close', () => resolve(failure))
  })
}

/** Compares without printing megabytes. */
const same = (found: Uint8Array | undefined, expected: Uint8Array): boolean =>
  found !== undefined && Buffer.compare(found, expected) === 0

const compare = (a: string, b: string): number => (a < b ? -1 : 1)
