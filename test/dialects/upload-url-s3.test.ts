import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, chunked, clientOf, command, eventually, md5, sha256 } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place, strays } from '../support/places.ts'
import {
  base,
  type Created,
  newWorkspace,
  refusal,
  refusedFiles,
  viewOf,
  withBytes,
  withRules,
  type Workspace,
  workspaceOf,
} from '../support/presigned.ts'
import { sharedS3 } from '../support/s3.ts'
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts'
import { samplePath } from '../support/samples.ts'

// Upload URLs that lead to the store, past the gateway. What is true of all: suites/presigned.ts.

/** Bytes of one PUT at most. */
const largestPut = 5_000_000_000
/** Milliseconds for what happens when a URL of these tests has ended. */
const longWaitMs = 15_000

const place = s3Place()
const small = Buffer.from('exactly these bytes')
const wrong = Buffer.from('exactly other bytes')

/** Between the gateway and the store, and between its clients and the store. */
let inner: S3Proxy
let outer: S3Proxy
let gateway: TestGateway
let ours: Workspace

/** Bytes in the bucket where the URL leads. */
const sent = async (made: Created): Promise<Buffer | undefined> => (await place.bucket()).get(await keyOf(made))

async function keyOf({ upload_url: url }: Created): Promise<string> {
  const { name } = await place.bucket()
  return decodeURIComponent(new URL(url).pathname).slice(`/${name}/`.length)
}
const download = async (by: Workspace, answer: Answer): Promise<Buffer> =>
  (await by.call('GET', viewOf(answer).download_url ?? '', { key: null })).bytes
const nothingStrays = () => eventually(async () => expect(await strays(place, gateway)).toEqual([]))
const change = (made: Created, from: RegExp, to: string): Created => {
  const url = made.upload_url.replace(from, to)
  expect(url).not.toBe(made.upload_url)
  return { ...made, upload_url: url }
}
const remove = async (by: Workspace, { upload }: Created): Promise<void> => {
  expect((await by.call('DELETE', `${base}/${upload.id}`)).status).toBe(200)
  expect((await by.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
}

/** The upload is rejected for good; of it nothing is charged, held or kept. */
async function expectRejected(by: Workspace, made: Created, answer: string): Promise<Answer> {
  const { storage } = await by.usage()
  const first = await by.confirm(made.upload.id)
  expect(refusal(first)).toBe(answer)
  expect(await by.view(made.upload.id)).toMatchObject({ status: 'rejected', download_url: null })
  expect(refusal(await by.confirm(made.upload.id))).toBe(answer)
  const { used_bytes: used, reserved_bytes: held } = (await by.usage()).storage
  const declared = made.upload.size_bytes ?? 0
  expect({ used, held }).toEqual({ used: storage.used_bytes, held: (storage.reserved_bytes ?? 0) - declared })
  await nothingStrays()
  expect(await sent(made)).toBeUndefined()
  return first
}

let brief: TestGateway
/** What lies in the bucket under the keys of this upload. */
const objectsOf = async ({ upload: { id } }: Created): Promise<string[]> =>
  (await place.stored(brief)).filter((key) => key.includes(id.replaceAll('-', '')))

/** What takes its time, on a gateway of its own. They run while the other tests do. */
const stories: readonly (readonly [what: string, tell: () => Promise<void>])[] = [
  [
    'a PUT after the confirm changes nothing, and goes when the URL has ended',
    async () => {
      const mine = await newWorkspace(brief)
      const made = await withBytes(mine, { size_bytes: small.length }, small)
      const confirmed = await mine.confirm(made.upload.id)
      await eventually(async () => expect(await objectsOf(made)).toHaveLength(1))
      expect((await mine.put(made, wrong)).status).toBe(200)
      expect(await objectsOf(made)).toHaveLength(2)
      expect(viewOf(await mine.confirm(made.upload.id)).updated_at).toBe(viewOf(confirmed).updated_at)
      await eventually(async () => expect(await objectsOf(made)).toHaveLength(1), longWaitMs)
      expect(await download(mine, confirmed)).toEqual(small)
      expect((await mine.put(made, wrong)).status).toBe(403)
    },
  ],
  [
    'a PUT after the DELETE goes too',
    async () => {
      const mine = await newWorkspace(brief)
      const made = await withBytes(mine, {}, small)
      await mine.call('DELETE', `${base}/${made.upload.id}`)
      await eventually(async () => expect(await objectsOf(made)).toEqual([]))
      expect((await mine.put(made, wrong)).status).toBe(200)
      expect(await objectsOf(made)).toHaveLength(1)
      await eventually(async () => expect(await objectsOf(made)).toEqual([]), longWaitMs)
    },
  ],
  [
    'a URL that is not used ends, and the upload with it',
    async () => {
      const mine = await newWorkspace(brief)
      const made = await mine.made({ size_bytes: small.length })
      await eventually(async () => expect((await mine.view(made.upload.id)).status).toBe('expired'), longWaitMs)
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      expect(refusal(await mine.confirm(made.upload.id))).toBe('410 upload_expired')
      // The store's clock has seconds, and so the URL up to one more.
      await eventually(async () => expect((await mine.put(made, small.subarray(1))).status).toBe(403))
    },
  ],
  [
    'bytes that nobody confirms are found, stay confirmable for a while, and go',
    async () => {
      const mine = await newWorkspace(brief)
      const [one, two] = [await withBytes(mine, {}, small), await withBytes(mine, {}, small)]
      const found = { status: 'pending', received_bytes: small.length }
      await eventually(async () => expect(await mine.view(one.upload.id)).toMatchObject(found), longWaitMs)
      expect(await download(mine, await mine.confirm(one.upload.id))).toEqual(small)
      await eventually(async () => expect((await mine.view(two.upload.id)).status).toBe('expired'), longWaitMs)
      expect(refusal(await mine.confirm(two.upload.id))).toBe('410 upload_expired')
      await eventually(async () => {
        expect(await objectsOf(one)).toHaveLength(1)
        expect(await objectsOf(two)).toEqual([])
      })
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: small.length, reserved_bytes: 0 })
    },
  ],
]
const told = new Map<string, Promise<void>>()

describe.skipIf(place.missing)('an upload URL of the store', () => {
  beforeAll(async () => {
    const { endpoint } = await sharedS3()
    inner = await startS3Proxy(endpoint)
    outer = await startS3Proxy(endpoint)
    gateway = await place.start({
      ...withRules,
      env: { FAIRLEAD_S3_ENDPOINT: inner.endpoint, FAIRLEAD_S3_PUBLIC_ENDPOINT: outer.endpoint },
    })
    ours = workspaceOf(clientOf(gateway, gateway.key))
    brief = await place.start({ more: 'sweep: { interval: 1 }, presign: { ttl: 3, confirmWithin: 4 }' })
    for (const [what, tell] of stories) {
      const telling = tell()
      telling.catch(() => {}) // whoever awaits it hears of it
      told.set(what, telling)
    }
  })
  afterEach(() => {
    inner.reset()
    outer.reset()
  })
  afterAll(async () => {
    await gateway.close()
    await brief.close()
    await place.close()
    await inner.close()
    await outer.close()
  })

  describe('the way of the bytes', () => {
    it('leads past the gateway; the confirm copies them inside the store', async () => {
      const made = await ours.made({ filename: 'noise.dat' })
      expect(new URL(made.upload_url).origin).toBe(outer.endpoint)
      expect(made.upload_headers).toEqual({})
      const bytes = randomBytes(1_000_000)
      expect((await ours.put(made, bytes)).status).toBe(200)
      expect(outer.counts()).toEqual({ PutObject: 1 })
      expect(inner.counts()).not.toHaveProperty('PutObject')
      expect(await ours.view(made.upload.id)).toMatchObject({ status: 'pending', received_bytes: 0, size_bytes: null })
      const confirmed = await ours.confirm(made.upload.id)
      expect(viewOf(confirmed)).toMatchObject({ status: 'confirmed', received_bytes: 1_000_000, size_bytes: 1_000_000 })
      const { PutObject, UploadPart, CopyObject } = inner.counts()
      expect({ PutObject, UploadPart, CopyObject }).toEqual({ CopyObject: 1 })
      expect(sha256(await download(ours, confirmed))).toBe(sha256(bytes))
      await nothingStrays()
    })

    it('is not gone again to look at them, but for the head, where the store proves the MD5', async () => {
      const bytes = randomBytes(1_000_000)
      const { upload } = await withBytes(ours, { checksum: `md5:${md5(bytes)}` }, bytes)
      expect(viewOf(await ours.confirm(upload.id)).status).toBe('confirmed')
      const read = inner.seen().filter(({ operation }) => operation === 'GetObject')
      expect(read.length).toBeGreaterThan(0)
      expect(read.reduce((sum, { received }) => sum + received, 0)).toBeLessThan(100_000)
    })

    it.each([
      ['sha256', sha256(small, 'base64'), 'x-amz-checksum-sha256'],
      ['md5', md5(small), 'Content-MD5'],
    ])('asks for the declared type and %s', async (algorithm, digest, header) => {
      const declared = { content_type: 'text/plain', size_bytes: small.length, checksum: `${algorithm}:${digest}` }
      const made = await ours.made(declared)
      expect(made.upload_headers).toEqual({ 'Content-Type': 'text/plain', [header]: digest })
      expect((await ours.put(made, small)).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id)).status).toBe('confirmed')
    })

    it.each(['audio/webm;codecs=opus', 'Text/Plain;  charset="utf-8"', 'image/svg+xml'])(
      'asks for the type as it was declared: %s',
      async (type) => {
        const made = await ours.made({ filename: 'a', content_type: type })
        expect(made.upload_headers).toEqual({ 'Content-Type': type })
        expect((await ours.put(made, small)).status).toBe(200)
      },
    )

    it('takes no more than one PUT can bring', async () => {
      expect(refusal(await ours.create({ size_bytes: largestPut + 1 }))).toBe('413 file_too_large')
      const { upload } = await ours.made({ size_bytes: largestPut })
      await ours.call('DELETE', `${base}/${upload.id}`)
    })

    it('keeps what a client writes beside the bytes out of the object', async () => {
      const made = await ours.made()
      const headers = { 'Content-Type': 'text/html', 'Cache-Control': 'public', 'Content-Disposition': 'inline' }
      expect((await ours.put(made, 'plain words', { headers })).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id)).content_type).toBe('text/plain')
      const bucket = await place.bucket()
      const [stored = ''] = (await bucket.list(place.prefixOf(gateway)))
        .map(({ key }) => key)
        .filter((key) => key.includes(made.upload.id.replaceAll('-', '')))
        .toSorted()
      const found = await bucket.head(stored)
      expect(found?.get('content-type')).not.toBe('text/html')
      expect([found?.get('cache-control'), found?.get('content-disposition')]).toEqual([null, null])
    })
  })

  describe('what the store refuses', () => {
    const declared = { content_type: 'text/plain', size_bytes: small.length, checksum: `md5:${md5(small)}` }
    const right = { 'Content-Type': 'text/plain', 'Content-MD5': md5(small) }
    it.each<[string, (made: Created) => Promise<Answer>]>([
      ['fewer bytes', (made) => ours.put(made, small.subarray(1))],
      ['more bytes', (made) => ours.put(made, Buffer.concat([small, small]))],
      ['no bytes', (made) => ours.put(made, '')],
      ['a body of unknown length', (made) => ours.put(made, chunked([small]))],
      ['other bytes', (made) => ours.put(made, wrong)],
      [
        'other bytes and their MD5',
        (made) => ours.put(made, wrong, { headers: { ...right, 'Content-MD5': md5(wrong) } }),
      ],
      ['no MD5', (made) => ours.put(made, small, { headers: { 'Content-Type': 'text/plain' } })],
      ['another type', (made) => ours.put(made, small, { headers: { ...right, 'Content-Type': 'text/html' } })],
      ['no type', (made) => ours.put(made, small, { headers: { 'Content-MD5': md5(small) } })],
      ['another method', (made) => ours.call('DELETE', made.upload_url, { key: null })],
      ['another key', (made) => ours.put(change(made, /\.[0-9a-f]{12}\?/, '.000000000000?'), small)],
      ['a later end', (made) => ours.put(change(made, /Expires=\d+/, 'Expires=604800'), small)],
      ['another signature', (made) => ours.put(change(made, /Signature=..../, 'Signature=0000'), small)],
      ['no signature', (made) => ours.put(change(made, /&X-Amz-Signature=\w+/, ''), small)],
      ['no query', (made) => ours.put(change(made, /\?.*/, ''), small)],
    ])('%s: nothing is kept, and the URL works afterwards', async (_what, attempt) => {
      const made = await ours.made(declared)
      const { status } = await attempt(made)
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
      expect(await sent(made)).toBeUndefined()
      expect(refusal(await ours.confirm(made.upload.id))).toBe('409 upload_not_received')
      expect(await ours.view(made.upload.id)).toMatchObject({ status: 'pending', received_bytes: 0 })
      expect((await ours.put(made, small)).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id)).status).toBe('confirmed')
    })

    it('half of the bytes: nothing is kept, and the URL works afterwards', async () => {
      const made = await ours.made({ size_bytes: small.length })
      outer.fault('PutObject', { act: 'cut', when: 'sending', bytes: 9 })
      await expect(ours.put(made, small)).rejects.toThrow('fetch failed')
      await outer.idle()
      expect(await sent(made)).toBeUndefined()
      outer.fault('PutObject', { act: 'cut', when: 'after' })
      await expect(ours.put(made, small)).rejects.toThrow('fetch failed')
      // The answer was lost, not the bytes.
      expect(await sent(made)).toEqual(small)
      expect((await ours.put(made, small)).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id)).status).toBe('confirmed')
    })

    it('a repetition: the good bytes stay', async () => {
      const made = await withBytes(ours, declared, small)
      expect((await ours.put(made, wrong)).status).toBe(400)
      expect(await download(ours, await ours.confirm(made.upload.id))).toEqual(small)
    })
  })

  describe('what only the confirm can refuse', () => {
    it('bytes that have not the declared SHA-256', async () => {
      const declared = { size_bytes: small.length, checksum: `sha256:${sha256(small, 'base64')}` }
      const made = await withBytes(ours, declared, wrong) // this store takes them
      await expectRejected(ours, made, '422 checksum_mismatch')
    })

    it.each([
      ['bytes of another size', 'size_mismatch', { size_bytes: small.length }, Buffer.concat([small, small])],
      ['no bytes', 'size_mismatch', { size_bytes: small.length }, Buffer.alloc(0)],
      ['bytes that have not the declared MD5', 'checksum_mismatch', { checksum: `md5:${md5(small)}` }, wrong],
    ])('%s, which a store has taken all the same', async (_what, code, declared, bytes) => {
      const made = await ours.made(declared)
      await (await place.bucket()).put(await keyOf(made), Uint8Array.from(bytes))
      await expectRejected(ours, made, `422 ${code}`)
    })

    it.each(refusedFiles)('%s', async (_what, file, over, answer) => {
      const body = { filename: 'a.png', category: 'image', ...over }
      await expectRejected(ours, await withBytes(ours, body, await readFile(samplePath({ file }))), answer)
    })

    it('more bytes than the category takes, before they are copied', async () => {
      const png = await readFile(samplePath({ file: 'picture.png' }))
      const tooMuch = Buffer.concat([png, Buffer.alloc(50_001 - png.length)])
      const body = { filename: 'a.png', category: 'image' }
      await expectRejected(ours, await withBytes(ours, body, tooMuch), '413 file_too_large')
      expect(inner.counts()).not.toHaveProperty('CopyObject')
      const { upload } = await withBytes(ours, body, tooMuch.subarray(0, -1))
      expect(viewOf(await ours.confirm(upload.id)).size_bytes).toBe(50_000)
    })

    it('more bytes than the quota has left', async () => {
      const id = randomUUID()
      const mine = await newWorkspace(gateway, id)
      await command(gateway, 'workspaces', 'set-quota', id, '1000')
      const first = await withBytes(mine, {}, randomBytes(600))
      expect(viewOf(await mine.confirm(first.upload.id)).status).toBe('confirmed')
      const answer = await expectRejected(mine, await withBytes(mine, {}, randomBytes(401)), '413 quota_exceeded')
      expect(answer.json()).toMatchObject({ bytes_left: 400 })
      const last = await withBytes(mine, {}, randomBytes(400))
      expect(viewOf(await mine.confirm(last.upload.id)).status).toBe('confirmed')
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 1_000, reserved_bytes: 0 })
    })

    it('two that fit one by one, and not together', async () => {
      const id = randomUUID()
      const mine = await newWorkspace(gateway, id)
      await command(gateway, 'workspaces', 'set-quota', id, '1000')
      const both = await Promise.all([1, 2].map(() => withBytes(mine, {}, randomBytes(600))))
      const answers = await Promise.all(both.map(({ upload }) => mine.confirm(upload.id)))
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 413])
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 600, reserved_bytes: 0 })
      await nothingStrays()
    })
  })

  describe('confirms and PUTs at the same time', () => {
    it('ten confirms copy once, charge once and say the same', async () => {
      const mine = await newWorkspace(gateway)
      const { upload } = await withBytes(mine, {}, randomBytes(1_000))
      const held = inner.fault('CopyObject', { act: 'stall' })
      const answering = Promise.all(Array.from({ length: 10 }, () => mine.confirm(upload.id)))
      await held.hit
      held.release()
      const views = (await answering).map((answer) => ({ ...viewOf(answer), download_url: '' }))
      for (const view of views) expect(view).toEqual({ ...views[0], status: 'confirmed' })
      expect(inner.counts()).toMatchObject({ CopyObject: 1 })
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 1_000, reserved_bytes: 0 })
      await nothingStrays()
    })

    it('ten confirms before the bytes are all told so', async () => {
      const { upload } = await ours.made()
      const answers = await Promise.all(Array.from({ length: 10 }, () => ours.confirm(upload.id)))
      expect(answers.map(refusal)).toEqual(Array.from({ length: 10 }, () => '409 upload_not_received'))
      expect((await ours.view(upload.id)).status).toBe('pending')
    })

    it('a context that comes with one of two confirms is kept', async () => {
      const { upload } = await withBytes(ours, { context_type: 'album', context_id: '7' })
      expect(viewOf(await ours.confirm(upload.id, { json: {} }))).toMatchObject({ context_id: '7' })
      const other = await withBytes(ours)
      const json = { context_type: 'message', context_id: '42' }
      expect(viewOf(await ours.confirm(other.upload.id, { json }))).toMatchObject(json)
    })

    it('a PUT of the same size between look and copy: one of both, whole', async () => {
      const made = await withBytes(ours, { size_bytes: small.length }, small)
      const held = inner.fault('CopyObject', { act: 'stall' })
      const confirming = ours.confirm(made.upload.id)
      await held.hit
      expect((await ours.put(made, wrong)).status).toBe(200)
      held.release()
      const bytes = await download(ours, await confirming)
      expect([small.toString(), wrong.toString()]).toContain(bytes.toString())
    })

    it('a PUT of another size between look and copy: the confirm looks again, and takes the new bytes', async () => {
      const made = await withBytes(ours, {}, small)
      const held = inner.fault('CopyObject', { act: 'stall' })
      const confirming = ours.confirm(made.upload.id)
      await held.hit
      const longer = randomBytes(50_000)
      expect((await ours.put(made, longer)).status).toBe(200)
      held.release()
      const confirmed = await confirming
      expect(viewOf(confirmed)).toMatchObject({ status: 'confirmed', size_bytes: 50_000, received_bytes: 50_000 })
      expect(sha256(await download(ours, confirmed))).toBe(sha256(longer))
      await nothingStrays()
    })

    it('whenever they meet, what is confirmed is one file, with its own size', async () => {
      const files = [small, randomBytes(70_000)] as const
      for (let round = 0; round < 8; round++) {
        const made = await withBytes(ours, {}, files[0])
        const [answer] = await Promise.all([ours.confirm(made.upload.id), ours.put(made, files[1])])
        const settled = answer.status === 409 ? await ours.confirm(made.upload.id) : answer
        const bytes = await download(ours, settled)
        expect(files.map((file) => sha256(file))).toContain(sha256(bytes))
        expect(viewOf(settled).size_bytes).toBe(bytes.length)
      }
    })
  })

  describe('a store that fails', () => {
    it('is away: 503, when to ask again, and it works when it is back', async () => {
      const { upload } = await withBytes(ours, {}, small)
      await inner.down()
      try {
        const answer = await ours.confirm(upload.id)
        expect(refusal(answer)).toBe('503 storage_failed')
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
        expect((await ours.view(upload.id)).status).toBe('pending')
      } finally {
        await inner.up()
      }
      expect(await download(ours, await ours.confirm(upload.id))).toEqual(small)
    })

    it.each([
      ['goes away before the copy', 'before', { status: 503, code: 'SlowDown' }, '503 storage_failed'],
      ['loses the answer to the copy, again and again', 'after', 'cut', '503 storage_failed'],
      ['refuses the copy', 'before', { status: 403, code: 'AccessDenied' }, '502 storage_failed'],
    ] as const)('%s: nothing strays, and it works afterwards', async (_what, when, act, said) => {
      const made = await withBytes(ours, { size_bytes: small.length }, small)
      inner.fault('CopyObject', { act, when, times: 3 })
      expect(refusal(await ours.confirm(made.upload.id))).toBe(said)
      inner.reset()
      expect((await ours.view(made.upload.id)).status).toBe('pending')
      await nothingStrays()
      expect(await sent(made)).toEqual(small)
      expect(await download(ours, await ours.confirm(made.upload.id))).toEqual(small)
      await nothingStrays()
    })

    it('goes away when the copy is made: 503, and the next confirm goes on from there', async () => {
      const { upload } = await withBytes(ours, { size_bytes: small.length }, small)
      inner.fault('GetObject', { act: { status: 503, code: 'SlowDown' }, times: 3 })
      expect(refusal(await ours.confirm(upload.id))).toBe('503 storage_failed')
      inner.reset()
      expect((await ours.view(upload.id)).status).toBe('processing')
      expect(await download(ours, await ours.confirm(upload.id))).toEqual(small)
      expect(inner.counts()).not.toHaveProperty('CopyObject')
      await nothingStrays()
    })

    it('is away: no file comes in or goes out, and nothing is held', async () => {
      const mine = await newWorkspace(gateway)
      const { upload } = await withBytes(mine, {}, small)
      const { download_url: url } = viewOf(await mine.confirm(upload.id))
      await nothingStrays()
      const raw = () => mine.call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a' }, body: randomBytes(1_000) })
      await inner.down()
      try {
        for (const answer of [await raw(), await mine.call('GET', url ?? '', { key: null })]) {
          expect(answer.status).toBe(503)
          expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
          expect(answer.bytes.toString()).not.toContain('127.0.0.1')
        }
        // An upload URL asks nothing of the store.
        await mine.made({ size_bytes: 1 })
      } finally {
        await inner.up()
      }
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: small.length, reserved_bytes: 1 })
      expect((await raw()).status).toBe(201)
      expect((await mine.call('GET', url ?? '', { key: null })).bytes).toEqual(small)
      await nothingStrays()
    })

    it('breaks off in the middle of a download: so does the answer', async () => {
      const bytes = randomBytes(2_000_000)
      const { upload } = await withBytes(ours, {}, bytes)
      const { download_url: url } = viewOf(await ours.confirm(upload.id))
      inner.fault('GetObject', { act: 'cut', when: 'answering', bytes: 1_000_000 })
      await expect(ours.call('GET', url ?? '', { key: null })).rejects.toThrow('terminated')
      expect(sha256((await ours.call('GET', url ?? '', { key: null })).bytes)).toBe(sha256(bytes))
    })
  })

  describe('DELETE', () => {
    it.each<[string, object, (by: Workspace, made: Created) => Promise<unknown>]>([
      ['before the PUT', { size_bytes: 5 }, async () => {}],
      ['before the confirm', { size_bytes: 5 }, (by, made) => by.put(made, 'bytes')],
      [
        'after the confirm',
        {},
        async (by, made) => {
          await by.put(made, 'bytes')
          expect(viewOf(await by.confirm(made.upload.id)).status).toBe('confirmed')
        },
      ],
    ])('%s leaves nothing', async (_what, body, act) => {
      const mine = await newWorkspace(gateway)
      const made = await mine.made(body)
      await act(mine, made)
      await remove(mine, made)
      expect(refusal(await mine.confirm(made.upload.id))).toBe('404 not_found')
      await nothingStrays()
    })

    it.each([
      ['before the store hears of the copy', 'CopyObject', 'before'],
      ['when the copy is made', 'CopyObject', 'after'],
      ['while the bytes are looked up', 'HeadObject', 'after'],
      ['while the pipeline reads', 'GetObject', 'before'],
    ] as const)('during the confirm, %s, ends it and leaves nothing', async (_what, operation, when) => {
      const mine = await newWorkspace(gateway)
      const made = await withBytes(mine)
      const held = inner.fault(operation, { act: 'stall', when })
      const confirming = mine.confirm(made.upload.id)
      await held.hit
      await remove(mine, made)
      held.release()
      expect(refusal(await confirming)).toBe('404 not_found')
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      await nothingStrays()
    })
  })

  describe('time', () => {
    it.each(stories)('%s', async (what) => {
      await expect(told.get(what)).resolves.toBeUndefined()
    })
  })

  it('leaves an account that is right', async () => {
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, findings: [] })
  })
})
