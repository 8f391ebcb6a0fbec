import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Answer } from '../../../support/client.ts'
import { bytesType, idOf, pathOf, refusal, tusVersion } from '../../../support/tus.ts'
import { type Bench, largest, tightest } from './bench.ts'

const extensions = [
  'creation',
  'creation-with-upload',
  'creation-defer-length',
  'expiration',
  'checksum',
  'termination',
  'concatenation',
]
const listed = (header: string | null): string[] => (header ?? '').split(',').map((word) => word.trim())

const facts = ({ status, headers }: Answer) => ({
  status,
  offset: headers.get('upload-offset'),
  length: headers.get('upload-length'),
  deferred: headers.get('upload-defer-length'),
  cache: headers.get('cache-control'),
})

/** The core of the protocol, but for PATCH. */
export function protocolSuite({ main, tight }: Bench): void {
  const { tus } = main
  const total = async (): Promise<number | undefined> => (await tus.usage()).uploads['total']

  const override = (actual: string, method: string, id: string, more: Record<string, string> = {}, body?: string) =>
    tus.ask(actual, pathOf(id), {
      headers: { 'X-HTTP-Method-Override': method, ...more },
      ...(body === undefined ? {} : { body }),
    })

  describe('OPTIONS', () => {
    it.each(['/files', '/files/', pathOf(randomUUID())])('of %s tells what the server can do', async (path) => {
      const answer = await tus.call('OPTIONS', path, { key: null })
      expect([200, 204]).toContain(answer.status)
      expect(answer.bytes).toHaveLength(0)
      expect(answer.headers.get('tus-version')).toBe('1.0.0')
      expect(listed(answer.headers.get('tus-extension')).toSorted()).toEqual(extensions.toSorted())
      expect(answer.headers.get('tus-max-size')).toBe(String(largest))
      const algorithms = listed(answer.headers.get('tus-checksum-algorithm'))
      expect(algorithms).toEqual(expect.arrayContaining(['sha1', 'sha256', 'md5']))
      for (const name of algorithms) expect(name).toMatch(/^[!-@[-~]+$/)
    })

    it('tells the limit that is configured', async () => {
      const answer = await tight.tus.call('OPTIONS', '/files', { key: null })
      expect(answer.headers.get('tus-max-size')).toBe(String(tightest))
    })

    it('does not look at the version of the request', async () => {
      for (const version of ['0.2.2', '1.0.0', 'nonsense']) {
        const answer = await tus.call('OPTIONS', '/files', { key: null, headers: { 'Tus-Resumable': version } })
        expect([200, 204]).toContain(answer.status)
        expect(answer.headers.get('tus-version')).toBe('1.0.0')
      }
    })

    it('is answered with the same facts when a browser asks before it sends', async () => {
      const answer = await tus.call('OPTIONS', '/files', {
        key: null,
        headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'POST' },
      })
      expect([200, 204]).toContain(answer.status)
      expect(answer.headers.get('tus-version')).toBe('1.0.0')
    })
  })

  describe('Tus-Resumable', () => {
    const versions = ['0.2.2', '1.0', '1.0.1', '2.0.0', '1.0.0, 1.0.0', 'v1.0.0', '01.0.0']

    it('of another version is refused with 412, and nothing is done', async () => {
      const id = await tus.made(5)
      const before = await total()
      const refused = async (version: string | undefined): Promise<void> => {
        const headers = version === undefined ? {} : { 'Tus-Resumable': version }
        const upload = { ...headers, 'Content-Type': bytesType, 'Upload-Offset': '0' }
        const answers = await Promise.all([
          tus.call('POST', '/files', { headers: { ...headers, 'Upload-Length': '1' } }),
          tus.call('PATCH', pathOf(id), { headers: upload, body: 'hello' }),
          tus.call('DELETE', pathOf(id), { headers }),
          tus.call('POST', pathOf(id), { headers: { ...upload, 'X-HTTP-Method-Override': 'PATCH' }, body: 'hello' }),
        ])
        for (const answer of answers) {
          expect([version, answer.status]).toEqual([version, 412])
          expect(answer.headers.get('tus-version')).toBe('1.0.0')
          expect(answer.headers.get('tus-resumable')).toBe('1.0.0')
        }
        expect(answers.map(refusal)).toEqual(Array(answers.length).fill('412 precondition_failed'))
      }
      await Promise.all([undefined, ...versions].map(refused))
      for (const version of versions)
        expect((await tus.call('HEAD', pathOf(id), { headers: { 'Tus-Resumable': version } })).status).toBe(412)
      expect(await tus.offset(id)).toBe(0)
      expect(await total()).toBe(before)
    })

    it('may be missing from a HEAD', async () => {
      const id = await tus.made(10, {}, 'hello')
      const answer = await tus.call('HEAD', pathOf(id))
      expect(facts(answer)).toMatchObject({ status: 200, offset: '5', length: '10' })
      expect(answer.headers.get('tus-resumable')).toBe('1.0.0')
      expect((await tus.call('HEAD', pathOf(randomUUID()))).status).toBe(404)
      expect((await tus.call('HEAD', pathOf(id), { key: null })).status).toBe(401)
    })

    it('sent twice is refused', async () => {
      const wire = await tus.open('HEAD', await tus.made(1), { 'Tus-Resumable': '1.0.0\r\nTus-Resumable: 1.0.0' })
      expect((await wire.answer({ head: true })).status).toBe(412)
      wire.cut()
    })
  })

  describe('X-HTTP-Method-Override', () => {
    const chunk = { 'Content-Type': bytesType, 'Upload-Offset': '0' }

    it('is the method, whatever the real one is', async () => {
      const id = await tus.made(5)
      for (const actual of ['POST', 'PUT', 'DELETE'])
        expect((await override(actual, 'HEAD', id)).headers.get('upload-offset')).toBe('0')
      const patched = await override('POST', 'PATCH', id, chunk, 'hello')
      expect([patched.status, patched.headers.get('upload-offset')]).toEqual([204, '5'])
      expect((await override('PATCH', 'DELETE', id)).status).toBe(204)
      expect((await tus.head(id)).status).toBe(404)
    })

    it('makes an upload of a PUT', async () => {
      const headers = { 'X-HTTP-Method-Override': 'POST', 'Upload-Length': '3' }
      expect(await tus.offset(idOf(await tus.ask('PUT', '/files', { headers })))).toBe(0)
    })

    it('makes OPTIONS of what would need credentials', async () => {
      const headers = { 'X-HTTP-Method-Override': 'OPTIONS' }
      const answer = await tus.call('POST', '/files', { headers, key: null })
      expect([200, 204]).toContain(answer.status)
      expect(answer.headers.get('tus-version')).toBe('1.0.0')
    })

    it('keeps a real DELETE from deleting', async () => {
      const id = await tus.made(5)
      expect((await override('DELETE', 'HEAD', id)).status).toBe(200)
      expect(await tus.offset(id)).toBe(0)
    })

    it('leaves the connection in order when a POST is answered as HEAD', async () => {
      for (const id of [await tus.made(5), randomUUID()]) {
        const wire = await tus.open('POST', id, { 'X-HTTP-Method-Override': 'HEAD', 'Content-Length': 0 })
        expect([200, 404]).toContain((await wire.answer()).status)
        await wire.send(`OPTIONS /files HTTP/1.1\r\nHost: gateway.test\r\n\r\n`)
        expect([200, 204]).toContain((await wire.answer()).status)
        wire.cut()
      }
    })

    it('of a method that does not exist is refused', async () => {
      const id = await tus.made(5)
      for (const method of ['BREW', 'PUT', 'TRACE', 'PATCH, HEAD', '../HEAD'])
        expect([method, (await override('POST', method, id, chunk, 'hello')).status]).toEqual([method, 405])
      expect(await tus.offset(id)).toBe(0)
    })
  })

  describe('methods', () => {
    it.each([
      ['PUT', pathOf(randomUUID())],
      ['POST', pathOf(randomUUID())],
      ['GET', '/files'],
      ['PATCH', '/files'],
      ['DELETE', '/files'],
      ['PUT', '/files'],
    ])('%s %s does not exist', async (method, path) => {
      const answer = await tus.call(method, path, { headers: { 'Tus-Resumable': tusVersion } })
      expect(refusal(answer)).toBe('405 method_not_allowed')
      expect(answer.headers.get('allow')).toMatch(path === '/files' ? /POST/ : /PATCH/)
    })

    it('POST works with a slash behind the address, as clients write it', async () => {
      idOf(await tus.ask('POST', '/files/', { headers: { 'Upload-Length': '3' } }))
      expect(await tus.usage()).toBeDefined()
    })
  })

  describe('HEAD', () => {
    const known = { status: 200, deferred: null, cache: 'no-store', length: '5' }

    it('tells offset and length from the first moment to the last, and is never cached', async () => {
      const id = await tus.made(5)
      expect(facts(await tus.head(id))).toEqual({ ...known, offset: '0' })
      await tus.sent(id, 0, 'hel')
      expect(facts(await tus.head(id))).toEqual({ ...known, offset: '3' })
      await tus.sent(id, 3, 'lo')
      expect(facts(await tus.head(id))).toEqual({ ...known, offset: '5' })
    })

    it('says that the length is not known until it is', async () => {
      const id = await tus.made(null)
      const unknown = { status: 200, length: null, deferred: '1', cache: 'no-store' }
      expect(facts(await tus.head(id))).toEqual({ ...unknown, offset: '0' })
      await tus.sent(id, 0, 'hel')
      expect(facts(await tus.head(id))).toEqual({ ...unknown, offset: '3' })
      await tus.sent(id, 3, 'l', { 'Upload-Length': '5' })
      expect(facts(await tus.head(id))).toEqual({ ...known, offset: '4' })
    })

    it.each([
      randomUUID(),
      '00000000-0000-0000-0000-000000000000',
      'nonsense',
      '%00',
      '..%2F..%2Fdata',
      '%',
      'x'.repeat(2_000),
      "1'--",
    ])('of %s is 404 without an offset, and so are PATCH and DELETE', async (id) => {
      const head = await tus.head(id)
      expect(head.status).toBe(404)
      expect(head.headers.has('upload-offset')).toBe(false)
      expect(head.bytes).toHaveLength(0)
      expect(refusal(await tus.patch(id, 0, 'hello'))).toBe('404 not_found')
      expect(refusal(await tus.remove(id))).toBe('404 not_found')
    })
  })
}
