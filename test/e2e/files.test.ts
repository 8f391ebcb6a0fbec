import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf } from '../support/client.ts'
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

/** Width, height and tenths of seconds. */
const roughly = ({ width, height, duration }: Sent['facts']) => [
  width,
  height,
  duration === null ? null : Math.round(duration * 10) / 10,
]

/** What the records on the disk say; the same must come out of S3. */
const seen = new Map<Sending, Pick<Sent, 'mimetype' | 'facts'>>()

/** Sends each file through the gateway, and looks at the record and at what comes back. `more`: tests on the same gateway. */
function filesSuite(place: Place, files: readonly Sending[], more: (client: () => Client) => void = () => {}): void {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await place.start({ plugins: null })
  })
  afterAll(() => gateway.close())
  const client = () => clientOf(gateway, gateway.key)

  it.each(files)('$name declared as $declared', async (sending) => {
    const sent = await send(client(), sending)
    const found = { mimetype: sent.mimetype, facts: sent.facts }
    expect(found).toEqual(seen.get(sending) ?? found)
    seen.set(sending, found)
    const { contentType, charset, facts } = sending.expected ?? { contentType: '', charset: null }
    expect(roughly(sent.facts)).toEqual(facts ?? roughly(sent.facts))
    expect(sent.exact).toBe(true)
    expect(sent.mimetype).toBe(contentType)
    expect(sent.served.contentType).toBe(charset === null ? contentType : `${contentType}; charset=${charset}`)
    expect(sent.served).toMatchObject(
      active.has(contentType)
        ? { disposition: 'attachment', sandboxed: true }
        : { disposition: 'inline', sandboxed: false },
    )
  })

  more(client)

  it('is still right by its own account', async () => {
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
  })
}

describe('on disk', () => {
  filesSuite(disk, sendings)
})

const s3 = s3Place()
afterAll(() => s3.close())
/** Through the gateway every fourth: it looks at what comes before it is stored, as on the disk. */
const some = sendings.filter((_, i) => i % 4 === 0)

describe.skipIf(s3.missing)('on S3', () => {
  filesSuite(s3, some, (client) => {
    it('sees all of them as they are when they go past it', async () => {
      const left = seen.entries()
      async function work(): Promise<void> {
        for (const [sending, found] of left)
          expect({ ...(await sendByUrl(client(), sending)), sending }).toEqual({ ...found, sending })
      }
      await Promise.all(Array.from({ length: 4 }, work))
    })
  })
})
