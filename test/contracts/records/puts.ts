import { describe, expect, it } from 'vitest'
import { dueWork, newKey, newRecord, storedBytes } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

/** Keys to which a URL leads, past the gateway, and what is left under keys that nothing was finished under. */
export function putsContract(open: Open): void {
  describe('a key to which a URL leads', () => {
    const at = fresh(open)
    const until = noon + 900_000
    const clearing = (key: string) => ({ kind: 'clear-object', key, note: null, until })

    async function created(): Promise<{ readonly id: string; readonly key: string }> {
      const key = newKey()
      const { id } = await at.records.create(newRecord({ put: { key, until }, reserve: 10, expiresAt: until }))
      return { id, key }
    }

    it('is known, and outlives a restart', async () => {
      const { id, key } = await created()
      expect(await at.records.putKey(id)).toBe(key)
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await at.records.putKey(id)).toBe(key)
      expect(await at.records.get(id)).toMatchObject({ state: 'pending', reserved: 10 })
      expect(await at.records.unknownKeys([key, 'aa/other'])).toEqual(['aa/other'])
      expect(await dueWork(at.records)).toEqual([])
      const { id: other } = await at.records.create(newRecord())
      expect(await at.records.putKey(other)).toBeUndefined()
    })

    it('does not keep its upload from being overdue', async () => {
      const { id } = await created()
      at.clock.now = until
      expect((await at.records.overdue(9)).map((upload) => upload.id)).toEqual([id])
      await at.records.stage(id, newKey())
      expect(await at.records.overdue(9)).toEqual([])
    })

    it('keeps an upload alive whose copy a crash has interrupted; what was copied is cleared', async () => {
      const { id, key } = await created()
      await at.records.transition(id, { from: ['pending'], to: 'receiving', received: 10, expiresAt: until })
      const copy = newKey()
      await at.records.stage(id, copy)
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await at.records.get(id)).toMatchObject({ state: 'receiving', received: 10, objectKey: null })
      expect(await at.records.putKey(id)).toBe(key)
      expect(await dueWork(at.records)).toEqual([{ kind: 'clear-object', key: copy, note: null, until: null }])
    })

    it('is cleared when the bytes have a key of their own', async () => {
      const { id, key } = await created()
      const copy = newKey()
      await at.records.stage(id, copy)
      const stored = await at.records.stored(id, {
        ...storedBytes({ key: copy, sha256: null, to: 'processing' }),
        context: { type: 'page', id: '7' },
        jobs: [{ kind: 'verdict', uploadId: id, due: noon }],
      })
      expect(stored).toMatchObject({ objectKey: copy, sha256: null, context: { type: 'page', id: '7' } })
      expect(await at.records.putKey(id)).toBeUndefined()
      expect(await dueWork(at.records)).toEqual([clearing(key), { kind: 'verdict', uploadId: id }])
    })

    it.each(['rejected', 'expired'] as const)('is cleared when the upload is %s', async (to) => {
      const { id, key } = await created()
      await at.records.transition(id, { from: ['pending'], to: 'receiving', received: 3 })
      await at.records.transition(id, { from: ['receiving'], to })
      expect(await dueWork(at.records)).toEqual([clearing(key)])
      expect(await at.records.putKey(id)).toBeUndefined()
    })

    it('is cleared when the upload is removed', async () => {
      const { id, key } = await created()
      await at.records.remove(id, { jobs: () => [] })
      expect(await dueWork(at.records)).toEqual([clearing(key)])
    })
  })

  describe('what a store notes', () => {
    const at = fresh(open)

    it('is handed to the job that clears the key', async () => {
      const [key, left] = [newKey(), newKey()]
      const { id } = await at.records.create(newRecord({ stagedKey: key }))
      await at.records.stage(id, left)
      expect(await at.records.staged(key)).toBe(true)
      await at.records.note(key, 'first')
      await at.records.note(left, 'second')
      await at.records.abandon(key)
      expect(await at.records.staged(key)).toBe(true) // a job will clear it
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await dueWork(at.records)).toEqual([
        { kind: 'clear-object', key, note: 'first', until: null },
        { kind: 'clear-object', key: left, note: 'second', until: null },
      ])
    })

    it('is refused when nobody is to write the key any more', async () => {
      const key = newKey()
      await at.records.create(newRecord({ stagedKey: key }))
      await at.records.abandon(key)
      await expect(at.records.note(key, 'late')).rejects.toMatchObject({ code: 'upload_state_conflict' })
      const put = newKey()
      await at.records.create(newRecord({ put: { key: put, until: noon } }))
      await expect(at.records.note(put, 'foreign')).rejects.toMatchObject({ code: 'upload_state_conflict' })
      expect(await at.records.staged(put)).toBe(false)
    })
  })

  describe('a second look', () => {
    const at = fresh(open)

    it('comes with the end of the first, when it is due, and not earlier for a restart', async () => {
      const key = newKey()
      await at.records.abandon(key)
      const [job] = await at.records.claim(1, 1_000)
      await at.records.done(job?.number ?? -1, [{ kind: 'look-again', key, due: noon + 5_000 }])
      expect(await dueWork(at.records)).toEqual([])
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await dueWork(at.records)).toEqual([])
      expect(await at.records.unknownKeys([key])).toEqual([])
      at.clock.now = noon + 5_000
      expect(await at.records.staged(key)).toBe(true)
      const [look] = await at.records.claim(1, 0)
      expect(look?.work).toEqual({ kind: 'look-again', key })
      await at.records.done(look?.number ?? -1)
      expect(await at.records.staged(key)).toBe(false)
    })
  })

  describe('the installation', () => {
    const at = fresh(open)

    it('has an id that never changes, and that another does not have', async () => {
      const id = await at.records.installation()
      expect(id).toMatch(/^[0-9a-f]{12}$/)
      await at.backend.crash()
      expect(await at.records.installation()).toBe(id)
      const other = await open({})
      expect(await other.records.installation()).not.toBe(id)
      await other.close()
    })

    it('knows which uploads have their bytes under which keys', async () => {
      const key = newKey()
      const { id, number } = await at.records.create(newRecord({ stagedKey: key }))
      expect(await at.records.storedUnder([key])).toEqual([])
      await at.records.stored(id, storedBytes({ key, size: 10 }))
      expect(await at.records.storedUnder([key, 'aa/other'])).toEqual([{ number, key, size: 10 }])
    })
  })
}
