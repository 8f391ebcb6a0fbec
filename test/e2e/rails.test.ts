import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { urlOf } from '../../src/http/server.ts'
import { missingChromium, startChromium } from '../support/chromium.ts'
import { clientOf, eventually } from '../support/client.ts'
import { type Blob, blobOf, directBase, directOf } from '../support/direct.ts'
import { projectRoot, type TestGateway } from '../support/gateway.ts'
import { disk, s3Place } from '../support/places.ts'

/** The public client, as it is. */
const client = join(projectRoot, 'node_modules/@rails/activestorage/app/assets/javascripts/activestorage.js')
const startMs = 60_000
/** Milliseconds in which the gateway finds by itself what has come to the store. */
const noticedMs = 15_000

const html = `<!doctype html><meta charset="utf-8"><input type="file"><script src="/activestorage.js"></script><script>
  const file = () => document.querySelector('input').files[0]
  window.byRails = (url, key) => new Promise((resolve) => {
    const headers = { directUploadWillCreateBlobWithXHR: (xhr) => xhr.setRequestHeader('Authorization', 'Bearer ' + key) }
    new ActiveStorage.DirectUpload(file(), url, headers).create((error, blob) => resolve({ error, blob }))
  })
  window.bySha256 = async (url, key) => {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await file().arrayBuffer()))
    const blob = { filename: file().name, content_type: file().type, byte_size: file().size, checksum: btoa(String.fromCharCode(...digest)) }
    const headers = { Authorization: 'Bearer ' + key, 'Content-Type': 'application/json' }
    const made = await (await fetch(url, { method: 'POST', headers, body: JSON.stringify({ blob }) })).json()
    const put = await fetch(made.direct_upload.url, { method: 'PUT', headers: made.direct_upload.headers, body: file() })
    return { error: put.ok ? null : await put.text(), blob: made }
  }
</script>`

const s3 = s3Place()
let browser: Browser
let server: Server
let page: Page
let origin: string

describe.skipIf(missingChromium)(`a browser${missingChromium === undefined ? '' : ` (${missingChromium})`}`, () => {
  beforeAll(async () => {
    const script = await readFile(client)
    server = createServer((request, response) => {
      const isScript = request.url === '/activestorage.js'
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
      response.end(isScript ? script : html)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    origin = urlOf(server, '127.0.0.1')
    browser = await startChromium()
    page = await browser.newPage()
    await page.goto(origin)
  }, startMs)
  afterAll(async () => {
    await browser?.close()
    server?.closeAllConnections()
    server?.close()
    await s3.close()
  })

  function uploads(start: () => Promise<TestGateway>): void {
    let gateway: TestGateway
    beforeAll(async () => {
      gateway = await start()
    }, startMs)
    afterAll(() => gateway?.close())

    it.each(['byRails', 'bySha256'])('sends a file %s, which is then looked at', async (how) => {
      const image = await readFile(join(projectRoot, 'test/samples/media/still.png'))
      const name = `Grüße  "1" 😀; ${how}.png`
      await page.setInputFiles('input', { name, mimeType: 'image/png', buffer: image })
      const url = JSON.stringify(`${gateway.url}${directBase}`)
      const { error, blob } = await page.evaluate<{ error: string | null; blob: Blob }>(
        `${how}(${url}, ${JSON.stringify(gateway.key)})`,
      )
      expect(error).toBeNull()
      expect(blob).toMatchObject({ filename: name, content_type: 'image/png', byte_size: image.length })
      const ours = directOf(clientOf(gateway, gateway.key))
      await eventually(async () => expect(await ours.status(blob)).toBe('confirmed'), noticedMs)
      const { metadata } = blobOf(await ours.look(blob))
      expect(metadata).toMatchObject({ identified: true, analyzed: true, duration: null })
      expect(metadata['width']).toBeGreaterThan(0)
      expect(metadata['height']).toBeGreaterThan(0)
      const download = await ours.call('GET', `/api/v1/uploads/${blob.key}/download`)
      expect(download.bytes.equals(image)).toBe(true)
    })
  }

  describe('on disk', () => {
    uploads(() => disk.start({ plugins: null, env: { FAIRLEAD_CORS_ORIGINS: origin } }))
  })
  describe.skipIf(s3.missing)(`on S3${s3.missing === undefined ? '' : ` (${s3.missing})`}`, () => {
    uploads(async () => {
      await (await s3.bucket()).allowOrigin(origin)
      return s3.start({ plugins: null, env: { FAIRLEAD_CORS_ORIGINS: origin } })
    })
  })
})
