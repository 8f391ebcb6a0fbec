import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { addKeys, chunked, eventually, sha256, withRecords } from '../../../support/client.ts'
import { bytesType, chunksOf, idOf, refusal, type Tus, uuidPattern } from '../../../support/tus.ts'
import { type Bench, largest, tightest } from './bench.ts'

const typed = { 'Content-Type': bytesType }
const badNumbers = [
  '',
  '-1',
  '+5',
  '01',
  '1.5',
  '1e3',
  '0x10',
  'abc',
  '5 5',
  '5,5',
  '²',
  '9007199254740992',
  '9'.repeat(400),
]

/** POST: creation, creation-with-upload, creation-defer-length. */
export function creationSuite({ main, tight, verdicts }: Bench): void {
  const { tus, gateway } = main

  async function makesNothing(act: () => Promise<void>, by: Tus = tus): Promise<void> {
    const before = await by.usage()
    await act()
    await eventually(async () =>
      expect(await by.usage()).toMatchObject({ storage: before.storage, uploads: before.uploads }),
    )
  }

  describe('creation', () => {
    it('answers 201 with the address of the upload and of its record', async () => {
      const answer = await tus.post({ 'Upload-Length': '11' })
      const id = idOf(answer)
      expect(answer.headers.get('location')).toBe(`${gateway().url}/files/${id}`)
      expect(answer.headers.get('upload-record')).toBe(`${gateway().url}/api/v1/uploads/${id}`)
      expect(answer.bytes).toHaveLength(0)
      expect(await tus.view(id)).toMatchObject({ id, status: 'pending', size_bytes: 11, received_bytes: 0 })
    })

    it('shows in the record how many bytes have come', async () => {
      const id = await tus.made(11)
      await tus.sent(id, 0, 'hello')
      expect(await tus.view(id)).toMatchObject({ status: 'pending', size_bytes: 11, received_bytes: 5 })
      await tus.sent(id, 5, ' world')
      expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: 11, received_bytes: 11 })
      expect((await tus.download(id)).toString()).toBe('hello world')
    })

    it('refuses a length that is no number', async () => {
      await makesNothing(async () => {
        const answers = await Promise.all(badNumbers.map((text) => tus.post({ 'Upload-Length': text })))
        expect(answers.map(refusal)).toEqual(badNumbers.map(() => '400 validation_failed'))
      })
    })

    it('refuses a creation that says nothing about the length, or both', async () => {
      await makesNothing(async () => {
        expect(refusal(await tus.post())).toBe('400 validation_failed')
        const both = { 'Upload-Length': '5', 'Upload-Defer-Length': '1' }
        expect(refusal(await tus.post(both))).toBe('400 validation_failed')
      })
    })

    it('refuses a length that is sent twice', async () => {
      await makesNothing(async () => {
        const wire = await tus.open('POST', null, { 'Upload-Length': '5\r\nUpload-Length: 5', 'Content-Length': 0 })
        expect((await wire.answer()).status).toBe(400)
        wire.cut()
      })
    })

    it('refuses what is larger than the largest file, and takes exactly that', async () => {
      await makesNothing(async () => {
        for (const length of [largest + 1, Number.MAX_SAFE_INTEGER])
          expect(refusal(await tus.post({ 'Upload-Length': String(length) }))).toBe('413 file_too_large')
      })
      const id = await tus.made(largest)
      expect((await tus.remove(id)).status).toBe(204)
    })

    it('refuses what is larger than its category takes', async () => {
      const metadata = { 'Upload-Metadata': `category ${btoa('small')}` }
      await makesNothing(async () => {
        expect(refusal(await tight.tus.post({ 'Upload-Length': '11', ...metadata }))).toBe('413 file_too_large')
      }, tight.tus)
      const id = await tight.tus.made(null, metadata)
      expect(refusal(await tight.tus.patch(id, 0, '12345678901'))).toBe('413 file_too_large')
      expect(await tight.tus.sent(id, 0, '1234567890', { 'Upload-Length': '10' })).toBe(10)
    })

    it('holds the length against the quota, and gives it back', async () => {
      const { key } = await addKeys(gateway(), { key: { workspaceId: 'tus-quota' } })
      await withRecords(gateway(), (records) => records.setQuota('tus-quota', 100))
      const own = tus.as(key)
      const id = await own.made(80)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 80 })
      const refused = await own.post({ 'Upload-Length': '21' })
      expect(refusal(refused)).toBe('413 quota_exceeded')
      expect(refused.json()).toMatchObject({ bytes_left: 20 })
      expect((await own.remove(id)).status).toBe(204)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      const whole = await own.made(100, {}, randomBytes(100))
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 100, reserved_bytes: 0 })
      expect((await own.remove(whole)).status).toBe(204)
      expect((await own.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
    })

    it('finishes an upload of length 0 at once, and once', async () => {
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'accept')
      const metadata = { 'Upload-Metadata': `verdict ${btoa(verdict)},filename ${btoa('none.txt')}` }
      const answer = await tus.post({ 'Upload-Length': '0', ...metadata })
      const id = idOf(answer)
      expect(answer.headers.has('upload-expires')).toBe(false)
      expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: 0, received_bytes: 0 })
      const head = await tus.head(id)
      expect([head.headers.get('upload-offset'), head.headers.get('upload-length')]).toEqual(['0', '0'])
      expect(await tus.sent(id, 0, '')).toBe(0)
      expect(await tus.download(id)).toHaveLength(0)
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(1)
    })
  })

  describe('creation-with-upload', () => {
    it('takes all, a part or none of the bytes, and tells the offset', async () => {
      for (const [body, offset] of [
        ['hello', '5'],
        ['hel', '3'],
        ['', '0'],
      ] as const) {
        const answer = await tus.post({ 'Upload-Length': '5' }, body)
        const id = idOf(answer)
        expect(answer.headers.get('upload-offset')).toBe(offset)
        expect(answer.headers.has('upload-expires')).toBe(offset !== '5')
        expect(answer.headers.get('upload-record')).toContain(id)
        expect(await tus.offset(id)).toBe(Number(offset))
        await tus.sent(id, Number(offset), 'hello'.slice(Number(offset)))
        expect((await tus.download(id)).toString()).toBe('hello')
      }
    })

    it('takes an empty file with an empty body', async () => {
      const answer = await tus.post({ 'Upload-Length': '0' }, '')
      expect(await tus.view(idOf(answer))).toMatchObject({ status: 'confirmed', size_bytes: 0 })
    })

    it('takes a chunked body, also of a length that nobody knows', async () => {
      const bytes = randomBytes(50_000)
      const pieces = [bytes.subarray(0, 1), bytes.subarray(1, 20_000), bytes.subarray(20_000)]
      const id = idOf(await tus.post({ 'Upload-Length': '50000', ...typed }, chunked(pieces)))
      expect(sha256(await tus.download(id))).toBe(sha256(bytes))
      const answer = await tus.post({ 'Upload-Defer-Length': '1', ...typed }, chunked(pieces))
      expect(answer.headers.get('upload-offset')).toBe('50000')
      await tus.sent(idOf(answer), 50_000, '', { 'Upload-Length': '50000' })
      expect(sha256(await tus.download(idOf(answer)))).toBe(sha256(bytes))
    })

    it.each([
      'application/octet-stream',
      'text/plain',
      'application/json',
      'multipart/form-data; boundary=x',
      'nonsense',
    ])('takes a body of %s for none', async (type) => {
      const answer = await tus.post({ 'Upload-Length': '5', 'Content-Type': type }, 'wrong')
      const id = idOf(answer)
      expect(await tus.offset(id)).toBe(0)
      await tus.sent(id, 0, 'right')
      expect((await tus.download(id)).toString()).toBe('right')
    })

    it('knows the media type in capitals and with parameters', async () => {
      for (const type of ['Application/Offset+Octet-Stream', `${bytesType}; x=y`]) {
        const answer = await tus.post({ 'Upload-Length': '5', 'Content-Type': type }, 'hello')
        expect([type, answer.headers.get('upload-offset')]).toEqual([type, '5'])
      }
    })

    it('refuses more bytes than the length, announced or not, and makes nothing', async () => {
      await makesNothing(async () => {
        expect(refusal(await tus.post({ 'Upload-Length': '5' }, 'hello!'))).toBe('413 file_too_large')
        const unannounced = await tus.post(
          { 'Upload-Length': '5', ...typed },
          chunked([Buffer.from('hel'), Buffer.from('lo!')]),
        )
        expect(refusal(unannounced)).toBe('413 file_too_large')
      })
    })

    it('cuts a body of unknown length off at the limit', async () => {
      const body = chunked([randomBytes(tightest), randomBytes(1)])
      expect(refusal(await tight.tus.post({ 'Upload-Defer-Length': '1', ...typed }, body))).toBe('413 file_too_large')
    })

    it('asks for the body with 100 Continue, once the creation is good', async () => {
      const wanted = { ...typed, Expect: '100-continue', 'Content-Length': 5 }
      const wire = await tus.open('POST', null, { ...wanted, 'Upload-Length': 5 })
      expect((await wire.answer()).status).toBe(100)
      await wire.send('hello')
      const answer = await wire.answer()
      expect(answer.headers.get('upload-offset')).toBe('5')
      wire.cut()
      for (const [headers, status] of [
        [{ 'Upload-Length': 'x' }, 400],
        [{ 'Upload-Length': largest + 1 }, 413],
        [{ 'Upload-Length': 4 }, 413],
        [{ 'Upload-Length': 5, 'Tus-Resumable': '0.1.0' }, 412],
        [{ 'Upload-Length': 5, 'Upload-Checksum': 'crc32 AAAAAA==' }, 400],
        [{ 'Upload-Length': 5, Authorization: 'Bearer none' }, 401],
      ] as const) {
        const refused = await tus.open('POST', null, { ...wanted, ...headers })
        expect([headers, (await refused.answer()).status]).toEqual([headers, status])
        refused.cut()
      }
    })

    it('keeps what has come when the connection breaks', async () => {
      const project = 'tus-cut-creation'
      const metadata = `project_id ${btoa(project)}`
      const wire = await tus.open(
        'POST',
        null,
        { ...typed, 'Upload-Length': 10, 'Content-Length': 10, 'Upload-Metadata': metadata },
        'hello',
      )
      type List = { data: readonly { id: string; received_bytes: number }[] }
      const found = async () => (await tus.call('GET', `/api/v1/uploads?project_id=${project}`)).json<List>().data
      await eventually(async () => expect(await found()).toHaveLength(1))
      wire.cut()
      await eventually(async () => expect(await found()).toMatchObject([{ received_bytes: 5 }]))
      const [{ id } = { id: '' }] = await found()
      await tus.sent(id, 5, 'world')
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })
  })

  describe('creation-defer-length', () => {
    it('takes no other value than 1', async () => {
      await makesNothing(async () => {
        for (const value of ['0', '2', 'true', '01', '1,1', ''])
          expect([value, refusal(await tus.post({ 'Upload-Defer-Length': value }))]).toEqual([
            value,
            '400 validation_failed',
          ])
      })
    })

    it('takes the length with any later PATCH, with bytes or without', async () => {
      const first = await tus.made(null)
      await tus.sent(first, 0, '', { 'Upload-Length': '5' })
      expect(await tus.sent(first, 0, 'hello')).toBe(5)
      const last = await tus.made(null, {}, 'hel')
      expect(await tus.sent(last, 3, 'lo', { 'Upload-Length': '5' })).toBe(5)
      const behind = await tus.made(null)
      await tus.sent(behind, 0, 'hello')
      expect(await tus.view(behind)).toMatchObject({ status: 'pending' })
      const answer = await tus.patch(behind, 5, '', { 'Upload-Length': '5' })
      expect([answer.status, answer.headers.get('upload-offset')]).toEqual([204, '5'])
      const unannounced = await tus.made(null, {}, 'hello')
      expect(await tus.sent(unannounced, 5, chunked([]), { 'Upload-Length': '5' })).toBe(5)
      for (const id of [first, last, behind, unannounced]) {
        expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: 5 })
        expect((await tus.download(id)).toString()).toBe('hello')
      }
    })

    it('finishes an empty file of which nobody knew that it is empty', async () => {
      const id = await tus.made(null)
      expect(await tus.sent(id, 0, '', { 'Upload-Length': '0' })).toBe(0)
      expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: 0 })
      const unannounced = idOf(await tus.post({ 'Upload-Defer-Length': '1', ...typed }, chunked([])))
      expect(await tus.sent(unannounced, 0, chunked([]), { 'Upload-Length': '0' })).toBe(0)
      expect(await tus.download(unannounced)).toHaveLength(0)
    })

    it('never changes a length that is known', async () => {
      const late = await tus.made(null)
      await tus.sent(late, 0, 'hel', { 'Upload-Length': '5' })
      for (const id of [late, await tus.made(5, {}, 'hel')]) {
        for (const length of ['4', '6', '3', String(largest)])
          expect([length, (await tus.patch(id, 3, 'l', { 'Upload-Length': length })).status]).toEqual([length, 400])
        const head = await tus.head(id)
        expect([head.headers.get('upload-length'), head.headers.get('upload-offset')]).toEqual(['5', '3'])
        expect(await tus.sent(id, 3, 'lo')).toBe(5)
      }
    })

    it('refuses a length that is no number, below the offset or above the limit', async () => {
      const { tus: small } = tight
      const id = await small.made(null, {}, 'hello')
      for (const text of badNumbers.slice(1))
        expect([text, refusal(await small.patch(id, 5, '!', { 'Upload-Length': text }))]).toEqual([
          text,
          '400 validation_failed',
        ])
      expect((await small.patch(id, 5, '', { 'Upload-Length': '4' })).status).toBe(400)
      const huge = { 'Upload-Length': String(tightest + 1) }
      expect(refusal(await small.patch(id, 5, '!', huge))).toBe('413 file_too_large')
      const head = await small.head(id)
      expect([head.headers.get('upload-offset'), head.headers.get('upload-defer-length')]).toEqual(['5', '1'])
      expect(await small.sent(id, 5, '!', { 'Upload-Length': '6' })).toBe(6)
    })

    it('refuses bytes beyond the length that comes with them', async () => {
      const id = await tus.made(null)
      expect(refusal(await tus.patch(id, 0, 'hello!', { 'Upload-Length': '5' }))).toBe('413 file_too_large')
      expect(await tus.offset(id)).toBe(0)
      expect(await tus.sent(id, 0, 'hello', { 'Upload-Length': '5' })).toBe(5)
    })

    it('cuts a stream off at the limit, and goes on from where it was', async () => {
      const { tus: small } = tight
      const id = await small.made(null, {}, 'hello')
      const flood = chunked([randomBytes(tightest - 5), randomBytes(1)])
      expect(refusal(await small.patch(id, 5, flood))).toBe('413 file_too_large')
      expect(await small.offset(id)).toBe(5)
      const rest = randomBytes(tightest - 5)
      expect(await small.sent(id, 5, chunked([rest]))).toBe(tightest)
      expect(await small.sent(id, tightest, '', { 'Upload-Length': String(tightest) })).toBe(tightest)
      expect(sha256(await small.download(id))).toBe(sha256(Buffer.concat([Buffer.from('hello'), rest])))
    })
  })

  it('makes uploads whose ids sort by time', async () => {
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push(await tus.made(1))
    for (const id of ids) expect(id).toMatch(new RegExp(`^${uuidPattern}$`))
    expect(ids.toSorted()).toEqual(ids)
  })

  it('takes a body in chunks of one byte', async () => {
    const body = chunksOf(['h', 'e', 'l', 'l', 'o'])
    const wire = await tus.open('POST', null, { ...typed, 'Upload-Length': 5, 'Transfer-Encoding': 'chunked' })
    for (const byte of body) await wire.send(Buffer.from([byte]))
    const answer = await wire.answer()
    expect([answer.status, answer.headers.get('upload-offset')]).toEqual([201, '5'])
    wire.cut()
  })
}
