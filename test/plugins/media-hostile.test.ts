import { readdir } from 'node:fs/promises'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { amr, box, chunk, emf, mp3Frames, packedAvif, pdf, tiff, u32 } from '../support/media-files.ts'
import { mediaSample as sample, mediaProbe, mediaSamples as samples } from '../support/media-probe.ts'

const { probe, close } = mediaProbe()
afterAll(close)

describe('files that want to be read for ever', () => {
  it.each<[what: string, contentType: string, content: () => Buffer]>([
    ['AAC of empty frames', 'audio/aac', () => Buffer.alloc(20 * 2 ** 20, Buffer.from('fff150400100fc00', 'hex'))],
    [
      'WAV of empty chunks',
      'audio/wav',
      () => Buffer.concat([Buffer.from('RIFF\0\0\0\x7fWAVE'), Buffer.alloc(8 * 2 ** 20, chunk('none'))]),
    ],
    ['Ogg of beginnings', 'application/ogg', () => Buffer.alloc(16 * 2 ** 20, 'OggS\0')],
    ['MP3 of beginnings', 'audio/mpeg', () => Buffer.alloc(16 * 2 ** 20, Buffer.from('fffb9000', 'hex'))],
    [
      'AMR of empty frames',
      'audio/amr',
      () => Buffer.concat([Buffer.from('#!AMR\n'), Buffer.alloc(32 * 2 ** 20, 0x7c)]),
    ],
    [
      'WMV of empty objects',
      'video/x-ms-wmv',
      () => {
        const object = Buffer.alloc(24)
        object.writeUInt8(24, 16)
        const head = Buffer.concat([Buffer.from('3026b2758e66cf11a6d900aa0062ce6c', 'hex'), Buffer.alloc(14, 0x0f)])
        return Buffer.concat([head, Buffer.alloc(24 * 300_000, object)])
      },
    ],
    [
      'MP4 of fragments that claim samples',
      'video/mp4',
      () => {
        const run = box('trun', u32(0x100), u32(0xffff_ffff), u32(1))
        const head = box('moov', box('mvhd', Buffer.alloc(100)), box('mvex'))
        return Buffer.concat([
          box('ftyp', Buffer.from('isom')),
          head,
          Buffer.alloc(8 * 2 ** 20, box('moof', box('traf', run))),
        ])
      },
    ],
    [
      'MPEG-TS of tables',
      'video/mp2t',
      () => Buffer.alloc(188 * 40_000, Buffer.concat([Buffer.from('47400010000000', 'hex'), Buffer.alloc(181, 0xff)])),
    ],
    [
      'WebM of clusters',
      'video/webm',
      () =>
        Buffer.concat([
          Buffer.from('1a45dfa3874282847765626d18538067ff', 'hex'),
          Buffer.alloc(8 * 2 ** 20, Buffer.from('1f43b675ff', 'hex')),
        ]),
    ],
  ])('%s', async (_what, contentType, content) => {
    expect(await probe(content(), contentType)).toMatchObject({ killed: false })
  })
})

const typeOf = (file: string): string =>
  file.endsWith('.pdf')
    ? 'application/pdf'
    : /\.(?:jpg|png|gif|webp|avif|heic|tiff|bmp|ico|emf|wmf)$/.test(file)
      ? 'image/png'
      : 'video/mp4'

describe('damage', () => {
  it('of any kind, at any place, ends no parser', { timeout: 120_000 }, async () => {
    const made: [string, Buffer][] = [
      ['a.pdf', pdf(3)],
      ['b.pdf', pdf(3, { packed: true, predicted: true })],
      ['a.tiff', tiff({ bits: 12, photometric: 1, samples: 1, pages: 2 })],
      ['a.avif', packedAvif(200, 100)],
      ['a.emf', emf(9, 9)],
      ['a.amr', amr(20)],
      ['a.mp3', mp3Frames(20)],
    ]
    const found = await Promise.all((await readdir(samples)).map(async (file) => [file, await sample(file)] as const))
    const all = [...made, ...found]
    const damage = fc.record({
      file: fc.constantFrom(...all),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      junk: fc.uint8Array({ maxLength: 64 }),
      isInserted: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(damage, async ({ file: [name, content], cut, at, junk, isInserted }) => {
        const kept = content.subarray(0, Math.ceil(content.length * cut))
        const place = Math.floor(kept.length * at ** 3) // more often in the headers, which are in front
        const rest = kept.subarray(place + (isInserted ? 0 : junk.length))
        const facts = await probe(Buffer.concat([kept.subarray(0, place), junk, rest]), typeOf(name))
        expect(facts).toMatchObject({ killed: false, width: facts.width ?? null, duration: facts.duration ?? null })
        expect(facts.reads).toBeLessThanOrEqual(64)
      }),
      { numRuns: 2000 },
    )
  })
})
