import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Answer, eventually, sha256 } from '../../../support/client.ts'
import { bytesType, idOf, patchHeaders, pathOf, uuidPattern } from '../../../support/tus.ts'
import { type Bench, publicUrl } from './bench.ts'

const words = (header: string | null): string[] => (header ?? '').toLowerCase().split(/\s*,\s*/)

const exposed = [
  'location',
  'upload-offset',
  'upload-length',
  'upload-metadata',
  'upload-expires',
  'upload-concat',
  'upload-defer-length',
  'upload-record',
  'tus-resumable',
  'tus-version',
  'tus-extension',
  'tus-max-size',
  'tus-checksum-algorithm',
  'retry-after',
]
const sent = [
  'authorization',
  'x-api-key',
  'content-type',
  'tus-resumable',
  'upload-offset',
  'upload-length',
  'upload-defer-length',
  'upload-metadata',
  'upload-concat',
  'upload-checksum',
  'x-http-method-override',
  'x-request-id',
  'x-requested-with',
]

/** Addresses, proxies, browsers. */
export function mannersSuite({ main, tight, brief }: Bench): void {
  const { tus, gateway } = main

  describe('addresses', () => {
    it('follow the host that was asked, and no header that anybody can send', async () => {
      const forged = {
        'X-Forwarded-Host': 'evil.example',
        'X-Forwarded-Proto': 'https',
        Forwarded: 'host=evil.example',
      }
      const wire = await tus.open('POST', null, { 'Upload-Length': 5, 'Content-Length': 0, ...forged })
      const { headers } = await wire.answer()
      expect(headers.get('location')).toMatch(new RegExp(`^http://gateway\\.test/files/${uuidPattern}$`))
      expect(headers.get('upload-record')).toMatch(new RegExp(`^http://gateway\\.test/api/v1/uploads/${uuidPattern}$`))
      wire.cut()
    })

    it('follow a trusted proxy', async () => {
      const forwarded = { 'X-Forwarded-Host': 'front.example:8443', 'X-Forwarded-Proto': 'https' }
      const answer = await brief.tus.post({ 'Upload-Length': '5', ...forwarded })
      expect(answer.headers.get('location')).toBe(`https://front.example:8443${pathOf(idOf(answer))}`)
      expect((await brief.tus.remove(idOf(answer))).status).toBe(204)
    })

    it('follow the public URL that is configured', async () => {
      const answer = await tight.tus.post({ 'Upload-Length': '5' }, 'hello')
      const id = idOf(answer)
      expect(answer.headers.get('location')).toBe(`${publicUrl}${pathOf(id)}`)
      expect(answer.headers.get('upload-record')).toBe(`${publicUrl}/api/v1/uploads/${id}`)
    })

    it('of parts may be what Location said, whatever that was', async () => {
      const answer = await tight.tus.post({ 'Upload-Length': '5', 'Upload-Concat': 'partial' }, 'hello')
      const location = answer.headers.get('location') ?? ''
      const joined = idOf(await tight.tus.post({ 'Upload-Concat': `final;${location}` }))
      expect((await tight.tus.download(joined)).toString()).toBe('hello')
    })
  })

  describe('browsers', () => {
    const origin = { Origin: 'https://app.example' }

    it.each([
      ['POST', '/files'],
      ['HEAD', pathOf('x')],
      ['PATCH', pathOf('x')],
      ['DELETE', pathOf('x')],
      ['GET', pathOf('x')],
    ])('may send %s %s with all that clients put on it', async (method, path) => {
      const answer = await tus.call('OPTIONS', path, {
        key: null,
        headers: {
          ...origin,
          'Access-Control-Request-Method': method,
          'Access-Control-Request-Headers': sent.join(','),
        },
      })
      expect([200, 204]).toContain(answer.status)
      expect(answer.headers.get('access-control-allow-origin')).toBe('*')
      expect(words(answer.headers.get('access-control-allow-methods'))).toContain(method.toLowerCase())
      expect(words(answer.headers.get('access-control-allow-headers'))).toEqual(expect.arrayContaining(sent))
      expect(Number(answer.headers.get('access-control-max-age'))).toBeGreaterThan(0)
    })

    it('may read every header, of refusals too', async () => {
      const created = await tus.post({ ...origin, 'Upload-Length': '10' }, 'hello')
      const id = idOf(created)
      const answers: readonly Answer[] = [
        created,
        await tus.ask('HEAD', pathOf(id), { headers: origin }),
        await tus.patch(id, 0, 'wrong', origin),
        await tus.patch(id, 5, 'world', origin),
        await tus.ask('HEAD', pathOf('x'), { headers: origin }),
        await tus.ask('HEAD', pathOf(id), { headers: origin, key: null }),
        await tus.call('POST', '/files', { headers: origin }),
        await tus.ask('DELETE', pathOf(id), { headers: origin }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([201, 200, 409, 204, 404, 401, 412, 204])
      for (const answer of answers) {
        expect(answer.headers.get('access-control-allow-origin')).toBe('*')
        expect(words(answer.headers.get('access-control-expose-headers'))).toEqual(expect.arrayContaining(exposed))
      }
    })
  })

  it('a client that takes no JSON may use the protocol all the same', async () => {
    for (const accept of ['*/*', 'text/html', 'application/offset+octet-stream']) {
      const answer = await tus.post({ 'Upload-Length': '5', Accept: accept }, 'hello')
      expect([accept, answer.status]).toEqual([accept, 201])
    }
  })

  it('a request id of the client is kept', async () => {
    const answer = await tus.post({ 'Upload-Length': '5', 'X-Request-Id': 'req_0a1B2c3D4e5F6g7H' })
    expect(answer.headers.get('x-request-id')).toBe('req_0a1B2c3D4e5F6g7H')
  })

  it('connections that break leave no error in the log', async () => {
    const id = await tus.made(1_000_000)
    for (const headers of [patchHeaders(0, 1_000_000), { ...patchHeaders(0, 1_000_000), Expect: '100-continue' }]) {
      const wire = await tus.open('PATCH', id, headers, 'x')
      wire.cut()
    }
    const chunked = { 'Content-Type': bytesType, 'Upload-Offset': 0, 'Transfer-Encoding': 'chunked' }
    const wire = await tus.open('PATCH', id, chunked, 'nonsense\r\n')
    wire.cut()
    await eventually(async () => expect((await tus.head(id)).status).toBe(200))
    // What the test's own plugin does wrong on purpose is the only thing to complain of.
    const complaints = gateway()
      .log()
      .split('\n')
      .filter((line) => /"level":(50|60|"error"|"fatal")/.test(line) && !line.includes('The test says that it fails'))
    expect(complaints).toEqual([])
    expect(gateway().log()).not.toMatch(/UnhandledPromise|uncaught/i)
  })

  it('a slow reader of a large file does not disturb an upload', async () => {
    const bytes = randomBytes(3_000_000)
    const id = await tus.made(bytes.length, {}, bytes)
    const wire = await tus.open('GET', id)
    wire.socket.pause()
    const other = await tus.made(5, {}, 'hello')
    expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    expect((await tus.download(other)).toString()).toBe('hello')
    wire.cut()
  })
}
