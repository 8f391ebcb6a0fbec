import { describe, expect, it } from 'vitest'
import type { ListFilter, Records } from '../../../src/uploads/records.ts'
import { type Upload, type UploadState, uploadStates } from '../../../src/uploads/upload.ts'
import { idAt, newRecord, uploadIn } from '../../support/records.ts'
import { fresh, noon, type Open } from './fresh.ts'

const types = ['image/png', 'image/jpeg', 'video/mp4', 'imagemagick/x', 'application/pdf'] as const
const categories = ['image', 'data', null] as const
const projects = ['p', 'q', null] as const

/** Every page of a list, one after another. */
async function pages(records: Records, filter: Omit<ListFilter, 'before'>): Promise<readonly (readonly Upload[])[]> {
  const found: (readonly Upload[])[] = []
  for (let before: string | null | undefined; before !== null;) {
    const page = await records.list({ ...filter, ...(before === undefined ? {} : { before }) })
    expect(page.uploads.length).toBeLessThanOrEqual(filter.limit)
    found.push(page.uploads)
    before = page.next
  }
  return found
}

const every = async (records: Records, filter: Omit<ListFilter, 'before'>): Promise<readonly string[]> =>
  (await pages(records, filter)).flat().map((upload) => upload.id)

/** The values of each part of a filter, and what they let through. */
const parts: {
  readonly [K in 'states' | 'category' | 'projectId' | 'contentType' | 'createdAfter' | 'onlyProjects']: readonly (
    | ListFilter[K]
    | undefined
  )[]
} = {
  states: [undefined, ['ready'], ['pending', 'rejected', 'expired'], []],
  category: [undefined, 'image', 'none'],
  projectId: [undefined, 'p', 'none'],
  contentType: [undefined, 'image/*', 'image/png', 'text/plain'],
  createdAfter: [undefined, noon + 40],
  onlyProjects: [undefined, ['q'], []],
}
type Parts = Pick<ListFilter, keyof typeof parts>

const combinations: readonly Parts[] = Object.entries(parts).reduce<readonly Parts[]>(
  (all, [part, values]) =>
    all.flatMap((one) => values.map((value) => (value === undefined ? one : { ...one, [part]: value }))),
  [{}],
)

function passes(filter: Parts, upload: Upload, bound: readonly string[]): boolean {
  const { states, category, projectId, contentType, createdAfter, onlyProjects } = filter
  const type = upload.properties.contentType
  return (
    (states === undefined || states.includes(upload.state)) &&
    (category === undefined || upload.category === category) &&
    (projectId === undefined || bound.includes(projectId)) &&
    (contentType === undefined ||
      (contentType.endsWith('/*') ? type.startsWith(contentType.slice(0, -1)) : type === contentType)) &&
    (createdAfter === undefined || upload.createdAt > createdAfter) &&
    (onlyProjects === undefined || bound.length === 0 || bound.some((project) => onlyProjects.includes(project)))
  )
}

export function listsContract(open: Open): void {
  describe('lists', () => {
    const at = fresh(open)

    const fill = (count: number, over: (i: number) => Parameters<typeof newRecord>[0] = () => ({})) =>
      Promise.all(
        Array.from({ length: count }, (_, i) => at.records.create(newRecord({ id: idAt(noon, i), ...over(i) }))),
      )

    it('hold exactly what the filters ask for, newest first, with every combination of filters', async () => {
      await at.records.ensureWorkspace('x')
      const states: readonly UploadState[] = uploadStates
      const uploads = await Promise.all(
        Array.from({ length: 90 }, (_, i) =>
          uploadIn(at.records, states[i % 6] ?? 'pending', {
            id: idAt(noon + i, 0),
            createdAt: noon + i,
            category: categories[(i >> 1) % 3] ?? null,
            projectId: projects[(i >> 2) % 3] ?? null,
            properties: { contentType: types[(i >> 1) % 5] ?? '', format: null },
          }),
        ),
      )
      const bound = new Map<string, readonly string[]>()
      for (const [i, upload] of uploads.entries()) {
        if (i % 11 === 0) await at.records.bind(upload, 'p', 'open')
        bound.set(upload.id, await at.records.projectsOf(upload.id))
        await uploadIn(at.records, 'pending', { workspaceId: 'x', category: 'image', projectId: 'p' })
      }
      const newest = uploads.toReversed()
      const sizes = new Set<number>()
      for (const filter of combinations) {
        const expected = newest.filter((upload) => passes(filter, upload, bound.get(upload.id) ?? []))
        const found = await every(at.records, { ...filter, workspaceId: 'w', limit: 7 })
        expect({ filter, found }).toEqual({ filter, found: expected.map((upload) => upload.id) })
        sizes.add(found.length)
      }
      // the data must tell the filters apart, or this proves nothing
      expect(combinations).toHaveLength(4 * 3 * 3 * 4 * 2 * 3)
      expect(sizes.size).toBeGreaterThan(15)
    })

    it('fill their pages, and know where they end', async () => {
      const uploads = await fill(10)
      const sizesOf = async (limit: number) =>
        (await pages(at.records, { workspaceId: 'w', limit })).map((p) => p.length)
      expect(await sizesOf(3)).toEqual([3, 3, 3, 1])
      expect(await sizesOf(5)).toEqual([5, 5])
      expect(await sizesOf(10)).toEqual([10])
      expect(await sizesOf(11)).toEqual([10])
      expect(await at.records.list({ workspaceId: 'x', limit: 5 })).toEqual({ uploads: [], next: null })
      const last = uploads[0]?.id ?? ''
      expect(await at.records.list({ workspaceId: 'w', limit: 5, before: last })).toEqual({ uploads: [], next: null })
    })

    it('begin after a moment, not at it', async () => {
      const uploads = await fill(3, (i) => ({ id: idAt(noon + i, 0), createdAt: noon + i }))
      const { records } = at
      const after = (createdAfter: number) => every(records, { workspaceId: 'w', limit: 5, createdAfter })
      const ids = uploads.map((upload) => upload.id).toReversed()
      expect(await after(noon - 1)).toEqual(ids)
      expect(await after(noon)).toEqual(ids.slice(0, 2))
      expect(await after(noon + 1)).toEqual(ids.slice(0, 1))
      expect(await after(noon + 2)).toEqual([])
      // whatever a client sends is a moment
      expect(await after(-1)).toEqual(ids)
      expect(await after(8.64e15)).toEqual([])
    })

    it('show every row once that was there all the time, while others come and go', async () => {
      const uploads = await fill(60)
      const stays = uploads.filter((_, i) => i % 4 !== 0)
      const goes = uploads.filter((_, i) => i % 4 === 0)
      const found: string[] = []
      let before: string | null | undefined
      for (let round = 0; before !== null; round++) {
        const page = await at.records.list({ workspaceId: 'w', limit: 7, ...(before === undefined ? {} : { before }) })
        found.push(...page.uploads.map((upload) => upload.id))
        before = page.next
        await at.records.create(newRecord({ id: idAt(noon + 1, round) }))
        // from both ends, and the row that the cursor names
        const cursor = goes.findIndex((upload) => upload.id === before)
        const [gone] = goes.splice(cursor >= 0 ? cursor : round % 2 === 0 ? 0 : -1, 1)
        if (gone) await at.records.remove(gone.id, { jobs: () => [] })
      }
      expect(found.filter((id) => stays.some((upload) => upload.id === id))).toEqual(
        stays.map((upload) => upload.id).toReversed(),
      )
      expect(new Set(found).size).toBe(found.length)
      expect(found.every((id) => uploads.some((upload) => upload.id === id))).toBe(true)
    })

    it('find what is rare behind thousands of others, in a list and in a project', async () => {
      const rare = new Set([0, 1, 2_100, 2_101])
      const uploads = await fill(4_300, (i) => ({
        projectId: i % 2 === 0 ? 'p' : null,
        properties: { contentType: rare.has(i) ? 'image/png' : 'text/plain', format: null },
      }))
      const expected = [2_101, 2_100, 1, 0].map((i) => uploads[i]?.id)
      const filter = { workspaceId: 'w', contentType: 'image/*' }
      for (const limit of [1, 2, 3, 100]) expect(await every(at.records, { ...filter, limit })).toEqual(expected)
      const inProject = [2_100, 0].map((i) => uploads[i]?.id)
      expect(await every(at.records, { ...filter, projectId: 'p', limit: 2 })).toEqual(inProject)
      expect(await every(at.records, { ...filter, contentType: 'image/gif', limit: 2 })).toEqual([])
      // one page is enough where it has room
      expect(await pages(at.records, { ...filter, limit: 5 })).toHaveLength(1)
    })

    it('give a page that may be short rather than look for ever, and go on from there', async () => {
      const uploads = await fill(20_050, (i) => ({
        properties: { contentType: i === 3 ? 'image/png' : 'text/plain', format: null },
      }))
      const found = await pages(at.records, { workspaceId: 'w', contentType: 'image/png', limit: 5 })
      expect(found.map((page) => page.map((upload) => upload.id))).toEqual([[], [uploads[3]?.id]])
    })
  })
}
