import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import type { UploadOptions } from 'tus-js-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chunked, type Client, clientOf, eventually, pause, requestHead, sha256, wireTo } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { field, file, formBytes, formType } from '../support/multipart.ts'
import { type Certificate, missingNginx, type Nginx, selfSigned, startNginx } from '../support/nginx.ts'
import { disk, type PlaceOptions } from '../support/places.ts'
import { freePort } from '../support/ports.ts'
import { workspaceOf } from '../support/presigned.ts'
import { idOf, patchHeaders, pathOf, type Tus, tusOf } from '../support/tus.ts'
import { clientOptions, run } from '../support/tus-js-client.ts'

const mib = 1024 * 1024
const maxFileSize = 8 * mib
const trusting = { FAIRLEAD_TRUST_PROXY: '127.0.0.1', FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) }

type Change = Readonly<Record<string, string | null>>

/** A gateway behind an nginx. */
interface Site {
  readonly gateway: TestGateway
  readonly nginx: Nginx
  /** The gateway as the world sees it. */
  readonly outside: TestGateway
  readonly call: Client
  readonly tus: Tus
}

/** Log lines about requests by this method that have ended. */
const ended = (gateway: TestGateway, method: string): readonly Record<string, unknown>[] =>
  gateway
    .log()
    .split('\n')
    .filter((line) => line.includes('"msg":"request"') && line.includes(`"method":"${method}"`))
    .map((line) => JSON.parse(line))

describe.skipIf(missingNginx)(`behind nginx${missingNginx === undefined ? '' : ` (${missingNginx})`}`, () => {
  let certificate: Certificate
  let site: Site
  /** Its tus addresses are paths, and it gives silent bodies up soon. */
  let other: Site
  /** Has a public URL. */
  let named: { readonly gateway: TestGateway; readonly port: number; readonly url: string }
  let folder: string
  const open: { close(): Promise<void> }[] = []
  const usual = getCACertificates('default')

  /** Another nginx before a gateway that runs. @param change what it has otherwise than the documentation */
  async function front(gateway: TestGateway, change: Change = {}): Promise<Site> {
    const nginx = await startNginx({ upstream: gateway.url, certificate, change })
    open.push(nginx)
    const outside = { ...gateway, url: nginx.url }
    return { gateway, nginx, outside, call: clientOf(outside, gateway.key), tus: tusOf(() => outside, []) }
  }
  async function start(options: PlaceOptions, change?: Change): Promise<Site> {
    const gateway = await disk.start(options)
    open.push(gateway)
    return front(gateway, change)
  }
  beforeAll(async () => {
    certificate = await selfSigned()
    setDefaultCACertificates([...usual, certificate.pem])
    folder = await mkdtemp(join(tmpdir(), 'fairlead-behind-'))
    site = await start({
      env: { ...trusting, NODE_EXTRA_CA_CERTS: certificate.certFile, FAIRLEAD_TUS_TIMES_PER_PART: '250' },
    })
    other = await start({ env: trusting, more: 'tus: { relativeLocation: true }, server: { bodyIdleTimeout: 2 }' })
    const port = await freePort()
    const url = `https://localhost:${port}/gateway`
    const gateway = await disk.start({
      env: { FAIRLEAD_PUBLIC_URL: url, NODE_EXTRA_CA_CERTS: certificate.certFile },
    })
    open.push(gateway)
    named = { gateway, port, url }
  })
  afterAll(async () => {
    setDefaultCACertificates(usual)
    for (const one of open) await one.close()
    for (const one of [folder, certificate.folder]) await rm(one, { recursive: true, force: true })
  })

  /** What the gateway calls itself in all that it hands out. */
  async function addresses({ tus, call, nginx }: Site, headers: Readonly<Record<string, string>> = {}) {
    const made = await tus.post({ 'Upload-Length': '10', ...headers })
    expect(made.status).toBe(201)
    const created = await call('POST', '/api/v1/uploads', {
      headers,
      json: { filename: 'file.bin', category: 'other' },
    })
    const told = [
      made.headers.get('location'),
      made.headers.get('upload-record'),
      created.json<{ data: { upload_url: string } }>().data.upload_url,
    ]
    const { host } = new URL(nginx.url)
    return told.map((url) => /^(.*)(?=\/(files|api|presigned)\/)/.exec(url ?? '')?.[1]?.replace(host, 'PUBLIC'))
  }

  describe('where it says that it is', () => {
    it('the address that was asked, with a trusted proxy', async () => {
      expect(await addresses(site)).toEqual(Array(3).fill('https://PUBLIC'))
    })

    it('not what a client claims', async () => {
      const claims = {
        'X-Forwarded-Host': 'evil.example',
        'X-Forwarded-Proto': 'http',
        'X-Forwarded-For': '192.0.2.1',
        'X-Request-Id': 'who-am-i',
      }
      expect(await addresses(site, claims)).toEqual(Array(3).fill('https://PUBLIC'))
      await eventually(() => {
        const lines = ended(site.gateway, 'POST').filter(({ requestId }) => requestId === 'who-am-i')
        expect(lines.map(({ ip }) => ip)).toEqual(['127.0.0.1', '127.0.0.1'])
      })
    })

    it('FAIRLEAD_PUBLIC_URL, whatever was asked', async () => {
      expect(await addresses(await front(named.gateway))).toEqual(Array(3).fill(named.url))
    })

    it('a public URL with a path', async () => {
      const nginx = await startNginx({ upstream: named.gateway.url, certificate, port: named.port, path: '/gateway' })
      try {
        expect(nginx.url).toBe(named.url)
        const { key } = named.gateway
        const end = await run(randomBytes(100_000), clientOptions({ url: nginx.url, key }))
        expect(end).toMatchObject({ error: undefined, url: `${nginx.url}/files/${end.id}` })
        const headers = { 'x-file-name': 'a.txt', 'x-api-key': key }
        const asset = await fetch(`${nginx.url}/v1/uploads`, { method: 'POST', headers, body: 'hello' })
        const found = await fetch(new URL(asset.headers.get('location') ?? '', nginx.url), { headers })
        expect([asset.status, found.status]).toEqual([201, 200])
        // It uploads in other ways, and looks at every address.
        expect((await named.gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
      } finally {
        await nginx.close()
      }
    })

    it('a path alone, for tus, when so configured', async () => {
      expect(await addresses(other)).toEqual(['', 'https://PUBLIC', 'https://PUBLIC'])
      const end = await run(randomBytes(100_000), { ...clientOptions(other.outside), chunkSize: 30_000 })
      expect(end).toMatchObject({ error: undefined, url: `${other.nginx.url}/files/${end.id}` })
    })

    it('without https, where the proxy is not trusted', async () => {
      const wary = await start({ env: { FAIRLEAD_TRUST_PROXY: '10.0.0.0/8,::1' } })
      expect(await addresses(wary)).toEqual(Array(3).fill('http://PUBLIC'))
    })
  })

  describe('a PATCH', () => {
    const bytes = randomBytes(3 * mib)

    it('is there while it is on its way, and when it breaks', async () => {
      const { tus, gateway } = site
      const id = await tus.made(bytes.length)
      const wire = await tus.stuck(id, 0, bytes.subarray(0, 5), bytes.length)
      await wire.send(bytes.subarray(5, 2 * mib))
      await eventually(async () => expect(await tus.offset(id)).toBe(2 * mib))
      expect(ended(gateway, 'PATCH').filter(({ path }) => path === pathOf(id))).toEqual([])

      wire.cut()
      await eventually(() =>
        expect(ended(gateway, 'PATCH').filter(({ path }) => path === pathOf(id))).toMatchObject([{ cut: true }]),
      )
      expect(await tus.offset(id)).toBe(2 * mib)
      expect(await tus.sent(id, 2 * mib, bytes.subarray(2 * mib))).toBe(bytes.length)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('gives way to a newer one', async () => {
      const { tus } = site
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      expect(await tus.sent(id, 5, Buffer.from('world'))).toBe(10)
      const answer = await wire.answer()
      expect(answer.status).toBe(423)
      expect(answer.headers.has('upload-offset')).toBe(false)
      wire.cut()
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('may last longer than the time in which an answer must come', async () => {
      const { tus } = await front(site.gateway, { proxy_read_timeout: '2s', proxy_send_timeout: '2s' })
      const id = await tus.made(100)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 5), 'hell')
      await pause(2_500)
      await wire.send('o')
      expect((await wire.answer()).headers.get('upload-offset')).toBe('5')
      wire.cut()
    })

    it('that falls silent keeps what has come', async () => {
      const { tus } = other
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      // The gateway's own answer, or nginx's about a connection that the gateway has closed.
      expect([408, 502]).toContain((await wire.answer()).status)
      wire.cut()
      expect(await tus.offset(id)).toBe(5)
    })
  })

  describe('an answer', () => {
    it('with long headers arrives', async () => {
      const { tus, call } = site
      // About as long as what the gateway gives back may be.
      const id = await tus.made(5, { 'Upload-Metadata': `a ${'eHh4'.repeat(1_000)}` })
      expect(await tus.offset(id)).toBe(0)
      // More than it gives back.
      expect(await tus.offset(await tus.made(5, { 'Upload-Metadata': `a ${'eHh4'.repeat(1_300)}` }))).toBe(0)
      const partial = { 'Upload-Concat': 'partial' }
      const part = await tus.made(1, partial, 'x')
      const joined = await tus.post({ 'Upload-Concat': `final;${`${pathOf(part)} `.repeat(250).trim()}` })
      expect(await tus.offset(idOf(joined))).toBe(250)
      for (const letter of ['a', 'ä', '日', '😀']) {
        const asset = await call('POST', '/v1/uploads', {
          headers: { 'x-file-name': encodeURIComponent(`${letter.repeat(508)}.txt`) },
          body: 'hello',
        })
        const { fileUrl } = asset.json<{ data: { fileUrl: string } }>().data
        const download = await call('GET', fileUrl, { key: null })
        expect([letter, download.status, download.bytes.toString()]).toEqual([letter, 200, 'hello'])
      }
    })

    it('about a body that falls silent is the gateway\u2019s', async () => {
      const wire = await wireTo(other.nginx.url)
      const head = { 'x-api-key': other.gateway.key, 'x-file-name': 'a.txt', 'Content-Length': 10 }
      await wire.send(`${requestHead('POST', '/v1/uploads', head)}hello`)
      const answer = await wire.answer()
      expect([answer.status, answer.json()]).toMatchObject([408, { errorCode: 'REQUEST_TIMEOUT' }])
      wire.cut()
    })

    it('that nginx did not wait for is found again', async () => {
      const gate = join(folder, 'open')
      const waits = `async beforeFinish() { while (!process.getBuiltinModule('node:fs').existsSync('${gate}')) await new Promise((go) => setTimeout(go, 20)) }`
      const slow = await start(
        { env: trusting, plugins: `quota(), { name: 'slow', ${waits} }` },
        { proxy_read_timeout: '2s' },
      )
      const bytes = randomBytes(100_000)
      const sending = run(bytes, clientOptions(slow.outside))
      await eventually(async () =>
        expect(await slow.nginx.requests()).toContainEqual(expect.stringMatching(/^PATCH .* 504$/)),
      )
      await writeFile(gate, '')
      const end = await sending
      expect(end.error).toBeUndefined()
      expect(await slow.tus.view(end.id)).toMatchObject({ status: 'confirmed', size_bytes: bytes.length })
      expect(await slow.tus.usage()).toMatchObject({ storage: { used_bytes: bytes.length } })
    })
  })

  const ways: readonly (readonly [string, UploadOptions])[] = [
    ['in one request', {}],
    ['in chunks', { chunkSize: 700_000 }],
    ['with the creation', { uploadDataDuringCreation: true }],
    ['with POST for PATCH', { overridePatchMethod: true, chunkSize: 2 * mib }],
    ['in three uploads at once', { parallelUploads: 3 }],
  ]
  it.each(ways)('tus-js-client sends a file %s', async (_how, options) => {
    const bytes = randomBytes(5 * mib + 12_345)
    const end = await run(bytes, { ...clientOptions(site.outside), ...options })
    expect(end).toMatchObject({
      error: undefined,
      url: `${site.nginx.url}/files/${end.id}`,
      record: `${site.nginx.url}/api/v1/uploads/${end.id}`,
    })
    expect(sha256(await site.tus.download(end.id))).toBe(sha256(bytes))
  })

  describe('the other ways', () => {
    const bytes = randomBytes(5 * mib)

    it.each([
      ['with its length', bytes],
      ['without', chunked([bytes.subarray(0, 70_000), bytes.subarray(70_000)])],
    ])('raw, %s', async (_how, body) => {
      const { call, nginx } = site
      const sent = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.bin' }, body })
      const { data } = sent.json<{ data: { assetId: string; fileUrl: string } }>()
      expect(sent.status).toBe(201)
      expect(new URL(sent.headers.get('location') ?? '', nginx.url).href).toBe(`${nginx.url}/v1/assets/${data.assetId}`)
      expect(data.fileUrl).toMatch(`${nginx.url}/`)
      const got = await call('GET', data.fileUrl, { key: null })
      expect(sha256(got.bytes)).toBe(sha256(bytes))
      expect(got.headers.get('content-length')).toBe(String(bytes.length))
      expect(got.headers.get('etag')).toMatch(/^"/)
      const part = await call('GET', data.fileUrl, { key: null, headers: { Range: 'bytes=1000000-1000009' } })
      expect([part.status, part.bytes]).toEqual([206, bytes.subarray(1_000_000, 1_000_010)])
      const fresh = { 'If-None-Match': got.headers.get('etag') ?? '' }
      expect((await call('GET', data.fileUrl, { key: null, headers: fresh })).status).toBe(304)
    })

    it('a form', async () => {
      const body = formBytes([file('a.bin', bytes), file('b.bin', 'b'), field('name', 'two')])
      const headers = { 'Content-Type': formType }
      const sent = await site.call('POST', '/v2/default/project/p/upload', { headers, body })
      expect([sent.status, sent.json()]).toMatchObject([201, { fileSize: bytes.length + 1, status: 'completed' }])
    })

    it('presigned', async () => {
      const ours = workspaceOf(site.call)
      const created = await ours.made({ size_bytes: bytes.length, checksum: `sha256:${sha256(bytes, 'base64')}` })
      expect(created.upload_url).toMatch(`${site.nginx.url}/`)
      expect((await ours.put(created, bytes)).status).toBe(200)
      const { data } = (await ours.confirm(created.upload.id)).json<{
        data: { status: string; download_url: string }
      }>()
      expect(data.status).toBe('confirmed')
      expect(sha256((await ours.call('GET', data.download_url, { key: null })).bytes)).toBe(sha256(bytes))
    })
  })

  it('what is too large is refused by the gateway, in its words', async () => {
    const large = Buffer.alloc(maxFileSize + 1)
    const headers = { 'x-file-name': 'a.bin' }
    for (const body of [large, chunked([large])]) {
      const answer = await site.call('POST', '/v1/uploads', { headers, body })
      expect([answer.status, answer.json()]).toMatchObject([413, { errorCode: 'FILE_TOO_LARGE' }])
    }
    const { tus } = site
    const id = await tus.made(10)
    const answer = await tus.patch(id, 0, large)
    expect([answer.status, answer.headers.get('tus-resumable')]).toEqual([413, '1.0.0'])
    const created = await tus.post({ 'Upload-Length': String(large.length) })
    expect([created.status, created.json()]).toMatchObject([413, { errorCode: 'FILE_TOO_LARGE' }])
  })

  it('headers as long as the gateway takes them pass', async () => {
    const parts = Array.from({ length: 150 }, () => `${site.nginx.url}${pathOf(randomUUID())}`)
    const concat = `final;${parts.join(' ')}`
    expect(concat.length).toBeGreaterThan(10_000)
    const answer = await site.tus.post({ 'Upload-Concat': concat })
    expect(answer.headers.get('tus-resumable')).toBe('1.0.0')
  })

  it('connections are kept on both sides', async () => {
    let connections = 0
    const { hostname, port } = new URL(site.gateway.url)
    const counter: Server = createServer((socket) => {
      connections++
      const inner = connect(Number(port), hostname)
      for (const [from, to] of [
        [socket, inner],
        [inner, socket],
      ] as const)
        from.on('error', () => to.destroy()).pipe(to)
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => counter.once('listening', resolve))
    const address = counter.address()
    const at = typeof address === 'object' ? address?.port : 0
    const { nginx } = await front({ ...site.gateway, url: `http://127.0.0.1:${at}` })
    const wire = await wireTo(nginx.url)
    try {
      for (let i = 0; i < 5; i++) {
        const head = { 'x-api-key': site.gateway.key, 'x-file-name': 'a.txt', 'Content-Length': 5 }
        await wire.send(`${requestHead('POST', '/v1/uploads', head)}hello`)
        expect((await wire.answer()).status).toBe(201)
      }
      expect(connections).toBe(1)
    } finally {
      wire.cut()
      counter.close()
    }
  })

  it('fairlead upload sends a file, in pieces', async () => {
    const bytes = randomBytes(mib)
    const { gateway, nginx } = site
    await writeFile(join(gateway.folder, 'file.bin'), bytes)
    const at = ['--url', nginx.url, '--key', gateway.key, '--chunk-size', '300KB']
    const sent = await gateway.run('upload', 'file.bin', ...at)
    expect(sent).toMatchObject({ code: 0, stderr: '' })
    const patches = (await nginx.requests()).filter((line) => line.startsWith('PATCH '))
    const [id = ''] = patches.slice(-1).map((line) => line.split(/[ /]/)[3])
    expect(patches.filter((line) => line.includes(id))).toEqual(Array(4).fill(`PATCH ${pathOf(id)} 204`))
    expect(sha256(await site.tus.download(id))).toBe(sha256(bytes))
  })

  describe('why not as nginx is by itself', () => {
    it('gathered bodies are lost when they break, and the gateway never hears of them', async () => {
      const { tus, gateway, nginx } = await front(site.gateway, { proxy_request_buffering: null })
      const id = await tus.made(100_000)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 100_000), randomBytes(90_000))
      wire.cut()
      await eventually(async () => expect(await nginx.requests()).toContain(`PATCH ${pathOf(id)} 400`))
      expect(await tus.offset(id)).toBe(0)
      expect(ended(gateway, 'PATCH').filter(({ path }) => path === pathOf(id))).toEqual([])
    })

    it.each([
      ['proxy_request_buffering', 'proxy_request_buffering off'],
      ['client_max_body_size', 'client_max_body_size 0'],
    ])('fairlead doctor tells of %s', async (directive, remedy) => {
      const { gateway, port } = named
      const change = { [directive]: null }
      const nginx = await startNginx({ upstream: gateway.url, certificate, port, path: '/gateway', change })
      try {
        const found: unknown = expect.stringContaining(remedy)
        expect((await gateway.run('doctor')).json).toMatchObject({ ok: false, findings: [found] })
      } finally {
        await nginx.close()
      }
    })

    it('bodies above 1 MiB are refused, in HTML', async () => {
      const { call } = await front(site.gateway, { client_max_body_size: null })
      const answer = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, body: Buffer.alloc(mib + 1) })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([413, 'text/html'])
    })
  })
})
