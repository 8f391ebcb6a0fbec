import { describe, expect, it } from 'vitest'
import type { BatchEnd, NewBatch } from '../../../src/uploads/records.ts'
import { dueWork, newKey, newRecord, storedBytes } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const noJobs = () => []

/** Uploads that come in one request. */
export function batchesContract(open: Open): void {
  describe('a batch', () => {
    const at = fresh(open, { defaultQuota: 100 })
    let made = 0
    const newBatch = (over: Partial<NewBatch> = {}): NewBatch => ({
      id: `upl_${String(++made).padStart(22, '0')}`,
      workspaceId: 'w',
      projectId: null,
      projectMode: 'open',
      createdAt: noon,
      claim: null,
      ...over,
    })
    const end: BatchEnd = {
      name: 'Two',
      meta: [{ name: 'a', value: 'b' }],
      projectId: 'p',
      projectMode: 'open',
      jobs: (uploadId) => [{ kind: 'verdict', uploadId, due: noon }],
    }

    /** A file whose bytes are in the store, or on their way under a key. */
    async function bring(batchId: string, whole = true): Promise<{ readonly id: string; readonly key: string }> {
      const key = newKey()
      const record = newRecord({ batchId, dialect: 'form', state: 'receiving', stagedKey: key, reserve: 10 })
      const { id } = await at.records.create(record)
      if (whole) await at.records.stored(id, storedBytes({ key, size: 10 }))
      return { id, key }
    }

    async function opened(over: Partial<NewBatch> = {}): Promise<string> {
      const batch = newBatch(over)
      await at.records.openBatch(batch)
      return batch.id
    }

    async function finished(): Promise<{ readonly id: string; readonly uploads: readonly string[] }> {
      const id = await opened()
      const uploads = [(await bring(id)).id, (await bring(id)).id]
      await at.records.finishBatch(id, end)
      return { id, uploads }
    }

    it('is there when it is finished: its uploads go on in one step, with their jobs and their project', async () => {
      const id = await opened()
      const [a, b] = [await bring(id), await bring(id)]
      expect(await at.records.batch(id)).toBeUndefined()
      const batch = await at.records.finishBatch(id, end)
      expect(batch).toMatchObject({
        id,
        workspaceId: 'w',
        projectId: 'p',
        name: 'Two',
        meta: end.meta,
        createdAt: noon,
      })
      expect(batch.uploads.map((upload) => [upload.id, upload.state, upload.projectId])).toEqual([
        [a.id, 'processing', 'p'],
        [b.id, 'processing', 'p'],
      ])
      expect(await at.records.batch(id)).toEqual(batch)
      expect(await at.records.projectsOf(a.id)).toEqual(['p'])
      expect(await dueWork(at.records)).toEqual([a, b].map((one) => ({ kind: 'verdict', uploadId: one.id })))
      await expect(at.records.finishBatch(id, end)).rejects.toMatchObject({ code: 'not_found' })
    })

    it('keeps what was refused, and leaves the project that an upload has', async () => {
      const id = await opened({ projectId: 'p' })
      const refused = await at.records.create(newRecord({ batchId: id, state: 'receiving', projectId: 'p' }))
      await at.records.transition(refused.id, { from: ['receiving'], to: 'rejected' })
      const { uploads } = await at.records.finishBatch(id, end)
      expect(uploads.map(({ state, projectId }) => [state, projectId])).toEqual([['rejected', 'p']])
    })

    it('is not finished while bytes are on their way, nor without uploads, nor in a project that is not there', async () => {
      const id = await opened()
      await expect(at.records.finishBatch(id, end)).rejects.toMatchObject({ code: 'not_found' })
      await bring(id)
      const registered = { ...end, projectMode: 'registered' } as const
      await expect(at.records.finishBatch(id, registered)).rejects.toMatchObject({ code: 'project_forbidden' })
      await expect(opened({ projectId: 'q', projectMode: 'registered' })).rejects.toMatchObject({
        code: 'project_forbidden',
      })
      const { id: late } = await bring(id, false)
      await expect(at.records.finishBatch(id, end)).rejects.toMatchObject({ code: 'upload_not_received' })
      expect(await at.records.get(late)).toMatchObject({ state: 'receiving' })
      expect(await at.records.projects('w')).toEqual([])
      expect(await dueWork(at.records)).toEqual([])
    })

    it('goes with all of its uploads, or stays with all of them', async () => {
      const { id, uploads } = await finished()
      const [first = '', second = ''] = uploads
      await at.records.transition(first, { from: ['processing'], to: 'ready' })
      const held = await at.records.get(second)
      if (!held) throw new Error('It is gone.')
      await at.records.bind(held, 'holder', 'open')
      await expect(at.records.removeBatch(id, { jobs: noJobs })).rejects.toMatchObject({ code: 'asset_referenced' })
      expect((await at.records.batch(id))?.uploads).toHaveLength(2)
      expect(await at.records.workspace('w')).toMatchObject({ used: 10, reserved: 10 })
      await at.records.unbind(held, 'holder')
      await at.records.removeBatch(id, { jobs: noJobs })
      expect(await at.records.batch(id)).toBeUndefined()
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 0 })
      expect((await dueWork(at.records)).map(({ kind }) => kind)).toEqual(['delete-object', 'delete-object'])
      await expect(at.records.removeBatch(id, { jobs: noJobs })).rejects.toMatchObject({ code: 'not_found' })
      expect(await at.backend.raw('select id from batch')).toEqual([])
    })

    it('goes with the last of its uploads, deleted or forgotten', async () => {
      const { id, uploads } = await finished()
      const [first = '', second = ''] = uploads
      await at.records.remove(first, { jobs: () => [] })
      expect((await at.records.batch(id))?.uploads).toHaveLength(1)
      await at.records.transition(second, { from: ['processing'], to: 'rejected' })
      await at.records.forget(noon + 1, 9)
      expect(await at.records.batch(id)).toBeUndefined()
      expect(await at.backend.raw('select id from batch')).toEqual([])
    })

    it('that a crash has interrupted is gone with all that has come, and its claim finds nothing', async () => {
      const claim = { principal: 'key:1', key: 'k', fingerprint: new Uint8Array(32) }
      const id = await opened({ claim })
      const [whole, half] = [await bring(id), await bring(id, false)]
      const { id: other } = await finished()
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await at.records.get(whole.id)).toBeUndefined()
      expect(await at.records.get(half.id)).toBeUndefined()
      expect((await at.records.batch(other))?.uploads).toHaveLength(2)
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 20 })
      const work = await dueWork(at.records)
      expect(work).toContainEqual({ kind: 'delete-object', key: whole.key })
      expect(work).toContainEqual({ kind: 'clear-object', key: half.key, note: null, until: null })
      expect(await at.records.claimed(claim)).toMatchObject({ made: id, answer: null })
      expect(await at.records.batch(id)).toBeUndefined()
    })

    it('is opened once for each claim', async () => {
      const claim = { principal: 'key:1', key: 'k', fingerprint: new Uint8Array(32) }
      await opened({ claim })
      await expect(opened({ claim })).rejects.toMatchObject({ code: 'idempotency_conflict' })
      expect(await at.backend.raw('select id from batch')).toHaveLength(1)
    })
  })
}
