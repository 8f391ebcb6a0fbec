import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { sniffType } from '../../plugins/sniff-type.ts'
import { dishonestSamples, samplePath } from '../support/samples.ts'
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
    const taken = [
      'report.docx',
      'macros.docm',
      'types-last.docx',
      'far-types.pptx',
      'app.apk',
      'table.csv',
      'bomb.docx',
      'jpeg-zip.jpg',
    ]
    return declared !== null && !declared.endsWith('octet-stream') && !taken.includes(file)
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
