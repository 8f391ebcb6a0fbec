import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { chunked, eventually, requestHead, sha256 } from '../../../support/client.ts'
import { bytesType, chunksOf, patchHeaders, pathOf, refusal, tusVersion } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

const mib = 1024 * 1024
const chunkedHeaders = { 'Content-Type': bytesType, 'Upload-Offset': 0, 'Transfer-Encoding': 'chunked' }

/** PATCH: what it takes, what it refuses, and what it keeps when the body does not come whole. */
export function appendingSuite({ main, verdicts }: Bench): void {
  const { tus, gateway } = main

  describe('PATCH', () => {
    it('moves the offset by what it brings, until all is there', async () => {
      const id = await tus.made(5)
      const first = await tus.patch(id, 0, 'hel')
      expect([first.status, first.headers.get('upload-offset'), first.bytes.length]).toEqual([204, '3', 0])
      expect(first.headers.has('upload-expires')).toBe(true)
      const last = await tus.patch(id, 3, 'lo')
      expect([last.status, last.headers.get('upload-offset'), last.bytes.length]).toEqual([204, '5', 0])
      expect(last.headers.has('upload-expires')).toBe(false)
      expect(last.headers.get('upload-record')).toBe(`${gateway().url}/api/v1/uploads/${id}`)
      expect((await tus.download(id)).toString()).toBe('hello')
    })

    it('takes forty bytes one by one', async () => {
      const bytes = randomBytes(40)
      const id = await tus.made(40)
      for (let at = 0; at < 40; at++) expect(await tus.sent(id, at, bytes.subarray(at, at + 1))).toBe(at + 1)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it.each([
      ['of one piece', [10 * mib]],
      ['around the sizes of parts', [5 * mib - 1, 1, 1, 3 * mib - 2, 1, 8 * mib + 1, mib - 1]],
      ['in parts', [5 * mib, 3 * mib, 8 * mib]],
      ['of small pieces around a large one', [100, 256 * 1024, 256 * 1024 + 1, 8 * mib, 512 * 1024 - 101]],
    ])('stores a file %s byte for byte', async (_what, sizes) => {
      const bytes = randomBytes(sizes.reduce((sum, size) => sum + size, 0))
      const id = await tus.made(bytes.length)
      let at = 0
      for (const size of sizes) at = await tus.sent(id, at, bytes.subarray(at, at + size))
      expect(at).toBe(bytes.length)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('takes chunked bodies', async () => {
      const bytes = randomBytes(300_000)
      const id = await tus.made(bytes.length)
      expect(await tus.sent(id, 0, chunked([bytes.subarray(0, 7), bytes.subarray(7, 100_000)], 1))).toBe(100_000)
      expect(await tus.sent(id, 100_000, chunked([bytes.subarray(100_000)]))).toBe(300_000)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('takes twenty uploads at once', async () => {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const bytes = randomBytes(40_000)
          const id = await tus.made(bytes.length, {}, bytes.subarray(0, 9))
          await tus.sent(id, await tus.sent(id, 9, bytes.subarray(9, 20_000)), bytes.subarray(20_000))
          expect(sha256(await tus.download(id))).toBe(sha256(bytes))
        }),
      )
    })

    it('of another media type is refused with 415', async () => {
      const id = await tus.made(5)
      for (const type of ['application/octet-stream', 'application/offset', 'text/plain', `${bytesType}x`, 'x']) {
        const answer = await tus.patch(id, 0, 'hello', { 'Content-Type': type })
        expect([type, refusal(answer)]).toEqual([type, '415 unsupported_media_type'])
        expect(answer.headers.has('upload-expires')).toBe(true)
      }
      const wire = await tus.open('PATCH', id, { 'Upload-Offset': 0, 'Content-Length': 5 }, 'hello')
      expect((await wire.answer()).status).toBe(415)
      wire.cut()
      expect(await tus.offset(id)).toBe(0)
    })

    it('knows the media type in capitals and with parameters', async () => {
      const id = await tus.made(5)
      await tus.sent(id, 0, 'hel', { 'Content-Type': 'APPLICATION/Offset+octet-STREAM' })
      expect(await tus.sent(id, 3, 'lo', { 'Content-Type': `${bytesType} ; charset=x` })).toBe(5)
    })

    it('at another offset is refused with 409, and changes nothing', async () => {
      const id = await tus.made(10, {}, 'hello')
      for (const offset of [0, 4, 6, 10, 11, Number.MAX_SAFE_INTEGER]) {
        const answer = await tus.patch(id, offset, 'wrong')
        expect([offset, answer.status]).toEqual([offset, 409])
        expect(refusal(answer)).toMatch(/^409 /)
        expect(answer.headers.get('upload-offset')).toBe('5')
        expect(answer.headers.has('upload-expires')).toBe(true)
      }
      expect(await tus.offset(id)).toBe(5)
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('without an offset that is a number is refused with 400', async () => {
      const id = await tus.made(5)
      const texts = [
        '',
        '-0',
        '-1',
        '+0',
        '00',
        '0.0',
        '0x0',
        '0 0',
        '0,0',
        'zero',
        '9007199254740992',
        '9'.repeat(400),
      ]
      for (const text of texts)
        expect([text, refusal(await tus.patch(id, text, 'hello'))]).toEqual([text, '400 validation_failed'])
      const none = await tus.ask('PATCH', pathOf(id), { headers: { 'Content-Type': bytesType }, body: 'hello' })
      expect(refusal(none)).toBe('400 validation_failed')
      const twice = await tus.open(
        'PATCH',
        id,
        { ...patchHeaders(0, 5), 'Upload-Offset': '0\r\nUpload-Offset: 0' },
        'hello',
      )
      expect((await twice.answer()).status).toBe(400)
      twice.cut()
      expect(await tus.offset(id)).toBe(0)
    })

    it('of more than is missing is refused with 413, announced or not, and changes nothing', async () => {
      const id = await tus.made(10, {}, 'hello')
      expect(refusal(await tus.patch(id, 5, 'world!'))).toBe('413 file_too_large')
      expect(await tus.offset(id)).toBe(5)
      expect(refusal(await tus.patch(id, 5, chunked([Buffer.from('wor'), Buffer.from('ld!')])))).toBe(
        '413 file_too_large',
      )
      expect(await tus.offset(id)).toBe(5)
      expect(await tus.view(id)).toMatchObject({ status: 'pending', received_bytes: 5 })
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
      // So much that some of it was stored before the last byte came.
      const large = await tus.made(3 * mib)
      expect((await tus.patch(large, 0, chunked([Buffer.alloc(3 * mib), Buffer.alloc(1)]))).status).toBe(413)
      expect(await tus.offset(large)).toBe(0)
    })

    it('refuses an announced flood before any byte of it', async () => {
      const id = await tus.made(5)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 100 * mib))
      const answer = await wire.answer()
      expect(refusal(answer)).toBe('413 file_too_large')
      expect(answer.headers.get('connection')).toBe('close')
      wire.cut()
      expect(await tus.offset(id)).toBe(0)
    })

    it('that is empty changes nothing', async () => {
      const id = await tus.made(5, {}, 'hel')
      expect(await tus.sent(id, 3, '')).toBe(3)
      expect(await tus.sent(id, 3)).toBe(3)
      expect(await tus.sent(id, 3, chunked([]))).toBe(3)
      expect(await tus.offset(id)).toBe(3)
    })

    it('at the end of a finished upload: empty is 204, bytes are 413', async () => {
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'accept')
      const id = await tus.made(5, { 'Upload-Metadata': `verdict ${btoa(verdict)}` }, 'hello')
      const again = await Promise.all(Array.from({ length: 5 }, () => tus.patch(id, 5, '')))
      expect(again.map(({ status, headers }) => [status, headers.get('upload-offset')])).toEqual(
        again.map(() => [204, '5']),
      )
      expect(refusal(await tus.patch(id, 5, '!'))).toBe('413 file_too_large')
      expect((await tus.patch(id, 5, chunked([Buffer.from('!')]))).status).toBe(413)
      expect((await tus.patch(id, 0, 'other')).status).toBe(409)
      expect((await tus.patch(id, 0, 'other', { 'Upload-Length': '6' })).status).toBeGreaterThanOrEqual(400)
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(1)
      expect((await tus.download(id)).toString()).toBe('hello')
    })

    it('asks for the body with 100 Continue only when it will take it', async () => {
      const id = await tus.made(10, {}, 'hello')
      const wanted = { ...patchHeaders(5, 5), Expect: '100-continue' }
      for (const [headers, status] of [
        [{ 'Upload-Offset': 4 }, 409],
        [{ 'Upload-Offset': 'x' }, 400],
        [{ 'Content-Type': 'text/plain' }, 415],
        [{ 'Content-Length': 6 }, 413],
        [{ 'Tus-Resumable': '0.1.0' }, 412],
        [{ 'Upload-Checksum': 'crc32 AAAAAA==' }, 400],
        [{ Authorization: 'Bearer none' }, 401],
      ] as const) {
        const refused = await tus.open('PATCH', id, { ...wanted, ...headers })
        expect([headers, (await refused.answer()).status]).toEqual([headers, status])
        refused.cut()
      }
      const wire = await tus.open('PATCH', id, wanted)
      expect((await wire.answer()).status).toBe(100)
      await wire.send('world')
      expect((await wire.answer()).status).toBe(204)
      wire.cut()
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })
  })

  describe('a body that does not come whole', () => {
    it('is kept as far as it came', async () => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 10), 'hello')
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      wire.cut()
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('is kept when it breaks off at once', async () => {
      await Promise.all(
        [1, 4_096, 70_000, mib, 6 * mib + 5].map(async (sent) => {
          const bytes = randomBytes(7 * mib)
          const id = await tus.made(bytes.length)
          const wire = await tus.open('PATCH', id, patchHeaders(0, bytes.length), bytes.subarray(0, sent))
          wire.socket.end()
          await eventually(async () => expect(await tus.offset(id)).toBe(sent))
          expect(await tus.sent(id, sent, bytes.subarray(sent))).toBe(bytes.length)
          expect(sha256(await tus.download(id))).toBe(sha256(bytes))
        }),
      )
    })

    it.each([
      ['between chunks', chunksOf(['hel', 'lo'], false)],
      ['in a chunk', '5\r\nhello\r\n9\r\n'],
      ['in the size of a chunk', '5\r\nhello\r\n1'],
      ['behind the last chunk', '5\r\nhello\r\n0\r\n'],
    ])('is kept when chunked and cut %s', async (_where, body) => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, chunkedHeaders, body)
      wire.socket.end()
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect(await tus.view(id)).toMatchObject({ status: 'pending' })
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('is no whole body although all bytes of the file have come', async () => {
      const id = await tus.made(5)
      const wire = await tus.open('PATCH', id, chunkedHeaders, chunksOf(['hello'], false))
      wire.socket.end()
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect(await tus.sent(id, 5, '')).toBe(5)
      expect((await tus.download(id)).toString()).toBe('hello')
    })

    it('is kept up to where it stops being HTTP', async () => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, chunkedHeaders, '5\r\nhello\r\nnonsense\r\n')
      expect(await wire.closed()).toBe(true)
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })
  })

  describe('on the wire', () => {
    it('a body may come byte by byte', async () => {
      const id = await tus.made(5)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 5))
      for (const byte of 'hello') await wire.send(byte)
      expect((await wire.answer()).headers.get('upload-offset')).toBe('5')
      wire.cut()
      expect((await tus.download(id)).toString()).toBe('hello')
    })

    it('what follows the body is another request', async () => {
      const id = await tus.made(10)
      const head = requestHead('HEAD', pathOf(id), { 'Tus-Resumable': tusVersion, 'x-api-key': gateway().key })
      const wire = await tus.open('PATCH', id, patchHeaders(0, 5), `hello${head}`)
      expect((await wire.answer()).headers.get('upload-offset')).toBe('5')
      const second = await wire.answer({ head: true })
      expect([second.status, second.headers.get('upload-offset')]).toEqual([200, '5'])
      wire.cut()
    })

    it('junk behind the body is no part of the file', async () => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 5), 'hello world, and more\r\n\r\n')
      // Node may find that it is no HTTP before the first answer is written.
      expect([204, 400]).toContain((await wire.answer()).status)
      expect(await wire.closed()).toBe(true)
      const offset = await tus.offset(id)
      expect([0, 5]).toContain(offset)
      await tus.sent(id, offset, 'helloworld'.slice(offset))
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it.each([
      ['both lengths', { 'Content-Length': 5, 'Transfer-Encoding': 'chunked' }],
      ['two lengths', { 'Content-Length': '5\r\nContent-Length: 6' }],
      ['a length that is no number', { 'Content-Length': '5x' }],
      ['a negative length', { 'Content-Length': '-5' }],
      ['another coding', { 'Transfer-Encoding': 'gzip' }],
    ])('%s: nothing is written', async (_what, lengths) => {
      const id = await tus.made(10)
      const headers = { 'Content-Type': bytesType, 'Upload-Offset': 0, ...lengths }
      const wire = await tus.open('PATCH', id, headers, '5\r\nhello\r\n0\r\n\r\n')
      expect((await wire.answer()).status).toBeGreaterThanOrEqual(400)
      expect(await wire.closed()).toBe(true)
      expect(await tus.offset(id)).toBe(0)
    })

    it('a compressed body is refused, which nobody here would undo', async () => {
      const id = await tus.made(5)
      expect(refusal(await tus.patch(id, 0, 'hello', { 'Content-Encoding': 'gzip' }))).toBe(
        '415 unsupported_media_type',
      )
      expect(await tus.offset(id)).toBe(0)
    })

    it('an answer before the end of the body leaves the next request alone', async () => {
      const unknown = randomUUID()
      const wire = await tus.open('PATCH', unknown, patchHeaders(0, 5), 'hello')
      expect((await wire.answer()).status).toBe(404)
      await wire.send('OPTIONS /files HTTP/1.1\r\nHost: gateway.test\r\n\r\n')
      expect([200, 204]).toContain((await wire.answer()).status)
      wire.cut()
    })
  })
}
