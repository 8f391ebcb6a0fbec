import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { disk, type Place, s3Place } from '../support/places.ts'
import { send, sendByUrl, sendings, type Sending, type Sent } from '../support/send-files.ts'

/** What a browser could run in the page that shows it. */
const active = new Set([
  'text/html',
  'application/xhtml+xml',
  'image/svg+xml',
  'application/xml',
  'text/javascript',
  'application/rss+xml',
  'application/wasm',
  'application/x-shockwave-flash',
])

function filesSuite(place: Place): void {
  const seen = new Map<Sending, Pick<Sent, 'mimetype' | 'facts'>>()
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await place.start({ plugins: null })
  })
  afterAll(() => gateway.close())

  it.each(sendings)('$name declared as $declared', async (sending) => {
    const sent = await send(clientOf(gateway, gateway.key), sending)
    seen.set(sending, { mimetype: sent.mimetype, facts: sent.facts })
    const { contentType, charset } = sending.expected ?? { contentType: '', charset: null }
    expect(sent.exact).toBe(true)
    expect(sent.mimetype).toBe(contentType)
    expect(sent.served.contentType).toBe(charset === null ? contentType : `${contentType}; charset=${charset}`)
    expect(sent.served).toMatchObject(
      active.has(contentType)
        ? { disposition: 'attachment', sandboxed: true }
        : { disposition: 'inline', sandboxed: false },
    )
  })

  it('shows the same of all of them when an upload URL brings them', async () => {
    const client = clientOf(gateway, gateway.key)
    const left = seen.entries()
    async function work(): Promise<void> {
      for (const [sending, found] of left)
        expect({ name: sending.name, ...(await sendByUrl(client, sending)) }).toEqual({ name: sending.name, ...found })
    }
    await Promise.all(Array.from({ length: 4 }, work))
  })

  it('is still right by its own account', async () => {
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
  })
}

describe('on disk', () => {
  filesSuite(disk)
})

const s3 = s3Place()
afterAll(() => s3.close())
describe.skipIf(s3.missing)('on S3', () => {
  filesSuite(s3)
})
