import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listen, urlOf } from '../src/http/server.ts'
import { createFairlead, type Fairlead, type UserConfig } from '../src/index.ts'
import { addKeys, clientOf, eventually, requestHead, wireTo } from './support/client.ts'

let dataDir: string
let server: Server
let fairlead: Fairlead | undefined
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'fairlead-embed-'))
  server = createServer()
  await listen(server, '127.0.0.1', 0)
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await fairlead?.close()
  fairlead = undefined
  await rm(dataDir, { recursive: true, force: true })
})

async function mounted(config: UserConfig = {}) {
  fairlead = await createFairlead({ dataDir, ...config, server: { logLevel: 'silent', ...config.server } })
  server.on('request', fairlead.handler)
  const { key } = await addKeys({ dataDir }, { key: {} })
  const url = urlOf(server, '127.0.0.1')
  let requests = 0
  server.on('request', () => requests++)
  const arrived = (count: number) => eventually(() => expect(requests).toBe(count))
  return { ...fairlead, url, key, call: clientOf({ url }, key), arrived }
}

const head = (key: string, length: number): string =>
  requestHead('POST', '/v1/uploads', {
    Authorization: `Bearer ${key}`,
    'Content-Type': 'text/plain',
    'X-File-Name': 'a.txt',
    'Content-Length': length,
  })

describe('inside of another program', () => {
  it('sends a browser to the path with a slash, where the page finds its files', async () => {
    fairlead = await createFairlead({ dataDir, server: { logLevel: 'silent' } })
    const { handler } = fairlead
    // As Express cuts the path off below which it has something.
    server.on('request', (req, res) => {
      const url = /^\/my%20uploads(.*)$/.exec(req.url ?? '')?.[1]
      if (url === undefined) return void res.writeHead(404).end()
      Object.assign(req, { originalUrl: req.url, url: url.startsWith('/') ? url : `/${url}` })
      return handler(req, res)
    })
    const url = urlOf(server, '127.0.0.1')
    const page = await fetch(`${url}/my%20uploads?from=here`)
    expect({ url: page.url, status: page.status }).toEqual({ url: `${url}/my%20uploads/`, status: 200 })
    const script = /<script[^>]* src="([^"]+)"/.exec(await page.text())?.[1] ?? ''
    expect((await fetch(new URL(script, page.url))).status).toBe(200)
    expect((await fetch(`${url}/my%20uploads/`, { redirect: 'manual' })).status).toBe(200)
  })

  it('leaves nothing open when it cannot start, and may be started again', async () => {
    await mkdir(join(dataDir, 'objects', 'tmp'), { recursive: true })
    await writeFile(join(dataDir, 'objects', 'open'), 'no folder')
    await expect(createFairlead({ dataDir, server: { logLevel: 'silent' } })).rejects.toThrow(/open/)
    await rm(join(dataDir, 'objects'), { recursive: true })
    const { call } = await mounted()
    expect((await call('GET', '/readyz')).status).toBe(200)
  })

  it('lets requests end that run while it closes, and refuses others', async () => {
    const { url, key, call, close, arrived } = await mounted()
    const wire = await wireTo(url)
    await wire.send(`${head(key, 5)}he`)
    await arrived(1)
    const closed = close()
    await eventually(async () => expect((await call('GET', '/readyz')).status).toBe(503))
    await wire.send('llo')
    const { status, headers } = await wire.answer()
    expect({ status, connection: headers.get('connection') }).toEqual({ status: 201, connection: 'close' })
    expect(await wire.closed()).toBe(true)
    await closed
    await close()
    expect((await call('GET', '/healthz')).status).toBe(503)
  })

  it('cuts what does not end', async () => {
    const { url, key, close, arrived } = await mounted({ server: { shutdownGrace: 1 } })
    const wire = await wireTo(url)
    await wire.send(`${head(key, 5)}he`)
    await arrived(1)
    await close()
    expect(await wire.closed()).toBe(true)
  })

  it('says so when somebody has read the body before', async () => {
    const { handler, call } = await mounted()
    server.removeAllListeners('request')
    server.on('request', (req, res) => void req.toArray().then(() => handler(req, res)))
    const sent = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt' }, body: 'hello' })
    expect({ status: sent.status, text: sent.bytes.toString() }).toEqual({
      status: 500,
      text: expect.stringContaining('before any body parser'),
    })
    expect((await call('GET', '/healthz')).status).toBe(200)
  })

  it('leaves its data to the next one', async () => {
    const first = await mounted()
    const sent = await first.call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt' }, body: 'hello' })
    await expect(createFairlead({ dataDir })).rejects.toThrow(/Another Fairlead server/)
    await first.close()
    server.removeAllListeners('request')
    const { call } = await mounted()
    const { assetId } = sent.json<{ data: { assetId: string } }>().data
    const download = await call('GET', `/api/v1/uploads/${assetId}/download`)
    expect(download.bytes.toString()).toBe('hello')
  })

  it('checks what it is given as a configuration file', async () => {
    await expect(createFairlead({ dataDir, limits: { maxFileSize: -1 } })).rejects.toThrow(/maxFileSize/)
    const misspelt: object = { dataDir, sevrer: {} }
    await expect(createFairlead(misspelt)).rejects.toThrow(/sevrer/)
  })
})
