import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { keyDigest } from '../../../../src/http/authenticate.ts'
import { addKeys, type Answer, type Ask, withRecords } from '../../../support/client.ts'
import { bytesType, idOf, metadataOf, pathOf, refusal, type Tus } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

type KeyName = 'own' | 'second' | 'foreign' | 'expired' | 'reads' | 'writes' | 'onlyA'

/** Every call about an upload, by whoever. */
const calls = (id: string, by: Tus): Promise<readonly Answer[]> =>
  Promise.all([by.head(id), by.patch(id, 5, 'wrong'), by.remove(id), by.call('GET', pathOf(id))])
const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status)
const headerNames = ({ headers }: Answer): string[] => [...headers.keys()].toSorted()
const create = (project: string, by: Tus): Promise<Answer> =>
  by.post({ 'Upload-Length': '10', 'Upload-Metadata': metadataOf({ project_id: project }) }, 'hello')

/** Who may do what. */
export function tenancySuite({ main }: Bench): void {
  const { tus, gateway } = main
  let keys: Record<KeyName, string>
  beforeAll(async () => {
    keys = await addKeys(gateway(), {
      own: {},
      second: { userId: 'somebody-else' },
      foreign: { workspaceId: 'tus-foreign' },
      expired: { expiresAt: Date.now() - 1 },
      reads: { scopes: ['uploads:read'] },
      writes: { scopes: ['uploads:write'] },
      onlyA: { projects: ['tus-a'] },
    })
  })

  const untouched = async (id: string): Promise<void> => {
    expect(await tus.view(id)).toMatchObject({ status: 'pending', received_bytes: 5 })
    expect(await tus.offset(id)).toBe(5)
  }

  describe('credentials', () => {
    it.each([
      ['none', () => ({})],
      ['a key that was never made', () => ({ Authorization: 'Bearer op_live_0123456789abcdefghijABCDEFGHIJ01' })],
      ['an expired key', () => ({ 'x-api-key': keys.expired })],
      ['two different keys', () => ({ Authorization: `Bearer ${keys.own}`, 'x-api-key': keys.second })],
      ['another scheme', () => ({ Authorization: `Basic ${keys.own}` })],
    ])('are asked for on every verb: %s', async (_what, headers) => {
      const id = await tus.made(10, {}, 'hello')
      const chunk = { 'Content-Type': bytesType, 'Upload-Offset': '5' }
      const ask = (method: string, path: string, more: Ask = {}) =>
        tus.ask(method, path, { ...more, key: null, headers: { ...headers(), ...more.headers } })
      const answers = await Promise.all([
        ask('POST', '/files', { headers: { 'Upload-Length': '5' } }),
        ask('PATCH', pathOf(id), { headers: chunk, body: 'world' }),
        ask('DELETE', pathOf(id)),
        ask('GET', pathOf(id)),
        ask('HEAD', pathOf(id)),
        ask('HEAD', pathOf(randomUUID())),
      ])
      for (const answer of answers) {
        expect(answer.status).toBe(401)
        expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/)
      }
      for (const answer of answers.slice(0, 3)) expect(refusal(answer)).toBe('401 unauthenticated')
      await untouched(id)
    })

    it('may be a key in x-api-key, and another key of the same workspace goes on', async () => {
      const byHeader = tus.as(null)
      const headers = { 'x-api-key': keys.own, 'Upload-Length': '10' }
      const id = idOf(await byHeader.post(headers))
      expect(await tus.as(keys.second).sent(id, 0, 'hello')).toBe(5)
      expect(await tus.as(keys.own).sent(id, 5, 'world')).toBe(10)
    })

    it('are looked at each time', async () => {
      const { brief } = await addKeys(gateway(), { brief: {} })
      const by = tus.as(brief)
      const id = await by.made(10, {}, 'hello')
      await withRecords(gateway(), async (records) => {
        const key = await records.keyByDigest(keyDigest(brief))
        await records.revokeKey(key?.id ?? '')
      })
      expect(statuses(await calls(id, by))).toEqual([401, 401, 401, 401])
      await untouched(id)
      expect(await tus.sent(id, 5, 'world')).toBe(10)
    })

    it('must have the scope', async () => {
      const id = await tus.made(10, {}, 'hello')
      const part = await tus.made(5, { 'Upload-Concat': 'partial' }, 'hello')
      const reads = tus.as(keys.reads)
      for (const answer of [
        await reads.post({ 'Upload-Length': '5' }),
        await reads.patch(id, 5, 'wrong'),
        await reads.remove(id),
        await reads.post({ 'Upload-Concat': 'partial', 'Upload-Length': '5' }),
        await reads.post({ 'Upload-Concat': `final;${pathOf(part)}` }),
      ])
        expect(refusal(answer)).toBe('403 scope_missing')
      await untouched(id)
      const writes = tus.as(keys.writes)
      const own = await writes.made(10, {}, 'hello')
      expect(await writes.offset(own)).toBe(5)
      expect(await writes.sent(own, 5, 'world')).toBe(10)
      expect((await writes.call('GET', pathOf(own))).status).toBe(403)
      expect((await writes.remove(own)).status).toBe(204)
    })

    it('may be limited to projects', async () => {
      const limited = tus.as(keys.onlyA)
      expect(refusal(await create('tus-b', limited))).toBe('403 project_forbidden')
      const other = idOf(await create('tus-b', tus))
      expect(statuses(await calls(other, limited))).toEqual([403, 403, 403, 403])
      await untouched(other)
      const own = idOf(await create('tus-a', limited))
      expect(await limited.sent(own, 5, 'world')).toBe(10)
    })

    it('of another workspace are refused when they name this one', async () => {
      const headers = { 'Upload-Length': '5', 'X-Workspace-Id': 'tus-foreign' }
      expect(refusal(await tus.post(headers))).toBe('403 workspace_forbidden')
    })
  })

  describe('an upload of another workspace', () => {
    it.each([
      ['begun', 10, {}],
      ['finished', 5, {}],
      ['a part', 5, { 'Upload-Concat': 'partial' }],
      ['of unknown length', null, {}],
    ])('never was: %s', async (_what, length, headers) => {
      const id = await tus.made(length, headers, 'hello')
      const before = await tus.view(id)
      const foreign = tus.as(keys.foreign)
      const theirs = await calls(id, foreign)
      const never = await calls(randomUUID(), foreign)
      expect(statuses(theirs)).toEqual([404, 404, 404, 404])
      expect(theirs.map(({ bytes }) => bytes.toString())).toEqual(never.map(({ bytes }) => bytes.toString()))
      expect(theirs.map(headerNames)).toEqual(never.map(headerNames))
      const { status, received_bytes } = before
      expect(await tus.view(id)).toMatchObject({ status, received_bytes })
    })

    it('is not told by the order of the checks', async () => {
      const id = await tus.made(10, {}, 'hello')
      const foreign = tus.as(keys.foreign)
      for (const ask of [
        () => foreign.patch(id, 'x', 'wrong'),
        () => foreign.patch(id, 0, 'wrong'),
        () => foreign.patch(id, 5, 'wrong', { 'Content-Type': 'text/plain' }),
        () => foreign.patch(id, 5, 'much too long'),
        () => foreign.patch(id, 5, 'wrong', { 'Upload-Checksum': 'crc32 AAAA' }),
        () => foreign.patch(id, 5, 'wrong', { 'Upload-Length': '7' }),
      ]) {
        const theirs = await ask()
        expect(theirs.headers.has('upload-expires')).toBe(false)
        expect([400, 404, 415]).toContain(theirs.status)
      }
      await untouched(id)
    })
  })
}
