import { createHash, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GrowingWriter, GrowOptions, ObjectStore } from '../../../src/uploads/object-store.ts'
import { type GrowthKeeper, growthKeeper } from '../../support/growth.ts'
import { freshStores, newKey, type Open, put, type RawAccess } from './fresh.ts'

const kib = 1024
const mib = 1024 * kib

export function growingContract(open: Open): void {
  describe('growing', () => {
    const fresh = freshStores(open)
    let store: ObjectStore
    let raw: RawAccess
    let key: string
    let keeper: GrowthKeeper
    beforeEach(() => {
      ;({ store, raw } = fresh())
      key = newKey()
      keeper = growthKeeper()
    })

    const writers: GrowingWriter[] = []
    // Those of a process that has died hold files and memory of ours.
    afterEach(async () => void (await Promise.all(writers.splice(0).map((writer) => writer.abort()))))
    function grow(more?: Partial<GrowOptions>): GrowingWriter {
      const writer = store.grow(key, keeper.options(more))
      writers.push(writer)
      return writer
    }

    /** One request: a writer of its own, which leaves what it got. */
    async function append(bytes: Uint8Array, more?: Partial<GrowOptions>): Promise<void> {
      const writer = grow({ coming: bytes.length, ...more })
      await writer.write([bytes])
      await writer.save()
      expect(writer.bytes).toBe(keeper.growth.bytes)
      await writer.abort()
    }

    async function finish(length: number | null): Promise<void> {
      await grow({ length, coming: 0 }).finish()
    }

    async function expectStored(bytes: Uint8Array): Promise<void> {
      expect(digest((await raw.get(key)) ?? Buffer.of(0))).toBe(digest(bytes))
      expect(await raw.leftovers()).toEqual([])
    }

    it.each([
      ['known', true],
      ['not known', false],
    ])('takes one byte at a time, its length %s', async (_, isKnown) => {
      const bytes = randomBytes(300)
      const length = isKnown ? bytes.length : null
      for (let at = 0; at < bytes.length; at++) {
        await append(bytes.subarray(at, at + 1), { length })
        expect(keeper.growth.bytes).toBe(at + 1)
      }
      await finish(bytes.length)
      await expectStored(bytes)
    })

    it('goes on over the borders of parts, whatever the chunks are', async () => {
      const size = fc.oneof(
        fc.integer({ min: 1, max: 300 * kib }),
        fc.constantFrom(1, 256 * kib, 5 * mib - 1, 5 * mib, 5 * mib + 1, 8 * mib - 1, 8 * mib, 8 * mib + 1),
      )
      const request = fc.record({
        sizes: fc.array(size, { minLength: 1, maxLength: 3 }),
        knows: fc.boolean(),
        hold: fc.boolean(),
      })
      const requests = fc.array(request, { minLength: 1, maxLength: 6 })
      await fc.assert(
        fc.asyncProperty(requests, fc.boolean(), async (all, isKnown) => {
          key = newKey()
          keeper = growthKeeper()
          const total = all.flatMap(({ sizes }) => sizes).reduce((sum, one) => sum + one, 0)
          const bytes = randomBytes(total)
          const length = isKnown ? total : null
          let at = 0
          for (const { sizes, knows, hold } of all) {
            const coming = sizes.reduce((sum, one) => sum + one, 0)
            const writer = grow({ length, coming: knows ? coming : null, hold })
            for (const one of sizes) await writer.write([bytes.subarray(at, (at += one))])
            await writer.save()
            await writer.abort()
            expect(writer.bytes).toBe(at)
            expect(keeper.growth.bytes).toBe(at)
          }
          await finish(total)
          await expectStored(bytes)
        }),
        { numRuns: 12 },
      )
    })

    it('goes on after a crash, with what counted and other bytes behind it', async () => {
      const length = 40 * mib
      const expected = randomBytes(length)
      for (const sent of [13 * mib, 19 * mib + 7, 3 * mib]) {
        const from = keeper.growth.bytes
        const writer = grow({ length })
        // Of these, what does not count in the end is to be replaced.
        const others = randomBytes(sent)
        await writer.write([others])
        keeper.crash()
        await writer.abort()
        await fresh().settled()
        const { bytes } = keeper.growth
        others.copy(expected, from, 0, bytes - from)
      }
      for (const end of [keeper.growth.bytes + 6 * mib, keeper.growth.bytes + 7 * mib + 1, length])
        await append(expected.subarray(keeper.growth.bytes, end), { length })
      await finish(length)
      await expectStored(expected)
    })

    it('counts nothing of what is held before it is saved', async () => {
      const length = 20 * mib
      const bytes = randomBytes(length)
      await append(bytes.subarray(0, mib), { length })
      const before = keeper.growth
      const wrong = grow({ length, coming: 19 * mib, hold: true })
      await wrong.write([randomBytes(19 * mib)])
      expect(wrong.bytes).toBe(mib)
      await wrong.abort()
      expect(keeper.growth).toEqual({ ...before, note: keeper.growth.note })
      await fresh().settled()
      await append(bytes.subarray(mib, 3 * mib), { length, hold: true })
      await append(bytes.subarray(3 * mib), { length, hold: true })
      await finish(length)
      await expectStored(bytes)
    })

    it('saves, and goes on with the same writer', async () => {
      const bytes = randomBytes(14 * mib)
      const writer = grow()
      for (let at = 0; at < bytes.length; at += 2 * mib) {
        await writer.write([bytes.subarray(at, at + 2 * mib)])
        await writer.save()
        await writer.save()
        expect(writer.bytes).toBe(at + 2 * mib)
        expect(keeper.growth.bytes).toBe(at + 2 * mib)
      }
      await writer.finish()
      await expectStored(bytes)
    })

    it('is finished by another when the records have failed, and only then', async () => {
      const bytes = randomBytes(9 * mib)
      await append(bytes.subarray(0, 6 * mib), { length: bytes.length })
      const failing = grow({ length: bytes.length })
      const failure = new Error('The records are away.')
      await failing.write([bytes.subarray(6 * mib, 7 * mib)])
      const { keeps } = keeper
      keeper.failNext(failure)
      const failed = await failing.save().then(
        () => undefined,
        (error: unknown) => error,
      )
      // A store that knows by itself has nothing to keep.
      expect(failed).toBe(keeper.keeps > keeps ? failure : undefined)
      await failing.abort()
      await fresh().settled()
      await append(bytes.subarray(keeper.growth.bytes), { length: bytes.length })
      await finish(bytes.length)
      await expectStored(bytes)
    })

    it('is finished again from the same record', async () => {
      const bytes = randomBytes(14 * mib)
      await append(bytes.subarray(0, 9 * mib), { length: bytes.length })
      const writer = grow({ length: bytes.length })
      await writer.write([bytes.subarray(9 * mib)])
      await writer.finish()
      expect(writer.bytes).toBe(bytes.length)
      // Nobody has heard of it: where the store has not put it on record either, the rest comes again.
      const rest = bytes.subarray(keeper.growth.bytes)
      if (rest.length > 0) await append(rest, { length: bytes.length })
      await finish(bytes.length)
      await finish(bytes.length)
      await expectStored(bytes)
    })

    it.each([0, null])('makes an empty object of length %s', async (length) => {
      await finish(length)
      await expectStored(Buffer.alloc(0))
      await finish(length)
      await expectStored(Buffer.alloc(0))
    })

    it('makes one of what was written in one go', async () => {
      for (const size of [1, 10 * kib, 9 * mib]) {
        key = newKey()
        keeper = growthKeeper()
        const bytes = randomBytes(size)
        const writer = grow({ length: size, coming: size })
        await writer.write([bytes])
        await writer.finish()
        await expectStored(bytes)
      }
    })

    it('shows nothing before it is finished', async () => {
      await append(randomBytes(9 * mib))
      expect(await raw.get(key)).toBeUndefined()
      expect(await store.stat(key)).toBeUndefined()
      expect(await Array.fromAsync(store.list())).toEqual([])
      await store.clear(key, keeper.growth.note)
    })

    it('is aborted at any time, and leaves what counts', async () => {
      const bytes = randomBytes(20 * mib)
      const length = bytes.length
      const steps: readonly ((writer: GrowingWriter) => Promise<void>)[] = [
        async () => {},
        (writer) => writer.write([randomBytes(10 * mib)]),
        async (writer) => {
          await writer.write([randomBytes(2 * mib)])
          await writer.save()
        },
      ]
      await append(bytes.subarray(0, mib), { length })
      for (const step of steps) {
        const writer = grow({ length, hold: true })
        const done = step(writer).catch(() => {})
        await writer.abort()
        const { keeps } = keeper
        await done
        await expect(writer.write([Buffer.of(1)])).rejects.toMatchObject({ code: 'storage_failed' })
        await expect(writer.save()).rejects.toMatchObject({ code: 'storage_failed' })
        expect(keeper.keeps).toBe(keeps)
        expect(keeper.growth.bytes).toBe(mib)
        await fresh().settled()
      }
      await append(bytes.subarray(mib), { length })
      await finish(length)
      await expectStored(bytes)
    })

    it('is cleared by its note, also when that is lost', async () => {
      for (const isKnown of [true, false]) {
        await append(randomBytes(9 * mib))
        await append(randomBytes(10))
        await fresh().clear(key, isKnown ? keeper.growth.note : null)
        expect(await raw.leftovers()).toEqual([])
        expect(await raw.keys()).toEqual([])
        keeper = growthKeeper()
      }
    })

    it('grows in several objects at once', async () => {
      const objects = Array.from({ length: 6 }, (_, i) => ({
        name: newKey(),
        records: growthKeeper(),
        bytes: randomBytes(9 * mib + i * 100_003),
      }))
      await Promise.all(
        objects.map(async ({ name, records, bytes }) => {
          for (let at = 0; at < bytes.length; at += 3 * mib) {
            const writer = store.grow(name, records.options({ length: bytes.length, coming: 3 * mib }))
            await writer.write([bytes.subarray(at, at + 3 * mib)])
            if (at + 3 * mib < bytes.length) await writer.save()
            else await writer.finish()
            await writer.abort()
          }
        }),
      )
      for (const { name, bytes } of objects) expect(digest((await raw.get(name)) ?? Buffer.of())).toBe(digest(bytes))
      expect(await raw.leftovers()).toEqual([])
    })
  })

  describe('putting together', () => {
    const fresh = freshStores(open)

    /** Objects of these sizes, put together; the numbers are those of the objects. */
    async function expectConcat(sizes: readonly number[], order = sizes.map((_, i) => i)): Promise<void> {
      const { store, raw } = fresh()
      const sources = sizes.map((size) => ({ key: newKey(), size, bytes: randomBytes(size) }))
      for (const { key, bytes } of sources) await put(store, key, bytes)
      const chosen = order.flatMap((i) => sources[i] ?? [])
      const key = newKey()
      await store.concat(chosen, key, {})
      const whole = Buffer.concat(chosen.map(({ bytes }) => bytes))
      expect(digest((await raw.get(key)) ?? Buffer.of(0))).toBe(digest(whole))
      expect(await store.stat(key)).toMatchObject({ size: whole.length })
      expect(await raw.leftovers()).toEqual([])
      for (const source of sources)
        expect(digest((await raw.get(source.key)) ?? Buffer.of(0))).toBe(digest(source.bytes))
    }

    it.each<[string, readonly number[]]>([
      ['nothing', []],
      ['nothing of nothing', [0, 0]],
      ['one byte', [0, 1, 0]],
      ['single bytes', [1, 1, 1, 1, 1]],
      ['one large object', [9 * mib]],
      ['seams at the borders of parts', [5 * mib - 1, 5 * mib, 5 * mib + 1, 1]],
      ['large and small ones', [1, 11 * mib, 1, 6 * mib, 0, 3 * mib]],
    ])('makes one object of %s', async (_, sizes) => {
      await expectConcat(sizes)
    })

    it('takes one object several times', async () => {
      await expectConcat([6 * mib + 1, 2 * mib, 1], [0, 1, 0, 2, 2, 1, 0])
    })

    it('stops when its signal is aborted', async () => {
      const { store, raw } = fresh()
      const source = { key: newKey(), size: 6 * mib }
      await put(store, source.key, randomBytes(source.size))
      const key = newKey()
      const signal = AbortSignal.abort()
      await expect(store.concat([source, source], key, { signal })).rejects.toMatchObject({ name: 'AbortError' })
      await fresh().clear(key, null)
      expect(await raw.keys()).toEqual([source.key])
    })

    it('fails when an object is not there, and leaves nothing that clear does not remove', async () => {
      const { store, raw } = fresh()
      const there = { key: newKey(), size: 6 * mib }
      await put(store, there.key, randomBytes(there.size))
      for (const size of [1, 6 * mib]) {
        const key = newKey()
        let noted: string | null = null
        const note = async (text: string): Promise<void> => void (noted = text)
        await expect(store.concat([there, { key: newKey(), size }], key, { note })).rejects.toBeInstanceOf(Error)
        await fresh().clear(key, noted)
      }
      expect(await raw.keys()).toEqual([there.key])
      expect(await raw.leftovers()).toEqual([])
    })

    it('may be repeated', async () => {
      const { store, raw } = fresh()
      const source = { key: newKey(), size: 6 * mib }
      const bytes = randomBytes(source.size)
      await put(store, source.key, bytes)
      const key = newKey()
      for (let i = 0; i < 2; i++) await store.concat([source, source], key, {})
      expect(digest((await raw.get(key)) ?? Buffer.of())).toBe(digest(Buffer.concat([bytes, bytes])))
    })
  })
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
