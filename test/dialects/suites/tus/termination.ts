import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../../support/client.ts'
import { strays } from '../../../support/places.ts'
import { pathOf, refusal } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

/** DELETE, and the upload as the other APIs see it. */
export function terminationSuite({ place, main }: Bench): void {
  const { tus, gateway } = main
  const clean = () => eventually(async () => expect(await strays(place, gateway())).toEqual([]))

  async function expectGone(id: string): Promise<void> {
    const head = await tus.head(id)
    expect([head.status, head.headers.get('upload-offset')]).toEqual([404, null])
    expect(refusal(await tus.patch(id, 0, 'hello'))).toBe('404 not_found')
    expect(refusal(await tus.remove(id))).toBe('404 not_found')
    expect((await tus.call('GET', `/api/v1/uploads/${id}`)).status).toBe(404)
    expect((await tus.call('GET', pathOf(id))).status).toBe(404)
    await clean()
  }

  describe('termination', () => {
    it.each([
      ['that has not begun', 100_000, 0],
      ['that is half there', 100_000, 50_000],
      ['that is half there, in parts', 9_000_000, 8_500_000],
      ['that is finished', 100_000, 100_000],
      ['of no bytes', 0, 0],
      ['of unknown length', null, 1_000],
    ])('removes an upload %s, and gives its quota back', async (_what, length, sent) => {
      const before = (await tus.usage()).storage
      const id = await tus.made(length, {}, randomBytes(sent))
      const answer = await tus.remove(id)
      expect([answer.status, answer.bytes.length]).toEqual([204, 0])
      expect((await tus.usage()).storage).toEqual(before)
      await expectGone(id)
    })

    it('removes a part', async () => {
      const id = await tus.made(5, { 'Upload-Concat': 'partial' }, 'hello')
      expect((await tus.remove(id)).status).toBe(204)
      await expectGone(id)
    })

    it('works once, however often it is asked at a time', async () => {
      const id = await tus.made(10, {}, 'hello')
      const answers = await Promise.all(Array.from({ length: 5 }, () => tus.remove(id)))
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([204, 404, 404, 404, 404])
      await expectGone(id)
    })

    it('is refused while a project holds the upload', async () => {
      const assets = `/v1/projects/${randomUUID()}/assets`
      const id = await tus.made(5, {}, 'hello')
      expect((await tus.call('POST', assets, { json: { assetId: id } })).status).toBe(200)
      expect(refusal(await tus.remove(id))).toBe('409 asset_referenced')
      expect(await tus.offset(id)).toBe(5)
      expect((await tus.call('DELETE', `${assets}/${id}`)).status).toBe(204)
      expect((await tus.remove(id)).status).toBe(204)
    })

    it('happens through the other APIs too', async () => {
      const begun = await tus.made(10, {}, 'hello')
      expect((await tus.call('DELETE', `/api/v1/uploads/${begun}`)).status).toBe(200)
      await expectGone(begun)
      const finished = await tus.made(5, {}, 'hello')
      expect((await tus.call('DELETE', `/v1/assets/${finished}`)).status).toBe(204)
      await expectGone(finished)
    })
  })

  describe('a finished upload', () => {
    it('is one of all the other APIs', async () => {
      const project = randomUUID()
      const metadata = `filename ${btoa('a.txt')},project_id ${btoa(project)}`
      const id = await tus.made(5, { 'Upload-Metadata': metadata }, 'hello')
      expect(await tus.view(id)).toMatchObject({ status: 'confirmed', filename: 'a.txt', content_type: 'text/plain' })
      const asset = await tus.call('GET', `/v1/assets/${id}`)
      expect(asset.json()).toMatchObject({ data: { assetId: id, filename: 'a.txt', size: 5 } })
      const list = await tus.call('GET', `/api/v1/uploads?project_id=${project}`)
      expect(list.json()).toMatchObject({ data: [{ id }] })
    })

    it('is downloaded from its own address by whoever may read it', async () => {
      const id = await tus.made(5, { 'Upload-Metadata': `filename ${btoa('a.txt')}` }, 'hello')
      for (const headers of [{}, { 'Tus-Resumable': '1.0.0' }]) {
        const answer = await tus.call('GET', pathOf(id), { headers })
        expect([answer.status, answer.bytes.toString()]).toEqual([200, 'hello'])
        expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
        expect(answer.headers.get('content-disposition')).toContain('a.txt')
        expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      }
      const range = await tus.call('GET', pathOf(id), { headers: { Range: 'bytes=1-3' } })
      expect([range.status, range.bytes.toString()]).toEqual([206, 'ell'])
      expect((await tus.call('GET', pathOf(id), { key: null })).status).toBe(401)
    })

    it('is not downloaded before it is finished', async () => {
      const id = await tus.made(10, {}, 'hello')
      expect((await tus.call('GET', pathOf(id))).status).toBe(409)
      expect((await tus.call('GET', pathOf(randomUUID()))).status).toBe(404)
    })
  })

  describe('an upload of another API', () => {
    it('cannot be written here', async () => {
      const created = await tus.call('POST', '/api/v1/uploads', { json: { filename: 'a.txt', category: 'other' } })
      const { id } = created.json<{ data: { upload: { id: string } } }>().data.upload
      const raw = await tus.call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt' }, body: 'hello' })
      const { assetId } = raw.json<{ data: { assetId: string } }>().data
      for (const other of [id, assetId]) {
        const before = await tus.view(other)
        for (const offset of [0, 5]) {
          const { status } = await tus.patch(other, offset, 'wrong', { 'Upload-Length': '10' })
          expect(status >= 400 && status < 500).toBe(true)
        }
        expect((await tus.head(other)).status).toBeLessThan(500)
        expect(await tus.view(other)).toMatchObject({ status: before.status, received_bytes: before.received_bytes })
      }
      expect((await tus.download(assetId)).toString()).toBe('hello')
    })

    it('is no part of a concatenation', async () => {
      const raw = await tus.call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt' }, body: 'hello' })
      const { assetId } = raw.json<{ data: { assetId: string } }>().data
      const answer = await tus.post({ 'Upload-Concat': `final;${pathOf(assetId)}` })
      expect([400, 404, 409]).toContain(answer.status)
    })
  })
}
