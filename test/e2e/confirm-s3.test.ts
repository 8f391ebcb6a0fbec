import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf, eventually, sha256 } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place, strays } from '../support/places.ts'
import { base, type Created, refusal, viewOf, withBytes, type Workspace, workspaceOf } from '../support/presigned.ts'
import type { FaultOptions } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import { type Proxied, startProxied } from '../support/proxied.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'

const place = s3Place()
const size = 200_000 // bytes

interface Step {
  readonly what: string
  readonly operation: S3Operation
  readonly when: NonNullable<FaultOptions['when']>
  readonly nth?: number
  /** What the record says when nobody asks again. */
  readonly left: 'pending' | 'confirmed'
}

/** What the gateway asks of the store for one confirm, in its order, and where it is killed. */
const steps: readonly Step[] = [
  { what: 'before it looks for the bytes', operation: 'HeadObject', when: 'before', left: 'pending' },
  { what: 'when it has found them', operation: 'HeadObject', when: 'after', left: 'pending' },
  { what: 'before the copy', operation: 'CopyObject', when: 'before', left: 'pending' },
  { what: 'when the copy is made', operation: 'CopyObject', when: 'after', left: 'pending' },
  { what: 'when it has looked at the copy', operation: 'HeadObject', when: 'after', nth: 2, left: 'pending' },
  { what: 'before it reads the head', operation: 'GetObject', when: 'before', left: 'confirmed' },
  { what: 'while it reads the whole', operation: 'GetObject', when: 'answering', nth: 2, left: 'confirmed' },
  { what: 'before what the client sent is removed', operation: 'DeleteObject', when: 'before', left: 'confirmed' },
  { what: 'when what the client sent is removed', operation: 'DeleteObject', when: 'after', left: 'confirmed' },
]

describe.skipIf(place.missing)('a gateway that is killed during a confirm', () => {
  const bytes = randomBytes(size)
  /** Of each step: one that is confirmed again, one that is deleted, and one that is left alone. */
  const made = new Map<Step, readonly Created[]>()
  let proxy: S3Proxy
  let proxied: Proxied
  let gateway: TestGateway
  let ours: Workspace

  /** Confirms an upload that gets just so far. */
  async function stuck({ operation, when, nth = 1 }: Step): Promise<Created> {
    const checksum = `sha256:${sha256(bytes, 'base64')}` // this store does not check it, so that all is read
    const one = await withBytes(ours, { size_bytes: size, checksum }, bytes)
    const held = proxy.fault(operation, { act: 'stall', when, nth, bytes: 1_000 })
    // It is answered only where the gateway works on after its answer.
    void ours.confirm(one.upload.id).catch(() => {})
    await held.hit
    return one
  }

  beforeAll(async () => {
    proxied = await startProxied(place)
    ;({ gateway, proxy } = proxied)
    ours = workspaceOf(clientOf(gateway, gateway.key))
    for (const step of steps) {
      const three: Created[] = []
      while (three.length < 3) three.push(await stuck(step))
      made.set(step, three)
    }
    await proxied.crash()
  })
  afterAll(() => proxied.close())
  const of = (step: Step, n: number): string => made.get(step)?.[n]?.upload.id ?? ''

  it.each(steps)('$what: the next confirm works', async (step) => {
    const upload = viewOf(await ours.confirm(of(step, 0)))
    expect(upload).toMatchObject({ status: 'confirmed', size_bytes: size, received_bytes: size })
    const file = await ours.call('GET', upload.download_url ?? '', { key: null })
    expect(sha256(file.bytes)).toBe(sha256(bytes))
  })

  it.each(steps)('$what: a DELETE takes all of it', async (step) => {
    expect((await ours.call('DELETE', `${base}/${of(step, 1)}`)).status).toBe(200)
    expect(refusal(await ours.confirm(of(step, 1)))).toBe('404 not_found')
  })

  it.each(steps)('$what: left alone it is $left', async (step) => {
    await eventually(async () => expect((await ours.view(of(step, 2))).status).toBe(step.left))
  })

  it('charges once what was confirmed, holds what was not, and keeps nothing else', async () => {
    const waiting = steps.filter(({ left }) => left === 'pending').length
    const confirmed = 2 * steps.length - waiting
    expect((await ours.usage()).storage).toMatchObject({
      used_bytes: confirmed * size,
      reserved_bytes: waiting * size,
    })
    await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    // What waits lies where its URL leads, and is the only thing that does.
    const objects = await place.stored(gateway)
    expect(objects.length).toBe(2 * steps.length)
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
  })
})
