import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { idOf, metadataOf, refusal } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64')
const bytes = base64(Uint8Array.from([0, 255, 13, 10, 128, 192]))

/** Upload-Metadata: kept as it came, read where it says something that the gateway knows. */
export function metadataSuite({ main }: Bench): void {
  const { tus } = main
  const withMetadata = (header: string) => tus.post({ 'Upload-Length': '3', 'Upload-Metadata': header })
  const made = (pairs: Readonly<Record<string, string>>) => withMetadata(metadataOf(pairs)).then(idOf)

  describe('Upload-Metadata', () => {
    it.each([
      ['one pair', `filename ${base64('a.txt')}`],
      ['several', `b ${base64('1')},a ${base64('2')},c ${base64('3')}`],
      ['a comma and a space between them', `filename ${base64('a.txt')}, filetype ${base64('text/plain')}`],
      ['a key without a value', 'is_confidential'],
      ['keys without values among others', `a,filename ${base64('a.txt')},b`],
      ['keys that objects have anyway', `constructor ${base64('x')},__proto__ ${base64('y')},toString ${base64('z')}`],
      ['bytes that are no text', `raw ${bytes}`],
      ['bytes that would be headers', `x ${base64('a\r\nSet-Cookie: b=c\r\n\r\n')}`],
      ['keys in capitals beside small ones', `Key ${base64('1')},key ${base64('2')}`],
      ['all that a key may be', `!#$%&'*+-./:;<=>?@[]^_\`{|}~"() ${base64('x')}`],
      ['a long value', `long ${base64('x'.repeat(2_000))}`],
      ['digits of every kind', `all ${base64(Uint8Array.from([251, 240, 0, 62, 63, 255, 254]))}`],
    ])('comes back as it was sent: %s', async (_what, header) => {
      const id = idOf(await withMetadata(header))
      expect((await tus.head(id)).headers.get('upload-metadata')).toBe(header)
      await tus.sent(id, 0, 'abc')
      expect((await tus.head(id)).headers.get('upload-metadata')).toBe(header)
    })

    it('is not there when there was none', async () => {
      expect((await tus.head(await tus.made(3))).headers.has('upload-metadata')).toBe(false)
    })

    it.each([
      ['what is no base64', 'filename !!!!'],
      ['base64 for URLs', 'filename -_-_'],
      ['base64 that is cut', 'filename YS50eHQ9Y'],
      ['base64 with padding inside', 'filename YQ==YQ=='],
      ['text that nobody encoded', 'filename a.txt'],
      ['two values', `filename ${base64('a')} ${base64('b')}`],
      ['two spaces', `filename  ${base64('a')}`],
      ['a key twice', `a ${base64('1')},a ${base64('2')}`],
      ['a key twice, once without a value', `a,a ${base64('2')}`],
      ['no key', ` ${base64('1')},,`],
      ['a comma at the end', `a ${base64('1')},`],
      ['a comma at the beginning', `,a ${base64('1')}`],
      ['nothing between two commas', `a ${base64('1')},,b ${base64('2')}`],
      ['commas only', ',,,'],
      ['a key that is not ASCII', `clé ${base64('1')}`],
    ])('is refused with 400 when it is broken: %s', async (_what, header) => {
      const before = (await tus.usage()).uploads['total']
      expect(refusal(await withMetadata(header))).toBe('400 validation_failed')
      expect((await tus.usage()).uploads['total']).toBe(before)
    })

    it('is refused when its key is empty', async () => {
      const wire = await tus.open('POST', null, {
        'Upload-Length': 3,
        'Content-Length': 0,
        'Upload-Metadata': `a ${base64('1')}, ,b`,
      })
      expect((await wire.answer()).status).toBe(400)
      wire.cut()
    })

    it('is refused when it is sent twice with the same key', async () => {
      const twice = `a ${base64('1')}\r\nUpload-Metadata: a ${base64('2')}`
      const wire = await tus.open('POST', null, { 'Upload-Length': 3, 'Content-Length': 0, 'Upload-Metadata': twice })
      expect((await wire.answer()).status).toBe(400)
      wire.cut()
    })

    it('is refused when it is more than the gateway keeps', async () => {
      const large = await made({ a: 'x'.repeat(3_000), b: 'y'.repeat(500) })
      expect((await tus.view(large)).metadata).toEqual({ a: 'x'.repeat(3_000), b: 'y'.repeat(500) })
      const refused = await withMetadata(metadataOf({ a: randomBytes(4_000).toString('hex') }))
      expect([400, 431]).toContain(refused.status)
    })
  })

  describe('what metadata means', () => {
    it.each(['filename', 'name'])('%s is the name of the file', async (key) => {
      const id = await made({ [key]: 'Grüße 日本 😀.txt' })
      expect(await tus.view(id)).toMatchObject({ filename: 'Grüße 日本 😀.txt', content_type: 'text/plain' })
    })

    it.each(['filetype', 'type'])('%s is its type', async (key) => {
      const id = await made({ filename: 'x', [key]: 'image/png' })
      expect(await tus.view(id)).toMatchObject({ content_type: 'image/png' })
    })

    it('names category, project and context', async () => {
      const id = await made({
        filename: 'a.txt',
        category: 'document',
        project_id: 'tus-metadata',
        context_type: 'ticket',
        context_id: '17',
      })
      expect(await tus.view(id)).toMatchObject({ category: 'document', context_type: 'ticket', context_id: '17' })
      const list = await tus.call('GET', '/api/v1/uploads?project_id=tus-metadata')
      expect(list.json()).toMatchObject({ data: [{ id }] })
    })

    it('keeps the rest for the application', async () => {
      const id = await made({ filename: 'a.txt', colour: 'röt', constructor: 'x', empty: '' })
      const { metadata } = await tus.view(id)
      expect(metadata).toEqual({ colour: 'röt', constructor: 'x', empty: '' })
      const odd = idOf(await withMetadata(`__proto__ ${base64('x')},filename ${base64('a.txt')},flag`))
      expect(new Map(Object.entries((await tus.view(odd)).metadata))).toEqual(
        new Map([
          ['__proto__', 'x'],
          ['flag', ''],
        ]),
      )
    })

    it('takes what Uppy sends', async () => {
      const header = `relativePath ${base64('null')},name ${base64('a.txt')},type ${base64('text/plain')},filetype ${base64('text/plain')},filename ${base64('a.txt')}`
      const id = idOf(await withMetadata(header))
      expect(await tus.view(id)).toMatchObject({ filename: 'a.txt', content_type: 'text/plain' })
      expect((await tus.head(id)).headers.get('upload-metadata')).toBe(header)
    })

    it('takes an empty type for none', async () => {
      const id = await made({ filename: 'a.png', filetype: '' })
      expect(await tus.view(id)).toMatchObject({ filename: 'a.png', content_type: 'image/png' })
    })

    it('takes a file without a name', async () => {
      const id = await tus.made(3)
      expect((await tus.view(id)).filename).toMatch(/\S/)
    })

    it.each([
      ['a category that is none', { category: 'nonsense' }],
      ['a project id that is none', { project_id: 'a b' }],
      ['half a context', { context_type: 'ticket' }],
      ['the other half', { context_id: '17' }],
    ])('is refused with 400: %s', async (_what, pairs) => {
      const before = (await tus.usage()).uploads['total']
      expect(refusal(await withMetadata(metadataOf(pairs)))).toBe('400 validation_failed')
      expect((await tus.usage()).uploads['total']).toBe(before)
    })

    it.each([
      ['a path', '/storage/emulated/0/DCIM/a.jpg', 'a.jpg'],
      ['a path of Windows', String.raw`C:\DCIM\a.jpg`, 'a.jpg'],
      ['a URL', 'file:///a.jpg', 'a.jpg'],
      ['a way upwards', String.raw`..\b.txt`, 'b.txt'],
      ['line breaks', 'a\r\nb.txt', 'ab.txt'],
      ['blanks', '   ', 'upload'],
      ['nothing but dots', 'a/..', 'upload'],
      ['256 characters', `${'n'.repeat(252)}.txt`, `${'n'.repeat(251)}.txt`],
    ])('cleans a name that a device makes: %s', async (_what, sent, kept) => {
      expect((await tus.view(await made({ filename: sent }))).filename).toBe(kept)
    })

    it.each([
      ['image'],
      ['.jpeg'],
      ['jpg'],
      ['public.jpeg'],
      ['null'],
      ['undefined'],
      ['video/'],
      ['image/*'],
      ['no type'],
      [`image/${'x'.repeat(300)}`],
    ])('takes a type that is none for nothing: %s', async (filetype) => {
      expect(await tus.view(await made({ filename: 'a.txt', filetype }))).toMatchObject({ content_type: 'text/plain' })
      const both = await made({ filename: 'a', filetype, type: 'image/png' })
      expect(await tus.view(both)).toMatchObject({ content_type: 'image/png' })
    })

    it.each([
      ['fileName', { fileName: 'räksmörgås.txt' }, { filename: 'räksmörgås.txt' }],
      ['FILENAME', { FILENAME: 'a.txt' }, { filename: 'a.txt' }],
      ['Name', { Name: 'a.txt' }, { filename: 'a.txt' }],
      ['a name that says nothing beside one', { filename: ' ', fileName: 'a.txt' }, { filename: 'a.txt' }],
      ['mimeType', { mimeType: 'image/png' }, { content_type: 'image/png' }],
      ['contentType', { contentType: 'image/png' }, { content_type: 'image/png' }],
      ['MIMETYPE', { MIMETYPE: 'image/png' }, { content_type: 'image/png' }],
      ['Category', { Category: 'image' }, { category: 'image' }],
      ['Context_Id', { Context_Type: 'a', Context_Id: '1' }, { context_type: 'a', context_id: '1' }],
    ])('knows what clients call it: %s', async (_what, pairs, facts) => {
      expect(await tus.view(await made(pairs))).toMatchObject({ ...facts, metadata: {} })
    })

    it('reads what is not UTF-8 as the devices meant it, and gives the bytes back', async () => {
      // As `btoa` makes it, and as a device of Windows does.
      const header = [
        `filename ${Buffer.from('räksmörgås.bin', 'latin1').toString('base64')}`,
        `author ${base64(Uint8Array.of(0x4d, 0xfc, 0x6c, 0x6c, 0x65, 0x72, 0x20, 0x80))}`,
      ].join(',')
      const id = idOf(await withMetadata(header))
      expect(await tus.view(id)).toMatchObject({ filename: 'räksmörgås.bin', metadata: { author: 'Müller €' } })
      expect((await tus.head(id)).headers.get('upload-metadata')).toBe(header)
    })

    it('takes a name of bytes that are no text', async () => {
      expect((await tus.view(idOf(await withMetadata(`filename ${bytes}`)))).filename).toMatch(/\S/)
    })

    it('is not given back where it is longer than proxies take', async () => {
      const pairs = { filename: 'a.txt', a: 'x'.repeat(3_900) }
      const id = await made(pairs)
      expect((await tus.view(id)).metadata).toEqual({ a: pairs.a })
      const head = await tus.head(id)
      expect([head.status, head.headers.get('upload-offset')]).toEqual([200, '0'])
      expect(head.headers.has('upload-metadata')).toBe(false)
    })
  })
}
