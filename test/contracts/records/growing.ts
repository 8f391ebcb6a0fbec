import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { NewPiece } from '../../../src/uploads/object-store.ts'
import type { Grown, NewRecord } from '../../../src/uploads/records.ts'
import { dueWork, newKey, newRecord, storedBytes } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const resumable = {
  metadata: 'filename YQ==',
  concat: null,
  partial: false,
  parts: null,
  answered: false,
  counted: false,
}
const hourMs = 3_600_000

const bytesAt = (start: number, bytes: Uint8Array): NewPiece => ({ start, size: bytes.length, ref: null, bytes })
const partAt = (start: number, size: number, ref: string): NewPiece => ({ start, size, ref, bytes: null })

/** Objects that grow over several requests. */
export function growingContract(open: Open): void {
  describe('an upload that grows', () => {
    const at = fresh(open)
    let key = ''
    let id = ''

    async function create(over: Partial<NewRecord> = {}): Promise<string> {
      key = newKey()
      const record = newRecord({ dialect: 'tus', stagedKey: key, resumable, expiresAt: noon + hourMs, ...over })
      return (id = (await at.records.create(record)).id)
    }
    const grow = (bytes: number, pieces: readonly NewPiece[] = [], over: Partial<Grown> = {}) =>
      at.records.grow(id, {
        key,
        bytes,
        pieces,
        expiresAt: noon + 2 * hourMs,
        holdsUntil: noon + hourMs,
        jobs: [],
        ...over,
      })
    beforeEach(() => create())

    it('keeps what its client has sent, as it came', async () => {
      expect((await at.records.get(id))?.resumable).toEqual(resumable)
      expect(await at.records.growth(id)).toEqual({ key, bytes: 0, note: null, pieces: [] })
    })

    it('moves its offset and its end together', async () => {
      const upload = await grow(7)
      expect(upload).toMatchObject({ state: 'receiving', received: 7, expiresAt: noon + 2 * hourMs })
      await grow(7)
      await expect(grow(6)).rejects.toMatchObject({ code: 'upload_state_conflict' })
      expect(await at.records.growth(id)).toMatchObject({ bytes: 7 })
    })

    it('keeps bytes that follow one another, whatever their size', async () => {
      const parts = [1, 1, 16_000, 400, 1, 262_144, 3, 5_000].map((size) => randomBytes(size))
      const whole = Buffer.concat(parts)
      let start = 0
      for (const part of parts) {
        await grow(start + part.length, [bytesAt(start, part)])
        start += part.length
      }
      const { pieces = [] } = (await at.records.growth(id)) ?? {}
      expect(pieces).toHaveLength(parts.length)
      expect(pieces.reduce((end, piece) => (piece.start === end ? end + piece.size : NaN), 0)).toBe(whole.length)
      for (const [from, to] of [
        [0, whole.length],
        [1, 2],
        [15_999, 16_500],
        [16_403, 278_600],
        [0, 1],
      ] as const)
        expect(
          Buffer.compare(await at.records.keptBytes(key, { start: from, end: to }), whole.subarray(from, to)),
        ).toBe(0)
      await expect(at.records.keptBytes(key, { start: 0, end: whole.length + 1 })).rejects.toMatchObject({
        code: 'internal',
      })
    })

    it('lets a part take the place of the bytes that it holds', async () => {
      await grow(10, [partAt(0, 10, 'one')])
      await grow(15, [bytesAt(10, randomBytes(5))])
      await grow(40, [partAt(10, 20, 'two'), partAt(30, 10, 'three')])
      expect((await at.records.growth(id))?.pieces).toEqual([
        { start: 0, size: 10, ref: 'one' },
        { start: 10, size: 20, ref: 'two' },
        { start: 30, size: 10, ref: 'three' },
      ])
      await expect(at.records.keptBytes(key, { start: 10, end: 15 })).rejects.toMatchObject({ code: 'internal' })
    })

    it('keeps its note, and is as it was after a crash', async () => {
      await at.records.note(key, 'upload id')
      await grow(5, [bytesAt(0, Buffer.from('bytes'))])
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await at.records.growth(id)).toEqual({
        key,
        bytes: 5,
        note: 'upload id',
        pieces: [{ start: 0, size: 5, ref: null }],
      })
      expect(Buffer.from(await at.records.keptBytes(key, { start: 0, end: 5 })).toString()).toBe('bytes')
      expect(await at.records.get(id)).toMatchObject({ state: 'receiving', received: 5 })
      expect(await dueWork(at.records)).toEqual([])
    })

    it('is overdue though its object may go on', async () => {
      await grow(1)
      at.clock.now = noon + 2 * hourMs
      expect((await at.records.overdue(9)).map((upload) => upload.id)).toEqual([id])
      await at.records.transition(id, { from: ['receiving'], to: 'expired' })
      expect(await dueWork(at.records)).toEqual([{ kind: 'clear-object', key, note: null, until: null }])
      expect(await at.records.growth(id)).toBeUndefined()
    })

    it.each(['removed', 'rejected'] as const)('leaves nothing when it is %s', async (end) => {
      await at.records.note(key, 'upload id')
      await grow(5, [bytesAt(0, Buffer.from('bytes'))])
      if (end === 'removed') await at.records.remove(id, { jobs: () => [] })
      else await at.records.transition(id, { from: ['receiving'], to: 'rejected' })
      expect(await dueWork(at.records)).toEqual([{ kind: 'clear-object', key, note: 'upload id', until: null }])
      expect(await at.backend.raw('SELECT * FROM object_piece')).toEqual([])
      expect(await at.backend.raw('SELECT * FROM object_intent')).toEqual([])
      await expect(grow(6)).rejects.toMatchObject({
        code: end === 'removed' ? 'not_found' : 'upload_state_conflict',
      })
    })

    it('is stored under the key under which it grew', async () => {
      await grow(5, [bytesAt(0, Buffer.from('bytes'))])
      const jobs = [{ kind: 'verdict', uploadId: id, due: noon }] as const
      await at.records.stored(id, { ...storedBytes({ key, size: 5, to: 'processing' }), jobs })
      expect(await at.records.growth(id)).toBeUndefined()
      expect(await at.backend.raw('SELECT * FROM object_piece')).toEqual([])
      await expect(grow(6)).rejects.toMatchObject({ code: 'upload_state_conflict' })
    })

    it('has one job that looks after its verdict, however often that is asked for', async () => {
      const jobs = [{ kind: 'verdict', uploadId: id, due: noon }] as const
      await grow(4, [], { jobs })
      await grow(5, [], { jobs })
      await at.records.stored(id, { ...storedBytes({ key, size: 5, to: 'processing' }), jobs })
      expect(await dueWork(at.records)).toEqual([{ kind: 'verdict', uploadId: id }])
    })

    it('goes on under another key, and what may come under the old one is cleared', async () => {
      await grow(5, [bytesAt(0, Buffer.from('bytes'))])
      const other = newKey()
      expect(await at.records.unnoted()).toEqual([{ id, key }])
      await at.records.renewKey(id, key, other)
      expect(await at.records.growth(id)).toMatchObject({ key: other, bytes: 5, pieces: [{ start: 0, size: 5 }] })
      expect(await dueWork(at.records)).toEqual([{ kind: 'clear-object', key, note: null, until: null }])
      await expect(grow(6)).rejects.toMatchObject({ code: 'upload_state_conflict' })
      await expect(at.records.renewKey(id, key, newKey())).rejects.toMatchObject({ code: 'upload_state_conflict' })
      await at.records.note(other, 'noted')
      expect(await at.records.unnoted()).toEqual([])
    })

    it('holds what counts where its length is not known, and what was asked for once it is', async () => {
      await at.records.setQuota('w', 100)
      await create({ reserve: 0, declaredSize: null })
      await grow(50)
      expect(await at.records.get(id)).toMatchObject({ reserved: 0 })
      await at.records.reserve(id, 60)
      await grow(70)
      expect(await at.records.get(id)).toMatchObject({ reserved: 70 })
      await expect(grow(101)).rejects.toMatchObject({ code: 'quota_exceeded' })
      await expect(at.records.setLength(id, 101, 101)).rejects.toMatchObject({ code: 'quota_exceeded' })
      expect(await at.records.setLength(id, 90, 90)).toMatchObject({ declaredSize: 90, reserved: 90 })
      await expect(at.records.setLength(id, 91, 91)).rejects.toMatchObject({ code: 'upload_state_conflict' })
      expect(await at.records.audit()).toEqual([])
    })

    it('holds from the first byte what counts, where that is asked for', async () => {
      await at.records.setQuota('w', 10)
      await create({ reserve: 0, declaredSize: null, resumable: { ...resumable, counted: true } })
      expect(await grow(4)).toMatchObject({ reserved: 4 })
      await at.records.unreserve(id)
      expect(await grow(10)).toMatchObject({ reserved: 10 })
      await expect(grow(11)).rejects.toMatchObject({ code: 'quota_exceeded' })
    })

    it('remembers that its client was told of all its bytes', async () => {
      await at.records.answeredEarly(id)
      expect((await at.records.get(id))?.resumable).toEqual({ ...resumable, answered: true })
    })

    it('is made of others once', async () => {
      const joined = randomBytes(32)
      const parts = [id]
      const final = { stagedKey: null, joined, resumable: { ...resumable, parts }, state: 'receiving' as const }
      const first = await create(final)
      await expect(create(final)).rejects.toMatchObject({ code: 'upload_state_conflict' })
      expect((await at.records.joined(joined))?.id).toBe(first)
      expect(await at.records.joined(randomBytes(32))).toBeUndefined()
      await at.backend.crash()
      await at.records.recover(() => [])
      expect((await at.records.joined(joined))?.state).toBe('receiving')
    })
  })
}
