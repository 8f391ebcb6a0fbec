import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../src/errors.ts'
import { type Ask, chunked, clientOf, eventually, md5, pause, requestHead, sha256, wireTo } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { disk, strays } from '../support/places.ts'
import {
  base,
  newWorkspace,
  refusal,
  refusedFiles,
  viewOf,
  withRules,
  type Workspace,
  workspaceOf,
} from '../support/presigned.ts'
import { samplePath } from '../support/samples.ts'

// Upload URLs of a gateway that takes the bytes itself. What is true of those that lead to a store as well: suites/presigned.ts.

const maxFileSize = 300_000 // bytes

let gateway: TestGateway
let ours: Workspace
beforeAll(async () => {
  gateway = await disk.start({ env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
  ours = workspaceOf(clientOf(gateway, gateway.key))
})
afterAll(() => gateway.close())

const changed = (change: (url: URL, search: URLSearchParams) => void) => (from: string) => {
  const url = new URL(from)
  change(url, url.searchParams)
  return url.href
}

describe('PUT to the upload URL', () => {
  it('leads to the gateway, and asks for the declared Content-Type', async () => {
    const one = await ours.made()
    expect(one.upload_url).toMatch(`${gateway.url}/presigned/upload/${one.upload.id}?`)
    expect(one.upload_headers).toEqual({})
    const two = await ours.made({ content_type: 'image/jpeg', size_bytes: 1, checksum: `md5:${md5(Buffer.from('x'))}` })
    expect(two.upload_headers).toEqual({ 'Content-Type': 'image/jpeg' })
  })

  it('shows what has come, and keeps only the last of it', async () => {
    const made = await ours.made()
    const before = await disk.stored(gateway)
    await ours.put(made, randomBytes(999))
    expect((await ours.put(made, randomBytes(1_234))).status).toBe(200)
    expect(await ours.view(made.upload.id)).toMatchObject({
      status: 'pending',
      received_bytes: 1_234,
      size_bytes: 1_234,
      download_url: null,
    })
    await eventually(async () => expect(await disk.stored(gateway)).toHaveLength(before.length + 1))
  })

  it('takes a chunked body', async () => {
    const parts = Array.from({ length: 5 }, () => randomBytes(10_001))
    const made = await ours.made({ size_bytes: 50_005 })
    expect((await ours.put(made, chunked(parts, 1))).status).toBe(200)
    const { download_url: url } = viewOf(await ours.confirm(made.upload.id))
    expect(sha256((await ours.call('GET', url ?? '')).bytes)).toBe(sha256(Buffer.concat(parts)))
  })

  const small = Buffer.from('exactly these bytes')
  const declared = {
    content_type: 'text/plain',
    size_bytes: small.length,
    checksum: `sha256:${sha256(small, 'base64')}`,
  }
  const less = small.subarray(1)
  const more = Buffer.concat([small, Buffer.from('!')])
  const wrong = Buffer.from('exactly other bytes')
  const plain = { headers: { 'Content-Type': 'text/plain' } }

  it.each<[string, Ask['body'], Ask, number, ErrorCode]>([
    ['fewer bytes', less, plain, 422, 'size_mismatch'],
    ['more bytes', more, plain, 422, 'size_mismatch'],
    ['no bytes', '', plain, 422, 'size_mismatch'],
    ['other bytes', wrong, plain, 422, 'checksum_mismatch'],
    ['another Content-Type', small, { headers: { 'Content-Type': 'text/html' } }, 403, 'signature_invalid'],
    ['no Content-Type', small, { headers: {} }, 403, 'signature_invalid'],
  ])('refuses %s, keeps nothing, and works afterwards', async (_what, body, over, status, code) => {
    const made = await ours.made(declared)
    expect(refusal(await ours.put(made, body, over))).toBe(`${status} ${code}`)
    expect(await ours.view(made.upload.id)).toMatchObject({ status: 'pending', received_bytes: 0 })
    await eventually(async () => expect(await strays(disk, gateway)).toEqual([]))
    expect(refusal(await ours.confirm(made.upload.id))).toBe('409 upload_not_received')
    expect((await ours.put(made, small)).status).toBe(200)
    expect(viewOf(await ours.confirm(made.upload.id)).status).toBe('confirmed')
  })

  it.each([
    ['fewer', less],
    ['more', more],
  ])('refuses %s bytes in chunks', async (_what, bytes) => {
    const made = await ours.made(declared)
    const parts = [bytes.subarray(0, 5), bytes.subarray(5)]
    expect(refusal(await ours.put(made, chunked(parts), plain))).toBe('422 size_mismatch')
    expect(await ours.view(made.upload.id)).toMatchObject({ status: 'pending', received_bytes: 0 })
    expect((await ours.put(made, small)).status).toBe(200)
  })

  it('refuses a wrong MD5', async () => {
    const made = await ours.made({ checksum: `md5:${md5(small)}` })
    expect(refusal(await ours.put(made, wrong))).toBe('422 checksum_mismatch')
    expect((await ours.put(made, small)).status).toBe(200)
  })

  it.each([
    ['text/csv; charset=utf-8', 'text/csv;charset=UTF-8'],
    ['text/csv;charset=utf-8', 'Text/CSV ; charset="utf-8"'],
  ])('takes %s for the same as %s', async (type, sent) => {
    const made = await ours.made({ content_type: type })
    expect((await ours.put(made, small, { headers: { 'Content-Type': sent } })).status).toBe(200)
    const other = { headers: { 'Content-Type': sent.replace(/utf-8/i, 'utf-16') } }
    expect(refusal(await ours.put(made, small, other))).toBe('403 signature_invalid')
  })

  it('takes the declared Content-Type with its parameters', async () => {
    const made = await ours.made({ content_type: 'audio/webm;codecs=opus' })
    expect(made.upload_headers).toEqual({ 'Content-Type': 'audio/webm;codecs=opus' })
    expect(refusal(await ours.put(made, small, { headers: { 'Content-Type': 'audio/ogg' } }))).toBe(
      '403 signature_invalid',
    )
    expect((await ours.put(made, small)).status).toBe(200)
  })

  it('refuses more than the limit where no size was declared', async () => {
    const made = await ours.made()
    expect(refusal(await ours.put(made, randomBytes(maxFileSize + 1)))).toBe('413 file_too_large')
    expect(refusal(await ours.put(made, chunked([randomBytes(maxFileSize), randomBytes(1)])))).toBe(
      '413 file_too_large',
    )
    expect((await ours.put(made, randomBytes(maxFileSize))).status).toBe(200)
  })

  it('asks for no credentials, and none replace the signature', async () => {
    const made = await ours.made()
    const { origin, pathname } = new URL(made.upload_url)
    expect(refusal(await ours.call('PUT', origin + pathname, { body: 'x' }))).toBe('403 signature_invalid')
    expect((await ours.put(made, 'x', { key: 'op_live_wrong' })).status).toBe(200)
  })

  /** Each parameter in every way in which it can be wrong. */
  const tampered: readonly (readonly [what: string, change: (url: string) => string])[] = [
    ['another id', changed((url) => (url.pathname = `/presigned/upload/${randomUUID()}`))],
    ['no UUID', changed((url) => (url.pathname = '/presigned/upload/1'))],
    ['no parameter at all', changed((url) => (url.search = ''))],
    ['a later end', changed((_, search) => search.set('expires', String(Number(search.get('expires')) + 1)))],
    ['an earlier end', changed((_, search) => search.set('expires', String(Number(search.get('expires')) - 1)))],
    ['an end written otherwise', changed((_, search) => search.set('expires', `${search.get('expires')}.0`))],
    ['two ends', changed((_, search) => search.append('expires', '99999999999'))],
    ['no end', changed((_, search) => search.delete('expires'))],
    ['no signature', changed((_, search) => search.delete('signature'))],
    ['an empty signature', changed((_, search) => search.set('signature', ''))],
    ['two signatures', changed((_, search) => search.append('signature', 'x'))],
    ['a shorter signature', changed((_, search) => search.set('signature', search.get('signature')?.slice(1) ?? ''))],
    ['a longer signature', changed((_, search) => search.set('signature', `${search.get('signature')}A`))],
    ['a signature with a dot', changed((_, search) => search.set('signature', `${search.get('signature')}.`))],
  ]
  it.each(tampered)('refuses a URL with %s', async (_what, change) => {
    const made = await ours.made()
    expect(refusal(await ours.put({ ...made, upload_url: change(made.upload_url) }, 'x'))).toBe('403 signature_invalid')
    expect(await ours.view(made.upload.id)).toMatchObject({ received_bytes: 0 })
    expect((await ours.put(made, 'x')).status).toBe(200)
  })

  it('refuses a URL with any one character of the signature changed', async () => {
    const made = await ours.made()
    const signature = new URL(made.upload_url).searchParams.get('signature') ?? ''
    expect(signature.length).toBeGreaterThanOrEqual(43)
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const others = signature.split('').map((letter, at) => {
      const next = alphabet[(alphabet.indexOf(letter) + 1) % alphabet.length]
      return signature.slice(0, at) + next + signature.slice(at + 1)
    })
    for (const other of others) {
      const url = made.upload_url.replace(signature, other)
      expect(refusal(await ours.put({ ...made, upload_url: url }, 'x'))).toBe('403 signature_invalid')
    }
  })

  it('refuses the URL of another upload and the proof of a download, nor is it one', async () => {
    const [one, two] = [await ours.made(), await ours.made()]
    const mixed = one.upload_url.replace(one.upload.id, two.upload.id)
    expect(refusal(await ours.put({ ...one, upload_url: mixed }, 'x'))).toBe('403 signature_invalid')
    await ours.put(one, 'x')
    const { download_url: download } = viewOf(await ours.confirm(one.upload.id))
    const proof = new URL(download ?? '').search
    const url = `${gateway.url}/presigned/upload/${two.upload.id}${proof}`
    expect(refusal(await ours.put({ ...one, upload_url: url }, 'x'))).toBe('403 signature_invalid')
    const turned = `${base}/${one.upload.id}/download${new URL(one.upload_url).search}`
    expect(refusal(await ours.call('GET', turned, { key: null }))).toBe('403 signature_invalid')
  })

  it.each(['GET', 'POST', 'DELETE', 'PATCH'])('is signed for PUT, not for %s', async (method) => {
    const made = await ours.made()
    const answer = await ours.call(method, made.upload_url)
    expect(refusal(answer)).toBe('405 method_not_allowed')
    expect(answer.headers.get('allow')?.split(', ')).toContain('PUT')
  })

  it('keeps the good bytes when a repetition is refused', async () => {
    const made = await ours.made({ size_bytes: 4 })
    await ours.put(made, 'good')
    expect(refusal(await ours.put(made, 'worse'))).toBe('422 size_mismatch')
    const { download_url: url } = viewOf(await ours.confirm(made.upload.id))
    expect((await ours.call('GET', url ?? '')).bytes.toString()).toBe('good')
  })

  it('is refused after the confirm, and changes nothing', async () => {
    const made = await ours.made({ size_bytes: 4 })
    await ours.put(made, 'good')
    const confirmed = viewOf(await ours.confirm(made.upload.id))
    expect(refusal(await ours.put(made, 'evil'))).toBe('409 upload_state_conflict')
    expect((await ours.call('GET', confirmed.download_url ?? '')).bytes.toString()).toBe('good')
    expect((await ours.view(made.upload.id)).updated_at).toBe(confirmed.updated_at)
  })

  it('that began before the confirm cannot change what was confirmed', async () => {
    const made = await ours.made()
    await ours.put(made, 'good')
    const { pathname, search } = new URL(made.upload_url)
    const wire = await wireTo(gateway.url)
    await wire.send(`${requestHead('PUT', pathname + search, { 'Content-Length': 4 })}ev`)
    await pause(50)
    const { download_url: url } = viewOf(await ours.confirm(made.upload.id))
    await wire.send('il')
    expect(refusal(await wire.answer())).toBe('409 upload_state_conflict')
    wire.cut()
    expect((await ours.call('GET', url ?? '')).bytes.toString()).toBe('good')
  })
})

describe('the upload', () => {
  it('is confirmed neither before the bytes, nor while they come: 409, and nothing is lost', async () => {
    const made = await ours.made({ size_bytes: 4 })
    expect(refusal(await ours.confirm(made.upload.id))).toBe('409 upload_not_received')
    const { pathname, search } = new URL(made.upload_url)
    const wire = await wireTo(gateway.url)
    await wire.send(`${requestHead('PUT', pathname + search, { 'Content-Length': 4 })}by`)
    await pause(50)
    expect(refusal(await ours.confirm(made.upload.id))).toBe('409 upload_not_received')
    expect((await ours.view(made.upload.id)).status).toBe('pending')
    await wire.send('te')
    expect((await wire.answer()).status).toBe(200)
    wire.cut()
    expect(viewOf(await ours.confirm(made.upload.id)).status).toBe('confirmed')
  })

  it('is deleted: stops a PUT that is running, of which nothing remains', async () => {
    const mine = await newWorkspace(gateway)
    const made = await mine.made()
    const { pathname, search } = new URL(made.upload_url)
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('PUT', pathname + search, { 'Content-Length': maxFileSize }))
    await wire.send(randomBytes(100_000))
    await pause(50)
    expect((await mine.call('DELETE', `${base}/${made.upload.id}`)).status).toBe(200)
    expect(refusal(await wire.answer())).toBe('404 not_found')
    expect(await wire.closed()).toBe(true)
    await eventually(async () => {
      expect(await strays(disk, gateway)).toEqual([])
      expect((await mine.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
    })
  })

  it('that was deleted has no URL any more', async () => {
    const made = await ours.made()
    await ours.call('DELETE', `${base}/${made.upload.id}`)
    expect(refusal(await ours.put(made, 'x'))).toBe('403 signature_invalid')
  })
})

describe('an installation with rules', () => {
  let strict: TestGateway
  let mine: Workspace
  beforeAll(async () => {
    strict = await disk.start(withRules)
    mine = workspaceOf(clientOf(strict, strict.key))
  })
  afterAll(() => strict.close())

  it.each(refusedFiles)(
    'refuses the PUT of %s, keeps nothing, and takes the right bytes then',
    async (_what, file, over, answer) => {
      const made = await mine.made({ filename: 'a.png', category: 'image', ...over })
      expect(refusal(await mine.put(made, await readFile(samplePath({ file }))))).toBe(answer)
      expect(await mine.view(made.upload.id)).toMatchObject({ status: 'pending', received_bytes: 0 })
      await eventually(async () => expect(await strays(disk, strict)).toEqual([]))
      expect((await mine.put(made, await readFile(samplePath({ file: 'picture.png' })))).status).toBe(200)
      expect(viewOf(await mine.confirm(made.upload.id))).toMatchObject({
        status: 'confirmed',
        content_type: 'image/png',
      })
    },
  )

  it('refuses the PUT of more bytes than the category takes', async () => {
    const made = await mine.made({ filename: 'a.png', category: 'image' })
    const png = await readFile(samplePath({ file: 'picture.png' }))
    const tooMuch = Buffer.concat([png, Buffer.alloc(50_001 - png.length)])
    expect(refusal(await mine.put(made, tooMuch))).toBe('413 file_too_large')
    expect(refusal(await mine.put(made, chunked([tooMuch])))).toBe('413 file_too_large')
    expect((await mine.put(made, tooMuch.subarray(1))).status).not.toBe(413)
  })

  it('takes no bytes any more after a rejection', async () => {
    const made = await mine.made()
    await mine.put(made, 'evil')
    expect(refusal(await mine.confirm(made.upload.id))).toBe('415 file_type_not_allowed')
    expect(refusal(await mine.put(made, 'good'))).toBe('409 upload_state_conflict')
  })
})

describe('an upload URL', () => {
  let brief: TestGateway
  beforeAll(async () => {
    brief = await disk.start({ more: 'sweep: { interval: 1 }', env: { FAIRLEAD_PRESIGN_TTL: '1' } })
  })
  afterAll(() => brief.close())

  it('expires: 410, the upload too, and gives back what it held', async () => {
    const mine = await newWorkspace(brief)
    const sent = await mine.made({ size_bytes: 4 })
    expect((await mine.put(sent, 'sent')).status).toBe(200)
    const made = await mine.made({ size_bytes: 3 })
    // A body that would be refused anyway, so that no look of these can succeed.
    await eventually(async () => expect(refusal(await mine.put(made, 'long'))).toBe('410 upload_expired'))
    await eventually(async () => expect((await mine.view(made.upload.id)).status).toBe('expired'))
    expect(refusal(await mine.put(made, 'one'))).toBe('410 upload_expired')
    expect(refusal(await mine.confirm(made.upload.id))).toBe('410 upload_expired')
    await eventually(async () => expect((await mine.list('?status=expired')).ids).toEqual([made.upload.id]))
    expect((await mine.usage()).storage.reserved_bytes).toBe(4)
    // What was sent in time can still be confirmed.
    expect(viewOf(await mine.confirm(sent.upload.id)).status).toBe('confirmed')
  })
})
