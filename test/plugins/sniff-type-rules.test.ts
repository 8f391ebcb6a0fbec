import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { families, sniffType } from '../../plugins/sniff-type.ts'
import { dishonestSamples, honestSamples, samplePath } from '../support/samples.ts'
import { refusal, sniff } from '../support/sniff.ts'

describe('what was claimed', () => {
  it('is recorded beside what was found', async () => {
    expect(await sniff('%PDF-1.4\n', 'a.png', 'image/png')).toMatchObject({
      contentType: 'application/pdf',
      declared: 'image/png',
      byName: 'image/png',
      found: 'application/pdf',
      corrected: true,
    })
    expect(await sniff('hello', 'hello')).toMatchObject({ declared: null, byName: null, corrected: false })
  })

  const lies = dishonestSamples.filter(({ file, declared }) => {
    const alsoTaken = [
      'report.docx',
      'macros.docm',
      'types-last.docx',
      'far-types.pptx',
      'app.apk',
      'table.csv',
      'bomb.docx',
      'jpeg-zip.jpg',
    ]
    return declared !== null && !declared.endsWith('octet-stream') && !alsoTaken.includes(file)
  })

  it.each(lies.filter(({ contentType, declared }) => declared !== contentType && contentType !== 'text/typescript'))(
    '$file declared as $declared is refused where it is asked for',
    async (sample) => {
      const content = await readFile(samplePath(sample))
      const error = await refusal(content, sample.name, sample.declared, { mode: 'reject' })
      expect(error).toMatchObject({
        code: 'content_type_mismatch',
        facts: { declared: sample.declared, found: sample.contentType },
      })
    },
  )

  it.each([
    ['a,b\n', 'a.csv', 'text/plain'],
    ['a,b\n', 'a.csv', 'application/vnd.ms-excel'],
    ['a,b\n', 'a.txt', 'text/csv'],
    ['<a/>', 'a.xml', 'text/xml; charset=utf-8'],
    ['<?xml version="1.0"?><dash/>', 'a.xml', 'application/dash+xml'],
    ['{}', 'a.json', 'application/geo+json'],
    ['{}', 'a.json', 'TEXT/PLAIN'],
    ['\0\0', 'a.bin', 'application/octet-stream'],
    ['\0\0', 'a.bin', 'binary/octet-stream'],
    ['\0\0', 'a.bin', 'no type at all'],
    ['', 'a.txt', 'text/plain'],
  ])('%j called %s is rightly declared as %s', async (content, name, declared) => {
    expect(await sniff(content, name, declared, { mode: 'reject' })).toMatchObject({ corrected: false })
  })
})

const reject = { mode: 'reject' } as const
const sampleOf = (file: string): Promise<Buffer> => readFile(samplePath({ file }))

describe('what honest systems declare', () => {
  it.each([
    ['drawing.eps', 'drawing.eps', 'application/postscript'],
    ['ascii.pdf', 'drawing.ai', 'application/postscript'],
    ['ascii.pdf', 'drawing.ai', 'application/illustrator'],
    ['note.rtf', 'note.doc', 'application/msword'],
    ['note.rtf', 'note.rtf', 'text/plain'],
    ['report.docx', 'report.docx', 'application/msword'],
    ['sheet.xlsx', 'sheet.xlsx', 'application/vnd.ms-excel'],
    ['slides.pptx', 'slides.pptx', 'application/powerpoint'],
    ['table.xls', 'table.xls', 'application/x-msexcel'],
    ['table.tsv', 'table.tsv', 'application/vnd.ms-excel'],
    ['letter.pages', 'letter.pages', 'application/x-iwork-pages-sffpages'],
    ['table.numbers', 'table.numbers', 'application/x-iwork-numbers-sffnumbers'],
    ['slides-2009.key', 'slides.key', 'application/x-iwork-keynote-sffkey'],
    ['sound.aac', 'sound.aac', 'audio/vnd.dlna.adts'],
    ['sound.m4a', 'sound.m4a', 'audio/mp4a-latm'],
    ['phone.mp4', 'phone.mp4', 'video/mp4'],
    ['phone.mp4', 'phone.mov', 'video/quicktime'],
    ['film.mov', 'film.mp4', 'video/mp4'],
    ['film.mpegts', 'film.mpg', 'video/mpeg'],
    ['film.webm', 'film.mkv', 'video/x-matroska'],
    ['generic.heic', 'photo.heic', 'image/heic'],
    ['generic.heic', 'photo.avif', 'image/avif'],
    ['page.xhtml', 'page.html', 'text/html'],
    ['page.html', 'page.xhtml', 'application/xhtml+xml'],
    ['script.svgz', 'shape.svgz', 'image/svg+xml'],
    ['files.tar.gz', 'files.tar.gz', 'application/x-tar'],
    ['files.tar.gz', 'table.csv.gz', 'text/csv'],
    ['app.apk', 'app.apk', 'application/java-archive'],
    ['paper.oxps', 'paper.oxps', 'application/vnd.ms-xpsdocument'],
    ['shape.stl', 'shape.stl', 'text/plain'],
    ['encrypted.docx', 'upload', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
  ])('%s, called %s, is no lie as %s', async (file, name, declared) => {
    expect(await sniff(await sampleOf(file), name, declared, reject)).toMatchObject({ declared })
  })

  it.each([
    ['plain.zip', 'application/vnd.acme.project+zip'],
    ['plain.zip', 'application/x-krita'],
    ['random.bin', 'application/vnd.acme'],
    ['random.bin', 'image/x-pcx'],
    ['random.bin', 'application/x-apple-diskimage'],
    ['random.bin', 'audio/mpeg'],
    ['photo.jpg', 'image/x-mpo'],
    ['plain.txt', 'image/x-xpixmap'],
    ['plain.txt', 'model/obj'],
    ['later-index.tiff', 'image/x-nikon-nrw'],
    ['sound.wav', 'video/x-unheard-of'],
    ['setup.msi', 'application/x-acme-setup'],
  ])('%s may be %s, which no signature shows', async (file, declared) => {
    expect(await sniff(await sampleOf(file), 'upload', declared, reject)).toMatchObject({ corrected: false })
  })

  it.each([
    ['page.html', 'application/vnd.acme'],
    ['script.svg', 'image/x-pcx'],
    ['page.html', 'application/msword'],
    ['binary.pdf', 'image/x-pcx'],
    ['photo.jpg', 'audio/x-unheard-of'],
    ['program.exe', 'video/x-unheard-of'],
    ['random.bin', 'image/png'],
    ['photo.jpg', 'text/x-unheard-of'],
    ['photo.jpg', 'audio/mpeg'],
    ['files.tar.gz', 'text/csv'],
    ['plain.zip', 'application/vnd.apple.pages'],
    ['film.mp4', 'video/webm'],
    ['phone.mp4', 'image/heic'],
    ['table.csv', 'application/vnd.ms-powerpoint'],
  ])('%s is a lie as %s', async (file, declared) => {
    expect((await refusal(await sampleOf(file), 'upload', declared, reject)).code).toBe('content_type_mismatch')
  })
})

/** Types of the honest samples that a gateway takes that allows only this family. */
async function taken(family: keyof typeof families): Promise<Set<string>> {
  const found = new Set<string>()
  for (const { file, name, declared, contentType } of honestSamples) {
    const sniffed = sniff(await sampleOf(file), name, declared, { allow: families[family] })
    await sniffed.then(
      () => found.add(contentType),
      () => undefined,
    )
  }
  return found
}
const every = (top: string) =>
  honestSamples.map(({ contentType }) => contentType).filter((type) => type.startsWith(top))

describe('families', () => {
  it('take what a person calls so', async () => {
    expect(await taken('images')).toEqual(new Set(every('image/')))
    expect(await taken('audio')).toEqual(new Set(every('audio/')))
    expect(await taken('video')).toEqual(new Set(every('video/')))
  })

  it('of documents take letters, tables, slides, books and prose, and nothing else', async () => {
    const documents = await taken('documents')
    const isDocument =
      /\.(?:pdf|rtf|eps|docx?|docm|xls[xm]?|xlam|pptx?|odt|ods|odp|odc|sxw|epub|pages|numbers|key|o?xps|vsdx|vsdm|vssx|txt|md|csv|tsv|wri|ini)$/
    for (const { file, contentType } of honestSamples)
      expect({ file, taken: documents.has(contentType) }).toEqual({ file, taken: isDocument.test(file) })
  })

  it('are patterns, and may be put together', async () => {
    const allow = [...families.images, ...families.documents]
    expect(await sniff('%PDF-1.4\n', 'a', null, { allow })).toMatchObject({ contentType: 'application/pdf' })
    expect((await refusal(await sampleOf('sound.wav'), 'a.pdf', null, { allow })).code).toBe('file_type_not_allowed')
    for (const family of Object.values(families))
      expect(sniffType({ allow: family, deny: family }).name).toBe('sniff-type')
  })
})

describe('allow and deny', () => {
  const pdf = '%PDF-1.4\n'

  it('takes what is allowed, by the bytes and not by name', async () => {
    for (const allow of [
      ['application/pdf'],
      ['image/*', 'Application/PDF'],
      ['application/*'],
      ['*/*'],
      ['application/x-pdf'],
    ]) {
      expect(await sniff(pdf, 'a.png', 'image/png', { allow })).toMatchObject({ contentType: 'application/pdf' })
    }
  })

  it.each([
    { allow: ['image/*'] },
    { allow: [] },
    { deny: ['application/pdf'] },
    { allow: ['*/*'], deny: ['application/*'] },
  ])('refuses what is not: %j', async (options) => {
    const error = await refusal(pdf, 'a.png', 'image/png', options)
    expect(error).toMatchObject({ code: 'file_type_not_allowed', facts: { found: 'application/pdf' } })
    expect(error.message).toContain('application/pdf')
  })

  it.each(['', 'image', 'image/', '*', '*/png', 'image/*.png', 'image/png; q=1', 'a b/c'])(
    'knows no pattern %j',
    (pattern) => {
      expect(() => sniffType({ allow: [pattern] })).toThrow(
        new TypeError(`sniff-type: allow has no type or pattern: ${JSON.stringify(pattern)}.`),
      )
      expect(() => sniffType({ deny: ['image/*', pattern] })).toThrow(TypeError)
    },
  )

  it('knows no third mode', () => {
    expect(() => sniffType(JSON.parse('{"mode":"guess"}'))).toThrow(/guess/)
  })
})
