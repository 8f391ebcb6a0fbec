import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { S3Store } from '../../src/stores/s3.ts'
import type { ArrivedObject, DirectAccess, PutTerms } from '../../src/uploads/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenS3, type S3Rig, startS3Rig } from '../support/s3-rig.ts'

const mib = 1024 * 1024
const key = 'ab/object'
const bytes = randomBytes(10_000)
const others = randomBytes(10_000)
const md5 = createHash('md5').update(bytes).digest('base64')
const otherMd5 = createHash('md5').update(others).digest('base64')
const sha256 = createHash('sha256').update(bytes).digest('base64')

type Headers = Readonly<Record<string, string>>

const terms = (more: Partial<PutTerms> = {}): PutTerms => ({
  size: bytes.length,
  contentType: 'image/x-test',
  checksum: { algorithm: 'md5', digest: md5 },
  until: Date.now() + 60_000,
  ...more,
})

describe.skipIf(missingS3())('s3, past the gateway', () => {
  let rig: S3Rig
  let opened: OpenS3
  let store: S3Store
  let direct: DirectAccess
  let proxy: S3Proxy
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open({ largestCopy: 6 * mib })
    ;({ store, proxy } = opened)
    direct = directOf(store)
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  describe('a PUT', () => {
    it('brings what was declared, more than once', async () => {
      const { url, headers } = await direct.putUrl(key, terms())
      expect(headers).toEqual({ 'Content-Type': 'image/x-test', 'Content-MD5': md5 })
      expect(await put(url, headers, bytes)).toBe(200)
      expect(await put(url, headers, bytes)).toBe(200)
      expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), bytes)).toBe(0)
      expect(proxy.counts()).toEqual({ PutObject: 2 })
    })

    it.each<[string, (url: string, headers: Headers) => Promise<number>]>([
      ['fewer bytes', (url, headers) => put(url, headers, bytes.subarray(1))],
      ['more bytes', (url, headers) => put(url, headers, Buffer.concat([bytes, bytes]))],
      ['other bytes', (url, headers) => put(url, headers, others)],
      ['other bytes and their MD5', (url, headers) => put(url, { ...headers, 'Content-MD5': otherMd5 }, others)],
      ['no MD5', (url, headers) => put(url, without(headers, 'Content-MD5'), others)],
      ['another type', (url, headers) => put(url, { ...headers, 'Content-Type': 'text/html' }, bytes)],
      ['no type', (url, headers) => put(url, without(headers, 'Content-Type'), bytes)],
      ['an unknown length', (url, headers) => put(url, { ...headers, 'Transfer-Encoding': 'chunked' }, bytes)],
      ['another key', (url, headers) => put(url.replace(key, 'ab/other'), headers, bytes)],
      ['a changed end', (url, headers) => put(url.replace(/Expires=\d+/, 'Expires=604800'), headers, bytes)],
      ['a changed signature', (url, headers) => put(url.replace(/Signature=..../, 'Signature=0000'), headers, bytes)],
      ['no signature', (url, headers) => put(url.replace(/\?.*/, ''), headers, bytes)],
    ])('with %s is refused by the server', async (_, attempt) => {
      const { url, headers } = await direct.putUrl(key, terms())
      const status = await attempt(url, headers)
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
      expect(await opened.objects()).toEqual([])
      expect(await put(url, headers, bytes)).toBe(200)
    })

    it('takes what was left open', async () => {
      const { url, headers } = await direct.putUrl(key, terms({ size: null, contentType: null, checksum: null }))
      expect(headers).toEqual({})
      expect(await put(url, { 'Content-Type': 'text/plain' }, others)).toBe(200)
      expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), others)).toBe(0)
    })

    it('of nothing', async () => {
      const { url, headers } = await direct.putUrl(key, terms({ size: 0, checksum: null }))
      expect(await put(url, headers, bytes)).toBe(403)
      expect(await put(url, headers, Buffer.of())).toBe(200)
      expect(await direct.arrived(key)).toMatchObject({ size: 0 })
    })

    it('carries a declared SHA-256, for servers that check it', async () => {
      const { url, headers } = await direct.putUrl(key, terms({ checksum: { algorithm: 'sha256', digest: sha256 } }))
      expect(headers).toEqual({ 'Content-Type': 'image/x-test', 'x-amz-checksum-sha256': sha256 })
      const otherSum = createHash('sha256').update(others).digest('base64')
      expect(await put(url, { ...headers, 'x-amz-checksum-sha256': otherSum }, bytes)).toBe(403)
      expect(await put(url, without(headers, 'x-amz-checksum-sha256'), bytes)).toBe(403)
      expect(await put(url, headers, bytes)).toBe(200)
    })

    it('names no checksum of the empty body that was signed', async () => {
      const { url } = await direct.putUrl(key, terms())
      expect(url).not.toMatch(/x-amz-(checksum|sdk)/i)
    })

    it('ends', async () => {
      const { url, headers } = await direct.putUrl(key, terms({ until: Date.now() - 1 }))
      expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe('1')
      await expect.poll(() => put(url, headers, bytes), { timeout: 10_000, interval: 250 }).toBe(403)
    })

    it('is good until the end of the second that it was promised for', async () => {
      for (let ms = 3_000; ms < 4_000; ms += 100) {
        const until = Date.now() + ms
        const { url } = await direct.putUrl(key, terms({ until }))
        const query = new URL(url).searchParams
        const signed = (query.get('X-Amz-Date') ?? '').replace(/^(....)(..)(..T..)(..)(..)Z$/, '$1-$2-$3:$4:$5Z')
        const ends = Date.parse(signed) + Number(query.get('X-Amz-Expires')) * 1_000
        expect(ends).toBeGreaterThanOrEqual(until)
        expect(ends).toBeLessThan(until + 1_000)
      }
    })

    it('goes to the address that browsers reach', async () => {
      const elsewhere = rig.open({ publicEndpoint: 'https://s3.example.org' })
      const { url } = await directOf(elsewhere.store).putUrl(key, terms())
      expect(url).toMatch(new RegExp(`^https://s3\\.example\\.org/${rig.bucket.name}/${elsewhere.prefix}${key}\\?`))
      await elsewhere.close()
    })
  })

  describe('a GET', () => {
    const disposition = `attachment; filename="na_me.pdf"; filename*=UTF-8''na%C3%AFme.pdf`
    beforeEach(() => opened.bucket.put(opened.prefix + key, bytes, { 'content-type': 'text/html' }))

    it('gives the bytes with the type and the name that were wanted', async () => {
      const url = await direct.getUrl(key, { contentType: 'application/pdf', disposition, seconds: 60 })
      const response = await fetch(url)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toBe('application/pdf')
      expect(response.headers.get('content-disposition')).toBe(disposition)
      expect(Buffer.compare(Buffer.from(await response.arrayBuffer()), bytes)).toBe(0)
      const range = await fetch(url, { headers: { range: 'bytes=5-9' } })
      expect(range.status).toBe(206)
      expect(Buffer.compare(Buffer.from(await range.arrayBuffer()), bytes.subarray(5, 10))).toBe(0)
    })

    it('gives no other type, name or object', async () => {
      const url = await direct.getUrl(key, { contentType: 'application/pdf', disposition, seconds: 60 })
      expect((await fetch(url.replace('application%2Fpdf', 'text%2Fhtml'))).status).toBe(403)
      expect((await fetch(url.replace('attachment', 'inline'))).status).toBe(403)
      expect((await fetch(url.replace(key, 'ab/other'))).status).toBe(403)
      expect((await fetch(url.replace(/\?.*/, ''))).ok).toBe(false)
    })
  })

  describe('what has arrived', () => {
    it('is described', async () => {
      expect(await direct.arrived(key)).toBeUndefined()
      await opened.bucket.put(opened.prefix + key, bytes)
      const hex = Buffer.from(md5, 'base64').toString('hex')
      expect(await direct.arrived(key)).toMatchObject({ key, size: bytes.length, md5: hex, version: `"${hex}"` })
    })

    it.each([0, 10_000, 6 * mib, 6 * mib + 1, 13 * mib])('is copied, all of %i bytes', async (size) => {
      const content = randomBytes(size)
      await opened.bucket.put(opened.prefix + key, content, { 'content-type': 'text/html', 'x-amz-meta-a': 'b' })
      const from = await described(direct, key)
      proxy.reset()
      let noted: string | undefined
      const copy = await direct.copy(from, 'cd/copy', { note: async (text) => void (noted = text) })
      expect(copy).toMatchObject({ key: 'cd/copy', size })
      expect(Buffer.compare((await opened.get('cd/copy')) ?? Buffer.of(1), content)).toBe(0)
      const counts = proxy.counts()
      // How many looks it takes depends on what the server is known to do.
      delete counts.HeadObject
      const parts = {
        CreateMultipartUpload: 1,
        UploadPartCopy: Math.ceil(size / (6 * mib)),
        CompleteMultipartUpload: 1,
      }
      expect(counts).toEqual(size > 6 * mib ? parts : { CopyObject: 1 })
      expect(noted !== undefined).toBe(size > 6 * mib)
      const headers = await opened.bucket.head(`${opened.prefix}cd/copy`)
      expect(headers?.get('content-type')).toBe('application/octet-stream')
      expect(headers?.get('x-amz-meta-a')).toBeNull()
      expect(await opened.uploads()).toEqual([])
    })

    it.each([
      [10_000, 9_999],
      [10_000, 10_001],
      [13 * mib, 11 * mib],
      [13 * mib, 14 * mib],
      [13 * mib, null],
      [10_000, null],
    ])('of %i bytes is not copied when %s have taken its place', async (size, then) => {
      await opened.bucket.put(opened.prefix + key, randomBytes(size))
      const from = await described(direct, key)
      await opened.bucket.remove(opened.prefix + key)
      if (then !== null) await opened.bucket.put(opened.prefix + key, randomBytes(then))
      await expect(direct.copy(from, 'cd/copy', {})).rejects.toMatchObject({ code: 'upload_not_received' })
      await store.clear('cd/copy', null)
      expect((await opened.objects()).map((object) => object.key)).toEqual(then === null ? [] : [key])
      expect(await opened.uploads()).toEqual([])
    })

    it.each(['CopyObject', 'CreateMultipartUpload', 'UploadPartCopy', 'CompleteMultipartUpload'] as const)(
      'is copied again when the answer to %s is lost, and not for ever',
      async (operation) => {
        const content = randomBytes(operation === 'CopyObject' ? mib : 13 * mib)
        await opened.bucket.put(opened.prefix + key, content)
        const from = await described(direct, key)
        proxy.fault(operation, { act: 'cut', when: 'after' })
        await direct.copy(from, 'cd/copy', {})
        expect(Buffer.compare((await opened.get('cd/copy')) ?? Buffer.of(), content)).toBe(0)
        expect(await opened.uploads()).toEqual([])
        proxy.reset()
        proxy.fault(operation, { act: { status: 503, code: 'SlowDown' }, times: Infinity })
        const away = { code: 'storage_failed', retryAfter: 5 }
        await expect(direct.copy(from, 'ef/copy', {})).rejects.toMatchObject(away)
        proxy.reset()
        await store.clear('ef/copy', null)
        expect((await opened.objects()).map((object) => object.key)).toEqual([key, 'cd/copy'])
        expect(await opened.uploads()).toEqual([])
      },
    )

    it('is copied no further once a part has failed', async () => {
      const narrow = rig.open({ largestCopy: 5 * mib })
      await narrow.bucket.put(narrow.prefix + key, randomBytes(60 * mib))
      const from = await described(directOf(narrow.store), key)
      proxy.fault('UploadPartCopy', { act: { status: 403, code: 'AccessDenied' } })
      const failed = directOf(narrow.store).copy(from, 'cd/copy', {})
      await expect(failed).rejects.toMatchObject({ code: 'storage_failed', cause: { name: 'AccessDenied' } })
      // Those that were on their way may still come; of the other eight none.
      await proxy.idle()
      await narrow.store.stat(key)
      await proxy.idle()
      expect(proxy.counts().UploadPartCopy).toBeLessThanOrEqual(4)
      await narrow.close()
    })

    it('is copied no longer than the signal', async () => {
      for (const size of [mib, 13 * mib]) {
        await opened.bucket.put(opened.prefix + key, randomBytes(size))
        const from = await described(direct, key)
        const fault = proxy.fault(size > 6 * mib ? 'UploadPartCopy' : 'CopyObject', { act: 'stall', times: Infinity })
        const abort = new AbortController()
        const ended = direct.copy(from, 'cd/copy', { signal: abort.signal }).catch((error: unknown) => error)
        await fault.hit
        abort.abort()
        expect(await ended).toMatchObject({ name: 'AbortError' })
        fault.release()
        await proxy.idle()
        await store.clear('cd/copy', null)
      }
      expect((await opened.objects()).map((object) => object.key)).toEqual([key])
      expect(await opened.uploads()).toEqual([])
    })
  })
})

function directOf(store: S3Store): DirectAccess {
  if (!store.direct) throw new Error('The store has no direct access.')
  return store.direct
}

async function described(direct: DirectAccess, name: string): Promise<ArrivedObject> {
  const found = await direct.arrived(name)
  if (!found) throw new Error('It is not there.')
  return found
}

/** As any client sends it, with a length unless the headers say otherwise. Returns the status. */
async function put(url: string, headers: Headers, body: Uint8Array): Promise<number> {
  const length = headers['Transfer-Encoding'] === undefined ? { 'Content-Length': body.length } : {}
  const asked = request(url, { method: 'PUT', headers: { ...headers, ...length } })
  asked.end(body)
  const [response] = await once(asked, 'response')
  await buffer(response)
  return response.statusCode
}

const without = (headers: Headers, name: string): Headers =>
  Object.fromEntries(Object.entries(headers).filter(([one]) => one !== name))
