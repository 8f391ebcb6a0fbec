import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ObjectStore } from '../../src/uploads/object-store.ts'
import { abortingContract } from './object-store/aborting.ts'
import { freshStores, keysOf, newKey, type Open, put, type RawAccess, same } from './object-store/fresh.ts'
import { growingContract } from './object-store/growing.ts'
import { readingContract } from './object-store/reading.ts'
import { writingContract } from './object-store/writing.ts'

const mib = 1024 * 1024
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

/** What every object store must do. */
export function objectStoreContract(name: string, open: Open): void {
  describe(`${name} as an object store`, () => {
    writingContract(open)
    abortingContract(open)
    readingContract(open)
    growingContract(open)
    describe('as a whole', () => {
      const fresh = freshStores(open)
      let store: ObjectStore
      let raw: RawAccess
      beforeEach(() => {
        ;({ store, raw } = fresh())
      })

      it('knows size and time of an object', async () => {
        const key = newKey()
        const before = Date.now()
        await put(store, key, Buffer.from('bytes'))
        const object = await store.stat(key)
        expect(object).toMatchObject({ key, size: 5 })
        // A service that gives times in seconds rounds down.
        expect(object?.modifiedAt).toBeGreaterThan(before - 2_000)
        expect(object?.modifiedAt).toBeLessThan(Date.now() + 2_000)
      })

      it('lists every finished object, and nothing else', async () => {
        const keys = ['00', '7f', 'ff', 'ff'].map((directory) => newKey(directory))
        for (const [i, key] of keys.entries()) await put(store, key, randomBytes(i))
        const unfinished = store.write(newKey())
        await unfinished.write([randomBytes(9 * mib)])
        const found: Record<string, number> = {}
        for await (const { key, size } of store.list()) found[key] = size
        expect(found).toEqual(Object.fromEntries(keys.map((key, i) => [key, i])))
        await unfinished.abort()
      })

      it('stops listing when its signal is aborted', async () => {
        await put(store, newKey(), Buffer.from('bytes'))
        await expect(keysOf(store, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
      })

      it('removes, and counts what is not there as removed', async () => {
        const key = newKey()
        await put(store, key, Buffer.from('bytes'))
        await store.remove(key)
        expect(await raw.keys()).toEqual([])
        await store.remove(key)
        await expect(store.read(key)).rejects.toMatchObject({ code: 'not_found' })
        expect(await store.stat(key)).toBeUndefined()
      })

      it('lets a reader finish when the object is removed meanwhile, or tells it', async () => {
        const key = newKey()
        const bytes = randomBytes(3 * mib)
        await put(store, key, bytes)
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
        await put(store, key, Buffer.from('bytes'))
        expect(await raw.keys()).toEqual([key])
      })

      it('clears one key only, also when there is nothing', async () => {
        const key = newKey('ab')
        const longer = `${key}.0`
        await put(store, key, Buffer.from('bytes'))
        await store.clear(longer, null)
        expect(await raw.keys()).toEqual([key])
        await put(store, longer, Buffer.from('bytes'))
        await store.clear(key, null)
        await store.clear(key, null)
        expect(await raw.keys()).toEqual([longer])
      })

      it('keeps every object when it recovers', async () => {
        const key = newKey()
        await put(store, key, Buffer.from('bytes'))
        await store.recover()
        expect(await raw.keys()).toEqual([key])
      })

      it('checks itself without leaving anything', async () => {
        await store.check()
        expect(await raw.keys()).toEqual([])
        expect(await raw.leftovers()).toEqual([])
      })
    })
  })
}

async function refuses(call: () => unknown): Promise<boolean> {
  try {
    await call()
    return false
  } catch (error) {
    return error instanceof TypeError
  }
}
