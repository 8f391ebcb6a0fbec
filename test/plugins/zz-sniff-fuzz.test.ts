import { readFile } from 'node:fs/promises'
import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  double,
  nat,
  oneof,
  option,
  string,
  tuple,
  uint8Array,
} from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sniffedBytes, sniffType, type SniffTypeOptions } from '../../plugins/sniff-type.ts'
import { Rejection } from '../../src/errors.ts'
import { extensionsOf, guessType, isActive, isMimeType, kindOf } from '../../src/uploads/names.ts'
import { pluginContract } from '../contracts/plugin.ts'
import { runPlugin, sampleUpload, uploadContext } from '../support/plugin-harness.ts'
import { dishonestSamples, honestSamples, samplePath, samples } from '../support/samples.ts'

pluginContract('sniff-type', () => sniffType())

/** What the plugin makes of these bytes; or the error with which it refuses them. */
async function sniff(
  bytes: Uint8Array | string,
  filename = 'file',
  declaredType: string | null = null,
  options: SniffTypeOptions = {},
) {
  const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const { inspect } = sniffType(options)
  const head = content.subarray(0, inspect?.bytes)
  const patch = await inspect?.handler(head, uploadContext(sampleUpload({ filename, declaredType })))
  return { ...patch?.properties, ...Object(patch?.extra?.['sniff-type']) }
}

async function refusal(...args: Parameters<typeof sniff>): Promise<Rejection> {
  const error: unknown = await sniff(...args).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Rejection)
  return error instanceof Rejection ? error : new Rejection('internal', 'not refused')
}

describe('samples', () => {
  it.each(samples)('$file, called $name, declared $declared: $contentType', async (sample) => {
    const { file: _file, name, declared, ...properties } = sample
    const { patch } = await runPlugin(sniffType(), samplePath(sample), { filename: name, declaredType: declared })
    expect(patch.properties).toEqual(properties)
  })

  it.each(honestSamples)('$file is taken as declared, and nothing corrected', async (sample) => {
    const { name, declared } = sample
    const { patch } = await runPlugin(sniffType({ mode: 'reject' }), samplePath(sample), {
      filename: name,
      declaredType: declared,
    })
    expect(patch.extra).toMatchObject({ 'sniff-type': { found: sample.contentType, corrected: false } })
  })

  const named = honestSamples.filter(({ name }) => name.includes('.') && !name.endsWith('3gp'))

  it.each(named)('the name $name guesses what $file is', ({ name, declared, contentType, format }) => {
    expect(guessType(name, declared)).toEqual({ contentType, format })
  })
})

describe('parts of files', () => {
  /** What a file may look like before its telling part has come, beside unknown and text. */
  const generalOf: readonly (readonly [RegExp, string])[] = [
    [/^audio\/mp4$/, 'video/mp4'],
    [/^audio\/webm$/, 'video/webm'],
    [/^audio\/ogg$/, 'application/ogg'],
    [/^audio\/x-ms-wma$/, 'video/x-ms-asf'],
    [/android/, 'application/zip application/java-archive'],
    [/msword|vnd\.ms-|x-msi/, 'application/x-cfb application/vnd.ms-excel application/zip'],
    [/document|epub|archive/, 'application/zip application/x-cfb'],
    // a name decides where an archive shows no more than a folder `word/`
    [/^application\/zip$/, 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    // noise behind the header of one frame
    [/octet-stream$/, 'audio/mpeg'],
  ]

  it.each([32, 48, 64, 128, 300, 512, 1024, 4100, 16_000])(
    'of %d bytes are never taken for something else',
    async (size) => {
      const strays: string[] = []
      for (const sample of samples) {
        const content = await readFile(samplePath(sample))
        const { contentType } = await sniff(content.subarray(0, size), sample.name, sample.declared)
        const general = generalOf.find(([type]) => type.test(sample.contentType))?.[1].split(' ') ?? []
        const fits = [sample.contentType, 'application/octet-stream', ...general].includes(contentType)
        const isText = kindOf(contentType) === 'text' && (sample.charset !== null || contentType === 'text/plain')
        if (!fits && !isText) strays.push(`${sample.file}: ${contentType}`)
      }
      expect(strays).toEqual([])
    },
  )

  it('are taken wherever they end, and damaged', async () => {
    const contents = await Promise.all(samples.map((sample) => readFile(samplePath(sample))))
    const damages = array(tuple(nat(), nat(255)), { maxLength: 4 })
    const part = tuple(nat(samples.length - 1), double({ min: 0, max: 1, noNaN: true }), damages)
    await assert(
      asyncProperty(part, async ([index, share, damage]) => {
        const content = contents[index] ?? Buffer.alloc(0)
        const bytes = Uint8Array.from(content.subarray(0, Math.round(share ** 3 * content.length)))
        for (const [at, value] of damage) if (bytes.length > 0) bytes[at % bytes.length] = value
        const found = await sniff(bytes, samples[index]?.name, samples[index]?.declared)
        expect(found.contentType).toSatisfy(isMimeType)
      }),
      { numRuns: 6000000 },
    )
  })

  it('may be any bytes under any name', async () => {
    const names = oneof(string(), constantFrom(...samples.map(({ name }) => name)))
    await assert(
      asyncProperty(uint8Array({ maxLength: 2_000 }), names, option(string()), async (bytes, name, declared) => {
        const found = await sniff(bytes, name, declared)
        expect(found.contentType).toSatisfy(isMimeType)
      }),
      { numRuns: 6000000 },
    )
  })
})

describe('text', () => {
  it('is that only without control characters', async () => {
    expect(await sniff('a\tb\r\n\f\u001b[0m', 'a.txt')).toMatchObject({ contentType: 'text/plain', charset: 'utf-8' })
    expect(await sniff('a\0b', 'a.txt')).toMatchObject({ contentType: 'application/octet-stream', format: null })
    expect(await sniff('a\u0001b', 'a.py')).toMatchObject({ contentType: 'application/octet-stream', charset: null })
  })

  it('may be cut inside a character where the head bytes end', async () => {
    for (const start of ['x'.repeat(sniffedBytes - 1), 'x'.repeat(sniffedBytes - 2), 'x'.repeat(sniffedBytes - 3)]) {
      expect(await sniff(`${start}€uro`, 'a.txt')).toMatchObject({ charset: 'utf-8' })
    }
  })

  it('takes a name for what kind of text it is, then the declared type, then the text', async () => {
    const script = '#!/usr/bin/env node\n'
    expect(await sniff(script, 'a.py', 'text/x-ruby')).toMatchObject({ contentType: 'text/x-python', format: 'py' })
    expect(await sniff(script, 'a', 'text/x-ruby')).toMatchObject({ contentType: 'text/x-ruby', format: 'rb' })
    expect(await sniff(script, 'a')).toMatchObject({ contentType: 'text/javascript', format: 'js' })
    expect(await sniff('[1, 2]', 'a')).toMatchObject({ contentType: 'application/json', format: 'json' })
    expect(await sniff('[1, 2', 'a')).toMatchObject({ contentType: 'text/plain', format: 'txt' })
  })

  it.each(['{"a":1}', ' [1]', '"a"', '-1', 'true', 'null'])('called .json is JSON: %s', async (content) => {
    expect(await sniff(content, 'a.json')).toMatchObject({ contentType: 'application/json' })
  })

  it.each(['a: 1', 'truely', '<a>', '// comment'])('called .json is not: %s', async (content) => {
    expect((await sniff(content, 'a.json')).contentType).not.toBe('application/json')
  })

  it.each([
    '<!doctype html>',
    '  <HTML>',
    '<script src=x>',
    '<script/x>',
    '<!-- a --><!-- b --> <body onload=x>',
    '\ufeff<iframe src=x>',
    '<!DOCTYPE html [ <!ENTITY a "b"> ]><p>',
    '<img src=x onerror=alert(1)>',
    '<!-- never closed',
  ])('is a page whatever it is called: %s', async (content) => {
    for (const name of ['a.txt', 'a.png', 'a.json', 'a.js', 'a']) {
      expect(await sniff(content, name)).toMatchObject({ contentType: 'text/html', format: 'html' })
    }
  })

  it.each(['a < b', '<3 you', '<htmlish>', 'see <script>', '<', '<?php echo 1 ?>'])(
    'is no page: %s',
    async (content) => {
      expect(await sniff(content, 'a.txt')).toMatchObject({ contentType: 'text/plain' })
    },
  )

  it.each(['<svg>', '<!-- <p> --><svg/>', '<?xml version="1.0"?><x:svg xmlns:x="y">', '<!DOCTYPE svg ['])(
    'is SVG by its root element: %s',
    async (content) => {
      expect(await sniff(content, 'a.jpg')).toMatchObject({ contentType: 'image/svg+xml', format: 'svg' })
      const wide = Buffer.from(`\ufeff${content}`, 'utf16le')
      expect(await sniff(wide, 'a.jpg')).toMatchObject({ contentType: 'image/svg+xml', charset: 'utf-16le' })
    },
  )

  it('is no SVG by its name', async () => {
    expect(await sniff('<html><svg/></html>', 'a.svg')).toMatchObject({ contentType: 'text/html' })
    expect(await sniff('no shape', 'a.svg')).toMatchObject({ contentType: 'text/plain' })
  })

  it('reads long prologs in time in the order of their length', async () => {
    const started = performance.now()
    for (const piece of ['<!--', '<!DOCTYPE a [', '<?xml ', '<!-- -->', ' ', ']>', '<!DOCTYPE a>', '{', '#!']) {
      await sniff(piece.repeat(sniffedBytes / piece.length), 'a.md')
    }
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('sound behind an ID3 tag', () => {
  const tag = 'ID3\u0004\0\0\0\0\0\u0004tag!'

  it.each([
    ['fLaC\0\0', 'flac'],
    ['\0\0\0', 'mp3'],
    ['MZ\0\0', 'mp3'],
    ['<script>\0', 'mp3'],
  ])('%j is %s', async (content, format) => {
    expect(await sniff(tag + content)).toMatchObject({ format })
  })
})

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

describe('names and types', () => {
  it('guesses from the name, then from the declared type', () => {
    expect(guessType('script.py', 'image/png')).toEqual({ contentType: 'text/x-python', format: 'py' })
    expect(guessType('PHOTO.JPG', null)).toEqual({ contentType: 'image/jpeg', format: 'jpeg' })
    expect(guessType('photo', 'Image/JPG; q=1')).toEqual({ contentType: 'image/jpeg', format: 'jpeg' })
    expect(guessType('photo', 'image/x-new')).toEqual({ contentType: 'image/x-new', format: null })
    expect(guessType('a.', 'nonsense')).toEqual({ contentType: 'application/octet-stream', format: null })
    expect(guessType('.constructor', null)).toEqual({ contentType: 'application/octet-stream', format: null })
  })

  it('lets the declared type choose where an extension means several', () => {
    expect(guessType('a.ts', null).format).toBe('ts')
    expect(guessType('a.ts', 'video/mp2t').format).toBe('mpegts')
    expect(guessType('a.mts', null).format).toBe('mpegts')
    expect(guessType('a.webm', 'audio/webm').contentType).toBe('audio/webm')
  })

  it('knows the extensions of a type', () => {
    expect(extensionsOf('image/jpg')[0]).toBe('jpg')
    expect(extensionsOf('video/mp2t')).toContain('ts')
    expect(extensionsOf('image/x-new')).toEqual([])
  })

  it.each([
    ['image', 'image/svg+xml image/x-new image/vnd.dwg'],
    ['video', 'video/mp4 application/mxf'],
    ['audio', 'audio/ogg application/ogg'],
    [
      'document',
      'application/pdf application/rtf text/rtf application/epub+zip application/msword application/vnd.ms-excel',
    ],
    ['document', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    ['document', 'application/vnd.ms-excel.sheet.macroEnabled.12 application/vnd.oasis.opendocument.text'],
    ['archive', 'application/zip application/x-tar application/gzip application/x-7z-compressed application/x-rar'],
    [
      'text',
      'text/plain text/csv text/html application/json application/xml application/rss+xml text/x-python application/sql',
    ],
    ['other', 'application/octet-stream font/woff2 application/x-msdownload nonsense'],
  ])('%s: %s', (kind, types) => {
    expect(new Set(types.split(' ').map(kindOf))).toEqual(new Set([kind]))
  })

  it('knows what a browser could run', () => {
    const dangerous =
      'text/html TEXT/HTML application/xhtml+xml image/svg+xml text/xml application/xml application/rss+xml text/xsl text/javascript application/javascript application/x-ecmascript text/jscript application/mathml+xml multipart/x-mixed-replace multipart/related message/rfc822 application/x-shockwave-flash application/wasm application/hta nonsense'
    const harmless =
      'text/plain text/css image/png application/pdf application/json application/zip text/x-python text/markdown'
    expect(dangerous.split(' ').filter((type) => !isActive(type))).toEqual([])
    expect(isActive('text/html;charset=utf-8')).toBe(true)
    expect(harmless.split(' ').filter(isActive)).toEqual([])
  })

  it('knows the grammar of a MIME type', () => {
    const long = 'a'.repeat(127)
    expect(
      ['a/b', 'image/svg+xml', 'x-a/vnd.b_c-d', `${long}/${long}`, '1/2'].filter((type) => !isMimeType(type)),
    ).toEqual([])
    const none = [
      '',
      '/',
      'a',
      'a/',
      '/b',
      'a/b/c',
      'a /b',
      'a/b ',
      'a/b;c=d',
      '.a/b',
      'a/*',
      'a/b\n',
      'ä/b',
      `${long}a/b`,
    ]
    expect(none.filter(isMimeType)).toEqual([])
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
