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
import { sniffType } from '../../plugins/sniff-type.ts'
import { guessType, isMimeType, kindOf } from '../../src/uploads/names.ts'
import { pluginContract } from '../contracts/plugin.ts'
import { stl } from '../support/handmade/pictures.ts'
import { runPlugin } from '../support/plugin-harness.ts'
import { honestSamples, samplePath, samples } from '../support/samples.ts'
import { sniff } from '../support/sniff.ts'

pluginContract('sniff-type', () => sniffType())

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
    [/x-ms-asf/, 'audio/x-ms-wma'],
    // a name that lies, where nothing else is left
    [/outlook|ms-excel$/, 'application/msword application/x-cfb'],
    [/visio/, 'application/zip application/vnd.ms-visio.drawing'],
    [/msword|vnd\.ms-|x-msi/, 'application/x-cfb application/vnd.ms-excel application/zip'],
    [/dolby/, 'audio/mpeg'],
    // the first part of both says no more
    [/pages/, 'application/zip application/vnd.apple.numbers'],
    [/document|epub|archive|apple|xps|kmz|sun\.xml/, 'application/zip application/x-cfb'],
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
      { numRuns: 600 },
    )
  })

  it('may be any bytes under any name', async () => {
    const names = oneof(string(), constantFrom(...samples.map(({ name }) => name)))
    await assert(
      asyncProperty(uint8Array({ maxLength: 2_000 }), names, option(string()), async (bytes, name, declared) => {
        const found = await sniff(bytes, name, declared)
        expect(found.contentType).toSatisfy(isMimeType)
      }),
      { numRuns: 600 },
    )
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

describe('a long binary STL file', () => {
  const bytes = stl(3_000)

  it('is one by its name or its declared type', async () => {
    for (const [name, declared] of [
      ['a.stl', null],
      ['a', 'model/stl'],
      ['a.bin', 'application/sla'],
    ] as const)
      expect(await sniff(bytes, name, declared)).toMatchObject({ contentType: 'model/stl', format: 'stl' })
    expect(await sniff(bytes, 'a.jpg', 'image/jpeg')).toMatchObject({ contentType: 'application/octet-stream' })
  })

  it('has numbers that a shape has', async () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, 1e30]) {
      const broken = Buffer.from(bytes)
      broken.writeFloatLE(wrong, 84 + 50 + 12)
      expect(await sniff(broken, 'a.stl')).toMatchObject({ contentType: 'application/octet-stream' })
    }
  })
})
