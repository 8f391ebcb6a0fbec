import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Claim, StoredAnswer } from '../../../src/uploads/records.ts'
import { newRecord } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const dayMs = 86_400_000
const fingerprint = (text: string): Uint8Array => createHash('sha256').update(text).digest()
const hex = (text: string): string => Buffer.from(fingerprint(text)).toString('hex')
const claimOf = (over: Partial<Claim> = {}): Claim => ({
  principal: 'key:1',
  key: 'k',
  fingerprint: fingerprint('a'),
  ...over,
})
const answer: StoredAnswer = { status: 201, headers: { Location: '/x' }, body: '{"data":"ü\\u0000"}' }

export function idempotencyContract(open: Open): void {
  describe('requests that are done once', () => {
    const at = fresh(open)
    const claimed = async (claim: Claim) => {
      const found = await at.records.claimed(claim)
      return found && { ...found, fingerprint: Buffer.from(found.fingerprint).toString('hex') }
    }
    const uploads = async () => (await at.records.list({ workspaceId: 'w', limit: 100 })).uploads.length

    it('are known from the moment in which their upload is', async () => {
      const claim = claimOf()
      expect(await claimed(claim)).toBeUndefined()
      const { id } = await at.records.create(newRecord({ claim }))
      expect(await claimed(claim)).toEqual({ fingerprint: hex('a'), made: id, answer: null })
      expect(await claimed(claimOf({ fingerprint: fingerprint('b') }))).toMatchObject({ fingerprint: hex('a') })
      await at.records.answered(claim, answer)
      expect(await claimed(claim)).toEqual({ fingerprint: hex('a'), made: null, answer })
    })

    it('leave nothing when their upload is not made', async () => {
      await at.records.setQuota('w', 10)
      const claim = claimOf()
      await expect(at.records.create(newRecord({ claim, reserve: 11 }))).rejects.toMatchObject({
        code: 'quota_exceeded',
      })
      expect(await claimed(claim)).toBeUndefined()
      await at.records.create(newRecord({ claim, reserve: 10 }))
    })

    it('make one upload, however many ask at once and whatever they ask for', async () => {
      const claims = Array.from({ length: 20 }, (_, i) => claimOf({ fingerprint: fingerprint(i % 2 ? 'a' : 'b') }))
      const ends = await Promise.allSettled(
        claims.map((claim) => at.records.create(newRecord({ claim, reserve: 3, projectId: 'p' }))),
      )
      const made = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value.id] : []))
      expect(made).toHaveLength(1)
      const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []))
      expect(refused).toHaveLength(19)
      for (const reason of refused) expect(reason).toMatchObject({ code: 'idempotency_conflict', retryAfter: 1 })
      expect(await claimed(claimOf())).toMatchObject({ made: made[0] })
      expect(await uploads()).toBe(1)
      expect(await at.records.workspace('w')).toMatchObject({ reserved: 3 })
    })

    it('are the same by principal and key together', async () => {
      const claims = [claimOf(), claimOf({ key: 'K' }), claimOf({ principal: 'key:2' }), claimOf({ key: "'; --" })]
      const ids: string[] = []
      for (const claim of claims) ids.push((await at.records.create(newRecord({ claim }))).id)
      for (const [i, claim] of claims.entries()) expect(await claimed(claim)).toMatchObject({ made: ids[i] })
      await at.records.answered(claimOf(), answer)
      expect(await claimed(claimOf({ principal: 'key:2' }))).toMatchObject({ answer: null })
    })

    it('keep their first answer', async () => {
      const claim = claimOf()
      const { id } = await at.records.create(newRecord({ claim }))
      await at.records.answered(claim, answer)
      await at.records.answered(claim, { ...answer, status: 200 })
      await at.records.answered(claimOf({ fingerprint: fingerprint('b') }), { ...answer, status: 200 })
      await at.records.release(claim, id)
      expect(await claimed(claim)).toMatchObject({ answer })
      await expect(at.records.create(newRecord({ claim }))).rejects.toMatchObject({ code: 'idempotency_conflict' })
    })

    it('may have made nothing, and are answered all the same', async () => {
      const claim = claimOf()
      await at.records.answered(claim, answer)
      expect(await claimed(claim)).toEqual({ fingerprint: hex('a'), made: null, answer })
      await expect(at.records.create(newRecord({ claim }))).rejects.toMatchObject({ code: 'idempotency_conflict' })
      at.clock.now += dayMs
      const other = claimOf({ fingerprint: fingerprint('b') })
      await at.records.answered(other, { ...answer, status: 200 })
      expect(await claimed(other)).toEqual({ fingerprint: hex('b'), made: null, answer: { ...answer, status: 200 } })
    })

    it('are free again when they are released, and only for what they have made', async () => {
      const claim = claimOf()
      const { id } = await at.records.create(newRecord({ claim }))
      await at.records.release(claim, newRecord().id)
      expect(await claimed(claim)).toMatchObject({ made: id })
      await at.records.release(claim, id)
      expect(await claimed(claim)).toBeUndefined()
      const second = await at.records.create(newRecord({ claim }))
      // who comes late with the first id changes nothing
      await at.records.release(claim, id)
      expect(await claimed(claim)).toMatchObject({ made: second.id })
    })

    it('survive a crash, answered or not, and recovery leaves them alone', async () => {
      const [one, two] = [claimOf({ key: 'one' }), claimOf({ key: 'two' })]
      const { id } = await at.records.create(newRecord({ claim: one }))
      await at.records.create(newRecord({ claim: two }))
      await at.records.answered(two, answer)
      await at.backend.crash()
      await at.records.recover(() => [])
      expect(await claimed(one)).toMatchObject({ made: id })
      expect(await claimed(two)).toMatchObject({ answer })
    })

    it('are forgotten 24 hours after their answer, to the millisecond', async () => {
      const claim = claimOf()
      await at.records.create(newRecord({ claim }))
      at.clock.now += 1_000
      await at.records.answered(claim, answer)
      at.clock.now = noon + 1_000 + dayMs - 1
      expect(await claimed(claim)).toMatchObject({ answer })
      expect(await at.records.forgetClaims(10)).toBe(0)
      at.clock.now++
      expect(await claimed(claim)).toBeUndefined()
    })

    it('give their place to another request when their time is over, swept or not', async () => {
      const claim = claimOf()
      await at.records.create(newRecord({ claim }))
      await at.records.answered(claim, answer)
      at.clock.now += dayMs
      const other = claimOf({ fingerprint: fingerprint('b') })
      const { id } = await at.records.create(newRecord({ claim: other }))
      expect(await claimed(other)).toEqual({ fingerprint: hex('b'), made: id, answer: null })
      expect(await at.records.forgetClaims(10)).toBe(0)
    })

    it('are swept in steps', async () => {
      for (let i = 0; i < 5; i++) await at.records.create(newRecord({ claim: claimOf({ key: `old-${i}` }) }))
      at.clock.now += dayMs / 2
      await at.records.create(newRecord({ claim: claimOf({ key: 'new' }) }))
      at.clock.now += dayMs / 2
      expect(await at.records.forgetClaims(3)).toBe(3)
      expect(await at.records.forgetClaims(3)).toBe(2)
      expect(await at.records.forgetClaims(3)).toBe(0)
      expect(await at.backend.raw('select key from idempotency')).toEqual([{ key: 'new' }])
      expect(await uploads()).toBe(6)
    })
  })
}
