import { afterAll, describe, expect, it } from 'vitest'
import { amr, box, emf, mp3FrameSeconds, mp3Frames, packedAvif, tiff, u16, u32, wmf } from '../support/media-files.ts'
import { mediaSample as sample, mediaProbe } from '../support/media-probe.ts'

const { probe, close } = mediaProbe()
afterAll(close)

const seconds = (value: number): number => expect.closeTo(value, 1)

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

describe('MP3', () => {
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

/** MP4 with colours as its last box, of which a byte is missing, in place of two others. */
async function cutColours(): Promise<Buffer> {
  const content = await sample('end.mp4')
  const at = content.indexOf('pasp') - 4
  const colours = Buffer.concat([u32(18), Buffer.from('colrnclx'), u16(1), u16(1), u16(1)])
  expect(content.toString('latin1', at + 20, at + 24)).toBe('btrt')
  Buffer.concat([box('free', Buffer.alloc(10)), colours]).copy(content, at)
  return content
}

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

describe('films', () => {
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
