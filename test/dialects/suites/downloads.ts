import { randomBytes, randomUUID } from 'node:crypto'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dialectContract, refusalOf } from '../../contracts/dialect.ts'
import {
  type Answer,
  type Ask,
  type Client,
  clientOf,
  eventually,
  oddId,
  pause,
  requestHead,
  sha256,
  wireTo,
} from '../../support/client.ts'
import type { TestGateway } from '../../support/gateway.ts'
import type { Place } from '../../support/places.ts'
import { samplePath } from '../../support/samples.ts'

const shape = { errors: 'detail', errorType: 'application/json' } as const
const bigBytes = 24 * 1024 * 1024

interface Made {
  readonly id: string
  /** By credentials. */
  readonly path: string
  /** By token. */
  readonly url: string
}

/** What an answer says, but for what differs in each. */
const factsOf = ({ status, headers }: Answer) => {
  const { date: _, 'x-request-id': __, ...rest } = Object.fromEntries(headers)
  return { status, ...rest }
}

/** How bytes come from the gateway itself, wherever they are. */
export function downloadsSuite(place: Place): void {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await place.start({ more: 'download: { inlinePdf: false }' })
    call = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway.close())

  dialectContract('downloads', {
    gateway: () => gateway,
    ...shape,
    json: false,
    endpoints: [
      {
        method: 'GET',
        path: (id) => `/api/v1/uploads/${id}/download`,
        status: 200,
        scope: 'uploads:read',
        one: true,
      },
    ],
  })

  async function made(bytes: Uint8Array | string, name = 'file.bin', by = call): Promise<Made> {
    const answer = await by('POST', '/v1/uploads', {
      headers: { 'x-file-name': encodeURIComponent(name) },
      body: bytes,
    })
    expect(answer.status).toBe(201)
    const { assetId: id, fileUrl: url } = answer.json<{ data: { assetId: string; fileUrl: string } }>().data
    return { id, path: `/api/v1/uploads/${id}/download`, url }
  }

  const sample = async (file: string, by = call): Promise<Made> => made(await readFile(samplePath({ file })), file, by)
  const refusal = (answer: Answer): string => refusalOf(answer, shape)

  describe('a download', () => {
    it('has the bytes and says what they are', async () => {
      const before = Math.floor(Date.now() / 1_000) * 1_000
      const bytes = await readFile(samplePath({ file: 'picture.png' }))
      const { path } = await made(bytes, 'picture.png')
      const answer = await call('GET', path)
      expect(answer.status).toBe(200)
      expect(sha256(answer.bytes)).toBe(sha256(bytes))
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-type': 'image/png',
        'content-length': String(bytes.length),
        'accept-ranges': 'bytes',
        'x-content-type-options': 'nosniff',
        etag: expect.stringMatching(/^"[^"]+"$/),
      })
      expect(answer.headers.get('content-disposition')).toMatch(/^inline; filename="?picture\.png"?$/)
      const modified = answer.headers.get('last-modified') ?? ''
      expect(new Date(modified).toUTCString()).toBe(modified)
      expect(Date.parse(modified)).toBeGreaterThanOrEqual(before)
    })

    it('of text names its encoding', async () => {
      const answer = await call('GET', (await sample('umlaut.txt')).path)
      expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    })

    it('has the same ETag for the same bytes, another for others', async () => {
      const tags: (string | null)[] = []
      for (const bytes of ['same', 'same', 'other'])
        tags.push((await call('HEAD', (await made(bytes)).path)).headers.get('etag'))
      expect(tags[1]).toBe(tags[0])
      expect(tags[2]).not.toBe(tags[0])
    })

    it('of a file without bytes is empty', async () => {
      const created = await call('POST', '/api/v1/uploads', { json: { filename: 'empty.txt', category: 'other' } })
      const { upload, upload_url: url } = created.json<{ data: { upload: { id: string }; upload_url: string } }>().data
      expect((await call('PUT', url, { body: '', key: null })).status).toBe(200)
      expect((await call('POST', `/api/v1/uploads/${upload.id}`)).status).toBe(200)
      const path = `/api/v1/uploads/${upload.id}/download`
      const answer = await call('GET', path)
      expect({ status: answer.status, length: answer.bytes.length }).toEqual({ status: 200, length: 0 })
      const range = await call('GET', path, { headers: { Range: 'bytes=0-0' } })
      expect(refusal(range)).toBe('416 range_not_satisfiable')
      expect(range.headers.get('content-range')).toBe('bytes */0')
    })

    it('is not there before the upload is finished', async () => {
      const created = await call('POST', '/api/v1/uploads', { json: { filename: 'a', category: 'other' } })
      const { id } = created.json<{ data: { upload: { id: string } } }>().data.upload
      expect(refusal(await call('GET', `/api/v1/uploads/${id}/download`))).toBe('409 upload_state_conflict')
    })

    it.each(['nonsense', randomUUID(), oddId, '%00'])('of %s is 404', async (id) => {
      expect(refusal(await call('GET', `/api/v1/uploads/${id}/download`))).toBe('404 not_found')
    })
  })

  describe('Range', () => {
    const size = 1_000
    const bytes = randomBytes(size)
    let file: Made
    beforeAll(async () => {
      file = await made(bytes)
    })
    const ask = (headers: Record<string, string>, method = 'GET'): Promise<Answer> =>
      call(method, file.path, { headers })

    it.each([
      ['bytes=0-0', 0, 1],
      ['bytes=0-499', 0, 500],
      ['bytes=500-', 500, 1_000],
      ['bytes=999-', 999, 1_000],
      ['bytes=999-999', 999, 1_000],
      ['bytes=990-99999', 990, 1_000],
      ['bytes=0-99999999999999999999', 0, 1_000],
      ['bytes=-1', 999, 1_000],
      ['bytes=-500', 500, 1_000],
      ['bytes=-1000', 0, 1_000],
      ['bytes=-5000', 0, 1_000],
      ['bytes= 1-2', 1, 3],
      ['BYTES=1-2', 1, 3],
    ])('%s', async (range, start, end) => {
      const answer = await ask({ Range: range })
      expect(answer.status).toBe(206)
      expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/${size}`)
      expect(answer.headers.get('content-length')).toBe(String(end - start))
      expect(answer.bytes).toEqual(bytes.subarray(start, end))
    })

    it.each(['bytes=1000-', 'bytes=1000-1001', 'bytes=5000-6000', 'bytes=-0', 'bytes=2000-,3000-'])(
      '%s cannot be satisfied',
      async (range) => {
        const answer = await ask({ Range: range })
        expect(refusal(answer)).toBe('416 range_not_satisfiable')
        expect(answer.headers.get('content-range')).toBe('bytes */1000')
        // What describes the file does not describe the error.
        expect(answer.headers.get('content-disposition')).toBeNull()
      },
    )

    it.each([
      'items=0-1',
      'pages=1',
      'bytes',
      'bytes=',
      'bytes=a-b',
      'bytes=5-2',
      'bytes=--1',
      'bytes=0-1-2',
      '0-1',
      '=',
    ])('%s is no range of bytes, and ignored', async (range) => {
      const answer = await ask({ Range: range })
      expect({ status: answer.status, sum: sha256(answer.bytes) }).toEqual({ status: 200, sum: sha256(bytes) })
    })

    it.each([
      [
        'bytes=0-1,500-599,-1',
        [
          [0, 2],
          [500, 600],
          [999, 1_000],
        ],
      ],
      [
        'bytes=10-19, 30-39',
        [
          [10, 20],
          [30, 40],
        ],
      ],
      [
        'bytes=0-1,5000-,7-8',
        [
          [0, 2],
          [7, 9],
        ],
      ],
    ] as const)('several: %s', async (range, expected) => {
      const answer = await ask({ Range: range })
      expect(answer.status).toBe(206)
      expect(answer.headers.get('content-length')).toBe(String(answer.bytes.length))
      expect(partsOf(answer)).toEqual(
        expected.map(([start, end]) => ({
          type: 'application/octet-stream',
          range: `bytes ${start}-${end - 1}/${size}`,
          bytes: bytes.subarray(start, end),
        })),
      )
    })

    it.each(['bytes=0-9', 'bytes=5000-', 'bytes=0-1,5-6', 'nonsense'])(
      '%s changes no answer to HEAD',
      async (range) => {
        const plain = factsOf(await ask({}, 'HEAD'))
        expect(plain).toMatchObject({ status: 200, 'content-length': String(size), 'accept-ranges': 'bytes' })
        expect(factsOf(await ask({ Range: range }, 'HEAD'))).toEqual(plain)
      },
    )

    it('one that can be satisfied among others comes alone', async () => {
      const answer = await ask({ Range: 'bytes=5-6,2000-' })
      expect(answer.status).toBe(206)
      expect(answer.headers.get('content-range')).toBe(`bytes 5-6/${size}`)
      expect(answer.bytes).toEqual(bytes.subarray(5, 7))
    })

    it.each([
      ['many that overlap', `bytes=${Array.from({ length: 200 }, () => '0-').join(',')}`],
      ['many small ones', `bytes=${Array.from({ length: 400 }, (_, i) => `${i}-${i}`).join(',')}`],
    ])('%s do not make the answer much larger than the file', async (_what, range) => {
      const answer = await ask({ Range: range })
      expect([200, 206, 416]).toContain(answer.status)
      expect(answer.bytes.length).toBeLessThanOrEqual(4 * size)
    })

    it('counts for the version of If-Range only', async () => {
      const { headers } = await ask({}, 'HEAD')
      const [tag, modified] = [headers.get('etag') ?? '', headers.get('last-modified') ?? '']
      const status = async (condition: string): Promise<number> =>
        (await ask({ Range: 'bytes=0-9', 'If-Range': condition })).status
      expect(await status(tag)).toBe(206)
      expect(await status(modified)).toBe(206)
      expect(await status('"another"')).toBe(200)
      expect(await status(`W/${tag}`)).toBe(200)
      expect(await status(new Date(Date.parse(modified) - 1_000).toUTCString())).toBe(200)
      expect(await status('nonsense')).toBe(200)
      expect((await ask({ Range: 'bytes=5000-', 'If-Range': '"another"' })).status).toBe(200)
    })
  })

  describe('conditions', () => {
    let file: Made
    let tag = ''
    let modified = 0
    beforeAll(async () => {
      file = await made('conditions')
      const { headers } = await call('HEAD', file.path)
      tag = headers.get('etag') ?? ''
      modified = Date.parse(headers.get('last-modified') ?? '')
    })
    const at = (offsetMs: number): string => new Date(modified + offsetMs).toUTCString()

    interface Case {
      readonly what: string
      readonly status: number
      readonly headers: () => Record<string, string>
    }
    const cases: readonly Case[] = [
      { what: 'If-None-Match: the tag', status: 304, headers: () => ({ 'If-None-Match': tag }) },
      { what: 'If-None-Match: the tag, weak', status: 304, headers: () => ({ 'If-None-Match': `W/${tag}` }) },
      { what: 'If-None-Match: one of several', status: 304, headers: () => ({ 'If-None-Match': `"a", ${tag}, "b"` }) },
      { what: 'If-None-Match: *', status: 304, headers: () => ({ 'If-None-Match': '*' }) },
      { what: 'If-None-Match: another', status: 200, headers: () => ({ 'If-None-Match': '"another"' }) },
      { what: 'If-Modified-Since: then', status: 304, headers: () => ({ 'If-Modified-Since': at(0) }) },
      { what: 'If-Modified-Since: later', status: 304, headers: () => ({ 'If-Modified-Since': at(60_000) }) },
      { what: 'If-Modified-Since: earlier', status: 200, headers: () => ({ 'If-Modified-Since': at(-1_000) }) },
      { what: 'If-Modified-Since: no time', status: 200, headers: () => ({ 'If-Modified-Since': 'yesterday' }) },
      {
        what: 'If-None-Match goes before If-Modified-Since',
        status: 200,
        headers: () => ({ 'If-None-Match': '"another"', 'If-Modified-Since': at(0) }),
      },
      { what: 'If-Match: the tag', status: 200, headers: () => ({ 'If-Match': tag }) },
      { what: 'If-Match: one of several', status: 200, headers: () => ({ 'If-Match': `"a",${tag}` }) },
      { what: 'If-Match: *', status: 200, headers: () => ({ 'If-Match': '*' }) },
      { what: 'If-Match: another', status: 412, headers: () => ({ 'If-Match': '"another"' }) },
      { what: 'If-Match: the tag, weak', status: 412, headers: () => ({ 'If-Match': `W/${tag}` }) },
      { what: 'If-Match goes before Range', status: 412, headers: () => ({ 'If-Match': '"a"', Range: 'bytes=0-1' }) },
      {
        what: 'If-Match goes before If-None-Match',
        status: 412,
        headers: () => ({ 'If-Match': '"a"', 'If-None-Match': tag }),
      },
      { what: 'If-Unmodified-Since: then', status: 200, headers: () => ({ 'If-Unmodified-Since': at(0) }) },
      { what: 'If-Unmodified-Since: earlier', status: 412, headers: () => ({ 'If-Unmodified-Since': at(-1_000) }) },
      {
        what: 'If-Match goes before If-Unmodified-Since',
        status: 200,
        headers: () => ({ 'If-Match': tag, 'If-Unmodified-Since': at(-1_000) }),
      },
      {
        what: 'nothing new goes before a range',
        status: 304,
        headers: () => ({ 'If-None-Match': tag, Range: 'bytes=99-' }),
      },
      { what: 'a match and a range', status: 206, headers: () => ({ 'If-Match': tag, Range: 'bytes=0-1' }) },
    ]
    it.each(cases)('$what: $status', async ({ status, headers }) => {
      expect((await call('GET', file.path, { headers: headers() })).status).toBe(status)
      // A range is nothing to HEAD.
      const head = await call('HEAD', file.path, { headers: headers() })
      expect(head.status).toBe(status === 206 ? 200 : status)
    })

    it('answers 304 without a body, with the tag, and 412 as an error', async () => {
      const same = await call('GET', file.path, { headers: { 'If-None-Match': tag } })
      expect(same.bytes).toHaveLength(0)
      expect(same.headers.get('etag')).toBe(tag)
      const other = await call('GET', file.path, { headers: { 'If-Match': '"another"' } })
      expect(refusal(other)).toBe('412 precondition_failed')
    })
  })

  const headersOf = async (file: Made, by = call): Promise<Record<string, string>> => {
    const { status, headers } = await by('GET', file.path)
    expect(status).toBe(200)
    return Object.fromEntries(headers)
  }

  describe('what a browser could run', () => {
    const sandboxed = {
      'content-disposition': expect.stringMatching(/^attachment;/),
      'content-security-policy': expect.stringMatching(/(^|;)\s*sandbox\s*(;|$)/),
      'x-content-type-options': 'nosniff',
    }

    it.each([
      'page.html',
      'fragment.html',
      'page.xhtml',
      'shape.svg',
      'script.svg',
      'note.xml',
      'feed.rss',
      'code.js',
      'module.wasm',
      'ascii.pdf', // this installation says so
    ])('%s is an attachment in a sandbox', async (name) => {
      expect(await headersOf(await sample(name))).toMatchObject(sandboxed)
    })

    it.each([
      ['page.html', 'picture.png', 'image/png'],
      ['script.svg', 'photo.jpg', 'image/jpeg'],
      ['html-pdf.pdf', 'paper.pdf', 'application/pdf'],
    ])('%s is one under the name %s too', async (file, name, type) => {
      const answer = await call('POST', '/v1/uploads', {
        headers: { 'x-file-name': name, 'Content-Type': type },
        body: await readFile(samplePath({ file })),
      })
      const { assetId } = answer.json<{ data: { assetId: string } }>().data
      const file2 = { id: assetId, path: `/api/v1/uploads/${assetId}/download`, url: '' }
      expect(await headersOf(file2)).toMatchObject(sandboxed)
    })

    it.each(['photo.jpg', 'picture.png', 'film.mp4', 'sound.flac', 'plain.txt', 'data.json', 'plain.zip'])(
      '%s may be shown',
      async (name) => {
        const headers = await headersOf(await sample(name))
        expect(headers['content-disposition']).toMatch(/^inline;/)
        expect(headers['content-security-policy']).toBeUndefined()
        expect(headers['x-content-type-options']).toBe('nosniff')
      },
    )
  })

  describe('Content-Disposition', () => {
    it.each([
      'plain.txt',
      'two words.txt',
      'quote"s.txt',
      "apostrophe's.txt",
      'semi;colon, comma.txt',
      'percent%20sign.txt',
      '100%.txt',
      'Grüße €.txt',
      '日本語 ファイル.txt',
      'عربى.txt',
      '😀.txt',
      'é'.repeat(300),
      "filename*=UTF-8''evil.html",
      '<script>.txt',
    ])('carries the name %s', async (name) => {
      const { headers } = await call('GET', (await made('x', name)).path)
      const header = headers.get('content-disposition') ?? ''
      expect(header).toMatch(/^[\x20-\x7e\xa0-\xff]+$/)
      expect(nameIn(header)).toBe(name)
    })

    it('is not led on by line breaks', async () => {
      const { headers } = await call('GET', (await made('x', 'a\r\nX-Evil: 1\r\n\r\n<b>.txt')).path)
      expect(headers.get('x-evil')).toBeNull()
      expect(nameIn(headers.get('content-disposition') ?? '')).toBe('aX-Evil: 1<b>.txt')
    })
  })

  const fetchUrl = (url: string, ask: Ask = {}): Promise<Answer> => call('GET', url, { key: null, ...ask })

  describe('a download URL', () => {
    let file: Made
    beforeAll(async () => {
      file = await made('secret')
    })
    const changed = (name: string, value: (old: string) => string): string => {
      const url = new URL(file.url)
      url.searchParams.set(name, value(url.searchParams.get(name) ?? ''))
      return url.href
    }

    it('needs no credentials and works for HEAD and ranges', async () => {
      expect((await fetchUrl(file.url)).bytes.toString()).toBe('secret')
      expect((await fetchUrl(file.url, { headers: { Range: 'bytes=0-2' } })).bytes.toString()).toBe('sec')
      expect((await call('HEAD', file.url, { key: null })).headers.get('content-length')).toBe('6')
    })

    it('allows nothing but reading these bytes', async () => {
      const { search } = new URL(file.url)
      expect((await call('DELETE', `/api/v1/uploads/${file.id}${search}`, { key: null })).status).toBe(401)
      expect((await call('GET', `/api/v1/uploads/${file.id}${search}`, { key: null })).status).toBe(401)
      expect((await fetchUrl(file.url)).status).toBe(200)
    })

    it.each<[string, () => string]>([
      ['a later end', () => changed('expires', (old) => String(Number(old) + 1))],
      ['an end written otherwise', () => changed('expires', (old) => `0${old}`)],
      ['no number as its end', () => changed('expires', () => 'never')],
      ['an empty signature', () => changed('signature', () => '')],
      ['a shorter signature', () => changed('signature', (old) => old.slice(1))],
      ['a longer signature', () => changed('signature', (old) => `${old}A`)],
      ['no end', () => file.url.replace(/expires=\d+&?/, '')],
      ['no signature', () => file.url.replace(/&?signature=[\w-]+/, '')],
      ['two signatures', () => `${file.url}&signature=x`],
      ['two ends', () => `${file.url}&expires=1`],
      ['the id of what never was', () => file.url.replace(file.id, randomUUID())],
    ])('with %s is refused', async (_what, url) => {
      expect(url()).not.toBe(file.url)
      expect(refusal(await fetchUrl(url()))).toBe('403 signature_invalid')
    })

    it('of another upload is refused', async () => {
      const other = await made('other')
      expect(refusal(await fetchUrl(file.url.replace(file.id, other.id)))).toBe('403 signature_invalid')
    })

    it('with any one character of the signature changed is refused', async () => {
      const signature = new URL(file.url).searchParams.get('signature') ?? ''
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      expect(signature.length).toBeGreaterThanOrEqual(43)
      for (let at = 0; at < signature.length; at++) {
        const next = alphabet[(alphabet.indexOf(signature[at] ?? '') + 1) % alphabet.length]
        const url = file.url.replace(signature, signature.slice(0, at) + next + signature.slice(at + 1))
        expect(refusal(await fetchUrl(url))).toBe('403 signature_invalid')
      }
    })

    it('leaves no trace of its signature or of a key in the log', async () => {
      await fetchUrl(file.url)
      await eventually(() => expect(gateway.log()).toContain(`${file.id}/download`))
      expect(gateway.log()).not.toContain(new URL(file.url).searchParams.get('signature'))
      expect(gateway.log()).not.toContain(gateway.key)
    })
  })

  /** What the server's process holds open. */
  async function descriptors(): Promise<string[]> {
    const folder = `/proc/${gateway.pid}/fd`
    const numbers = await readdir(folder)
    return Promise.all(numbers.map((number) => readlink(`${folder}/${number}`).catch(() => 'closed meanwhile')))
  }

  describe('a large download', () => {
    const bytes = randomBytes(bigBytes)
    let file: Made
    beforeAll(async () => {
      file = await made(bytes)
    })
    it('comes whole, and in pieces side by side', async () => {
      expect(sha256((await call('GET', file.path)).bytes)).toBe(sha256(bytes))
      const step = bigBytes / 8
      const pieces = await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          const Range = `bytes=${i * step}-${(i + 1) * step - 1}`
          return (await call('GET', file.path, { headers: { Range } })).bytes
        }),
      )
      expect(sha256(Buffer.concat(pieces))).toBe(sha256(bytes))
    })

    it('never gets the answer to nonsense in between', async () => {
      const wire = await wireTo(gateway.url)
      await wire.send(requestHead('GET', file.path, { Authorization: `Bearer ${gateway.key}` }))
      await new Promise((resolve) => wire.socket.once('data', resolve))
      wire.socket.pause()
      await wire.send('NONSENSE\r\n\r\n')
      await pause(100)
      wire.socket.resume()
      expect(await wire.closed()).toBe(true)
      const come = wire.rest()
      const body = come.subarray(come.indexOf('\r\n\r\n') + 4)
      expect(body.length).toBeGreaterThan(0)
      expect(sha256(body.subarray(0, bytes.length))).toBe(sha256(bytes.subarray(0, body.length)))
      // The nonsense has its own answer, behind.
      expect(body.subarray(bytes.length).toString('latin1')).toMatch(/^(HTTP\/1\.1 400 |$)/)
    })

    it('may be left by the client at any time: nothing leaks, the server goes on', async () => {
      const before = await descriptors()
      for (let round = 0; round < 6; round++)
        await Promise.all(
          Array.from({ length: 10 }, async (_, i) => {
            const wire = await wireTo(gateway.url)
            const Range = i % 3 === 0 ? { Range: 'bytes=0-5000000,6000000-20000000' } : {}
            await wire.send(requestHead('GET', file.path, { Authorization: `Bearer ${gateway.key}`, ...Range }))
            // Some go at once or while the store is asked, some in the middle.
            if (i % 2 === 0) await new Promise((resolve) => wire.socket.once('data', resolve))
            else await pause(round)
            if (i % 4 === 0) wire.socket.destroy()
            else wire.cut()
          }),
        )
      await eventually(async () => {
        const open = await descriptors()
        expect(open.filter((path) => path.includes('/objects/'))).toEqual([])
        // 60 were left; the test's own client opens a few as it goes.
        expect(open.length).toBeLessThan(before.length + 15)
      })
      expect(sha256((await call('GET', file.path)).bytes)).toBe(sha256(bytes))
      expect((await call('GET', '/healthz')).status).toBe(200)
    })
  })

  describe('an installation of its own kind', () => {
    let brief: TestGateway
    let ask: Client
    beforeAll(async () => {
      brief = await place.start({ more: 'download: { ttl: 1 }, server: { bodyIdleTimeout: 1 }' })
      ask = clientOf(brief, brief.key)
    })
    afterAll(() => brief.close())

    it('lets download URLs expire', async () => {
      const { url, path } = await made('gone soon', 'a.txt', ask)
      await eventually(async () => expect(refusal(await ask('GET', url, { key: null }))).toBe('410 upload_expired'))
      expect((await ask('GET', path)).bytes.toString()).toBe('gone soon')
    })

    it('cuts a download of which the client takes nothing any more, and none that it takes slowly', async () => {
      const bytes = (bigBytes * 2) / 3
      const { id, path } = await made(randomBytes(bytes), 'a.bin', ask)
      const open = async () => {
        const wire = await wireTo(brief.url)
        await wire.send(requestHead('GET', path, { Authorization: `Bearer ${brief.key}` }))
        await new Promise((resolve) => wire.socket.once('data', resolve))
        wire.socket.pause()
        return wire
      }
      const [left, slow] = await Promise.all([open(), open()])
      const cuts = () =>
        brief
          .log()
          .split('\n')
          .filter((line) => line.includes(id) && line.includes('"cut":true')).length
      for (let i = 0; cuts() === 0; i++) {
        expect(i).toBeLessThan(100)
        slow.socket.resume()
        await pause(20)
        slow.socket.pause()
        await pause(100)
      }
      for (const wire of [left, slow]) wire.socket.resume()
      expect(await left.closed()).toBe(true)
      expect(left.rest().length).toBeLessThan(bytes)
      await eventually(() => expect(slow.rest().length).toBeGreaterThan(bytes))
      expect(cuts()).toBe(1)
      // The connection may be used again, and for longer than that.
      await pause(1_200)
      const healthy = slow.rest().length
      await slow.send(requestHead('GET', '/healthz', {}))
      await eventually(() => expect(slow.rest().length).toBeGreaterThan(healthy))
      slow.cut()
    })

    it('shows a PDF where nothing else was said', async () => {
      const { headers } = await ask('GET', (await sample('ascii.pdf', ask)).path)
      expect(headers.get('content-disposition')).toMatch(/^inline;/)
    })
  })
}

/** The parts of a `multipart/byteranges` body, read by RFC 2046. */
function partsOf(answer: Answer): { type: string; range: string; bytes: Buffer }[] {
  const boundary = /^multipart\/byteranges; boundary="?([^"]+)"?$/.exec(answer.headers.get('content-type') ?? '')?.[1]
  expect(boundary).toMatch(/^[\w'()+,./:=?-]{1,70}$/)
  const pieces = `\r\n${answer.bytes.toString('latin1').replace(/^\r\n/, '')}`.split(`\r\n--${boundary}`)
  expect(pieces.shift()).toBe('')
  expect(pieces.pop()).toMatch(/^--(\r\n)?$/)
  return pieces.map((piece) => {
    const [head = '', ...rest] = piece.split('\r\n\r\n')
    return {
      type: /content-type: (.*)/i.exec(head)?.[1] ?? '',
      range: /content-range: (.*)/i.exec(head)?.[1] ?? '',
      bytes: Buffer.from(rest.join('\r\n\r\n'), 'latin1'),
    }
  })
}

/** The name as a browser reads it: RFC 8187 where it is given, else the quoted or bare text. */
export function nameIn(header: string): string {
  const extended = /;\s*filename\*=UTF-8''([^;]+)/i.exec(header)?.[1]
  if (extended !== undefined) return decodeURIComponent(extended)
  const quoted = /;\s*filename="((?:[^"\\]|\\.)*)"/i.exec(header)?.[1]
  return quoted?.replace(/\\(.)/g, '$1') ?? /;\s*filename=([^;]+)/i.exec(header)?.[1] ?? ''
}
