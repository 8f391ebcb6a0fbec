import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKeys, eventually, pause, withRecords } from '../../../support/client.ts'
import type { TestGateway } from '../../../support/gateway.ts'
import { type Place, strays } from '../../../support/places.ts'
import { idOf, metadataOf, patchHeaders, pathOf, refusal, type Tus, tusOf } from '../../../support/tus.ts'
import { clientOptions, run } from '../../../support/tus-js-client.ts'
import type { Bench } from './bench.ts'

const mib = 1024 * 1024
const picture = metadataOf({ filename: 'a.png', category: 'picture' })
const partial = { 'Upload-Concat': 'partial' }
const mostOpen = 12
const holdSeconds = 2
const expirySeconds = 4
const second = 1_000

const sha1 = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('base64')

const held = async (by: Tus): Promise<number> => (await by.usage()).storage.reserved_bytes
const used = async (by: Tus): Promise<number> => (await by.usage()).storage.used_bytes

/** What uploads hold of the quota and of the disk, and for how long. */
export function holdingsSuite({ place, main, breaches }: Bench): void {
  let gateway: TestGateway
  let tus: Tus
  beforeAll(async () => {
    gateway = await place.start({
      plugins: `sniffType(), quota()`,
      more: `categories: { other: {}, picture: { types: ['image/png'] } }, tus: { holdFor: ${holdSeconds} }, sweep: { interval: 1 }, limits: { openUploads: ${mostOpen}, bareRecords: ${2 * mostOpen} }`,
    })
    tus = tusOf(() => gateway, [...breaches])
  })
  afterAll(() => gateway.close())

  /** A workspace of its own. */
  async function within(quota: number): Promise<Tus> {
    const workspaceId = `tus-${randomUUID()}`
    const { key } = await addKeys(gateway, { key: { workspaceId } })
    await withRecords(gateway, (records) => records.setQuota(workspaceId, quota))
    return tus.as(key)
  }

  describe('what is refused', () => {
    const over = randomBytes(4 * mib)
    it.each([
      ['with a wrong checksum', { 'Upload-Checksum': `sha1 ${sha1(Buffer.from('other'))}` }],
      ['with a right checksum', { 'Upload-Checksum': `sha1 ${sha1(over)}` }],
      ['without a checksum', {}],
    ])('leaves no bytes behind when the quota is full: %s', async (_, headers) => {
      const own = await within(mib)
      await own.made(mib, {}, randomBytes(mib))
      const id = await own.made(null)
      expect([413, 460]).toContain((await own.patch(id, 0, over, headers)).status)
      expect(await own.offset(id)).toBe(0)
      expect(await bytesOf(place, gateway, id)).toBe(0)
      expect(await held(own)).toBe(0)
    })

    it('leaves no bytes behind when only the checksum is wrong, and the upload goes on', async () => {
      const own = await within(64 * mib)
      const size = 24 * mib
      const bytes = randomBytes(size)
      const id = await own.made(null)
      const wrong = { 'Upload-Checksum': `sha1 ${sha1(Buffer.from('other'))}` }
      expect((await own.patch(id, 0, bytes, wrong)).status).toBe(460)
      expect(await bytesOf(place, gateway, id)).toBe(0)
      expect(await held(own)).toBe(0)
      await own.sent(id, 0, bytes, { 'Upload-Checksum': `sha1 ${sha1(bytes)}`, 'Upload-Length': String(size) })
      expect((await own.download(id)).equals(bytes)).toBe(true)
      expect(await used(own)).toBe(size)
    })
  })

  describe('a creation to which nobody comes back', () => {
    const size = { 'Upload-Length': '600' }

    it('gives what it holds to its equal', async () => {
      const own = await within(1_000)
      const ids = []
      for (let tries = 0; tries < 4; tries++) ids.push(idOf(await own.post(size)))
      expect(await held(own)).toBe(600)
      expect(refusal(await own.post({ ...size, 'Upload-Metadata': metadataOf({ filename: 'b' }) }))).toBe(
        '413 quota_exceeded',
      )
      // Whoever comes first has the room.
      const [first = '', last = ''] = [ids[0], ids.at(-1)]
      expect(refusal(await own.patch(first, 0, 'x'.repeat(600)))).toBe('413 quota_exceeded')
      expect(await own.sent(last, 0, 'x'.repeat(600))).toBe(600)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 600, reserved_bytes: 0 })
    })

    it('keeps what it holds when something has come, or it is a part', async () => {
      const own = await within(1_000)
      const id = await own.made(400)
      await own.sent(id, 0, 'x')
      await own.made(400)
      expect(await held(own)).toBe(800)
      await own.made(100, partial)
      await own.made(100, partial)
      expect(await held(own)).toBe(1_000)
    })

    it('holds what it has after a while, and the next request reserves the rest', async () => {
      const own = await within(1_000)
      const id = await own.made(600)
      await own.sent(id, 0, 'x'.repeat(100))
      expect(await held(own)).toBe(600)
      await eventually(async () => expect(await held(own)).toBe(100))
      const other = await own.made(700)
      expect(refusal(await own.patch(id, 100, 'x'.repeat(500)))).toBe('413 quota_exceeded')
      expect((await own.remove(other)).status).toBe(204)
      expect(await own.sent(id, 100, 'x'.repeat(500))).toBe(600)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 600, reserved_bytes: 0 })
    })

    it('holds all while bytes come', async () => {
      const own = await within(1_000)
      const id = await own.made(600)
      const wire = await own.open('PATCH', id, patchHeaders(0, 600), 'x')
      await pause(2 * holdSeconds * second)
      expect(await held(own)).toBe(600)
      await wire.send('x'.repeat(599))
      expect((await wire.answer()).status).toBe(204)
      wire.cut()
    })
  })

  describe('parts', () => {
    it('count once, and are given back when the final upload is ready', async () => {
      const own = await within(1_000)
      const ids = await Promise.all([400, 400].map((size) => own.made(size, partial, 'x'.repeat(size))))
      expect(await held(own)).toBe(800)
      const id = idOf(await own.post({ 'Upload-Concat': `final;${ids.map(pathOf).join(' ')}` }))
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 800, reserved_bytes: 0 })
      expect(await own.download(id)).toHaveLength(800)
      for (const part of ids) await own.remove(part)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 800, reserved_bytes: 0 })
    })

    it('hold their bytes again when the final upload comes to nothing', async () => {
      const own = await within(1_000)
      const text = 'no picture '.repeat(40)
      const part = await own.made(text.length, partial, text)
      const refused = { 'Upload-Concat': `final;${pathOf(part)}`, 'Upload-Metadata': picture }
      expect((await own.post(refused)).status).toBe(415)
      expect(await held(own)).toBe(text.length)
    })

    it('are named a few times at most', async () => {
      const own = await within(100_000)
      const part = await own.made(5, partial, 'hello')
      const named = (times: number) =>
        own.post({ 'Upload-Concat': `final;${Array.from({ length: times }, () => pathOf(part)).join(' ')}` })
      expect(refusal(await named(5))).toBe('400 validation_failed')
      expect(await own.download(idOf(await named(4)))).toHaveLength(20)
    })

    it.each([
      [12, 4, 20],
      [8, 2, 20],
    ])('of tus-js-client: %i MiB in %i parts fit into %i MiB', async (size, parallelUploads, quota) => {
      const workspaceId = `tus-${randomUUID()}`
      const { key } = await addKeys(main.gateway(), { key: { workspaceId } })
      await withRecords(main.gateway(), (records) => records.setQuota(workspaceId, quota * mib))
      const bytes = randomBytes(size * mib)
      const own = main.tus.as(key)
      const ended = await run(bytes, { ...clientOptions({ url: main.gateway().url, key }), parallelUploads })
      expect(ended.error).toBeUndefined()
      expect((await own.usage()).storage).toMatchObject({ used_bytes: size * mib, reserved_bytes: 0 })
      expect((await own.download(ended.id)).equals(bytes)).toBe(true)
    })
  })

  describe('records', () => {
    it('of a workspace may not be unfinished without bound', async () => {
      const own = await within(100_000)
      const ids: string[] = []
      for (let at = 0; at < mostOpen; at++)
        ids.push(await own.made(1, { 'Upload-Metadata': metadataOf({ at: `${at}` }) }))
      const refused = await own.post({ 'Upload-Length': '1' })
      expect(refusal(refused)).toBe('429 rate_limited')
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
      expect((await own.remove(ids[0] ?? '')).status).toBe(204)
      expect(await own.made(1)).toBeTruthy()
    })

    it('that have ended make room for new ones', async () => {
      const own = await within(100_000)
      const bad = { 'Upload-Length': '5', 'Upload-Metadata': picture }
      for (let at = 0; at < 3 * mostOpen; at++) expect((await own.post(bad, 'hello')).status).toBe(415)
      const { rejected = 0 } = (await own.usage()).uploads
      expect(rejected).toBeGreaterThan(mostOpen)
      expect(rejected).toBeLessThanOrEqual(2 * mostOpen)
      expect(await own.made(5, {}, 'hello')).toBeTruthy()
    })
  })

  it('nothing of this is astray, and all of it is on record', async () => {
    await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    expect((await gateway.run('doctor')).json).toMatchObject({ findings: [] })
  })
}

/** The end is the end at that second, whether or not somebody has swept. */
export function endingsSuite({ place, breaches }: Bench): void {
  let gateway: TestGateway
  let tus: Tus
  beforeAll(async () => {
    const more = `tus: { expiry: ${expirySeconds} }, sweep: { interval: 30 }`
    gateway = await place.start({ plugins: `sniffType(), quota()`, more })
    tus = tusOf(() => gateway, [...breaches])
  })
  afterAll(() => gateway.close())

  it('an upload ends at its second, on every way', async () => {
    const id = await tus.made(10)
    await tus.sent(id, 0, 'hello')
    const part = await tus.made(5, partial, 'hello')
    await pause((expirySeconds + 1) * second)
    expect((await tus.head(id)).status).toBe(410)
    expect(refusal(await tus.patch(id, 5, 'world'))).toBe('410 upload_expired')
    expect((await tus.post({ 'Upload-Concat': `final;${pathOf(part)}` })).status).toBe(400)
    expect(await tus.view(id)).toMatchObject({ status: 'expired' })
    expect((await tus.call('POST', `/api/v1/uploads/${id}/confirm`)).status).toBe(410)
  })

  it('while bytes come the end moves, and a part that is complete waits for another', async () => {
    const [done, slow] = [await tus.made(5, partial, 'hello'), await tus.made(6, partial)]
    const wire = await tus.open('PATCH', slow, patchHeaders(0, 6))
    for (let at = 0; at < 5; at++) {
      await wire.send('x')
      await pause(1.4 * second)
      const expires = Date.parse((await tus.head(slow)).headers.get('upload-expires') ?? '')
      expect(expires).toBeGreaterThan(Date.now() - second)
    }
    await wire.send('x')
    expect((await wire.answer()).status).toBe(204)
    wire.cut()
    const id = idOf(await tus.post({ 'Upload-Concat': `final;${pathOf(done)} ${pathOf(slow)}` }))
    expect((await tus.download(id)).toString()).toBe('helloxxxxxx')
  })
}

/** Bytes that the place has of an upload on its way. */
async function bytesOf(place: Place, gateway: TestGateway, id: string): Promise<number> {
  const growth = await withRecords(gateway, (records) => records.growth(id))
  if (!growth) throw new Error('The upload does not grow.')
  return place.growing(gateway, growth.key)
}
