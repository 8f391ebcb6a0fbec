import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, sha256 } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place, strays } from '../support/places.ts'
import type { FaultOptions } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import { type Proxied, startProxied } from '../support/proxied.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { idOf, pathOf, type Tus, tusOf } from '../support/tus.ts'

const kib = 1024
const mib = 1024 * kib
// Nobody gives back memory that a request holds which is stuck.
const place = s3Place(`downloads: 'proxy', settle: 1, memory: '512MiB'`)

interface Step {
  readonly what: string
  readonly operation: S3Operation
  readonly when: NonNullable<FaultOptions['when']>
  readonly bytes: Buffer
  /** The bytes of partial uploads of which it is made. @default none */
  readonly cuts?: readonly number[]
}

const small = randomBytes(300 * kib)
const large = randomBytes(9 * mib)
/** A copy inside the store, and what is too small for one. */
const cuts = [6 * mib]
const step = (
  what: string,
  operation: S3Operation,
  when: Step['when'],
  bytes: Buffer,
  more: Partial<Step> = {},
): Step => ({ what, operation, when, bytes, ...more })

/** What the gateway asks of the store for one upload, in its order, and where it is killed. */
const steps: readonly Step[] = [
  step('before a small object', 'PutObject', 'before', small),
  step('amid a small object', 'PutObject', 'sending', small),
  step('when a small object is there', 'PutObject', 'after', small),
  step('before the parts', 'CreateMultipartUpload', 'before', large),
  step('when the parts are begun', 'CreateMultipartUpload', 'after', large),
  step('before a part', 'UploadPart', 'before', large),
  step('amid a part', 'UploadPart', 'sending', large),
  step('when a part is there', 'UploadPart', 'after', large),
  step('before the parts are joined', 'CompleteMultipartUpload', 'before', large),
  step('when the parts are joined', 'CompleteMultipartUpload', 'after', large),
  step('before a final upload', 'CreateMultipartUpload', 'before', large, { cuts }),
  step('when a final upload is begun', 'CreateMultipartUpload', 'after', large, { cuts }),
  step('when a partial upload is copied', 'UploadPartCopy', 'after', large, { cuts }),
  step('when a final upload is joined', 'CompleteMultipartUpload', 'after', large, { cuts }),
  step('when a small final upload is there', 'PutObject', 'after', small, { cuts: [kib] }),
]

interface Begun {
  readonly id: string
  readonly partials: readonly string[]
  readonly concat: Readonly<Record<string, string>>
}

describe.skipIf(place.missing)('a gateway that is killed while it brings a resumable upload to the store', () => {
  const breaches: string[] = []
  /** Of each step: one that is gone on with, and one that is deleted. */
  const begun = new Map<Step, readonly [Begun, Begun]>()
  let proxy: S3Proxy
  let proxied: Proxied
  let gateway: TestGateway
  let tus: Tus

  /** Sends an upload that gets just so far. */
  async function stuck({ operation, when, bytes, cuts: ends = [] }: Step): Promise<Begun> {
    const partials: string[] = []
    for (const [i, start] of (ends.length > 0 ? [0, ...ends] : []).entries()) {
      const body = bytes.subarray(start, ends[i] ?? bytes.length)
      partials.push(await tus.made(body.length, { 'Upload-Concat': 'partial' }, body))
    }
    const concat: Record<string, string> =
      partials.length > 0 ? { 'Upload-Concat': `final;${partials.map(pathOf).join(' ')}` } : {}
    const id = partials.length > 0 ? '' : await tus.made(bytes.length)
    const held = proxy.fault(operation, { act: 'stall', when, bytes: 100 * kib })
    void (id === '' ? tus.post(concat) : tus.patch(id, 0, bytes)).catch(() => {})
    await held.hit
    return { id, partials, concat }
  }

  /** Goes on as clients do, who do not know what became of their last request. */
  async function goOn(bytes: Buffer, { id, concat }: Begun): Promise<string> {
    if (id === '') return idOf(await tus.post(concat))
    const offset = await tus.offset(id)
    if (offset < bytes.length) await tus.sent(id, offset, bytes.subarray(offset))
    return id
  }

  beforeAll(async () => {
    proxied = await startProxied(place)
    ;({ gateway, proxy } = proxied)
    tus = tusOf(() => gateway, breaches)
    for (const one of steps) begun.set(one, [await stuck(one), await stuck(one)])
    await proxied.crash()
  })
  afterAll(() => proxied.close())

  it.each(steps)('$what: it goes on', async (one) => {
    const [upload] = begun.get(one) ?? []
    if (!upload) throw new Error('It was not begun.')
    const id = await goOn(one.bytes, upload)
    expect(await tus.offset(id)).toBe(one.bytes.length)
    expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: one.bytes.length })
    expect(sha256(await tus.download(id))).toBe(sha256(one.bytes))
    for (const partial of upload.partials) expect((await tus.remove(partial)).status).toBe(204)
    expect(sha256(await tus.download(id))).toBe(sha256(one.bytes))
  })

  it.each(steps)('$what: it can be deleted', async (one) => {
    const [, upload] = begun.get(one) ?? []
    if (!upload) throw new Error('It was not begun.')
    const id = upload.id === '' ? await goOn(one.bytes, upload) : upload.id
    for (const each of [id, ...upload.partials]) expect((await tus.remove(each)).status).toBe(204)
    expect((await tus.head(id)).status).toBe(404)
  })

  it('leaves nothing of multipart uploads whose beginning was never answered', async () => {
    const bytes = Buffer.concat([large, small])
    const id = await tus.made(bytes.length)
    const act = { status: 500, code: 'InternalError' }
    const broken = proxy.fault('CreateMultipartUpload', { act, when: 'after', times: Infinity })
    expect((await tus.patch(id, 0, large)).status).toBe(503)
    broken.release()
    const bucket = await place.bucket()
    const open = () => bucket.uploads(`${place.prefixOf(gateway)}${id.slice(-2)}/${id.replaceAll('-', '')}`)
    expect(await open()).not.toEqual([])
    await goOn(bytes, { id, partials: [], concat: {} })
    await eventually(async () => expect(await open()).toEqual([]))
    expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    expect((await tus.remove(id)).status).toBe(204)
  })

  it('charges each once, holds nothing, and leaves nothing else', async () => {
    const used = steps.reduce((sum, { bytes }) => sum + bytes.length, 0)
    expect((await tus.usage()).storage).toMatchObject({ used_bytes: used, reserved_bytes: 0 })
    await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    expect((await place.stored(gateway)).length).toBe(steps.length)
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [], removed_orphans: 0 })
    expect(breaches).toEqual([])
  })
})
