import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { addKeys, type Answer, chunked, eventually, requestHead, sha256, withRecords } from '../../../support/client.ts'
import { strays } from '../../../support/places.ts'
import {
  bytesType,
  idOf,
  metadataOf,
  patchHeaders,
  pathOf,
  refusal,
  type Tus,
  tusVersion,
} from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

interface Joining {
  readonly verdict: string
  readonly id: string
  readonly part: string
  readonly headers: Readonly<Record<string, string>>
  readonly asked: Promise<Answer>
}

/** Quotas, silence, requests in one flight, repetitions. */
export function edgesSuite({ place, main, tight, verdicts }: Bench): void {
  const { tus, gateway } = main

  /** A workspace of its own. */
  async function within(quota: number): Promise<Tus> {
    const workspaceId = `tus-${randomUUID()}`
    const { key } = await addKeys(gateway(), { key: { workspaceId } })
    await withRecords(gateway(), (records) => records.setQuota(workspaceId, quota))
    return tus.as(key)
  }
  /** The uploads of a project. */
  async function of(project: string): Promise<readonly { readonly id: string }[]> {
    const list = await tus.call('GET', `/api/v1/uploads?project_id=${project}`)
    return list.json<{ data: readonly { id: string }[] }>().data
  }

  /** A concatenation that waits for its verdict. */
  async function joining(): Promise<Joining> {
    const verdict = verdicts().fresh()
    const project = `tus-${randomUUID()}`
    const part = await tus.made(5, { 'Upload-Concat': 'partial' }, 'hello')
    const metadata = metadataOf({ verdict, project_id: project })
    const headers = { 'Upload-Concat': `final;${pathOf(part)}`, 'Upload-Metadata': metadata }
    const asked = tus.post(headers)
    await eventually(() => expect(verdicts().runs(verdict)).toBe(1))
    const [{ id } = { id: '' }] = await of(project)
    return { verdict, id, part, headers, asked }
  }

  describe('a quota', () => {
    it('ends a stream of unknown length, which goes on when there is room', async () => {
      const own = await within(1_000_000)
      const first = await own.made(null, {}, randomBytes(600_000))
      const second = await own.made(null)
      expect(refusal(await own.patch(second, 0, Buffer.alloc(400_001)))).toBe('413 quota_exceeded')
      expect(refusal(await own.patch(second, 0, chunked([Buffer.alloc(400_001)])))).toBe('413 quota_exceeded')
      const offset = await own.offset(second)
      expect(offset).toBeLessThanOrEqual(400_000)
      expect((await own.usage()).storage.reserved_bytes).toBe(600_000 + offset)
      expect((await own.remove(first)).status).toBe(204)
      const rest = Buffer.alloc(1_000_000 - offset)
      expect(await own.sent(second, offset, rest, { 'Upload-Length': '1000000' })).toBe(1_000_000)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 1_000_000, reserved_bytes: 0 })
    })

    it('holds what has come of a stream, however little', async () => {
      const own = await within(100)
      const first = await own.made(null, {}, 'x'.repeat(60))
      expect((await own.usage()).storage.reserved_bytes).toBe(60)
      expect(refusal(await own.post({ 'Upload-Defer-Length': '1' }, 'y'.repeat(41)))).toBe('413 quota_exceeded')
      expect(await own.sent(first, 60, 'x'.repeat(40))).toBe(100)
      expect((await own.usage()).storage.reserved_bytes).toBe(100)
    })

    it('is asked when a length is told late', async () => {
      const own = await within(100)
      const id = await own.made(null, {}, 'hello')
      expect(refusal(await own.patch(id, 5, '!', { 'Upload-Length': '101' }))).toBe('413 quota_exceeded')
      const head = await own.head(id)
      expect([head.headers.get('upload-offset'), head.headers.get('upload-defer-length')]).toEqual(['5', '1'])
      expect(await own.sent(id, 5, '!', { 'Upload-Length': '6' })).toBe(6)
    })

    it('is asked for what is made of parts', async () => {
      const own = await within(100)
      const part = await own.made(40, { 'Upload-Concat': 'partial' }, 'x'.repeat(40))
      const thrice = { 'Upload-Concat': `final;${[part, part, part].map(pathOf).join(' ')}` }
      expect(refusal(await own.post(thrice))).toBe('413 quota_exceeded')
      expect(await own.offset(part)).toBe(40)
      const once = await own.post({ 'Upload-Concat': `final;${pathOf(part)}` })
      expect((await own.download(idOf(once))).toString()).toBe('x'.repeat(40))
    })

    it('is not overdrawn by many at once', async () => {
      const own = await within(100)
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => own.post({ 'Upload-Length': '30' }, 'z'.repeat(30))),
      )
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(3)
      expect(answers.filter(({ status }) => status === 413)).toHaveLength(5)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 90, reserved_bytes: 0 })
    })
  })

  it('a body from which nothing comes is cut, and kept as far as it came', async () => {
    const id = await tight.tus.made(10)
    const wire = await tight.tus.open('PATCH', id, patchHeaders(0, 10), 'hello')
    expect(await wire.closed()).toBe(true)
    expect(await tight.tus.offset(id)).toBe(5)
    expect(await tight.tus.sent(id, 5, 'world')).toBe(10)
  })

  it('bytes that are refused before the last has come end the upload', async () => {
    const { tus: by, gateway: at } = tight
    const { storage } = await by.usage()
    const id = await by.made(10_000, { 'Upload-Metadata': metadataOf({ filename: 'a.png', category: 'picture' }) })
    const first = await by.patch(id, 0, 'this is no picture at all. '.repeat(300))
    const last = first.status === 204 ? await by.patch(id, 8_100, Buffer.alloc(1_900)) : first
    expect(refusal(last)).toMatch(/^415 (file_type_not_allowed|content_type_mismatch)$/)
    expect((await by.head(id)).status).toBe(410)
    expect(await by.view(id)).toMatchObject({ status: 'rejected' })
    expect((await by.usage()).storage).toEqual(storage)
    await eventually(async () => expect(await strays(place, at())).toEqual([]))
  })

  it('a creation that is repeated with its Idempotency-Key makes one upload', async () => {
    const headers = { 'Upload-Length': '10', 'Idempotency-Key': randomUUID() }
    const answers = [await tus.post(headers, 'hello'), await tus.post(headers, 'hello')]
    const [first = '', second = ''] = answers.map(idOf)
    expect(second).toBe(first)
    expect(await tus.sent(first, 5, 'world')).toBe(10)
    expect((await tus.download(first)).toString()).toBe('helloworld')
    expect((await tus.post({ ...headers, 'Upload-Length': '11' }, 'hello')).status).toBe(422)
  })

  it('two PATCHes in one flight leave one right file', async () => {
    const id = await tus.made(10)
    const second = requestHead('PATCH', pathOf(id), {
      'x-api-key': gateway().key,
      'Tus-Resumable': tusVersion,
      ...patchHeaders(5, 5),
    })
    const wire = await tus.open('PATCH', id, patchHeaders(0, 5), `hello${second}world`)
    expect([204, 423]).toContain((await wire.answer()).status)
    wire.socket.end()
    await wire.closed()
    const offset = await tus.offset(id)
    expect([0, 5, 10]).toContain(offset)
    if (offset < 10) await tus.sent(id, offset, 'helloworld'.slice(offset))
    expect((await tus.download(id)).toString()).toBe('helloworld')
  })

  it('an upload whose creation was ended by its client goes on', async () => {
    const bytes = randomBytes(500_000)
    const project = `tus-${randomUUID()}`
    const headers = { 'Content-Type': bytesType, 'Upload-Length': bytes.length, 'Transfer-Encoding': 'chunked' }
    const wire = await tus.open('POST', null, { ...headers, 'Upload-Metadata': metadataOf({ project_id: project }) })
    await eventually(async () => expect(await of(project)).toHaveLength(1))
    wire.socket.end()
    const [{ id } = { id: '' }] = await of(project)
    expect(await tus.sent(id, await tus.offset(id), bytes)).toBe(bytes.length)
    expect(sha256(await tus.download(id))).toBe(sha256(bytes))
  })

  describe('a concatenation that is being checked', () => {
    it('tells no offset before it is accepted', async () => {
      const { verdict, id, asked } = await joining()
      const head = await tus.head(id)
      expect([head.status, head.headers.get('upload-offset')]).toEqual([423, null])
      expect((await tus.patch(id, 5, '')).status).toBe(403)
      verdicts().decide(verdict, 'accept')
      expect(idOf(await asked)).toBe(id)
      expect(await tus.offset(id)).toBe(5)
    })

    it('can be deleted, and made again', async () => {
      const { verdict, id, part, headers, asked } = await joining()
      expect((await tus.remove(id)).status).toBe(204)
      verdicts().decide(verdict, 'accept')
      expect((await asked).status).toBe(404)
      expect(await tus.offset(part)).toBe(5)
      const again = idOf(await tus.post(headers))
      expect(again).not.toBe(id)
      expect((await tus.download(again)).toString()).toBe('hello')
    })

    it('is made again when it has failed', async () => {
      const { verdict, id, headers, asked } = await joining()
      verdicts().decide(verdict, 'fail')
      expect((await asked).status).toBe(503)
      verdicts().decide(verdict, 'accept')
      expect(idOf(await tus.post(headers))).toBe(id)
      expect((await tus.download(id)).toString()).toBe('hello')
    })

    it('stays refused', async () => {
      const { verdict, id, headers, asked } = await joining()
      verdicts().decide(verdict, 'refuse')
      expect(refusal(await asked)).toBe('415 file_type_not_allowed')
      expect([410, 415]).toContain((await tus.post(headers)).status)
      expect((await tus.head(id)).status).toBe(410)
      expect(verdicts().runs(verdict)).toBe(1)
    })

    it('takes no length of the client for the sum', async () => {
      const part = await tus.made(5, { 'Upload-Concat': 'partial' }, 'hello')
      const answer = await tus.post({ 'Upload-Concat': `final;${pathOf(part)}`, 'Upload-Length': '7' })
      expect([201, 400]).toContain(answer.status)
      const made = idOf(await tus.post({ 'Upload-Concat': `final;${pathOf(part)}` }))
      expect((await tus.head(made)).headers.get('upload-length')).toBe('5')
    })
  })
}
