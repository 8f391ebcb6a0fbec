import { afterAll, beforeAll, expect, it } from 'vitest'
import { clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { send, sendings } from '../support/send-files.ts'

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

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.close())

it.each(sendings)('$name declared as $declared', async (sending) => {
  const sent = await send(clientOf(gateway, gateway.key), sending)
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

it('is still right by its own account', async () => {
  expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
})
