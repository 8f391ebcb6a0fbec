import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, clientOf, type Client, eventually, md5, sha256 } from '../../support/client.ts'
import type { TestGateway } from '../../support/gateway.ts'
import { type Part, file, formBytes, formType } from '../../support/multipart.ts'
import { type Place, strays } from '../../support/places.ts'

type Headers = Readonly<Record<string, string>>

/** The text that checksum catalogues give a value for. */
const body = Buffer.from('123456789')
const hash = (algorithm: string, encoding: 'base64' | 'hex' = 'base64'): string =>
  createHash(algorithm).update(body).digest(encoding)
const fromHex = (hex: string): string => Buffer.from(hex, 'hex').toString('base64')
/** As the catalogue of parametrised CRC algorithms has them. */
const crc32 = fromHex('cbf43926')
const crc32c = fromHex('e3069283')
const crc64nvme = fromHex('ae8b14860a799888')

/** Of bytes that were not sent. */
const other = (algorithm: string): string => createHash(algorithm).update('987654321').digest('base64')

const right: readonly (readonly [name: string, value: string])[] = [
  ['Content-MD5', md5(body)],
  ['x-amz-checksum-crc32', crc32],
  ['x-amz-checksum-crc32c', crc32c],
  ['x-amz-checksum-crc64nvme', crc64nvme],
  ['x-amz-checksum-sha1', hash('sha1')],
  ['x-amz-checksum-sha256', sha256(body, 'base64')],
  ['x-amz-checksum-sha512', hash('sha512')],
  ['x-amz-content-sha256', sha256(body)],
  ['x-amz-content-sha256', 'UNSIGNED-PAYLOAD'],
  ['x-amz-checksum-type', 'FULL_OBJECT'],
  ['Content-Digest', `sha-256=:${sha256(body, 'base64')}:`],
  ['Content-Digest', `sha-512=:${hash('sha512')}:, sha-256=:${sha256(body, 'base64')}:`],
  ['Content-Digest', `sha-256=:${sha256(body, 'base64')}:, unheard-of=:AAAA:`],
  ['Repr-Digest', `sha-512=:${hash('sha512')}:;of=file`],
  ['Repr-Digest', `crc32c=:${crc32c}:`],
  ['Digest', `SHA-256=${sha256(body, 'base64')},md5=${md5(body)}`],
  ['Content-MD5', ''],
]

const wrong: readonly (readonly [name: string, value: string])[] = [
  ['Content-MD5', other('md5')],
  ['x-amz-checksum-crc32', crc32c],
  ['x-amz-checksum-crc32c', crc32],
  ['x-amz-checksum-crc64nvme', fromHex('ae8b14860a799889')],
  ['x-amz-checksum-sha1', other('sha1')],
  ['x-amz-checksum-sha256', other('sha256')],
  ['x-amz-content-sha256', createHash('sha256').digest('hex')],
  ['Content-Digest', `sha-256=:${other('sha256')}:`],
  ['Content-Digest', `sha-256=:${sha256(body, 'base64')}:, sha-512=:${other('sha512')}:`],
  ['Repr-Digest', `sha-256=:${other('sha256')}:`],
  ['Digest', `SHA-256=${other('sha256')}`],
]

const invalid: readonly (readonly [name: string, value: string])[] = [
  ['Content-MD5', hash('md5', 'hex')],
  ['Content-MD5', '!'],
  ['Content-MD5', `${md5(body)}, ${md5(body)}`],
  ['x-amz-checksum-sha256', sha256(body)],
  ['x-amz-checksum-xxhash9', 'AAAA'],
  ['x-amz-checksum-sha256', `${sha256(body, 'base64')}-2`],
  ['x-amz-content-sha256', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
  ['Content-Digest', `unheard-of=:AAAA:`],
  ['Content-Digest', `sha-256=${sha256(body, 'base64')}`],
  ['Content-Digest', `sha-256=:${md5(body)}:`],
  ['Content-Digest', 'sha-256'],
  ['Repr-Digest', `constructor=:AAAA:`],
  ['Digest', 'unixsum=30637'],
  ['Trailer', 'Content-Digest'],
]

interface Way {
  readonly name: string
  readonly send: (headers: Headers) => Promise<Answer>
}

const codeOf = (answer: Answer): string => {
  const said = answer.json<{ error_code?: string; errorCode?: string }>()
  return `${answer.status} ${(said.error_code ?? said.errorCode ?? '').toLowerCase()}`
}

/** What the headers of a body say of its bytes is true, or nothing of it is kept; by whichever way it comes. */
export function integritySuite(place: Place): void {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await place.start()
    call = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway.close())

  const raw = (headers: Headers) =>
    call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.bin', ...headers }, body })

  const form = (parts: readonly Part[], headers: Headers = {}) =>
    call('POST', '/v2/default/project/p/upload', {
      headers: { 'Content-Type': formType, ...headers },
      body: formBytes(parts),
    })
  const partWith = (headers: Headers): Part => {
    const { head } = file('b.bin', body)
    return { head: [...head, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)], body }
  }

  async function presignedPut(headers: Headers): Promise<Answer> {
    const made = await call('POST', '/api/v1/uploads', { json: { filename: 'a.bin', category: 'other' } })
    const { upload_url: url } = made.json<{ data: { upload_url: string } }>().data
    return call('PUT', url, { key: null, headers, body })
  }

  async function directPut(headers: Headers): Promise<Answer> {
    const blob = { filename: 'a.bin', content_type: 'text/plain', byte_size: body.length, checksum: md5(body) }
    const made = await call('POST', '/api/v1/upload/direct', { json: { blob } })
    const { direct_upload: put } = made.json<{ direct_upload: { url: string; headers: Headers } }>()
    const own = Object.entries(headers).filter(([name]) => name !== 'Content-MD5')
    return call('PUT', put.url, { key: null, headers: { ...put.headers, ...Object.fromEntries(own) }, body })
  }

  const tus = { 'Tus-Resumable': '1.0.0' }
  const chunk = { ...tus, 'Content-Type': 'application/offset+octet-stream' }
  const tusLength = { 'Upload-Length': String(body.length) }
  const creation = (headers: Headers) =>
    call('POST', '/files', { headers: { ...chunk, ...tusLength, ...headers }, body })
  async function patch(headers: Headers): Promise<Answer> {
    const made = await call('POST', '/files', { headers: { ...tus, ...tusLength } })
    const location = made.headers.get('location') ?? ''
    const answer = await call('PATCH', location, { headers: { ...chunk, 'Upload-Offset': '0', ...headers }, body })
    const head = await call('HEAD', location, { headers: tus })
    expect(head.headers.get('upload-offset')).toBe(answer.status === 204 ? String(body.length) : '0')
    return answer
  }

  const ways: readonly Way[] = [
    { name: 'raw', send: raw },
    { name: 'a part of a form', send: (headers) => form([file('a.txt', 'first'), partWith(headers)]) },
    { name: 'tus PATCH', send: patch },
    { name: 'tus creation', send: creation },
    ...(place.takesPuts
      ? [
          { name: 'presigned PUT', send: presignedPut },
          { name: 'direct PUT', send: directPut },
        ]
      : []),
  ]

  interface Usage {
    readonly storage: object
    readonly uploads: { readonly confirmed: number; readonly rejected: number }
  }
  const usage = async (): Promise<Usage> => (await call('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data
  const used = async () => {
    const { storage, uploads } = await usage()
    return { storage, confirmed: uploads.confirmed, rejected: uploads.rejected }
  }

  describe.each(ways)('$name', ({ name, send }) => {
    /** What was declared as a Content-MD5 is signed: another one is another URL, as suites/direct.ts has it. */
    const sendable = ([header]: readonly [string, string]) => name !== 'direct PUT' || header !== 'Content-MD5'

    it.each(right)('%s: %s is right', async (header, value) => {
      const answer = await send({ [header]: value })
      expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({
        status: expect.toSatisfy((status: number) => status < 300),
      })
    })

    it.each(wrong.filter(sendable))('%s: %s is wrong, and nothing is kept', async (header, value) => {
      const before = await used()
      const answer = await send({ [header]: value })
      expect(codeOf(answer)).toBe('422 checksum_mismatch')
      expect(answer.json<{ detail: string }>().detail).toContain(header.toLowerCase())
      await eventually(async () => {
        const { confirmed, rejected } = await used()
        expect({ confirmed, rejected }).toEqual({ confirmed: before.confirmed, rejected: before.rejected })
        expect(await strays(place, gateway)).toEqual([])
      })
    })

    it.each(invalid.filter(sendable))('%s: %s cannot be checked', async (header, value) => {
      const answer = await send({ [header]: value })
      expect(codeOf(answer)).toBe('400 checksum_invalid')
      expect(answer.json<{ detail: string }>().detail).toContain(header.toLowerCase())
    })
  })

  it('a refused body gives back what it held', async () => {
    const before = await used()
    expect((await raw({ 'Content-MD5': other('md5') })).status).toBe(422)
    expect((await form([file('a.txt', 'first'), partWith({ 'Content-MD5': other('md5') })])).status).toBe(422)
    await eventually(async () => expect(await used()).toEqual(before))
  })

  it('a form as a whole is what its request says', async () => {
    const parts = [file('a.txt', 'first'), file('b.txt', 'second')]
    expect((await form(parts, { 'Content-MD5': md5(formBytes(parts)) })).status).toBe(201)
    const before = await used()
    const refused = await form(parts, { 'Content-Digest': `sha-256=:${sha256(body, 'base64')}:` })
    expect(codeOf(refused)).toBe('422 checksum_mismatch')
    expect(codeOf(await form(parts, { 'Content-MD5': 'x' }))).toBe('400 checksum_invalid')
    await eventually(async () => {
      expect(await used()).toEqual(before)
      expect(await strays(place, gateway)).toEqual([])
    })
  })

  it('of two checksums of a chunk, each must be right', async () => {
    const sum = { 'Upload-Checksum': `sha1 ${hash('sha1')}` }
    expect((await patch({ ...sum, 'Content-MD5': md5(body) })).status).toBe(204)
    expect(codeOf(await patch({ ...sum, 'Content-MD5': other('md5') }))).toBe('422 checksum_mismatch')
    expect((await patch({ 'Upload-Checksum': `sha1 ${other('sha1')}`, 'Content-MD5': md5(body) })).status).toBe(460)
  })
}
