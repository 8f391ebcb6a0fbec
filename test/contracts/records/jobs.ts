import type { Upload } from '../../../src/uploads/upload.ts'
import { describe, expect, it } from 'vitest'
import type { Job } from '../../../src/uploads/records.ts'
import { dueWork, newKey, newRecord, uploadIn } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const keysOf = (jobs: readonly Job[]): ReadonlySet<string> =>
  new Set(jobs.map(({ work }) => ('key' in work ? work.key : work.kind)))

export function jobsContract(open: Open): void {
  describe('jobs', () => {
    const at = fresh(open)
    /** A job that is due now. */
    async function addJob(): Promise<string> {
      const key = newKey()
      await at.records.abandon(key)
      return key
    }

    it('come back as they were written', async () => {
      const upload = await uploadIn(at.records, 'processing')
      await at.records.transition(upload.id, {
        from: ['processing'],
        to: 'ready',
        jobs: [
          { kind: 'after-finish', uploadId: upload.id, plugin: 'a' },
          { kind: 'after-terminate', upload, plugin: 'b' },
          { kind: 'delete-object', key: 'aa/b' },
          { kind: 'verdict', uploadId: upload.id, due: noon },
        ],
      })
      expect(await dueWork(at.records)).toEqual([
        { kind: 'after-finish', uploadId: upload.id, plugin: 'a' },
        { kind: 'after-terminate', upload, plugin: 'b' },
        { kind: 'delete-object', key: 'aa/b' },
        { kind: 'verdict', uploadId: upload.id },
      ])
    })

    it('are claimed once, and come again when the lease is over', async () => {
      const keys = [await addJob(), await addJob(), await addJob()]
      const [first, second] = await Promise.all([at.records.claim(2, 1_000), at.records.claim(2, 1_000)])
      expect([first.length, second.length]).toEqual([2, 1])
      expect(keysOf([...first, ...second])).toEqual(new Set(keys))
      for (const job of first) expect(job).toMatchObject({ tries: 0, error: null, failedAt: null, due: noon + 1_000 })
      at.clock.now += 999
      expect(await at.records.claim(10, 1_000)).toEqual([])
      at.clock.now += 1
      expect(keysOf(await at.records.claim(10, 1_000))).toEqual(new Set(keys))
    })

    it('are counted: those that wait, claimed or not, and those that were given up', async () => {
      expect(await at.records.queueDepth()).toEqual({ waiting: 0, failed: 0 })
      for (let i = 0; i < 5; i++) await addJob()
      const [first, second] = await at.records.claim(3, 1_000)
      await at.records.failed(first?.number ?? 0, 'x', null)
      await at.records.failed(second?.number ?? 0, 'x', noon + 1)
      expect(await at.records.queueDepth()).toEqual({ waiting: 4, failed: 1 })
    })

    it('that are due the longest come first', async () => {
      const keys: string[] = []
      for (let i = 0; i < 6; i++) {
        keys.push(await addJob())
        at.clock.now += 10
      }
      // the first three go to the end
      const late = await at.records.claim(3, 0)
      for (const job of late) await at.records.failed(job.number, 'x', noon + 1_000 + job.number)
      at.clock.now = noon + 2_000
      expect(keysOf(await at.records.claim(2, 60_000))).toEqual(new Set(keys.slice(3, 5)))
      expect(keysOf(await at.records.claim(2, 60_000))).toEqual(new Set([keys[0], keys[5]]))
      expect(keysOf(await at.records.claim(9, 60_000))).toEqual(new Set(keys.slice(1, 3)))
    })

    it('that are done are gone', async () => {
      await addJob()
      const [job] = await at.records.claim(1, 10)
      await at.records.done(job?.number ?? -1)
      await at.records.done(job?.number ?? -1)
      at.clock.now += 1_000
      expect(await at.records.claim(1, 10)).toEqual([])
      expect(await at.records.jobs()).toEqual({ waiting: 0, failed: [] })
    })

    it('that failed wait until they are due again, and know what happened', async () => {
      const key = await addJob()
      const [job] = await at.records.claim(1, 10)
      await at.records.failed(job?.number ?? -1, 'x'.repeat(10_000), noon + 5_000)
      at.clock.now += 4_999
      expect(await at.records.claim(1, 10)).toEqual([])
      at.clock.now += 1
      const [again] = await at.records.claim(1, 10)
      expect(again).toMatchObject({
        number: job?.number,
        work: { kind: 'clear-object', key },
        tries: 1,
        failedAt: null,
      })
      expect(again?.error).toMatch(/^x{100,1000}$/)
    })

    it('that are given up wait for somebody to retry them', async () => {
      for (let i = 0; i < 3; i++) await addJob()
      const claimed = await at.records.claim(3, 10)
      const [one, two] = claimed.map((job) => job.number)
      await at.records.failed(one ?? -1, 'first', null)
      at.clock.now += 60_000
      await at.records.failed(two ?? -1, 'second', null)
      expect(await at.records.jobs()).toMatchObject({
        waiting: 1,
        failed: [
          { number: one, error: 'first', failedAt: noon, tries: 1 },
          { number: two, error: 'second', failedAt: noon + 60_000, tries: 1 },
        ],
      })
      expect(await at.records.claim(9, 0)).toHaveLength(1)

      expect(await at.records.retryJobs(one ?? -1)).toBe(1)
      expect(await at.records.retryJobs(one ?? -1)).toBe(0)
      expect(await at.records.retryJobs(999)).toBe(0)
      expect(await at.records.claim(9, 0)).toMatchObject([{ number: one, tries: 0 }, {}])
      expect(await at.records.retryJobs('all')).toBe(1)
      expect(await at.records.jobs()).toMatchObject({ waiting: 3, failed: [] })
    })

    it('outlive the process, claimed or not', async () => {
      const keys = [await addJob(), await addJob()]
      await at.records.claim(1, 60_000)
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(keysOf(await at.records.claim(9, 0))).toEqual(new Set(keys))
    })
  })

  describe('what the sweep looks for', () => {
    const at = fresh(open)
    const overdue = async (limit = 10) => (await at.records.overdue(limit)).map((upload) => upload.id).toSorted()

    it('are unfinished uploads whose time is over', async () => {
      const expiresAt = noon + 100
      const pending = await at.records.create(newRecord({ expiresAt }))
      const receiving = await at.records.create(newRecord({ expiresAt, state: 'receiving' }))
      await at.records.create(newRecord({ expiresAt: noon + 101 }))
      await at.records.create(newRecord({ expiresAt: null }))
      for (const state of ['processing', 'ready', 'rejected', 'expired'] as const)
        await uploadIn(at.records, state, { expiresAt })
      expect(await overdue()).toEqual([])
      at.clock.now += 100
      expect(await overdue()).toEqual([pending.id, receiving.id].toSorted())
      expect(await overdue(1)).toHaveLength(1)
    })

    it('are told page by page, the oldest first', async () => {
      const made = await Promise.all(
        [3, 1, 2, 1, 3].map((ms) => at.records.create(newRecord({ expiresAt: noon - ms }))),
      )
      const seen: string[] = []
      for (let last: Upload | undefined; ;) {
        const page = await at.records.overdue(2, last)
        seen.push(...page.map((upload) => upload.id))
        last = page.at(-1)
        if (page.length < 2) break
      }
      const byAge = made.toSorted((a, b) => (a.expiresAt ?? 0) - (b.expiresAt ?? 0) || a.number - b.number)
      expect(seen).toEqual(byAge.map((upload) => upload.id))
    })

    it('are none to which bytes are on their way', async () => {
      const key = newKey()
      const pending = await at.records.create(newRecord({ expiresAt: noon }))
      await at.records.create(newRecord({ expiresAt: noon, state: 'receiving', stagedKey: newKey() }))
      await at.records.stage(pending.id, key)
      expect(await overdue()).toEqual([])
      await at.records.abandon(key)
      expect(await overdue()).toEqual([pending.id])
    })

    it('are records that ended long ago: they are forgotten', async () => {
      const kept = ['pending', 'receiving', 'processing', 'ready'] as const
      for (const state of kept) await uploadIn(at.records, state, { projectId: 'p' })
      for (const state of ['rejected', 'expired', 'rejected'] as const)
        await uploadIn(at.records, state, { projectId: 'p', reserve: 5 })
      at.clock.now += 1_000
      await uploadIn(at.records, 'expired')
      expect(await at.records.forget(noon, 10)).toBe(0)
      expect(await at.records.forget(noon + 1_000, 2)).toBe(2)
      expect(await at.records.forget(noon + 1_000, 2)).toBe(1)
      const counts = { pending: 1, receiving: 1, processing: 1, ready: 1, rejected: 0, expired: 1 }
      expect((await at.records.usage('w', '2026-01-01'))?.counts).toEqual(counts)
      expect(await at.backend.raw('select count(*) as n from binding')).toEqual([{ n: kept.length }])
    })
  })
}
