import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { ApiKey } from '../../../src/uploads/records.ts'
import { newRecord, uploadIn } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const dayMs = 86_400_000
const digest = (text: string): Uint8Array => createHash('sha256').update(text).digest()
const newApiKey = (over: Partial<ApiKey> = {}): Omit<ApiKey, 'revokedAt'> => ({
  id: 'k1',
  workspaceId: 'w',
  userId: 'u',
  name: 'laptop',
  scopes: ['uploads:read', 'uploads:write'],
  projects: null,
  createdAt: noon,
  expiresAt: null,
  ...over,
})

export function accountsContract(open: Open): void {
  describe('workspaces', () => {
    const at = fresh(open)

    it('makes a workspace once', async () => {
      const [one, two] = await Promise.all([at.records.ensureWorkspace('x'), at.records.ensureWorkspace('x')])
      expect(one).toEqual({ id: 'x', quota: null, limit: null, used: 0, reserved: 0, createdAt: noon })
      expect(two).toEqual(one)
      at.clock.now++
      expect(await at.records.ensureWorkspace('x')).toEqual(one)
      expect(await at.records.workspace('x')).toEqual(one)
      expect((await at.records.workspaces()).map((workspace) => workspace.id)).toEqual(['w', 'x'])
    })

    it('knows no workspace that was never made', async () => {
      expect(await at.records.workspace('nobody')).toBeUndefined()
      expect(await at.records.usage('nobody', '2026-01-01')).toEqual({
        workspace: { id: 'nobody', quota: null, limit: null, used: 0, reserved: 0, createdAt: noon },
        counts: { pending: 0, receiving: 0, processing: 0, ready: 0, rejected: 0, expired: 0 },
        days: [],
      })
      expect(await at.records.workspace('nobody')).toBeUndefined()
      await expect(at.records.setQuota('nobody', 1)).rejects.toMatchObject({ code: 'not_found' })
    })

    it('sets a quota and takes it away again', async () => {
      expect(await at.records.setQuota('w', 100)).toMatchObject({ quota: 100, limit: 100 })
      expect(await at.records.workspace('w')).toMatchObject({ quota: 100, limit: 100 })
      expect(await at.records.setQuota('w', null)).toMatchObject({ quota: null, limit: null })
    })

    it('makes the workspace of an upload, and none for an upload that is refused', async () => {
      const refused = newRecord({ workspaceId: 'new', projectId: 'p', projectMode: 'registered' })
      await expect(at.records.create(refused)).rejects.toMatchObject({ code: 'project_forbidden' })
      expect(await at.records.workspace('new')).toBeUndefined()
      const made = await at.records.create(newRecord({ workspaceId: 'new', projectId: 'p', reserve: 5 }))
      expect(made.workspaceId).toBe('new')
      expect(await at.records.workspace('new')).toMatchObject({ quota: null, reserved: 5, createdAt: noon })
    })
  })

  describe('workspaces of an installation with a default quota', () => {
    const at = fresh(open, { defaultQuota: 500 })

    it('have that limit as long as they have no quota of their own', async () => {
      expect(await at.records.workspace('w')).toMatchObject({ quota: null, limit: 500 })
      expect(await at.records.setQuota('w', 7_000)).toMatchObject({ quota: 7_000, limit: 7_000 })
      await at.records.create(newRecord({ reserve: 7_000 }))
      expect(await at.records.setQuota('w', null)).toMatchObject({ quota: null, limit: 500, reserved: 7_000 })
      await expect(at.records.create(newRecord({ reserve: 1 }))).rejects.toMatchObject({ code: 'quota_exceeded' })
    })
  })

  describe('API keys', () => {
    const at = fresh(open)

    it('makes the workspace of a key, and finds the key by its digest', async () => {
      const key = newApiKey({ workspaceId: 'new', projects: ['p', 'q'], scopes: ['uploads:read'], expiresAt: noon + 1 })
      expect(await at.records.createKey(key, digest('a'))).toEqual({ ...key, revokedAt: null })
      expect(await at.records.keyByDigest(digest('a'))).toEqual({ ...key, revokedAt: null })
      expect(await at.records.keyByDigest(digest('b'))).toBeUndefined()
      expect(await at.records.workspace('new')).toMatchObject({ id: 'new' })
    })

    it('lists keys, and keeps one digest for one key', async () => {
      await at.records.createKey(newApiKey(), digest('a'))
      await at.records.createKey(newApiKey({ id: 'k2', createdAt: noon + 1 }), digest('b'))
      await expect(at.records.createKey(newApiKey({ id: 'k3' }), digest('a'))).rejects.toThrow(/./)
      expect((await at.records.keys()).map((key) => key.id)).toEqual(['k1', 'k2'])
    })

    it('revokes a key once and for all', async () => {
      await at.records.createKey(newApiKey(), digest('a'))
      expect(await at.records.revokeKey('k1')).toMatchObject({ id: 'k1', revokedAt: noon })
      at.clock.now++
      expect(await at.records.revokeKey('k1')).toMatchObject({ revokedAt: noon })
      expect(await at.records.keyByDigest(digest('a'))).toMatchObject({ revokedAt: noon })
      await expect(at.records.revokeKey('k2')).rejects.toMatchObject({ code: 'not_found' })
    })

    it('forgets a key, and no other', async () => {
      await at.records.createKey(newApiKey(), digest('a'))
      await at.records.createKey(newApiKey({ id: 'k2' }), digest('b'))
      await at.records.forgetKey('k1')
      await at.records.forgetKey('k1')
      expect((await at.records.keys()).map((key) => key.id)).toEqual(['k2'])
      expect(await at.records.keyByDigest(digest('a'))).toBeUndefined()
      expect(await at.records.workspace('w')).toBeDefined()
    })
  })

  describe('projects', () => {
    const at = fresh(open)

    it('makes a project, and its workspace, once', async () => {
      await at.records.ensureProject('new', 'p')
      await at.records.ensureProject('new', 'p')
      await at.records.ensureProject('new', 'a')
      expect(await at.records.projects('new')).toEqual(['a', 'p'])
      expect(await at.records.projects('w')).toEqual([])
      expect(await at.records.workspace('new')).toMatchObject({ id: 'new' })
    })

    it('are made by their first use where they are open', async () => {
      const upload = await at.records.create(newRecord({ projectId: 'p', projectMode: 'open' }))
      expect(upload.projectId).toBe('p')
      expect(await at.records.projects('w')).toEqual(['p'])
      expect(await at.records.projectsOf(upload.id)).toEqual(['p'])
    })

    it('must be known where they are registered', async () => {
      const record = newRecord({ projectId: 'p', projectMode: 'registered', reserve: 5 })
      await expect(at.records.create(record)).rejects.toMatchObject({ code: 'project_forbidden' })
      expect(await at.records.get(record.id)).toBeUndefined()
      await at.records.ensureProject('x', 'p')
      await expect(at.records.create(record)).rejects.toMatchObject({ code: 'project_forbidden' })
      await at.records.ensureProject('w', 'p')
      expect(await at.records.create(record)).toMatchObject({ projectId: 'p' })
    })
  })

  describe('usage', () => {
    const at = fresh(open)

    it('counts uploads by state', async () => {
      for (const state of ['pending', 'receiving', 'processing', 'rejected', 'expired'] as const)
        await uploadIn(at.records, state)
      await uploadIn(at.records, 'ready')
      await uploadIn(at.records, 'ready')
      await at.records.ensureWorkspace('x')
      await uploadIn(at.records, 'ready', { workspaceId: 'x' })
      const usage = await at.records.usage('w', '2026-01-01')
      expect(usage?.counts).toEqual({ pending: 1, receiving: 1, processing: 1, ready: 2, rejected: 1, expired: 1 })
      expect(usage?.workspace).toMatchObject({ id: 'w', used: 20, reserved: 0 })
    })

    it('counts very many uploads, in steps', async () => {
      const many = Array.from({ length: 10_000 }, () => at.records.create(newRecord({})))
      await Promise.all([...many, uploadIn(at.records, 'ready'), uploadIn(at.records, 'expired')])
      const counts = { pending: 10_000, receiving: 0, processing: 0, ready: 1, rejected: 0, expired: 1 }
      expect((await at.records.usage('w', '2026-01-01')).counts).toEqual(counts)
    })

    it('adds up what became ready on each day, in UTC', async () => {
      at.clock.now = Date.UTC(2026, 10, 20, 23, 59, 59, 999)
      await uploadIn(at.records, 'ready', { size: 5 })
      at.clock.now++
      const { id } = await uploadIn(at.records, 'ready', { size: 7 })
      await uploadIn(at.records, 'ready', { size: 8 })
      await uploadIn(at.records, 'rejected', { size: 9 })
      at.clock.now += 2 * dayMs
      await uploadIn(at.records, 'ready', { size: 0 })
      await at.records.remove(id, { jobs: () => [] })
      const days = [
        { day: '2026-11-20', uploads: 1, bytes: 5 },
        { day: '2026-11-21', uploads: 2, bytes: 15 },
        { day: '2026-11-23', uploads: 1, bytes: 0 },
      ]
      expect((await at.records.usage('w', '2026-11-20'))?.days).toEqual(days)
      expect((await at.records.usage('w', '2026-11-21'))?.days).toEqual(days.slice(1))
      expect((await at.records.usage('w', '2026-11-24'))?.days).toEqual([])
    })
  })
}
