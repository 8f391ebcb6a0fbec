import { describe, expect, it } from 'vitest'
import { dueWork, newKey, newRecord, type Row, storedBytes, unbalanced, uploadIn } from '../../support/records.ts'
import { expectWhole, fresh, noon, type Open } from './fresh.ts'

export function repairContract(open: Open): void {
  describe('recovery', () => {
    const at = fresh(open)

    it('gives every staged key to the job that removes objects, and ends what cannot go on', async () => {
      const [lost, second, third] = [newKey(), newKey(), newKey()]
      const interrupted = await at.records.create(newRecord({ state: 'receiving', stagedKey: lost, reserve: 7 }))
      const pending = await at.records.create(newRecord({ reserve: 5 }))
      const here = await uploadIn(at.records, 'receiving', { reserve: 10 })
      await at.records.stage(pending.id, second)
      await at.records.stage(here.id, third)
      await at.backend.crash()
      const plugin = 'tidy'
      await at.records.recover((upload) => [{ kind: 'after-terminate', upload, plugin }])
      expect(await at.records.get(interrupted.id)).toMatchObject({ state: 'expired', reserved: 0 })
      expect(await at.records.get(pending.id)).toMatchObject({ state: 'pending', reserved: 5 })
      expect(await at.records.get(here.id)).toMatchObject({ state: 'receiving', objectKey: here.objectKey })
      const work = (await dueWork(at.records)).map((one) => {
        if (one.kind === 'delete-object' || one.kind === 'clear-object') return one.key
        return one.kind === 'after-terminate' ? one.upload.id : one.kind
      })
      expect(work.toSorted()).toEqual([lost, second, third, interrupted.id].toSorted())
      expect(await at.backend.raw('select * from object_intent')).toEqual([])
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 15 })
    })

    it('leaves what is finished or waits for somebody alone, however often it runs', async () => {
      const uploads = []
      for (const state of ['pending', 'receiving', 'processing', 'ready', 'rejected', 'expired'] as const)
        uploads.push(await uploadIn(at.records, state))
      for (let i = 0; i < 2; i++) await at.records.recover(() => [])
      for (const upload of uploads) expect(await at.records.get(upload.id)).toEqual(upload)
    })

    it('makes every job due that was not given up', async () => {
      const upload = await uploadIn(at.records, 'receiving')
      await at.records.transition(upload.id, {
        from: ['receiving'],
        to: 'processing',
        jobs: [{ kind: 'verdict', uploadId: upload.id, due: noon + 100_000 }],
      })
      for (let i = 0; i < 3; i++) await at.records.abandon(newKey())
      const [leased, failed, givenUp] = await at.records.claim(3, 100_000)
      await at.records.failed(failed?.number ?? -1, 'x', noon + 100_000)
      await at.records.failed(givenUp?.number ?? -1, 'x', null)
      expect(await dueWork(at.records)).toEqual([])
      await at.records.recover(() => [])
      expect(await at.records.claim(9, 0)).toMatchObject([
        { work: { kind: 'verdict', uploadId: upload.id } },
        { number: leased?.number, tries: 0 },
        { number: failed?.number, tries: 1 },
      ])
      expect((await at.records.jobs()).failed).toMatchObject([{ number: givenUp?.number }])
    })
  })

  describe('recovery of second looks', () => {
    const at = fresh(open)

    it('brings one that was under way back at once, and none before its time', async () => {
      await at.records.abandon(newKey())
      const [cleared] = await at.records.claim(1, 0)
      const [early, late] = [newKey(), newKey()]
      await at.records.done(cleared?.number ?? -1, [
        { kind: 'look-again', key: early, due: noon + 1_000 },
        { kind: 'look-again', key: late, due: noon + 2_000 },
      ])
      at.clock.now = noon + 1_000
      expect(await at.records.claim(9, 100_000)).toMatchObject([{ work: { kind: 'look-again', key: early } }])
      await at.records.recover(() => [])
      expect(await dueWork(at.records)).toEqual([{ kind: 'look-again', key: early }])
      at.clock.now = noon + 2_000
      expect(await dueWork(at.records)).toContainEqual({ kind: 'look-again', key: late })
    })
  })

  describe('keys and objects', () => {
    const at = fresh(open)

    it('of which no record, intent or job knows are told', async () => {
      const [staged, removed] = [newKey(), newKey()]
      const upload = await uploadIn(at.records, 'ready')
      const pending = await at.records.create(newRecord())
      await at.records.stage(pending.id, staged)
      await at.records.abandon(removed)
      const known = [upload.objectKey ?? '', staged, removed]
      expect(await at.records.unknownKeys([...known, 'ff/unknown', "ff/'quoted'"])).toEqual([
        'ff/unknown',
        "ff/'quoted'",
      ])
      expect(await at.records.unknownKeys([])).toEqual([])
      const [job] = await at.records.claim(1, 0)
      await at.records.done(job?.number ?? -1)
      expect(await at.records.unknownKeys(known)).toEqual([removed])
    })

    it('are listed with their uploads, by number', async () => {
      const stored = []
      for (const state of ['ready', 'pending', 'receiving', 'rejected', 'processing', 'expired', 'ready'] as const) {
        const upload = await uploadIn(at.records, state)
        if (upload.objectKey !== null) stored.push(upload)
      }
      expect(stored).toHaveLength(4)
      expect(await at.records.storedUploads(0, 10)).toEqual(stored)
      expect(await at.records.storedUploads(0, 3)).toEqual(stored.slice(0, 3))
      expect(await at.records.storedUploads(stored[2]?.number ?? 0, 3)).toEqual(stored.slice(3))
    })
  })

  describe('the ledger', () => {
    const at = fresh(open)

    it('keeps its sums when old rows are folded', async () => {
      await at.records.ensureWorkspace('x')
      await at.records.ensureWorkspace('z')
      for (let i = 1; i <= 4; i++) await uploadIn(at.records, 'ready', { size: i, reserve: i })
      await uploadIn(at.records, 'receiving', { workspaceId: 'x', size: 8, reserve: 8 })
      const gone = await uploadIn(at.records, 'ready', { workspaceId: 'z', size: 9, reserve: 9 })
      await at.records.remove(gone.id, { jobs: () => [] })
      at.clock.now += 1_000
      await uploadIn(at.records, 'ready', { size: 50, reserve: 50 })
      const ledger = () =>
        at.backend.raw(
          'select workspace_id as w, count(*) as n, sum(used) as used, sum(reserved) as reserved from ledger group by w order by w',
        )
      expect(await ledger()).toMatchObject([{ n: 10 }, { n: 1 }, { n: 3 }])

      expect(await at.records.foldLedger(noon, 100)).toBe(0)
      let folded = 0
      for (let went = 5; went === 5; folded += went) {
        went = await at.records.foldLedger(noon + 1_000, 5)
        await expectWhole(at.backend)
      }
      expect(folded).toBe(12)
      const sums = [
        { w: 'w', used: 60, reserved: 0 },
        { w: 'x', used: 0, reserved: 8 },
      ]
      expect(await ledger()).toMatchObject([...sums, { w: 'z', used: 0, reserved: 0 }])
      // and again, when the folded rows are old themselves; what sums to nothing leaves nothing
      at.clock.now += 1_000
      await at.records.foldLedger(noon + 2_000, 100)
      expect(await ledger()).toEqual(sums.map((sum) => ({ ...sum, n: 1 })))
    })
  })

  describe('the audit', () => {
    const at = fresh(open)

    const faults: readonly (readonly [what: string, hurt: string, mend: string, finding: RegExp])[] = [
      [
        'a counter of used bytes',
        'update workspace set used = used + 1',
        'update workspace set used = used - 1',
        /w: used is 21/,
      ],
      [
        'a counter of reserved bytes',
        'update workspace set reserved = reserved + 1',
        'update workspace set reserved = reserved - 1',
        /w: reserved is 6/,
      ],
      [
        'the size of an upload',
        "update upload set size = size + 1 where state = 'ready'",
        "update upload set size = size - 1 where state = 'ready'",
        /w: used is 20 .* 22 by its uploads/,
      ],
      [
        'what an upload holds',
        "update upload set reserved = 6 where state = 'pending'",
        "update upload set reserved = 5 where state = 'pending'",
        /w: reserved is 5 .* 6 by its uploads/,
      ],
      [
        'the state of an upload',
        "update upload set state = 'rejected' where number = 1",
        "update upload set state = 'ready' where number = 1",
        /w: used is 20 .* 10 by its uploads/,
      ],
      [
        'a row of the ledger',
        "update ledger set used = used + 1 where kind = 'storage_charge'",
        "update ledger set used = used - 1 where kind = 'storage_charge'",
        /w: used is 20 .* 22 by its ledger/,
      ],
      [
        'a row of the ledger that belongs to nobody',
        "insert into ledger (number, workspace_id, kind, used, reserved, at) values (1000, 'nobody', 'folded', 1, 0, 0)",
        'delete from ledger where number = 1000',
        /nobody/,
      ],
      [
        'an upload without its object',
        "update upload set object_key = 'x' || object_key, size = null where state = 'processing'",
        "update upload set object_key = substr(object_key, 2), size = 10 where state = 'processing'",
        /number 4 is processing but has no object or no size/,
      ],
      [
        'an upload that no job will finish',
        "update job set kind = 'lost' where kind = 'verdict'",
        "update job set kind = 'verdict' where kind = 'lost'",
        /number 4 is processing, but no job/,
      ],
    ]

    it.each(faults)('finds fault with %s', async (_what, hurt, mend, finding) => {
      await uploadIn(at.records, 'ready', { reserve: 10 })
      await uploadIn(at.records, 'ready', { reserve: 10 })
      await at.records.create(newRecord({ reserve: 5 }))
      await uploadIn(at.records, 'processing')
      await expectWhole(at.backend)
      await at.backend.raw(hurt)
      const findings = await at.records.audit()
      expect(findings).toHaveLength(1)
      expect(findings[0]).toMatch(finding)
      await at.backend.raw(mend)
      await expectWhole(at.backend)
    })

    it('finds nothing while others write', async () => {
      const busy = Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          const { id } = await uploadIn(at.records, 'ready', { size: i, reserve: i })
          if (i % 2 === 0) await at.records.remove(id, { jobs: () => [] })
        }),
      )
      const looks: (readonly string[])[] = []
      const balances: (readonly Row[])[] = []
      for (let i = 0; i < 20; i++) {
        looks.push(await at.records.audit())
        balances.push(await unbalanced(at.backend.raw))
      }
      await busy
      expect(looks.flat()).toEqual([])
      expect(balances.flat()).toEqual([])
    })
  })

  describe('the end', () => {
    const at = fresh(open)

    it('waits for what was asked before, and takes nothing more', async () => {
      const record = newRecord({ reserve: 3 })
      const created = at.records.create(record)
      const closed = at.records
      await at.backend.reopen()
      expect(await created).toMatchObject({ id: record.id })
      expect(await at.records.get(record.id)).toMatchObject({ reserved: 3 })
      await expect(closed.create(newRecord())).rejects.toThrow(/closed/)
      await closed.close()
    })

    it('answers a look whether it is there', async () => {
      await expect(at.records.check()).resolves.toBeUndefined()
    })

    it('of the process loses nothing that was acknowledged, and nothing half', async () => {
      const key = newKey()
      const ready = await uploadIn(at.records, 'ready', { reserve: 10 })
      const { id } = await at.records.create(newRecord({ reserve: 4 }))
      await at.records.stage(id, key)
      const lost = at.records.stored(id, storedBytes({ key, size: 4 }))
      await at.backend.crash()
      await lost
      expect(await at.records.get(ready.id)).toEqual(ready)
      expect(await at.records.get(id)).toMatchObject({ state: 'pending', reserved: 4 })
    })

    it('a program refuses a database that a newer one has written', async () => {
      const { id } = await at.records.create(newRecord())
      const version = await at.backend.setVersion(1_000)
      await expect(at.backend.reopen()).rejects.toThrow(/version 1000/)
      await at.backend.setVersion(version)
      await at.backend.crash()
      expect(await at.records.get(id)).toMatchObject({ id })
    })
  })
}
