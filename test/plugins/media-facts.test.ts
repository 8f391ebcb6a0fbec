import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mediaInfo } from '../../plugins/media-info.ts'
import type { ByteSource, Properties } from '../../src/plugin.ts'
import {
  amr,
  box,
  chunk,
  emf,
  mp3FrameSeconds,
  mp3Frames,
  packedAvif,
  pdf,
  tiff,
  u16,
  u32,
  withPage,
  wmf,
} from '../support/media-files.ts'
import { sampleUpload, uploadContext } from '../support/plugin-harness.ts'

const samples = new URL('../samples/media/', import.meta.url).pathname
const plugin = mediaInfo()
let directory: string
let files = 0

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'media-facts-'))
})
afterAll(async () => {
  await plugin.close?.()
  await rm(directory, { recursive: true, force: true })
})

const sample = (file: string) => readFile(samples + file)

interface Facts extends Partial<Properties> {
  /** The parser was killed. */
  readonly killed: boolean
  /** Ranges that were read. */
  readonly reads: number
}

/** What the plugin finds in a file, and what that took. */
async function probe(content: Buffer, contentType: string): Promise<Facts> {
  let reads = 0
  let killed = false
  const source: ByteSource = {
    size: content.length,
    async bytes(start, end) {
      reads++
      return content.subarray(start, end)
    },
    stream: () => Promise.reject(new Error('not read in order')),
    async toFile() {
      const path = join(directory, `${files++}`)
      await writeFile(path, content)
      return path
    },
  }
  const context = uploadContext(sampleUpload({ properties: { contentType, format: null } }))
  const log = { ...context.log, warn: () => void (killed = true) }
  const patch = await plugin.beforeFinish?.(source, { ...context, log })
  return { ...patch?.properties, killed, reads }
}

const seconds = (value: number): number => expect.closeTo(value, 1)

describe('MP3', () => {
  /** An ID3 tag with one comment. */
  const comment = (text: string) =>
    Buffer.concat([
      Buffer.from('ID3\x03\0\0'),
      Buffer.from([0, 0, (text.length + 10) >> 7, (text.length + 10) & 0x7f]),
      Buffer.from('COMM'),
      u32(text.length),
      Buffer.alloc(2),
      Buffer.from(text, 'latin1'),
    ])
  const frames = 400
  const length = { duration: seconds(frames * mp3FrameSeconds), codecs: ['mp3'] }

  it.each(['Info', 'Xing', 'VBRI'])('whose comment says %s has all of its frames counted', async (word) => {
    const tagged = Buffer.concat([comment(`${word}: see the web page`), mp3Frames(frames)])
    expect(await probe(tagged, 'audio/mpeg')).toMatchObject(length)
  })

  it('whose frames say so by chance, outside of the first, has all of them counted', async () => {
    const content = mp3Frames(frames)
    content.write('Xing', 417 + 21, 'latin1')
    expect(await probe(content, 'audio/mpeg')).toMatchObject(length)
  })

  it('whose tag has no count, or a count of none, has its frames counted', async () => {
    for (const [flags, count] of [
      [0, 7],
      [1, 0],
    ]) {
      const content = mp3Frames(frames)
      content.write('Info', 21, 'latin1') // behind the header and the 17 bytes of one channel
      content.writeUInt32BE(flags ?? 0, 25)
      content.writeUInt32BE(count ?? 0, 29)
      expect(await probe(content, 'audio/mpeg')).toMatchObject(length)
    }
  })

  it('whose tag has a count is believed', async () => {
    const content = mp3Frames(3)
    content.write('Xing', 21, 'latin1')
    content.writeUInt32BE(1, 25)
    content.writeUInt32BE(1000, 29)
    expect(await probe(content, 'audio/mpeg')).toMatchObject({ duration: seconds(1000 * mp3FrameSeconds) })
    content.write('none', 21, 'latin1')
    content.write('VBRI', 36, 'latin1')
    content.writeUInt32BE(2000, 50)
    expect(await probe(content, 'audio/mpeg')).toMatchObject({ duration: seconds(2000 * mp3FrameSeconds) })
  })

  it('may change how its channels are coded', async () => {
    const changing = mp3Frames(frames, (frame) => frame % 4)
    expect(await probe(changing, 'audio/mpeg')).toMatchObject(length)
  })

  it.each([1, 417, 5000, 70_000])('may begin with %i zeros', async (zeros) => {
    const padded = Buffer.concat([Buffer.alloc(zeros), mp3Frames(frames)])
    expect(await probe(padded, 'audio/mpeg')).toMatchObject(length)
  })

  it('of more than can be counted is estimated', async () => {
    const many = 250_000
    const { duration, reads } = await probe(mp3Frames(many), 'audio/mpeg')
    expect((duration ?? 0) / (many * mp3FrameSeconds)).toBeCloseTo(1, 2)
    expect(reads).toBeLessThan(40)
  })
})

describe('sounds made by hand', () => {
  it('AMR and AMR-WB', async () => {
    expect(await probe(amr(250), 'audio/amr')).toMatchObject({ duration: seconds(5), codecs: ['samr'] })
    expect(await probe(amr(250, true), 'audio/amr')).toMatchObject({ duration: seconds(5), codecs: ['sawb'] })
  })

  it.each([
    ['sound.ac3', 'ac-3'],
    ['sound.aac', 'mp4a.40.2'],
    ['sound.flac', 'flac'],
    ['layer2.mp2', 'mp2'],
    ['variable.mp3', 'mp3'],
  ])('%s behind a large ID3 tag', async (file, codec) => {
    const cover = Buffer.alloc(9 * 2 ** 14, 'a picture')
    const tagged = Buffer.concat([Buffer.from('ID3\x04\0\0\0\x09\0\0'), cover, await sample(file)])
    expect(await probe(tagged, 'audio/mpeg')).toMatchObject({ duration: seconds(2), codecs: [codec] })
  })

  it.each(['flac.ogg', 'speex.ogg', 'sound.ogg', 'sound.opus', 'film.ogv'])('%s cut in its last page', async (file) => {
    const content = await sample(file)
    const { duration } = await probe(content.subarray(0, content.length - 10), 'application/ogg')
    expect(duration).toBeGreaterThan(0.9)
    expect(duration).toBeLessThan(2.1)
  })

  it('WAV whose sound is coded, without a count of its samples', async () => {
    for (const [file, codec] of [
      ['adpcm.wav', 'adpcm'],
      ['gsm.wav', 'gsm'],
      ['mp3.wav', 'mp3'],
    ] as const) {
      const content = await sample(file)
      content.write('free', content.indexOf('fact'), 'latin1')
      expect(await probe(content, 'audio/wav')).toMatchObject({ duration: seconds(2), codecs: [codec] })
    }
  })

  it('WAV that was cut has what is there', async () => {
    const content = await sample('gsm.wav')
    const { duration } = await probe(content.subarray(0, content.length / 2), 'audio/wav')
    expect(duration).toBeGreaterThan(0.9)
    expect(duration).toBeLessThan(1.1)
  })
})

describe('films', () => {
  /** MP4 with colours as its last box, of which a byte is missing, in place of two others. */
  async function cutColours(): Promise<Buffer> {
    const content = await sample('end.mp4')
    const at = content.indexOf('pasp') - 4
    const colours = Buffer.concat([u32(18), Buffer.from('colrnclx'), u16(1), u16(1), u16(1)])
    expect(content.toString('latin1', at + 20, at + 24)).toBe('btrt')
    Buffer.concat([box('free', Buffer.alloc(10)), colours]).copy(content, at)
    return content
  }

  it('of which a box is cut keep what the others say', async () => {
    expect(await probe(await cutColours(), 'video/mp4')).toMatchObject({
      width: 64,
      height: 48,
      duration: seconds(2),
      codecs: ['avc1.64000a', 'mp4a.40.2'],
    })
  })

  it('that are turned keep that, when a box is cut', async () => {
    const turned = await sample('rotated.mp4')
    const content = await cutColours()
    const matrix = 40 // in a header of version 0, behind its name
    turned.copy(
      content,
      content.indexOf('tkhd') + 4 + matrix,
      turned.indexOf('tkhd') + 4 + matrix,
      turned.indexOf('tkhd') + 4 + matrix + 36,
    )
    expect(await probe(content, 'video/mp4')).toMatchObject({ width: 48, height: 64 })
  })

  it('whose headers say zero are as long as their samples', async () => {
    const content = await sample('end.mp4')
    for (const name of ['mvhd', 'mdhd']) {
      for (let at = content.indexOf(name); at >= 0; at = content.indexOf(name, at + 4))
        content.writeUInt32BE(0, at + 20)
    }
    expect(await probe(content, 'video/mp4')).toMatchObject({ width: 64, duration: seconds(2) })
  })

  /** A film of so many fragments of one picture, without times of their own, as old phones wrote them. */
  async function fragments(count: number): Promise<{ content: Buffer; ticks: number }> {
    const film = await sample('unindexed.mp4')
    const head = film.subarray(0, film.indexOf('moof') - 4)
    const ticks = 1024
    const scale = head.readUInt32BE(head.indexOf('mdhd') + 16)
    const header = box('tfhd', u32(8), u32(1), u32(ticks))
    const run = box('trun', u32(0), u32(1))
    const fragment = Buffer.concat([
      box('moof', box('mfhd', u32(0), u32(1)), box('traf', header, run)),
      box('mdat', u32(0)),
    ])
    return { content: Buffer.concat([head, Buffer.alloc(count * fragment.length, fragment)]), ticks: ticks / scale }
  }

  it('of many fragments without times are walked through', async () => {
    const count = 90_000
    const { content, ticks } = await fragments(count)
    const { duration, killed } = await probe(content, 'video/3gpp2')
    expect(killed).toBe(false)
    expect(duration).toBeCloseTo(count * ticks, 0)
  })

  it('of fragments that are far from one another are read at their end', async () => {
    const content = await sample('unindexed.mp4')
    const second = content.indexOf('moof', content.indexOf('moof') + 4, 'latin1') - 4
    const hole = box('free', Buffer.alloc(40 * 2 ** 20))
    const far = Buffer.concat([content.subarray(0, second), hole, content.subarray(second)])
    const { duration, reads } = await probe(far, 'video/mp4')
    expect(duration).toEqual((await probe(content, 'video/mp4')).duration)
    expect(reads).toBeLessThan(20)
  })

  it('in MPEG-TS whose tables are gone have a length, and no size that a picture spells', async () => {
    const content = await sample('part2.ts')
    for (let at = 0; at < content.length; at += 188) {
      if ((content.readUInt16BE(at + 1) & 0x1fff) === 0) content.writeUInt16BE(0x5fff, at + 1)
    }
    expect(await probe(content, 'video/mp2t')).toMatchObject({ width: null, duration: seconds(2) })
  })
})

describe('pictures', () => {
  it('TIFF of colours that no decoder here knows', async () => {
    const size = { width: 64, height: 48 }
    expect(await probe(tiff({ bits: 12, photometric: 1, samples: 1 }), 'image/tiff')).toMatchObject(size)
    expect(await probe(tiff({ bits: 8, photometric: 8, samples: 3, pages: 3 }), 'image/tiff')).toMatchObject({
      ...size,
      pages: 3,
    })
    const turned = tiff({ bits: 8, photometric: 8, samples: 3, orientation: 6 })
    expect(await probe(turned, 'image/tiff')).toMatchObject({ width: 48, height: 64 })
  })

  it('TIFF whose pages point at one another', async () => {
    const content = tiff({ bits: 12, photometric: 1, samples: 1, pages: 3 })
    content.writeUInt32LE(8, 8 + 3 * 126 - 4)
    expect(await probe(content, 'image/tiff')).toMatchObject({ width: 64, pages: 3 })
  })

  it('HEIF of a codec that no decoder here knows', async () => {
    const content = await sample('still.heic')
    content.write('j2ki', 8, 'latin1')
    content.write('j2k1', content.indexOf('hvc1'), 'latin1')
    content.write('j2kH', content.indexOf('hvcC'), 'latin1')
    expect(await probe(content, 'image/heif')).toMatchObject({ width: 64, height: 48 })
    const at = content.indexOf('pixi') // a property that the size does not need, in place of which a rotation stands
    content.write('irot\x01', at, 'latin1')
    expect(await probe(content, 'image/heif')).toMatchObject({ width: 48, height: 64 })
  })

  it('AVIF of packed properties', async () => {
    expect(await probe(packedAvif(64, 48), 'image/avif')).toMatchObject({ width: 64, height: 48 })
    expect(await probe(packedAvif(4000, 3000, 6), 'image/avif')).toMatchObject({ width: 3000, height: 4000 })
  })

  it('drawings of Windows', async () => {
    expect(await probe(emf(2540, 1270), 'image/emf')).toMatchObject({ width: 96, height: 48 })
    expect(await probe(wmf(-100, 0, 900, 500, 1000), 'image/wmf')).toMatchObject({ width: 96, height: 48 })
    expect(await probe(wmf(0, 0, 900, 500, 0), 'image/wmf')).toMatchObject({ width: null, height: null })
  })
})

describe('pages of a PDF', () => {
  it.each<[what: string, content: Buffer, pages: number | null]>([
    ['with a table in text', pdf(3), 3],
    ['with objects and table in streams', pdf(3, { packed: true }), 3],
    ['with a table of differences', pdf(3, { packed: true, predicted: true }), 3],
    ['with many pages', pdf(700), 700],
    ['with many pages in a stream', pdf(700, { packed: true }), 700],
    ['behind junk', pdf(3, { junk: 'HTTP/1.1 200 OK\r\n\r\n' }), 3],
    ['behind junk, in streams', pdf(3, { junk: '\n\n', packed: true }), 3],
    ['that was added to', withPage(pdf(3), 3), 4],
    ['that was added to, in streams', withPage(pdf(3, { packed: true }), 3), 4],
    ['that is encrypted', pdf(3, { trailer: '/Encrypt << /Filter /Standard /V 5 >>' }), 3],
    ['without its end', pdf(3).subarray(0, -120), 3],
    [
      'whose table is wrong',
      Buffer.from(
        pdf(3)
          .toString('latin1')
          .replaceAll(/\d{10} 00000 n/g, '0000000007 00000 n'),
      ),
      3,
    ],
    ['whose table points at itself', pdf(3, { trailer: '/Prev 9' }), 3],
    ['that has none', pdf(0), null],
    ['that claims more than it can have', pdf(1, { count: '2147483647' }), null],
    ['of less than none', pdf(1, { count: '-3' }), null],
    ['that counts itself', pdf(1, { count: '2 0 R' }), null],
    ['of arrays in arrays', pdf(1, { trailer: `/A ${'['.repeat(100_000)}` }), 1],
    ['that is none', Buffer.from('%PDF-1.7'), null],
  ])('%s', async (_what, content, pages) => {
    const facts = await probe(content, 'application/pdf')
    expect(facts).toMatchObject({ pages, width: null, killed: false })
    expect(facts.reads).toBeLessThan(5)
  })

  it('that unpacks to gigabytes is left', async () => {
    const bomb = deflateSync(Buffer.alloc(200 * 2 ** 20))
    const packed = `<< /Type /XRef /W [1 4 1] /Size 9 /Root 1 0 R /Filter /FlateDecode /Length ${bomb.length} >>`
    const content = Buffer.concat([
      Buffer.from(`%PDF-1.7\n1 0 obj\n${packed}\nstream\n`),
      bomb,
      Buffer.from('\nendstream\nendobj\nstartxref\n9\n%%EOF'),
    ])
    expect(await probe(content, 'application/pdf')).toMatchObject({ pages: null, killed: false })
  })

  it('of nothing but trees is searched once', async () => {
    const content = Buffer.alloc(20 * 2 ** 20, '/Type/Pages ')
    expect(await probe(content, 'application/pdf')).toMatchObject({ pages: null, killed: false })
  })
})

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

describe('damage', () => {
  const typeOf = (file: string): string =>
    file.endsWith('.pdf')
      ? 'application/pdf'
      : /\.(?:jpg|png|gif|webp|avif|heic|tiff|bmp|ico|emf|wmf)$/.test(file)
        ? 'image/png'
        : 'video/mp4'

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
