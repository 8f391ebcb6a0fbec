import { describe, expect, it } from 'vitest'
import { Rejection, UploadError } from '../../../src/errors.ts'
import type { Records } from '../../../src/uploads/records.ts'
import { type Upload, type UploadState, uploadStates } from '../../../src/uploads/upload.ts'
import { oddId } from '../../support/client.ts'
import { dueWork, idAt, newKey, newRecord, storedBytes, uploadIn } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

/** Every transition that there is, apart from the way that the bytes take. */
const transitions: Readonly<Record<UploadState, readonly UploadState[]>> = {
  pending: ['receiving', 'expired'],
  receiving: ['processing', 'rejected', 'expired'],
  processing: ['ready', 'rejected'],
  ready: [],
  rejected: [],
  expired: [],
}
const conflict = { code: 'upload_state_conflict' }
const missing = idAt(noon)
const codeOf = (error: unknown): string => (error instanceof UploadError ? error.code : String(error))

const bug = (): never => {
  throw new Error('a bug')
}

/** Everything that can be done to one upload, and the states in which it can. */
const operations: readonly {
  readonly what: string
  readonly states: readonly UploadState[]
  readonly run: (records: Records, upload: Upload) => Promise<unknown>
}[] = [
  {
    what: 'reserve',
    states: ['pending', 'receiving', 'processing'],
    run: (records, { id }) => records.reserve(id, 1_000),
  },
  { what: 'stage', states: ['pending', 'receiving'], run: (records, { id }) => records.stage(id, newKey()) },
  {
    what: 'stored',
    states: ['pending', 'receiving'],
    async run(records, { id }) {
      const key = newKey()
      // Where no bytes may come any more, none may be announced.
      await records.stage(id, key).catch(() => {})
      return records.stored(id, storedBytes({ key }))
    },
  },
]

/** The job that clears a key under which nothing was finished. */
const clearing = (key: string) => ({ kind: 'clear-object', key, note: null, until: null })

export function uploadsContract(open: Open): void {
  describe('an id', () => {
    const at = fresh(open)

    it.each([oddId, 'ffffffff-ffff-ffff-ffff-ffffffffffff', idAt(noon)])(
      'that never was is nothing: %s',
      async (id) => {
        expect(await at.records.get(id)).toBeUndefined()
        expect(await at.records.get(id, 'w')).toBeUndefined()
      },
    )

    it('of another workspace is nothing, and its row is not read', async () => {
      const { id } = await at.records.create(newRecord({ workspaceId: 'w' }))
      expect(await at.records.get(id, 'w')).toMatchObject({ id })
      await at.backend.raw(`update upload set metadata = 'no JSON'`)
      expect(await at.records.get(id, 'other')).toBeUndefined()
      await expect(at.records.get(id, 'w')).rejects.toThrow('JSON')
      await at.backend.raw(`update upload set metadata = '{}'`)
    })
  })

  describe('creation', () => {
    const at = fresh(open)

    it('keeps everything that it was given', async () => {
      const record = newRecord({
        dialect: 'direct',
        filename: 'Übersicht "1".pdf',
        category: 'document',
        projectId: 'p',
        declaredType: 'application/pdf',
        declaredSize: 12,
        declaredChecksum: { algorithm: 'md5', digest: 'rL0Y20zC+Fzt72VPzMSk2A==' },
        context: { type: 'page', id: '7' },
        metadata: { a: 'ä', '': '"' },
        properties: { contentType: 'application/pdf', format: 'pdf', pages: null },
        extra: { scanner: { clean: true } },
        reserve: 12,
        expiresAt: noon + 5,
        createdAt: noon - 5,
      })
      const upload = await at.records.create(record)
      const { reserve: reserved, stagedKey: _key, put: _put, projectMode: _mode, ...kept } = record
      expect(upload).toEqual({
        ...kept,
        number: 1,
        state: 'pending',
        batchId: null,
        size: null,
        received: 0,
        reserved,
        objectKey: null,
        sha256: null,
        rejection: null,
        resumable: null,
        updatedAt: noon - 5,
      })
      expect(await at.records.get(record.id)).toEqual(upload)
      expect(await at.records.get(missing)).toBeUndefined()
    })

    it('writes its jobs with it', async () => {
      const { id } = newRecord()
      const jobs = [{ kind: 'arrival', uploadId: id, due: 0 }] as const
      await at.records.setQuota('w', 1)
      await expect(at.records.create(newRecord({ id, jobs, reserve: 2 }))).rejects.toMatchObject({
        code: 'quota_exceeded',
      })
      expect(await at.records.jobs()).toMatchObject({ waiting: 0 })
      await at.records.create(newRecord({ id, jobs }))
      expect(await at.records.claim(9, 1_000)).toMatchObject([{ work: { kind: 'arrival', uploadId: id } }])
      await at.records.remove(id, { jobs: () => [] })
      expect(await at.records.jobs()).toMatchObject({ waiting: 0 })
    })

    it('gives every upload a number that no other has or had', async () => {
      const numbers = new Set<number>()
      for (let i = 0; i < 3; i++) {
        const upload = await at.records.create(newRecord())
        numbers.add(upload.number)
        await at.records.remove(upload.id, { jobs: () => [] })
      }
      await at.backend.reopen()
      numbers.add((await at.records.create(newRecord())).number)
      expect(numbers.size).toBe(4)
    })

    it('refuses an id that is taken, and leaves the first one alone', async () => {
      const upload = await at.records.create(newRecord({ reserve: 3 }))
      await expect(at.records.create(newRecord({ id: upload.id, reserve: 4 }))).rejects.toThrow(/./)
      expect(await at.records.get(upload.id)).toEqual(upload)
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 3 })
    })

    it('survives the end of the process from the moment it is acknowledged', async () => {
      const stagedKey = newKey()
      const upload = await at.records.create(newRecord({ state: 'receiving', stagedKey, reserve: 9 }))
      await at.backend.crash()
      expect(await at.records.get(upload.id)).toEqual(upload)
      expect(await at.records.unknownKeys([stagedKey])).toEqual([])
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 9 })
    })
  })

  describe('the same bytes', () => {
    const at = fresh(open)
    const sha256 = 'ab'.repeat(32)

    it('are found where they are ready, in the same workspace only, the oldest first', async () => {
      const first = await uploadIn(at.records, 'ready')
      const second = await uploadIn(at.records, 'ready')
      await uploadIn(at.records, 'processing')
      await uploadIn(at.records, 'rejected')
      await uploadIn(at.records, 'ready', { workspaceId: 'other' })
      const found = await at.records.sameBytes('w', sha256, 10)
      expect(found.map(({ id }) => id)).toEqual([first.id, second.id])
      expect(found[0]).toEqual(await at.records.get(first.id))
      expect(await at.records.sameBytes('w', sha256, 11)).toEqual([])
      expect(await at.records.sameBytes('w', 'cd'.repeat(32), 10)).toEqual([])
      expect(await at.records.sameBytes('nowhere', sha256, 10)).toEqual([])
    })
  })

  describe('quota', () => {
    const at = fresh(open)

    it('is used to the last byte and not beyond', async () => {
      await at.records.setQuota('w', 100)
      await at.records.create(newRecord({ reserve: 60 }))
      await expect(at.records.create(newRecord({ reserve: 41 }))).rejects.toMatchObject({
        code: 'quota_exceeded',
        facts: { bytes_left: 40 },
      })
      await at.records.create(newRecord({ reserve: 40 }))
      await expect(at.records.create(newRecord({ reserve: 1 }))).rejects.toMatchObject({ facts: { bytes_left: 0 } })
      // what needs no room may come
      await at.records.create(newRecord({ reserve: 0 }))
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 100 })
    })

    it('counts what is stored and what is held together', async () => {
      await at.records.setQuota('w', 100)
      await uploadIn(at.records, 'ready', { size: 70, reserve: 70 })
      expect(await at.records.workspace('w')).toMatchObject({ used: 70, reserved: 0 })
      await at.records.create(newRecord({ reserve: 20 }))
      await expect(at.records.create(newRecord({ reserve: 11 }))).rejects.toMatchObject({ facts: { bytes_left: 10 } })
    })

    it('lets exactly as many in as there is room for, however many ask at once', async () => {
      await at.records.setQuota('w', 1_000)
      const asked = Array.from({ length: 500 }, () => at.records.create(newRecord({ reserve: 10 })))
      const answers = await Promise.allSettled(asked)
      expect(answers.filter((answer) => answer.status === 'fulfilled')).toHaveLength(100)
      const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
      expect(refused).toHaveLength(400)
      for (const reason of refused) expect(reason).toMatchObject({ code: 'quota_exceeded', facts: { bytes_left: 0 } })
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 1_000 })
      expect(await at.backend.raw('select count(*) as n from upload')).toEqual([{ n: 100 }])
    })

    it('may be set below what is there: nothing more comes in, what is in may end', async () => {
      const upload = await uploadIn(at.records, 'processing', { size: 50, reserve: 50 })
      await at.records.setQuota('w', 10)
      await expect(at.records.create(newRecord({ reserve: 1 }))).rejects.toMatchObject({ facts: { bytes_left: 0 } })
      await expect(at.records.reserve(upload.id, 51)).rejects.toMatchObject({ code: 'quota_exceeded' })
      await at.records.transition(upload.id, { from: ['processing'], to: 'ready' })
      expect(await at.records.workspace('w')).toMatchObject({ used: 50, reserved: 0 })
    })

    it('grows a reservation in steps and never shrinks it', async () => {
      await at.records.setQuota('w', 100)
      const { id } = await at.records.create(newRecord())
      for (const bytes of [30, 30, 10, 100]) await at.records.reserve(id, bytes)
      await expect(at.records.reserve(id, 101)).rejects.toMatchObject({ code: 'quota_exceeded' })
      expect(await at.records.get(id)).toMatchObject({ reserved: 100 })
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 100 })
    })

    it('gives back what is held beyond what was declared or has come', async () => {
      const declared = await at.records.create(newRecord({ declaredSize: 20, reserve: 20 }))
      const unknown = await at.records.create(newRecord())
      const here = await uploadIn(at.records, 'receiving', { size: 5, reserve: 5 })
      for (const { id } of [declared, unknown, here]) await at.records.reserve(id, 50)
      for (const { id } of [declared, unknown, here]) await at.records.unreserve(id)
      expect(await at.records.get(declared.id)).toMatchObject({ reserved: 20 })
      expect(await at.records.get(unknown.id)).toMatchObject({ reserved: 0 })
      expect(await at.records.get(here.id)).toMatchObject({ reserved: 5 })
      await at.records.unreserve(missing)
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 25 })
    })

    it('holds what has come instead of what was held, when the bytes are there', async () => {
      await at.records.setQuota('w', 100)
      const [more, less, none] = await Promise.all(
        [80, 10, 0].map((reserve) => at.records.create(newRecord({ reserve }))),
      )
      for (const [upload, size] of [
        [more, 30],
        [less, 40],
        [none, 900],
      ] as const) {
        const key = newKey()
        await at.records.stage(upload?.id ?? '', key)
        await at.records.stored(upload?.id ?? '', storedBytes({ key, size }))
      }
      expect(await at.records.get(more?.id ?? '')).toMatchObject({ reserved: 30, size: 30, received: 30 })
      expect(await at.records.get(less?.id ?? '')).toMatchObject({ reserved: 40 })
      // who asks nothing of the quota is asked nothing
      expect(await at.records.get(none?.id ?? '')).toMatchObject({ reserved: 0, size: 900 })
    })

    it('refuses bytes for which there is no room, and keeps nothing of them', async () => {
      await at.records.setQuota('w', 100)
      const upload = await at.records.create(newRecord({ reserve: 100 }))
      const key = newKey()
      await at.records.stage(upload.id, key)
      await expect(at.records.stored(upload.id, storedBytes({ key, size: 101 }))).rejects.toMatchObject({
        code: 'quota_exceeded',
      })
      expect(await at.records.get(upload.id)).toEqual(upload)
      await at.records.abandon(key)
      expect(await dueWork(at.records)).toEqual([clearing(key)])
    })
  })

  describe('states', () => {
    const at = fresh(open)

    it.each(uploadStates)('after %s come those of the table, and no other', async (from) => {
      for (const to of uploadStates) {
        const upload = await uploadIn(at.records, from, { reserve: 10 })
        const allowed = transitions[from].includes(to)
        const before = await dueWork(at.records)
        const jobs = [{ kind: 'verdict', uploadId: upload.id, due: 0 }] as const
        const change = { from: uploadStates, to, ...(to === 'processing' ? { jobs } : {}) }
        const answer = await at.records.transition(upload.id, change).then((one) => one.state, codeOf)
        expect({ from, to, answer }).toEqual({ from, to, answer: allowed ? to : 'upload_state_conflict' })
        const now = await at.records.get(upload.id)
        expect(allowed ? now?.state : now).toEqual(allowed ? to : upload)
        expect(allowed ? before : await dueWork(at.records)).toEqual(before)
      }
    })

    it.each(uploadStates)('none comes after %s for whom expects another', async (from) => {
      const upload = await uploadIn(at.records, from, { reserve: 10 })
      for (const to of uploadStates) {
        const others = uploadStates.filter((state) => state !== from)
        await expect(at.records.transition(upload.id, { from: others, to })).rejects.toMatchObject(conflict)
        await expect(at.records.transition(upload.id, { from: [], to })).rejects.toMatchObject(conflict)
      }
      expect(await at.records.get(upload.id)).toEqual(upload)
    })

    it.each(operations)('$what is for $states only', async ({ states, run }) => {
      for (const state of uploadStates) {
        const upload = await uploadIn(at.records, state, { reserve: 10 })
        const allowed = states.includes(state)
        const answer = await run(at.records, upload).then(() => 'done', codeOf)
        expect({ state, answer }).toEqual({ state, answer: allowed ? 'done' : 'upload_state_conflict' })
        const now = await at.records.get(upload.id)
        expect(allowed ? upload : now).toEqual(upload)
      }
    })

    it('nothing of it is done to an upload that there is not', async () => {
      const gone = { code: 'not_found' }
      await expect(at.records.reserve(missing, 1)).rejects.toMatchObject(gone)
      await expect(at.records.stage(missing, newKey())).rejects.toMatchObject(gone)
      await expect(at.records.stored(missing, storedBytes({ key: newKey() }))).rejects.toMatchObject(gone)
      await expect(at.records.transition(missing, { from: uploadStates, to: 'expired' })).rejects.toMatchObject(gone)
      await expect(at.records.remove(missing, { jobs: () => [] })).rejects.toMatchObject(gone)
      expect(await dueWork(at.records)).toEqual([])
    })

    it('only bytes that are there are processed', async () => {
      const { id } = await at.records.create(newRecord({ state: 'receiving', stagedKey: newKey() }))
      const change = { from: ['receiving'], to: 'processing' } as const
      await expect(at.records.transition(id, change)).rejects.toMatchObject({ code: 'upload_not_received' })
      expect(await at.records.get(id)).toMatchObject({ state: 'receiving' })
    })

    it('a transition writes what was found, once for all that ask at once', async () => {
      const { id } = await uploadIn(at.records, 'processing', {
        reserve: 10,
        properties: { contentType: 'image/png', format: 'png', width: 1 },
        extra: { a: 1 },
      })
      at.clock.now++
      const patch = { properties: { contentType: 'image/jpeg', width: null, height: 2 }, extra: { b: [2] } }
      const change = { from: ['processing'], to: 'ready', patch } as const
      const answers = await Promise.allSettled([at.records.transition(id, change), at.records.transition(id, change)])
      expect(answers.map((answer) => answer.status)).toEqual(['fulfilled', 'rejected'])
      const known = {
        state: 'ready',
        reserved: 0,
        expiresAt: null,
        updatedAt: noon + 1,
        properties: { contentType: 'image/jpeg', format: 'png', width: null, height: 2 },
        extra: { a: 1, b: [2] },
      }
      expect(answers[0]).toMatchObject({ value: known })
      expect(await at.records.get(id)).toMatchObject(known)
      expect((await at.records.list({ workspaceId: 'w', contentType: 'image/jpeg', limit: 5 })).uploads).toHaveLength(1)
      expect(await at.records.workspace('w')).toMatchObject({ used: 10, reserved: 0 })
    })

    it('a transition keeps a context, or takes another', async () => {
      const { id } = await uploadIn(at.records, 'receiving', { context: { type: 'a', id: '1' } })
      const jobs = [{ kind: 'verdict', uploadId: id, due: 0 }] as const
      const change = { from: ['receiving'], to: 'processing', jobs } as const
      await at.records.transition(id, { ...change, context: { type: 'b', id: '2' } })
      expect(await at.records.get(id)).toMatchObject({ context: { type: 'b', id: '2' } })
      await at.records.transition(id, { from: ['processing'], to: 'ready' })
      expect(await at.records.get(id)).toMatchObject({ context: { type: 'b', id: '2' } })
    })

    it('a rejection is kept, and leaves nothing but the record', async () => {
      const { id, objectKey } = await uploadIn(at.records, 'processing', { reserve: 10, expiresAt: noon })
      const rejection = new Rejection('file_type_not_allowed', 'No.')
      const terminate = { kind: 'after-finish', uploadId: id, plugin: 'p' } as const
      await at.records.transition(id, { from: ['processing'], to: 'rejected', rejection, jobs: [terminate] })
      expect(await at.records.get(id)).toMatchObject({
        state: 'rejected',
        rejection: { code: 'file_type_not_allowed', message: 'No.' },
        objectKey: null,
        reserved: 0,
        expiresAt: null,
      })
      expect(await dueWork(at.records)).toEqual([{ kind: 'delete-object', key: objectKey }, terminate])
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 0 })
    })
  })

  describe('bytes', () => {
    const at = fresh(open)

    it('belong to the upload once they are stored', async () => {
      const { id } = await at.records.create(newRecord({ expiresAt: noon + 1 }))
      const key = newKey()
      expect(await at.records.stage(id, key)).toMatchObject({ id, state: 'pending', objectKey: null })
      at.clock.now += 7
      const stored = await at.records.stored(
        id,
        storedBytes({ key, size: 0, expiresAt: noon + 99, patch: { properties: { format: 'txt' } } }),
      )
      expect(stored).toMatchObject({
        state: 'receiving',
        objectKey: key,
        size: 0,
        received: 0,
        sha256: 'ab'.repeat(32),
        expiresAt: noon + 99,
        updatedAt: noon + 7,
        properties: { contentType: 'application/octet-stream', format: 'txt' },
      })
      expect(await at.records.get(id)).toEqual(stored)
      expect(await dueWork(at.records)).toEqual([])
      expect(await at.backend.raw('select * from object_intent')).toEqual([])
    })

    it('take the place of those that came before', async () => {
      const { id } = await at.records.create(newRecord())
      const [first, second] = [newKey(), newKey()]
      await at.records.stage(id, first)
      await at.records.stage(id, second)
      await at.records.stored(id, storedBytes({ key: first, size: 3 }))
      expect(await at.records.stored(id, storedBytes({ key: second, size: 4 }))).toMatchObject({ size: 4, received: 4 })
      expect(await dueWork(at.records)).toEqual([{ kind: 'delete-object', key: first }])
    })

    it('may go on to processing at once, with the job that finishes them', async () => {
      const stagedKey = newKey()
      const { id } = await at.records.create(newRecord({ state: 'receiving', stagedKey }))
      const job = { kind: 'verdict', uploadId: id, due: noon + 500 } as const
      await at.records.stored(id, storedBytes({ key: stagedKey, to: 'processing', jobs: [job] }))
      expect(await at.records.get(id)).toMatchObject({ state: 'processing' })
      expect(await dueWork(at.records)).toEqual([])
      at.clock.now += 500
      expect(await dueWork(at.records)).toEqual([{ kind: 'verdict', uploadId: id }])
    })

    it('under a key that was not announced, or was given up, are not taken', async () => {
      const [one, other] = await Promise.all([at.records.create(newRecord()), at.records.create(newRecord())])
      const key = newKey()
      await expect(at.records.stored(one.id, storedBytes({ key }))).rejects.toMatchObject(conflict)
      await at.records.stage(other.id, key)
      await expect(at.records.stored(one.id, storedBytes({ key }))).rejects.toMatchObject(conflict)
      await at.records.abandon(key)
      await expect(at.records.stored(other.id, storedBytes({ key }))).rejects.toMatchObject(conflict)
      expect(await at.records.get(other.id)).toEqual(other)
      expect(await dueWork(at.records)).toEqual([clearing(key)])
    })

    it('that come too late leave the record as it is', async () => {
      const upload = await at.records.create(newRecord({ reserve: 10 }))
      const key = newKey()
      await at.records.stage(upload.id, key)
      await at.records.transition(upload.id, { from: ['pending'], to: 'expired' })
      await expect(at.records.stored(upload.id, storedBytes({ key }))).rejects.toMatchObject(conflict)
      await at.records.abandon(key)
      expect(await dueWork(at.records)).toEqual([clearing(key)])
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 0 })
    })
  })

  describe('settling', () => {
    const at = fresh(open)

    it.each(['ready', 'rejected'] as const)('as %s takes the job away that would have finished it', async (to) => {
      const { id, objectKey } = await uploadIn(at.records, 'processing')
      const other = await uploadIn(at.records, 'processing')
      await at.records.transition(id, { from: ['processing'], to })
      const work = await dueWork(at.records)
      expect(work).toContainEqual({ kind: 'verdict', uploadId: other.id })
      expect(work).not.toContainEqual({ kind: 'verdict', uploadId: id })
      expect(work.filter((one) => one.kind === 'delete-object')).toEqual(
        to === 'rejected' ? [{ kind: 'delete-object', key: objectKey }] : [],
      )
    })
  })

  describe('removal', () => {
    const at = fresh(open)

    it.each(uploadStates)(
      'of an upload that is %s gives back its bytes and leaves the object to a job',
      async (state) => {
        const upload = await uploadIn(at.records, state, { reserve: 10 })
        await at.records.remove(upload.id, { jobs: () => [] })
        expect(await at.records.get(upload.id)).toBeUndefined()
        expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 0 })
        const stored = upload.objectKey === null ? [] : [upload.objectKey]
        // a rejection has left the object to a job before
        const deleted = (await dueWork(at.records)).flatMap((work) =>
          work.kind === 'delete-object' || work.kind === 'clear-object' ? [work.key] : [work.kind],
        )
        expect(deleted).toHaveLength(state === 'rejected' ? 1 : stored.length)
        expect(deleted).toEqual(expect.arrayContaining(stored))
        await expect(at.records.remove(upload.id, { jobs: () => [] })).rejects.toMatchObject({ code: 'not_found' })
      },
    )

    it('sees the upload as it was, and drops what was still to be done for it', async () => {
      const upload = await uploadIn(at.records, 'processing')
      const ready = await at.records.transition(upload.id, {
        from: ['processing'],
        to: 'ready',
        jobs: [{ kind: 'after-finish', uploadId: upload.id, plugin: 'p' }],
      })
      const seen: Upload[] = []
      await at.records.remove(upload.id, {
        jobs(last) {
          seen.push(last)
          return [{ kind: 'after-terminate', upload: last, plugin: 'p' }]
        },
      })
      expect(seen).toEqual([ready])
      expect(await dueWork(at.records)).toEqual([
        { kind: 'delete-object', key: ready.objectKey },
        { kind: 'after-terminate', upload: ready, plugin: 'p' },
      ])
    })

    it('is all or nothing', async () => {
      const upload = await uploadIn(at.records, 'ready')
      await expect(at.records.remove(upload.id, { jobs: bug })).rejects.toThrow('a bug')
      expect(await at.records.get(upload.id)).toEqual(upload)
      expect(await at.records.workspace('w')).toMatchObject({ used: 10 })
      expect(await dueWork(at.records)).toEqual([])
    })

    it('leaves the keys of bytes that are still on their way to whoever brings them', async () => {
      const upload = await uploadIn(at.records, 'receiving', { reserve: 10 })
      const key = newKey()
      await at.records.stage(upload.id, key)
      await at.records.remove(upload.id, { jobs: () => [] })
      expect(await at.records.unknownKeys([key])).toEqual([])
      expect(await dueWork(at.records)).toEqual([{ kind: 'delete-object', key: upload.objectKey }])
    })
  })

  describe('bindings', () => {
    const at = fresh(open)

    it('are made once and taken away once', async () => {
      const upload = await uploadIn(at.records, 'ready')
      await at.records.bind(upload, 'p', 'open')
      await at.records.bind(upload, 'p', 'open')
      await at.records.bind(upload, 'q', 'open')
      expect(await at.records.projectsOf(upload.id)).toEqual(['p', 'q'])
      expect(await at.records.projects('w')).toEqual(['p', 'q'])
      expect(await at.records.unbind(upload, 'p')).toBe(true)
      expect(await at.records.unbind(upload, 'p')).toBe(false)
      expect(await at.records.projectsOf(upload.id)).toEqual(['q'])
    })

    it('need a project that is known where they are registered, and an upload that is there', async () => {
      const upload = await uploadIn(at.records, 'ready')
      await expect(at.records.bind(upload, 'p', 'registered')).rejects.toMatchObject({ code: 'project_forbidden' })
      await at.records.ensureProject('w', 'p')
      await at.records.bind(upload, 'p', 'registered')
      await at.records.remove(upload.id, { jobs: () => [], force: true })
      await expect(at.records.bind(upload, 'p', 'registered')).rejects.toMatchObject({ code: 'not_found' })
      expect(await at.records.projectsOf(upload.id)).toEqual([])
    })

    it('keep an upload from being removed, until the last one is gone or force is used', async () => {
      const held = { code: 'asset_referenced' }
      const [one, two] = [await uploadIn(at.records, 'ready'), await uploadIn(at.records, 'ready')]
      for (const project of ['p', 'q']) await at.records.bind(one, project, 'open')
      await expect(at.records.remove(one.id, { jobs: () => [] })).rejects.toMatchObject(held)
      await at.records.unbind(one, 'p')
      await expect(at.records.remove(one.id, { jobs: () => [] })).rejects.toMatchObject(held)
      expect(await at.records.get(one.id)).toEqual(one)
      expect(await dueWork(at.records)).toEqual([])
      await at.records.unbind(one, 'q')
      await at.records.remove(one.id, { jobs: () => [] })
      await at.records.bind(two, 'p', 'open')
      await at.records.remove(two.id, { jobs: () => [], force: true })
      expect(await at.records.workspace('w')).toMatchObject({ used: 0 })
    })

    it('from a creation hold in the raw dialect, and are a label in the others', async () => {
      const remove = (upload: Upload) => at.records.remove(upload.id, { jobs: () => [] })
      const raw = await at.records.create(newRecord({ dialect: 'raw', projectId: 'p' }))
      await expect(remove(raw)).rejects.toMatchObject({ code: 'asset_referenced' })
      const [label, bound] = [
        await at.records.create(newRecord({ dialect: 'form', projectId: 'p' })),
        await at.records.create(newRecord({ dialect: 'form', projectId: 'p' })),
      ]
      await remove(label)
      await at.records.bind(bound, 'p', 'open')
      await expect(remove(bound)).rejects.toMatchObject({ code: 'asset_referenced' })
    })
  })
}
