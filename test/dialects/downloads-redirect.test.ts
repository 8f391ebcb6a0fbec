import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { dialectContract } from '../contracts/dialect.ts'
import { type Answer, type Client, clientOf, eventually, sha256 } from '../support/client.ts'
import { curlIn, missingOf } from '../support/curl.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place } from '../support/places.ts'
import { refusal, shape, viewOf, withBytes, workspaceOf } from '../support/presigned.ts'
import { sharedS3 } from '../support/s3.ts'
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts'
import { samplePath } from '../support/samples.ts'
import { nameIn } from './suites/downloads.ts'

const place = s3Place(`settle: 1`)

describe.skipIf(place.missing)('downloads that are sent on to the store', () => {
  /** Between the gateway and the store, and between its clients and the store. */
  let inner: S3Proxy
  let outer: S3Proxy
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    const { endpoint } = await sharedS3()
    inner = await startS3Proxy(endpoint)
    outer = await startS3Proxy(endpoint)
    gateway = await place.start({
      more: 'download: { ttl: 3 }',
      env: { FAIRLEAD_S3_ENDPOINT: inner.endpoint, FAIRLEAD_S3_PUBLIC_ENDPOINT: outer.endpoint },
    })
    call = clientOf(gateway, gateway.key)
  })
  afterEach(() => {
    inner.reset()
    outer.reset()
  })
  afterAll(async () => {
    await gateway.close()
    await place.close()
    await inner.close()
    await outer.close()
  })

  dialectContract('downloads', {
    gateway: () => gateway,
    ...shape,
    json: false,
    endpoints: [
      {
        method: 'GET',
        path: (id) => `/api/v1/uploads/${id}/download`,
        // With credentials in headers nobody is sent on.
        status: 200,
        scope: 'uploads:read',
        one: true,
      },
    ],
  })

  interface Made {
    readonly id: string
    readonly path: string
    readonly url: string
  }

  async function made(bytes: Uint8Array | string, name = 'file.bin'): Promise<Made> {
    const headers = { 'x-file-name': encodeURIComponent(name) }
    const answer = await call('POST', '/v1/uploads', { headers, body: bytes })
    expect(answer.status).toBe(201)
    const { assetId: id, fileUrl: url } = answer.json<{ data: { assetId: string; fileUrl: string } }>().data
    return { id, path: `/api/v1/uploads/${id}/download`, url }
  }
  const sample = async (file: string): Promise<Made> => made(await readFile(samplePath({ file })), file)

  /** Where the answer leads, which must say nothing else. */
  function placeIn(answer: Answer): string {
    expect(answer.status).toBe(302)
    expect(answer.bytes).toHaveLength(0)
    expect(answer.headers.get('cache-control')).toBe('private, no-store')
    for (const name of ['etag', 'last-modified', 'content-disposition', 'accept-ranges'])
      expect(answer.headers.get(name)).toBeNull()
    const location = answer.headers.get('location') ?? ''
    expect(new URL(location).origin).toBe(outer.endpoint)
    return location
  }
  const ask = (url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> =>
    call(method, url, { key: null, headers })
  const follow = async (url: string, headers: Record<string, string> = {}): Promise<Answer> =>
    ask(placeIn(await ask(url, headers)), headers)

  it('lead to the bytes and to what they are; the gateway reads nothing', async () => {
    const bytes = await readFile(samplePath({ file: 'picture.png' }))
    const { url } = await made(bytes, 'picture.png')
    inner.reset()
    const answer = await follow(url)
    expect(answer.status).toBe(200)
    expect(sha256(answer.bytes)).toBe(sha256(bytes))
    expect(answer.headers.get('content-type')).toBe('image/png')
    expect(answer.headers.get('content-disposition')).toMatch(/^inline; filename="?picture\.png"?$/)
    expect(outer.counts()).toEqual({ GetObject: 1 })
    expect(inner.counts()).not.toHaveProperty('GetObject')
  })

  it('lead to what came by an upload URL', async () => {
    const ours = workspaceOf(call)
    const bytes = randomBytes(70_000)
    const { upload } = await withBytes(ours, { filename: 'noise.dat' }, bytes)
    const { download_url: url } = viewOf(await ours.confirm(upload.id))
    expect(sha256((await follow(url ?? '')).bytes)).toBe(sha256(bytes))
    const empty = await withBytes(ours, { filename: 'empty.txt' }, '')
    const confirmed = viewOf(await ours.confirm(empty.upload.id))
    const answer = await follow(confirmed.download_url ?? '')
    expect({ status: answer.status, length: answer.bytes.length }).toEqual({ status: 200, length: 0 })
  })

  it('of text name its encoding', async () => {
    expect((await follow((await sample('umlaut.txt')).url)).headers.get('content-type')).toBe(
      'text/plain; charset=utf-8',
    )
  })

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=500-', 500, 1_000],
    ['bytes=990-99999', 990, 1_000],
    ['bytes=-10', 990, 1_000],
  ])('carry ranges along: %s', async (range, start, end) => {
    const bytes = randomBytes(1_000)
    const answer = await follow((await made(bytes)).url, { Range: range })
    expect(answer.status).toBe(206)
    expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/1000`)
    expect(answer.bytes).toEqual(bytes.subarray(start, end))
  })

  it.each(['page.html', 'fragment.html', 'shape.svg', 'script.svg', 'note.xml', 'code.js', 'module.wasm'])(
    '%s is an attachment',
    async (file) => {
      const answer = await follow((await sample(file)).url)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-disposition')).toMatch(/^attachment;/)
      expect(nameIn(answer.headers.get('content-disposition') ?? '')).toBe(file)
    },
  )

  it.each(['photo.jpg', 'film.mp4', 'plain.txt', 'ascii.pdf'])('%s may be shown', async (file) => {
    expect((await follow((await sample(file)).url)).headers.get('content-disposition')).toMatch(/^inline;/)
  })

  it.each([
    'two words.txt',
    'quote"s.txt',
    'semi;colon, comma.txt',
    'percent%20sign + plus & and.txt',
    'Grüße €.txt',
    '日本語 ファイル.txt',
    '😀.txt',
    'é'.repeat(300),
    "filename*=UTF-8''evil.html",
    '<script>.txt',
  ])('carry the name %s', async (name) => {
    const answer = await follow((await made('x', name)).url)
    expect(answer.status).toBe(200)
    expect(nameIn(answer.headers.get('content-disposition') ?? '')).toBe(name)
  })

  it('are described by HEAD as GET will find them', async () => {
    const { url } = await made('hello', 'hello.txt')
    const found = await follow(url)
    const head = await ask(url, { Range: 'bytes=1-2' }, 'HEAD')
    expect({ status: head.status, length: head.headers.get('content-length') }).toEqual({ status: 200, length: '5' })
    for (const name of ['etag', 'last-modified', 'content-type', 'content-disposition', 'accept-ranges'])
      expect([name, head.headers.get(name)]).toEqual([name, found.headers.get(name)])
  })

  it('are not repeated for who has the version: 304 and 412, as HEAD and the store call it', async () => {
    const { url } = await made('hello')
    const tag = (await ask(url, {}, 'HEAD')).headers.get('etag') ?? ''
    for (const [headers, status] of [
      [{ 'If-None-Match': tag }, 304],
      [{ 'If-None-Match': '"another"' }, 200],
      [{ 'If-Match': tag }, 200],
      [{ 'If-Match': '"another"' }, 412],
    ] as const) {
      expect((await follow(url, headers)).status).toBe(status)
      expect((await ask(url, headers, 'HEAD')).status).toBe(status)
    }
    expect((await follow(url, { Range: 'bytes=1-2', 'If-Range': tag })).bytes.toString()).toBe('el')
  })

  it.each([
    ['Authorization', (key: string) => `Bearer ${key}`],
    ['x-api-key', (key: string) => key],
  ])('are not sent on with a credential in %s, whatever else the request has', async (name, value) => {
    const bytes = randomBytes(70_000)
    const { path, url } = await made(bytes)
    outer.reset()
    const headers = { [name]: value(gateway.key) }
    for (const address of [path, url]) {
      const answer = await call('GET', gateway.url + address.replace(gateway.url, ''), { key: null, headers })
      expect({ status: answer.status, sha256: sha256(answer.bytes) }).toEqual({ status: 200, sha256: sha256(bytes) })
      const head = await ask(address, headers, 'HEAD')
      for (const one of ['etag', 'last-modified']) expect(head.headers.get(one)).toBe(answer.headers.get(one))
    }
    // A wrong one beside a good token is not looked at, and goes nowhere either.
    expect((await ask(url, { [name]: 'nonsense' })).status).toBe(200)
    expect(outer.seen()).toEqual([])
  })

  it.skipIf(missingOf('curl'))('carry no credential to the store, as curl follows them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fairlead-curl-'))
    const { path, url, id } = await made('hello', 'hello.txt')
    outer.reset()
    try {
      for (const header of [`Authorization: Bearer ${gateway.key}`, `x-api-key: ${gateway.key}`])
        for (const address of [gateway.url + path, url, `${gateway.url}/files/${id}`])
          for (const follows of ['--location', '--location-trusted'])
            expect(await curlIn(folder, follows, '--header', header, address)).toMatchObject({
              status: 200,
              body: 'hello',
            })
      expect(await curlIn(folder, '--location', url)).toMatchObject({ status: 200, body: 'hello' })
      const credentials = ['authorization', 'x-api-key', 'cookie']
      for (const { headers } of outer.seen()) for (const name of credentials) expect(headers[name]).toBeUndefined()
      expect(outer.counts()).toEqual({ GetObject: 1 })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('need no credentials with a token, and are refused before any redirect without a good one', async () => {
    const { id, url } = await made('secret')
    expect((await call('GET', placeIn(await call('GET', url, { key: null })), { key: null })).bytes.toString()).toBe(
      'secret',
    )
    const { search } = new URL(url)
    for (const wrong of [`${url}A`, url.replace(id, randomUUID()), url.replace(/expires=\d/, 'expires=9')]) {
      const answer = await call('GET', wrong, { key: null })
      expect(refusal(answer)).toBe('403 signature_invalid')
      expect(answer.headers.get('location')).toBeNull()
    }
    expect(refusal(await call('GET', `/api/v1/uploads/${id}${search}`, { key: null }))).toBe('401 unauthenticated')
  })

  it('end: the URL of the gateway, and that of the store', async () => {
    const { url, path } = await made('gone soon')
    const location = placeIn(await call('GET', url, { key: null }))
    expect((await call('GET', location, { key: null })).bytes.toString()).toBe('gone soon')
    await eventually(async () => {
      const answer = await call('GET', url, { key: null })
      expect(refusal(answer)).toBe('410 upload_expired')
      expect(answer.headers.get('location')).toBeNull()
    })
    await eventually(async () => expect((await call('GET', location, { key: null })).status).toBe(403))
    expect((await call('GET', path)).bytes.toString()).toBe('gone soon')
  })

  it('lead nowhere else: the store refuses another key, another method and other headers', async () => {
    const [one, two] = [await made('one'), await made('two')]
    const [first, second] = [placeIn(await ask(one.url)), placeIn(await ask(two.url))]
    const { pathname } = new URL(second)
    for (const url of [
      first.replace(new URL(first).pathname, pathname),
      first.replace(/response-content-type=[^&]+/, 'response-content-type=text%2Fhtml'),
      first.replace('inline', 'attachment'),
      first.replace(/Expires=\d+/, 'Expires=604800'),
    ]) {
      expect(url).not.toBe(first)
      expect((await call('GET', url, { key: null })).status).toBe(403)
    }
    expect((await call('DELETE', first, { key: null })).status).toBe(403)
    expect((await call('PUT', first, { key: null, body: 'x' })).status).toBe(403)
    expect((await call('GET', first, { key: null })).bytes.toString()).toBe('one')
  })

  it('of what is not finished, or was deleted, lead nowhere', async () => {
    const ours = workspaceOf(call)
    const pending = await withBytes(ours)
    const early = await call('GET', `/api/v1/uploads/${pending.upload.id}/download`)
    expect(refusal(early)).toBe('409 upload_state_conflict')
    const { path, url, id } = await made('x')
    const location = placeIn(await ask(url))
    await call('DELETE', `/api/v1/uploads/${id}`)
    expect(refusal(await call('GET', path))).toBe('404 not_found')
    expect(refusal(await call('GET', url, { key: null }))).toBe('404 not_found')
    await eventually(async () => expect((await call('GET', location, { key: null })).status).toBe(404))
  })

  it('leave no signature in the log', async () => {
    const { id, url } = await made('x')
    const location = placeIn(await call('GET', url, { key: null }))
    await eventually(() => expect(gateway.log()).toContain(`${id}/download`))
    for (const secret of [
      new URL(url).searchParams.get('signature'),
      new URL(location).searchParams.get('X-Amz-Signature'),
    ]) {
      expect(secret).toMatch(/\w{20}/)
      expect(gateway.log()).not.toContain(secret)
    }
  })
})
