import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ObjectStore, ObjectWriter, WriteOptions } from '../../../src/uploads/object-store.ts'
import { type Fresh, freshStores, newKey, type Open, type RawAccess } from './fresh.ts'

const mib = 1024 * 1024

export function abortingContract(open: Open): void {
  describe('aborting', () => {
    const fresh = freshStores(open)
    let store: ObjectStore
    let raw: RawAccess
    beforeEach(() => {
      ;({ store, raw } = fresh())
    })

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
      await fresh().clear(key, noted)
      await expectNothing(fresh(), key)
    })

    it.each(attempts)('%s leaves nothing when the note is lost', async (_, attempt) => {
      const key = newKey()
      await attempt(key, {})
      await fresh().clear(key, null)
      await expectNothing(fresh(), key)
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
}

async function expectNothing({ store, raw }: Fresh, key: string): Promise<void> {
  expect(await raw.leftovers()).toEqual([])
  expect(await raw.keys()).toEqual([])
  expect(await store.stat(key)).toBeUndefined()
}

async function begun(store: ObjectStore, key: string, options: WriteOptions, bytes: number): Promise<ObjectWriter> {
  const writer = store.write(key, options)
  await writer.write([randomBytes(bytes)])
  return writer
}
