import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { urlOf } from '../../src/http/server.ts'
import { missingChromium, startChromium } from '../support/chromium.ts'
import { clientOf, eventually } from '../support/client.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

const startMs = 60_000
/** Milliseconds in which a browser on a busy machine has done something. */
const browserMs = 20_000

/** What docs/clients.md tells to write, with an address and a key that exist. */
async function snippet(gateway: TestGateway): Promise<string> {
  const page = await readFile(join(projectRoot, 'docs/clients.md'), 'utf8')
  const code = /\n## Uppy\n+```ts\n(.*?)```/s.exec(page)?.[1] ?? ''
  expect(code).toContain('new Uppy()')
  return `const key = ${JSON.stringify(gateway.key)}\n${code.replaceAll('https://files.example.org', gateway.url)}`
}

describe.skipIf(missingChromium)(
  `the Uppy snippet${missingChromium === undefined ? '' : ` (${missingChromium})`}`,
  () => {
    let gateway: TestGateway
    let browser: Browser
    let server: Server
    beforeAll(async () => {
      gateway = await startGateway()
      const built = await build({
        stdin: { contents: await snippet(gateway), loader: 'ts', resolveDir: projectRoot },
        bundle: true,
        write: false,
        format: 'esm',
        outdir: '/',
        logLevel: 'error',
      })
      const files = new Map(
        built.outputFiles.map(({ path, contents }) => [path.slice(path.lastIndexOf('.')), contents]),
      )
      const html =
        '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/a.css"><div id="files"></div><script type="module" src="/a.js"></script>'
      server = createServer((request, response) => {
        const ending = /\.\w+$/.exec(request.url ?? '')?.[0] ?? ''
        response.setHeader('Content-Type', { '.js': 'text/javascript', '.css': 'text/css' }[ending] ?? 'text/html')
        response.end(ending === '' ? html : files.get(ending))
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      browser = await startChromium()
    }, startMs)
    afterAll(async () => {
      await browser?.close()
      server?.closeAllConnections()
      server?.close()
      await gateway?.close()
    })

    it('shows a button that can be clicked, and sends the file that is chosen', async () => {
      const page = await browser.newPage()
      page.setDefaultTimeout(browserMs)
      await page.goto(urlOf(server, '127.0.0.1'))
      const choosing = page.waitForEvent('filechooser')
      await page.getByRole('button', { name: 'browse files' }).click()
      await (await choosing).setFiles({ name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('a note') })
      await page.getByRole('button', { name: /^Upload 1 file/ }).click()
      const call = clientOf(gateway, gateway.key)
      await eventually(async () => {
        const { data } = (await call('GET', '/api/v1/uploads')).json<{ data: object[] }>()
        expect(data).toMatchObject([{ filename: 'note.txt', status: 'confirmed', size_bytes: 6 }])
      })
    })
  },
)
