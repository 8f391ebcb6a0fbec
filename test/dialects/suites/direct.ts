import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dialectContract } from '../../contracts/dialect.ts'
import { addKeys, clientOf, command, eventually, md5, sha256 } from '../../support/client.ts'
import {
  type Blob,
  blobFor,
  blobOf,
  type Direct,
  directBase,
  directOf,
  secret,
  signedId,
} from '../../support/direct.ts'
import type { TestGateway } from '../../support/gateway.ts'
import { type Place, strays } from '../../support/places.ts'
import { faultsOf, refusal, shape, time, withRules } from '../../support/presigned.ts'
import { samplePath } from '../../support/samples.ts'

const maxFileSize = 300_000 // bytes
/** Milliseconds in which the gateway finds by itself what has come to the store. */
const noticedMs = 15_000

const bytes = Buffer.from('exactly these bytes')
const others = Buffer.from('exactly other bytes')

/** Slow enough to be killed before the verdict; and one that refuses. */
const rules = {
  ...withRules,
  env: { FAIRLEAD_SECRET: secret, FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) },
}

/** What the gateway finds by itself, without being asked for it. */
const noticed = (by: Direct, blob: Blob, status: string) =>
  eventually(async () => expect(await by.status(blob)).toBe(status), noticedMs)
const without = (name: string) => (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name))
/** As the list of faults names these fields. */
const places = (fields: readonly string[]) => fields.map((field) => `body.blob.${field}`)

/** What this API does wherever the files are. */
export function directSuite(place: Place): void {
  let gateway: TestGateway
  let ours: Direct
  beforeAll(async () => {
    gateway = await place.start({ ...rules, more: `${rules.more}, sweep: { interval: 1 }` })
    ours = directOf(clientOf(gateway, gateway.key))
  })
  afterAll(() => gateway.close())

  async function newWorkspace(over: object = {}, on = gateway): Promise<Direct> {
    const { key } = await addKeys(on, { key: { workspaceId: randomUUID(), ...over } })
    return directOf(clientOf(on, key))
  }
  const nothingStrays = () => eventually(async () => expect(await strays(place, gateway)).toEqual([]))

  dialectContract('direct', {
    gateway: () => gateway,
    ...shape,
    endpoints: [
      {
        method: 'POST',
        path: () => directBase,
        ask: () => ({ json: { blob: blobFor(bytes) } }),
        status: 200,
        scope: 'uploads:write',
        one: false,
      },
      { method: 'GET', path: (id) => `${directBase}/${signedId(id)}`, status: 200, scope: 'uploads:read', one: true },
    ],
  })

  describe('create', () => {
    it('answers with the record, and where its bytes go', async () => {
      const first = await ours.made(bytes)
      const blob = await ours.made(bytes, { filename: ' a.txt ', content_type: 'text/plain' })
      expect(blob).toEqual({
        id: first.id + 1,
        key: expect.stringMatching(/^[0-9a-f-]{36}$/),
        filename: 'a.txt',
        content_type: 'text/plain',
        metadata: {},
        service_name: place.takesPuts ? 'disk' : 's3',
        byte_size: bytes.length,
        checksum: md5(bytes),
        created_at: expect.stringMatching(time),
        signed_id: signedId(blob.key),
        direct_upload: {
          url: expect.stringMatching(/^http:/),
          headers: {
            'Content-Type': 'text/plain',
            'Content-MD5': md5(bytes),
            'Content-Disposition': expect.stringContaining('a.txt'),
          },
        },
      })
      expect(encodeURIComponent(blob.signed_id)).toBe(blob.signed_id)
    })

    it('takes a SHA-256, which has a header of its own', async () => {
      const checksum = sha256(bytes, 'base64')
      const blob = await ours.made(bytes, { checksum })
      expect(blob.checksum).toBe(checksum)
      expect(blob.direct_upload?.headers).toEqual({
        'Content-Type': 'application/octet-stream',
        'x-amz-checksum-sha256': checksum,
        'Content-Disposition': expect.stringContaining('file.bin'),
        // Clients that were made for the page count on the header; S3 servers take no empty one.
        ...(place.takesPuts ? { 'Content-MD5': '' } : {}),
      })
      expect((await ours.put(blob, bytes)).status).toBe(200)
    })

    it.each([sha256(bytes), Buffer.from(md5(bytes), 'base64').toString('hex')])(
      'says of a digest in hexadecimal that it is one: %s',
      async (checksum) => {
        const msg = `Value error, This digest is written in hex: send its ${checksum.length / 2} bytes in base64.`
        expect((await ours.create(blobFor(bytes, { checksum }))).json()).toMatchObject({ detail: [{ msg }] })
      },
    )

    it('tells every fault at once', async () => {
      const all = ['byte_size', 'checksum', 'content_type', 'filename']
      expect(faultsOf(await ours.create({}))).toEqual(places(all))
      expect(faultsOf(await ours.create({ filename: 'a/b', content_type: 'x', byte_size: -1, checksum: 'x' }))).toEqual(
        places(all),
      )
      expect(
        faultsOf(await ours.create({ filename: null, content_type: null, byte_size: null, checksum: null })),
      ).toEqual(places(all))
      expect(faultsOf(await ours.call('POST', directBase, { json: {} }))).toEqual(['body.blob'])
      expect(faultsOf(await ours.call('POST', directBase, { json: [] }))).toEqual(['body'])
    })

    it.each([
      ['a name with a line break', { filename: 'a\r\nb' }, 'filename'],
      ['a name of 256 characters', { filename: 'n'.repeat(256) }, 'filename'],
      ['a size that is text', { byte_size: '5' }, 'byte_size'],
      ['a fraction of a byte', { byte_size: 1.5 }, 'byte_size'],
      ['a type with a line break', { content_type: 'text/plain\r\nX-Evil: 1' }, 'content_type'],
      ['an empty type', { content_type: '' }, 'content_type'],
      ['a digest of another length', { checksum: Buffer.alloc(20).toString('base64') }, 'checksum'],
      ['a digest in hexadecimal', { checksum: sha256(bytes) }, 'checksum'],
      ['a digest without padding', { checksum: md5(bytes).replace('==', '') }, 'checksum'],
      ['a digest with stray bits', { checksum: `${'A'.repeat(21)}B==` }, 'checksum'],
      ['a digest with blanks', { checksum: ` ${md5(bytes)}` }, 'checksum'],
      ['a digest in the alphabet of URLs', { checksum: `${'_'.repeat(42)}8=` }, 'checksum'],
    ])('refuses %s', async (_what, over, field) => {
      expect(faultsOf(await ours.create(blobFor(bytes, over)))).toEqual([`body.blob.${field}`])
    })

    it('refuses a size beyond the limit, and beyond the quota', async () => {
      expect(refusal(await ours.create(blobFor(bytes, { byte_size: maxFileSize + 1 })))).toBe('413 file_too_large')
      const workspaceId = randomUUID()
      const theirs = await newWorkspace({ workspaceId })
      await command(gateway, 'workspaces', 'set-quota', workspaceId, '30')
      await theirs.made(bytes)
      const refused = await theirs.create(blobFor(bytes))
      expect(refusal(refused)).toBe('413 quota_exceeded')
      expect(refused.json()).toMatchObject({ bytes_left: 30 - bytes.length })
    })

    it('makes one upload for one Idempotency-Key', async () => {
      const headers = { 'Idempotency-Key': randomUUID() }
      const first = blobOf(await ours.create(blobFor(bytes), { headers }))
      expect(blobOf(await ours.create(blobFor(bytes), { headers }))).toEqual(first)
      expect(refusal(await ours.create(blobFor(others), { headers }))).toBe('422 idempotency_key_reused')
      await ours.put(first, bytes)
      await noticed(ours, first, 'confirmed')
      expect(blobOf(await ours.create(blobFor(bytes), { headers }))).toEqual(first)
    })
  })

  describe('the bytes', () => {
    it.each(['md5', 'sha256'])('are taken, looked at and measured, declared by %s', async (algorithm) => {
      const image = await readFile(samplePath({ file: 'animation.gif' }))
      const checksum = algorithm === 'md5' ? md5(image) : sha256(image, 'base64')
      const by = await newWorkspace()
      // What it is, the bytes say.
      const blob = await by.sent(image, { filename: 'a.gif', checksum })
      const { direct_upload: _, ...made } = blob
      const found = blobOf(await by.look(blob))
      expect(found).toEqual({
        ...made,
        content_type: 'image/gif',
        metadata: {
          identified: true,
          analyzed: true,
          width: null,
          height: null,
          duration: null,
          sha256: algorithm === 'sha256' || place.takesPuts ? sha256(image) : null,
          codecs: null,
          pages: null,
          extra: { 'sniff-type': expect.objectContaining({ found: 'image/gif' }) },
        },
        direct_upload: null,
      })
      expect(blobOf(await by.look(blob))).toEqual(found)
      const download = await by.call('GET', `/api/v1/uploads/${blob.key}/download`)
      expect(download.bytes.equals(image)).toBe(true)
      expect(download.headers.get('content-type')).toBe('image/gif')
      expect(download.headers.get('content-disposition')).toMatch(/^inline/)
    })

    it('finish their upload when nobody asks', async () => {
      const by = await newWorkspace()
      const blob = await by.sent(bytes)
      await noticed(by, blob, 'confirmed')
      const usage = await by.call('GET', '/api/v1/usage/summary')
      expect(usage.json()).toMatchObject({ data: { storage: { used_bytes: bytes.length, reserved_bytes: 0 } } })
    })

    it('may be none', async () => {
      const blob = await ours.sent(Buffer.alloc(0))
      expect(blobOf(await ours.look(blob))).toMatchObject({ byte_size: 0, metadata: { identified: true } })
    })

    it('are not asked for before they are there', async () => {
      const { direct_upload: _, ...blob } = await ours.made(bytes)
      expect(blobOf(await ours.look(blob))).toEqual({ ...blob, direct_upload: null })
    })

    it.each([
      ['quotes and a percent sign', `a"b'c%2Fd;e.txt`],
      ['several blanks', 'a   b\u00a0c.txt'],
      ['other alphabets', 'Grüße 日本 مرحبا 😀.txt'],
      ['255 characters beyond the basic plane', '😀'.repeat(255)],
      ['half of a character', 'a\ud800.txt'],
      ['only dots', '...'],
    ])('are taken under a name with %s', async (_what, filename) => {
      const blob = await ours.sent(bytes, { filename })
      expect(blobOf(await ours.look(blob)).metadata).toMatchObject({ identified: true })
    })

    it.each([
      ['without the Content-MD5', {}, without('Content-MD5')],
      ['with another Content-MD5', {}, (headers: object) => ({ ...headers, 'Content-MD5': md5(others) })],
      ['without the SHA-256', { checksum: sha256(bytes, 'base64') }, without('x-amz-checksum-sha256')],
      [
        'with another SHA-256',
        { checksum: sha256(bytes, 'base64') },
        (headers: object) => ({ ...headers, 'x-amz-checksum-sha256': sha256(others, 'base64') }),
      ],
      ['without the Content-Disposition', {}, without('Content-Disposition')],
      ['with another Content-Disposition', {}, (headers: object) => ({ ...headers, 'Content-Disposition': 'inline' })],
      ['with another Content-Type', {}, (headers: object) => ({ ...headers, 'Content-Type': 'text/html' })],
    ])('are refused %s, and can be sent again', async (_what, over, change) => {
      const blob = await ours.made(bytes, over)
      const answer = await ours.put(blob, bytes, change(blob.direct_upload?.headers ?? {}))
      expect(answer.status).toBe(403)
      expect(blobOf(await ours.look(blob)).metadata).toEqual({})
      expect((await ours.put(blob, bytes)).status).toBe(200)
      expect(blobOf(await ours.look(blob)).metadata).toMatchObject({ identified: true })
    })

    it.each(['md5', 'sha256'])('are refused when they are others than declared, by %s', async (algorithm) => {
      const blob = await ours.made(bytes, algorithm === 'md5' ? {} : { checksum: sha256(bytes, 'base64') })
      const { status } = await ours.put(blob, others)
      expect(place.takesPuts ? [422] : [200, 400]).toContain(status)
      // What a store does not check, the gateway does.
      const look = await ours.look(blob)
      expect(look.json()).toMatchObject(status === 200 ? { error_code: 'checksum_mismatch' } : { metadata: {} })
      expect(look.json()).not.toHaveProperty('metadata.identified')
      await nothingStrays()
    })

    it('are refused by a plugin for good, whether or not somebody asks', async () => {
      const evil = Buffer.from('evil bytes')
      const by = await newWorkspace()
      const unasked = await by.sent(evil)
      await noticed(by, unasked, 'rejected')
      const asked = await by.sent(evil)
      for (const blob of [asked, unasked]) {
        const answer = await by.look(blob)
        expect(refusal(answer)).toBe('415 file_type_not_allowed')
        expect(answer.json()).toMatchObject({ detail: 'This file is evil.' })
        expect(await by.status(blob)).toBe('rejected')
      }
      const usage = await by.call('GET', '/api/v1/usage/summary')
      expect(usage.json()).toMatchObject({ data: { storage: { used_bytes: 0, reserved_bytes: 0 } } })
      await nothingStrays()
    })

    it('are kept once when they are sent twice at once, and asked for meanwhile', async () => {
      const by = await newWorkspace()
      const blob = await by.made(bytes)
      const [first, second, ...looks] = await Promise.all([
        by.put(blob, bytes),
        by.put(blob, bytes),
        by.look(blob),
        by.look(blob),
      ])
      // The newer one ends the older, or comes when that has been confirmed.
      expect([200, 409, 423]).toContain(first.status)
      expect([200, 409, 423]).toContain(second.status)
      expect([first.status, second.status]).toContain(200)
      for (const look of looks) expect(look.status).toBe(200)
      expect(blobOf(await by.look(blob)).metadata).toMatchObject({ identified: true })
      const usage = await by.call('GET', '/api/v1/usage/summary')
      expect(usage.json()).toMatchObject({ data: { storage: { used_bytes: bytes.length, reserved_bytes: 0 } } })
      await nothingStrays()
    })

    it('can be confirmed all the same, and deleted', async () => {
      const blob = await ours.sent(bytes)
      expect((await ours.call('POST', `/api/v1/uploads/${blob.key}`)).json()).toMatchObject({
        data: { status: 'confirmed' },
      })
      expect((await ours.call('DELETE', `/api/v1/uploads/${blob.key}`)).status).toBe(200)
      expect(refusal(await ours.look(blob))).toBe('404 not_found')
      await nothingStrays()
    })
  })

  describe('a signed id', () => {
    it('leads nowhere when it was changed, belongs to others or never was', async () => {
      const blob = await ours.sent(bytes)
      const [, id = '', signature = ''] = blob.signed_id.split('.')
      const theirs = await newWorkspace()
      const answers = [
        await theirs.look(blob),
        await ours.look({ signed_id: signedId(randomUUID()) }),
        await ours.look({ signed_id: signedId(blob.key, 'download') }),
        await ours.look({ signed_id: `blob.${id}.${signature.slice(0, -1)}` }),
        await ours.look({ signed_id: `blob.${id}.${signature}=` }),
        await ours.look({ signed_id: `blob.${id.toUpperCase()}.${signature}` }),
        await ours.look({ signed_id: `put.${id}.${signature}` }),
        await ours.look({ signed_id: id }),
        await ours.look({ signed_id: String(blob.id) }),
        await ours.look({ signed_id: '%00' }),
      ]
      for (const answer of answers) expect(refusal(answer)).toBe('404 not_found')
      expect(new Set(answers.map((answer) => answer.bytes.toString())).size).toBe(1)
    })

    it('tells when its upload was never finished', async () => {
      const hasty = await place.start({
        ...rules,
        more: `${rules.more}, sweep: { interval: 1 }`,
        env: { ...rules.env, FAIRLEAD_PRESIGN_TTL: '1' },
      })
      try {
        const by = directOf(clientOf(hasty, hasty.key))
        const blob = await by.made(bytes)
        await noticed(by, blob, 'expired')
        expect(refusal(await by.look(blob))).toBe('410 upload_expired')
      } finally {
        await hasty.close()
      }
    })
  })

  describe('bytes that the workspace has', () => {
    const checksum = sha256(bytes, 'base64')
    let keeping: TestGateway
    beforeAll(async () => {
      keeping = await place.start({ ...rules, more: `${rules.more}, dedupe: true` })
    })
    afterAll(() => keeping.close())

    it('are not asked for again, where that is wanted', async () => {
      const by = await newWorkspace({}, keeping)
      const first = await by.sent(bytes, { checksum })
      // Only what is finished counts.
      const pending = await by.made(others, { checksum: sha256(others, 'base64') })
      expect((await by.made(others, { checksum: sha256(others, 'base64') })).key).not.toBe(pending.key)
      const found = blobOf(await by.look(first))
      const headers = { 'Idempotency-Key': randomUUID() }
      const again = blobOf(await by.create(blobFor(bytes, { checksum, filename: 'b.txt' }), { headers }))
      expect(again).toEqual(found)
      expect((await by.made(bytes)).key).not.toBe(first.key) // an MD5 proves too little
      expect((await by.made(bytes, { checksum, byte_size: 1 })).key).not.toBe(first.key)
      expect((await (await newWorkspace({}, keeping)).made(bytes, { checksum })).key).not.toBe(first.key)
      await by.call('DELETE', `/api/v1/uploads/${first.key}`)
      expect((await by.made(bytes, { checksum })).direct_upload).not.toBeNull()
      // What was answered is answered again.
      expect(blobOf(await by.create(blobFor(bytes, { checksum, filename: 'b.txt' }), { headers }))).toEqual(found)
    })

    it('are not shown to who may not read them', async () => {
      const workspaceId = randomUUID()
      const by = await newWorkspace({ workspaceId }, keeping)
      const project = randomUUID()
      const raw = await by.call('POST', '/v1/uploads', {
        headers: { 'x-file-name': 'a.bin', 'x-project-id': project },
        body: bytes,
      })
      expect(raw.status).toBe(201)
      const found = await by.made(bytes, { checksum })
      expect(found).toMatchObject({ filename: 'a.bin', checksum, direct_upload: null })
      const writes = await newWorkspace({ workspaceId, scopes: ['uploads:write'] }, keeping)
      expect((await writes.made(bytes, { checksum })).direct_upload).not.toBeNull()
      const elsewhere = await newWorkspace({ workspaceId, projects: [randomUUID()] }, keeping)
      expect((await elsewhere.made(bytes, { checksum })).direct_upload).not.toBeNull()
      const inside = await newWorkspace({ workspaceId, projects: [project] }, keeping)
      expect((await inside.made(bytes, { checksum })).key).toBe(found.key)
    })

    it('are taken again by default', async () => {
      const blob = await ours.sent(bytes, { checksum })
      expect(blobOf(await ours.look(blob)).metadata).toMatchObject({ identified: true })
      expect((await ours.made(bytes, { checksum })).key).not.toBe(blob.key)
    })
  })

  it('a kill between the PUT and the verdict changes nothing', async () => {
    const frail = await place.start(rules)
    try {
      const by = directOf(clientOf(frail, frail.key))
      const slow = Buffer.concat([Buffer.from('slow'), randomBytes(1_000)])
      const good = await by.sent(slow)
      const bad = await by.sent(Buffer.from('evil'))
      await frail.stop('SIGKILL')
      await frail.start()
      const now = directOf(clientOf(frail, frail.key))
      await noticed(now, good, 'confirmed')
      await noticed(now, bad, 'rejected')
      expect((await now.call('GET', `/api/v1/uploads/${good.key}/download`)).bytes.equals(slow)).toBe(true)
      await eventually(async () => expect(await strays(place, frail)).toEqual([]))
    } finally {
      await frail.close()
    }
  })
}
