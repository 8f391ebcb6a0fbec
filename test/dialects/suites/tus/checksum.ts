import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { chunked, eventually, sha256 } from '../../../support/client.ts'
import { bytesType, idOf, patchHeaders, refusal } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

const mib = 1024 * 1024
const checksum = (bytes: Uint8Array | string, algorithm = 'sha1') => ({
  'Upload-Checksum': `${algorithm} ${createHash(algorithm).update(bytes).digest('base64')}`,
})

/** Upload-Checksum: bytes of which the client knows the digest count only when it is right. */
export function checksumSuite({ main, verdicts }: Bench): void {
  const { tus } = main

  describe('checksum', () => {
    it.each(['sha1', 'sha256', 'md5'])('%s: what is right counts', async (algorithm) => {
      const id = await tus.made(10)
      expect(await tus.sent(id, 0, 'hello', checksum('hello', algorithm))).toBe(5)
      expect(
        await tus.sent(id, 5, chunked([Buffer.from('wor'), Buffer.from('ld')]), checksum('world', algorithm)),
      ).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it.each(['sha1', 'sha256', 'md5'])('%s: what is wrong is 460, and never was', async (algorithm) => {
      const id = await tus.made(10, {}, 'hello')
      const answer = await tus.patch(id, 5, 'worlt', checksum('world', algorithm))
      expect(answer.status).toBe(460)
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
      expect(answer.json()).toMatchObject({ status: 460, errorCode: 'CHUNK_CHECKSUM_MISMATCH' })
      expect(await tus.offset(id)).toBe(5)
      expect(await tus.view(id)).toMatchObject({ status: 'pending', received_bytes: 5 })
      expect(await tus.sent(id, 5, 'world', checksum('world', algorithm))).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('keeps a wrong last chunk from finishing the upload', async () => {
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'accept')
      const id = await tus.made(5, { 'Upload-Metadata': `verdict ${btoa(verdict)}` })
      expect((await tus.patch(id, 0, 'jello', checksum('hello'))).status).toBe(460)
      expect(verdicts().runs(verdict)).toBe(0)
      expect(await tus.sent(id, 0, 'hello', checksum('hello'))).toBe(5)
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
    })

    it.each([
      ['an algorithm that is not offered', 'crc32 AAAAAA=='],
      ['one in capitals', `SHA1 ${createHash('sha1').update('hello').digest('base64')}`],
      ['no digest', 'sha1'],
      ['an empty digest', 'sha1 '],
      ['no algorithm', createHash('sha1').update('hello').digest('base64')],
      ['what is no base64', `sha1 ${'!'.repeat(28)}`],
      ['a digest of another length', 'sha1 AAAA'],
      ['a digest of another algorithm', `sha1 ${createHash('md5').update('hello').digest('base64')}`],
      ['more than one space', `sha1  ${createHash('sha1').update('hello').digest('base64')}`],
      ['more behind it', `sha1 ${createHash('sha1').update('hello').digest('base64')} x`],
      ['hexadecimal digits', `sha1 ${createHash('sha1').update('hello').digest('hex')}`],
      ['nothing', ''],
      ['the name of a property', 'constructor AAAA'],
      ['two of them', `sha1 ${createHash('sha1').update('hello').digest('base64')},md5 AAAA`],
    ])('%s is refused with 400, and nothing is kept', async (_what, header) => {
      const id = await tus.made(5)
      expect(refusal(await tus.patch(id, 0, 'hello', { 'Upload-Checksum': header }))).toBe('400 validation_failed')
      expect(await tus.offset(id)).toBe(0)
      expect(await tus.sent(id, 0, 'hello')).toBe(5)
    })

    it('of no bytes is the digest of nothing', async () => {
      const id = await tus.made(5)
      expect(await tus.sent(id, 0, '', checksum(''))).toBe(0)
      expect((await tus.patch(id, 0, '', checksum('hello'))).status).toBe(460)
      expect(await tus.offset(id)).toBe(0)
    })

    it('works with the creation too', async () => {
      const typed = { 'Upload-Length': '5', 'Content-Type': bytesType }
      const right = await tus.post({ ...typed, ...checksum('hello') }, 'hello')
      expect(right.headers.get('upload-offset')).toBe('5')
      expect((await tus.download(idOf(right))).toString()).toBe('hello')
      const before = await tus.usage()
      expect((await tus.post({ ...typed, ...checksum('hello') }, 'jello')).status).toBe(460)
      expect(refusal(await tus.post({ ...typed, 'Upload-Checksum': 'crc32 AAAA' }, 'hello'))).toBe(
        '400 validation_failed',
      )
      expect((await tus.usage()).uploads['confirmed']).toBe(before.uploads['confirmed'])
    })

    it('keeps nothing of a body that breaks off', async () => {
      const id = await tus.made(10, {}, 'hel')
      const wire = await tus.open('PATCH', id, { ...patchHeaders(3, 7), ...checksum('loworld') }, 'lo')
      expect(await tus.offset(id)).toBe(3)
      wire.socket.end()
      expect(await wire.closed()).toBe(true)
      expect(await tus.offset(id)).toBe(3)
      expect(await tus.sent(id, 3, 'loworld', checksum('loworld'))).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('shows nobody what is not verified', async () => {
      const id = await tus.made(2 * mib)
      const bytes = randomBytes(2 * mib)
      const wire = await tus.open(
        'PATCH',
        id,
        { ...patchHeaders(0, bytes.length), ...checksum(bytes) },
        bytes.subarray(0, mib),
      )
      expect(await tus.offset(id)).toBe(0)
      expect(await tus.view(id)).toMatchObject({ received_bytes: 0 })
      await wire.send(bytes.subarray(mib))
      expect((await wire.answer()).status).toBe(204)
      wire.cut()
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('is right for a body of several parts, and after a wrong one', async () => {
      const bytes = randomBytes(14 * mib)
      const id = await tus.made(bytes.length)
      const first = bytes.subarray(0, 9 * mib)
      const rest = bytes.subarray(9 * mib)
      expect((await tus.patch(id, 0, randomBytes(13 * mib), checksum('hello'))).status).toBe(460)
      expect(await tus.sent(id, 0, first, checksum(first, 'sha256'))).toBe(9 * mib)
      expect((await tus.patch(id, 9 * mib, randomBytes(3 * mib), checksum(rest))).status).toBe(460)
      expect(await tus.sent(id, 9 * mib, rest.subarray(0, 100))).toBe(9 * mib + 100)
      expect(await tus.sent(id, 9 * mib + 100, rest.subarray(100), checksum(rest.subarray(100), 'md5'))).toBe(14 * mib)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('is right for a body of unknown length of a file of unknown length', async () => {
      const bytes = randomBytes(6 * mib)
      const id = await tus.made(null)
      expect((await tus.patch(id, 0, chunked([bytes, randomBytes(1)]), checksum(bytes))).status).toBe(460)
      expect(await tus.offset(id)).toBe(0)
      expect(await tus.sent(id, 0, chunked([bytes.subarray(0, 9), bytes.subarray(9)]), checksum(bytes))).toBe(6 * mib)
      expect(await tus.sent(id, 6 * mib, '', { 'Upload-Length': String(6 * mib) })).toBe(6 * mib)
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
    })

    it('does not excuse bytes beyond the length', async () => {
      const id = await tus.made(5)
      expect((await tus.patch(id, 0, chunked([Buffer.from('hello!')]), checksum('hello!'))).status).toBe(413)
      expect(await tus.offset(id)).toBe(0)
    })
  })
}
