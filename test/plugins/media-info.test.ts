import { createHash } from 'node:crypto'
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mediaInfo } from '../../plugins/media-info.ts'
import { UploadError } from '../../src/errors.ts'
import { BudgetError, type ByteSource, type Patch, type Properties } from '../../src/plugin.ts'
import { pluginContract } from '../contracts/plugin.ts'
import { box, u32 } from '../support/media-files.ts'
import { runPlugin, sampleUpload, uploadContext } from '../support/plugin-harness.ts'

const samples = new URL('../samples/media/', import.meta.url).pathname
const plugin = mediaInfo()
const hasty = mediaInfo({ timeoutMs: 500 })
let directory: string
let files = 0

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'media-info-'))
})
afterAll(async () => {
  await plugin.close?.()
  await hasty.close?.()
  await rm(directory, { recursive: true, force: true })
})

const typed = (contentType: string) => ({ properties: { contentType, format: null } })

pluginContract('media-info for films and sounds', () => mediaInfo(), { upload: typed('video/mp4') })
pluginContract('media-info for pictures', () => mediaInfo(), { upload: typed('image/jpeg') })

const sourceOf = (content: Uint8Array): ByteSource => ({
  size: content.length,
  bytes: async (start, end) => content.subarray(start, end),
  stream: async () => {
    throw new Error('not read in order')
  },
  async toFile() {
    const path = join(directory, `${files++}`)
    await writeFile(path, content)
    return path
  },
})

async function probe(content: Uint8Array | ByteSource, contentType: string, signal?: AbortSignal, by = plugin) {
  const source = content instanceof Uint8Array ? sourceOf(content) : content
  const patch: Patch | void = await by.beforeFinish?.(source, uploadContext(sampleUpload(typed(contentType)), signal))
  return patch?.properties ?? {}
}

/** Bytes that look random and are the same in every run. */
const noise = (seed: string, outputLength = 100_000): Buffer =>
  createHash('shake256', { outputLength }).update(seed).digest()

const none = { width: null, height: null, duration: null, codecs: null, pages: null }
const still = (width = 64, height = 48): Partial<Properties> => ({ ...none, width, height })
const about = (seconds: number): number => expect.closeTo(seconds, 1)
const film = (codecs: readonly string[], size = still()) => ({ ...size, duration: about(2), codecs })
const sound = (codec: string) => ({ ...none, duration: about(2), codecs: [codec] })
const aac = 'mp4a.40.2'
const avc = 'avc1.64000a'

const formats: readonly (readonly [file: string, contentType: string, facts: Partial<Properties>])[] = [
  ['still.jpg', 'image/jpeg', still()],
  ['still.png', 'image/png', still()],
  ['still.gif', 'image/gif', still()],
  ['still.webp', 'image/webp', still()],
  ['still.avif', 'image/avif', still()],
  ['still.heic', 'image/heic', still()],
  ['pair.heic', 'image/heic', { ...still(), pages: 2 }],
  ['still.tiff', 'image/tiff', still()],
  ['still.bmp', 'image/bmp', still()],
  ['icon.ico', 'image/x-icon', still(48, 36)],
  ['large.ico', 'image/vnd.microsoft.icon', still(256, 256)],
  ['pages.tiff', 'image/tiff', { ...still(), pages: 3 }],
  ['animated.gif', 'image/gif', { ...still(), pages: 8, duration: about(1.6) }],
  ['animated.webp', 'image/webp', { ...still(), pages: 20, duration: about(2) }],
  ['animated.avif', 'image/avif', { ...still(), pages: 20, duration: about(2) }],
  ['end.mp4', 'video/mp4', film([avc, aac])],
  ['start.mp4', 'application/mp4', film([avc, aac])],
  ['rotated.mp4', 'video/mp4', film([avc, aac], still(48, 64))],
  ['fragmented.mp4', 'video/mp4', { ...film([avc, aac]), duration: about(2.2) }],
  ['unindexed.mp4', 'video/mp4', { ...film([avc, aac]), duration: about(2.2) }],
  ['hevc.mp4', 'video/mp4', film(['hev1.1.6.L30.90', aac])],
  ['film.mov', 'video/quicktime', film([avc, aac])],
  ['film.webm', 'video/webm', film(['vp09.01.40.08.03.01.13.00.01', 'opus'])],
  ['live.webm', 'video/webm', film(['vp8', 'vorbis'])],
  ['film.mkv', 'video/x-matroska', film([avc, aac])],
  ['three.webm', 'video/webm', { ...still(), duration: expect.closeTo(0.3, 2), codecs: ['vp8'] }],
  ['partly.mp4', 'video/mp4', { ...film([avc]), duration: about(10) }],
  ['camera.mov', 'video/quicktime', film(['jpeg', 'raw'])],
  ['film.wmv', 'video/x-ms-wmv', film(['wmv2', 'wmav2'])],
  ['film.ogv', 'video/ogg', film(['theora', 'vorbis'])],
  ['film.avi', 'video/x-msvideo', { ...film(['fmp4', 'mp3']), duration: about(2.1) }],
  ['mjpeg.avi', 'video/vnd.avi', film(['mjpg', 'pcm'])],
  ['film.ts', 'video/mp2t', film([avc, aac])],
  ['mpeg2.ts', 'video/mp2t', { ...film(['mp4v.61', 'mp3']), duration: about(2.05) }],
  ['film.m2ts', 'video/mp2t', film([avc])],
  ['fields.ts', 'video/mp2t', { ...film(['avc1.4d4028'], still(1920, 1080)), duration: about(0.4) }],
  ['wide.ts', 'video/mp2t', { ...film(['avc1.4d4028'], still(1920, 1080)), duration: about(0.4) }],
  ['part2.ts', 'video/mp2t', film(['mp4v.20'], still(640, 360))],
  ['constant.mp3', 'audio/mpeg', sound('mp3')],
  ['variable.mp3', 'audio/mpeg', sound('mp3')],
  ['plain.mp3', 'audio/mpeg', sound('mp3')],
  ['sound.wav', 'audio/vnd.wave', sound('pcm-s16')],
  ['adpcm.wav', 'audio/wav', sound('adpcm')],
  ['gsm.wav', 'audio/wav', sound('gsm')],
  ['mp3.wav', 'audio/wav', sound('mp3')],
  ['rf64.wav', 'audio/wav', sound('pcm-s16')],
  ['layer2.mp2', 'audio/mpeg', sound('mp2')],
  ['sound.ac3', 'audio/ac3', sound('ac-3')],
  ['sound.eac3', 'audio/eac3', sound('ec-3')],
  ['sound.wma', 'audio/x-ms-wma', sound('wmav2')],
  ['sound.flac', 'audio/flac', sound('flac')],
  ['sound.ogg', 'application/ogg', sound('vorbis')],
  ['flac.ogg', 'audio/ogg', sound('flac')],
  ['speex.ogg', 'audio/ogg', sound('speex')],
  ['sound.opus', 'audio/opus', sound('opus')],
  ['sound.m4a', 'audio/x-m4a', sound(aac)],
  ['sound.aac', 'audio/aac', sound(aac)],
]

describe('facts of every format', () => {
  it('has a line here for each sample', async () => {
    expect(formats.map(([file]) => file).toSorted()).toEqual((await readdir(samples)).toSorted())
  })

  it.each(formats)('%s', async (file, contentType, facts) => {
    const { patch, reads } = await runPlugin(plugin, samples + file, typed(contentType))
    expect(patch.properties).toEqual(facts)
    expect(reads.calls).toBeLessThanOrEqual(3)
  })

  it('asks for other types nothing', () => {
    for (const contentType of ['application/zip', 'text/plain', 'application/json']) {
      expect(plugin.accepts?.(sampleUpload(typed(contentType)))).toBe(false)
    }
  })
})

describe('how long it is', () => {
  it('is counted in a FLAC file that went through a pipe and does not say', async () => {
    const flac = await readFile(samples + 'sound.flac')
    const samplesAt = 21 // of the first block: 36 bits, of which the first four share their byte
    flac.writeUInt8(flac.readUInt8(samplesAt) & 0xf0, samplesAt)
    flac.writeUInt32BE(0, samplesAt + 1)
    expect(await probe(flac, 'audio/flac')).toMatchObject({ duration: expect.closeTo(2, 1) })
  })

  it('begins with the first picture of a film in fragments', async () => {
    const bytes = await readFile(samples + 'fragmented.mp4')
    const began = await probe(bytes, 'video/mp4')
    const seconds = 5
    for (let at = bytes.indexOf('tfdt'); at >= 0; at = bytes.indexOf('tfdt', at + 4)) {
      const scale = scaleOf(bytes, bytes.readUInt32BE(bytes.lastIndexOf('tfhd', at) + 8))
      bytes.writeBigUInt64BE(bytes.readBigUInt64BE(at + 8) + BigInt(seconds * scale), at + 8)
    }
    expect(await probe(bytes, 'video/mp4')).toEqual(began)
  })
})

/** Ticks a second of a track. */
function scaleOf(bytes: Buffer, track: number): number {
  let at = bytes.indexOf('tkhd')
  while (bytes.readUInt32BE(at + 16) !== track) at = bytes.indexOf('tkhd', at + 4)
  return bytes.readUInt32BE(bytes.indexOf('mdhd', at) + 16)
}

describe('pictures as displayed', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('EXIF orientation %i', async (orientation) => {
    const upright = sharp(samples + 'still.png').withMetadata({ orientation })
    for (const format of ['jpeg', 'png', 'webp', 'tiff'] as const) {
      const content = await upright.clone().toFormat(format).toBuffer()
      const { width, height } = (await sharp(content).metadata()).autoOrient
      expect({ format, ...(await probe(content, `image/${format}`)) }).toMatchObject({ format, width, height })
    }
    expect.assertions(4)
  })

  it('sees what sharp sees in lossless, transparent and big-endian variants', async () => {
    const picture = sharp({ create: { width: 301, height: 17, channels: 4, background: '#f006' } })
    const variants = [
      await picture.clone().webp({ lossless: true }).toBuffer(),
      await picture.clone().webp().toBuffer(),
      await picture.clone().jpeg({ progressive: true }).withIccProfile('p3').toBuffer(),
      await picture.clone().avif({ effort: 0 }).toBuffer(),
      await picture.clone().tiff({ bigtiff: true }).toBuffer(),
    ]
    for (const content of variants) expect(await probe(content, 'image/png')).toEqual(still(301, 17))
  })

  it.each([0, 1, 2, 3])('HEIF rotation %i', async (turns) => {
    const heic = await readFile(samples + 'still.heic')
    const at = heic.indexOf('pixi') // a property that the size does not need, in place of which a rotation stands
    heic.write('irot', at, 'latin1')
    heic.writeUInt8(turns, at + 4)
    expect(await probe(heic, 'image/heic')).toEqual(turns % 2 === 0 ? still() : still(48, 64))
  })

  it('takes the size of a HEIF file from its primary picture', async () => {
    const heic = await readFile(samples + 'pair.heic')
    heic.writeUInt16BE(3, heic.indexOf('pitm') + 8)
    expect(await probe(heic, 'image/heic')).toEqual({ ...still(96, 72), pages: 2 })
  })

  it.each<[svg: string, width: number | null, height: number | null]>([
    ['<svg width="10" height="20.4px"/>', 10, 20],
    [
      '<?xml version="1.0"?>\n<!-- <svg width="1"> --><!DOCTYPE svg [<!ENTITY a "b">]>\n<svg width="1in" height="3pc">',
      96,
      48,
    ],
    ['\uFEFF<s:svg xmlns:s="x" viewBox="0, 0, 300 150">', 300, 150],
    ['<svg width="100%" height="100%" viewBox="-1 -1 24 12">', 24, 12],
    ["<svg data-a='>' width='50' viewBox='0 0 24 12'>", 50, 25],
    ['<svg height="50mm" width="2cm">', 76, 189],
    ['<svg width="auto" height="1e999">', null, null],
    ['<svg>', null, null],
    ['<html><svg width="1" height="1"></html>', null, null],
    [`<!DOCTYPE svg [${'<'.repeat(60_000)}`, null, null],
    [`<svg ${'a'.repeat(60_000)}`, null, null],
  ])('svg %#', async (svg, width, height) => {
    expect(await probe(Buffer.from(svg), 'image/svg+xml')).toEqual({ ...none, width, height })
  })

  it.each(['image/png', 'image/jpeg', 'image/svg+xml'])('lets nothing draw an svg that is called %s', async (type) => {
    const svg = Buffer.from('<!-- --><svg xmlns="http://www.w3.org/2000/svg"><rect width="7" height="7"/></svg>')
    expect(await probe(svg, type)).toEqual(none)
  })

  it('takes a bomb for what its header says', async () => {
    const png = Buffer.concat([await readFile(samples + 'still.png')])
    png.writeUInt32BE(50_000, 16)
    png.writeUInt32BE(50_000, 20)
    expect(await probe(png, 'image/png')).toEqual(still(50_000, 50_000))
    png.writeUInt32BE(0xffff_ffff, 16)
    expect(await probe(png, 'image/png')).toEqual(none)
  })

  it('counts half a million frames of nothing', async () => {
    const frame = Buffer.from('2c0000000001000100000202440100', 'hex')
    const head = Buffer.from('GIF89a\x01\0\x01\0\0\0\0', 'latin1')
    const gif = Buffer.concat([head, Buffer.alloc(500_000 * frame.length, frame), Buffer.from(';')])
    expect(await probe(gif, 'image/gif')).toMatchObject({ width: 1, height: 1, pages: 500_000 })
  })
})

/** Reads a file by ranges and counts. */
async function counted(path: string) {
  const handle = await open(path)
  const { size } = await handle.stat()
  const reads = { bytes: 0, calls: 0 }
  const source: ByteSource = {
    ...sourceOf(new Uint8Array()),
    size,
    async bytes(start, end) {
      const length = Math.min(end, size) - start
      reads.calls++
      reads.bytes += length
      return (await handle.read(Buffer.alloc(length), 0, length, start)).buffer
    },
  }
  return { source, reads, close: () => handle.close() }
}

describe('few reads', () => {
  it('needs few reads of a film of 1 GiB with its index at the end', async () => {
    const path = join(directory, 'gigabyte.mp4')
    const content = await readFile(samples + 'end.mp4')
    const mdat = content.indexOf('mdat') - 4
    const moov = content.indexOf('moov') - 4
    const hole = 2 ** 30
    const index = Buffer.concat([content.subarray(moov), box('free', Buffer.alloc(900_000))]) // 900 kB more, as a long film has
    index.writeUInt32BE(index.length, 0)
    const file = await open(path, 'w')
    await file.write(Buffer.concat([content.subarray(0, mdat), u32(hole), Buffer.from('mdat')]), 0, null, 0)
    await file.write(index, 0, index.length, mdat + hole)
    await file.close()
    const { source, reads, close } = await counted(path)
    expect(await probe(source, 'video/mp4')).toEqual(film([avc, aac]))
    await close()
    expect(reads.calls).toBeLessThanOrEqual(6)
    expect(reads.bytes).toBeLessThan(2 * 1024 * 1024)
  })

  it('skips a cover of 20 MB before the sound', async () => {
    const cover = Buffer.concat([Buffer.from('ID3\x04\0\0\x0a\0\0\0', 'latin1'), Buffer.alloc(10 * 2 ** 21)])
    const path = join(directory, 'cover.mp3')
    await writeFile(path, Buffer.concat([cover, await readFile(samples + 'constant.mp3')]))
    const { source, reads, close } = await counted(path)
    expect(await probe(source, 'audio/mpeg')).toMatchObject({ duration: expect.closeTo(2, 1) })
    await close()
    expect(reads).toMatchObject({ calls: 2 })
  })

  it('stops at 64 reads and at 64 MiB, and keeps what it had found', async () => {
    const content = await readFile(samples + 'unindexed.mp4')
    const head = content.subarray(0, content.indexOf('moof') - 4)
    const fragment = 64 * 1024 // bytes of an empty box, one after the other
    let [calls, total] = [0, 0]
    const endless: ByteSource = {
      ...sourceOf(head),
      size: 2 ** 40,
      async bytes(start, end) {
        calls++
        total += end - start
        const part = Buffer.alloc(end - start)
        const first = Math.max(0, Math.ceil((start - head.length) / fragment))
        for (let at = head.length + first * fragment - start; at + 8 <= part.length; at += fragment) {
          part.writeUInt32BE(fragment, at)
          part.write('free', at + 4, 'latin1')
        }
        if (start === 0) head.copy(part)
        return part
      },
    }
    expect(await probe(endless, 'video/mp4')).toEqual({ ...still(), codecs: [avc, aac] })
    expect(calls).toBe(64)
    expect(total).toBeLessThanOrEqual(64 * 1024 * 1024)
  })

  it('does not fetch a picture that is too large to be opened, but reads its header where that is enough', async () => {
    const fetched: string[] = []
    for (const file of ['still.png', 'animated.webp', 'still.bmp']) {
      const head = await readFile(samples + file)
      const source: ByteSource = {
        ...sourceOf(head),
        size: 2 ** 28 + 1,
        bytes: async (start, end) => Buffer.concat([head, Buffer.alloc(end)]).subarray(start, end),
        async toFile() {
          fetched.push(file)
          return samples + file
        },
      }
      const facts = await probe(source, 'image/png')
      expect({ file, ...facts }).toEqual({ file, ...(file === 'still.bmp' ? still() : none) })
    }
    expect(fetched).toEqual([])
  })
})

const lie = (content: Uint8Array, contentType: string) => probe(content, contentType, undefined, hasty)

describe('files that lie', () => {
  it.each(formats)('%s cut off anywhere', async (file, contentType) => {
    const content = await readFile(samples + file)
    const cuts = [0, 1, 2, 7, 8, 12, 33, 100, 500, 1000, content.length / 2, content.length - 1].map(Math.floor)
    for (const cut of cuts) expect(await lie(content.subarray(0, cut), contentType)).toHaveProperty('duration')
  })

  it.each(formats)('%s with bytes changed', async (file, contentType) => {
    const content = await readFile(samples + file)
    for (let round = 0; round < 12; round++) {
      const bad = Buffer.from(content)
      for (let i = 0; i < 1 + round; i++)
        bad[((round + 7) * 7919 * (i + 1)) % Math.min(bad.length, 2000)] = 0xff * (i % 2)
      expect(await lie(bad, contentType)).toHaveProperty('duration')
    }
  })

  it('gives null for noise, under every type and behind every signature', async () => {
    const types = new Set(formats.map(([, contentType]) => contentType))
    for (const contentType of types) expect(await probe(noise(contentType), contentType)).toEqual(none)
    for (const [file, contentType] of formats) {
      const signed = Buffer.concat([(await readFile(samples + file)).subarray(0, 16), noise(file)])
      expect(await lie(signed, contentType)).toHaveProperty('duration')
    }
  })

  it('does not follow a box, chunk or directory that points at itself', async () => {
    const tiff = Buffer.from('49492a0008000000010000010300010000004000000008000000', 'hex')
    expect(await probe(tiff, 'image/tiff')).toEqual(none)
    const boxes = Buffer.concat([box('ftyp', Buffer.from('isom')), u32(1), Buffer.from('moov'), u32(0), u32(0)])
    expect(await probe(boxes, 'video/mp4')).toEqual(none)
  })

  it('survives boxes in boxes in boxes', async () => {
    const depth = 100_000
    const nested = Buffer.alloc(depth * 8)
    for (let i = 0; i < depth; i++) {
      nested.writeUInt32BE((depth - i) * 8, i * 8)
      nested.write(i === 0 ? 'moov' : 'mdia', i * 8 + 4, 'latin1')
    }
    const content = Buffer.concat([box('ftyp', Buffer.from('isom\0\0\0\0')), nested])
    expect(await probe(content, 'video/mp4')).toEqual(none)
    expect(await probe(await readFile(samples + 'end.mp4'), 'video/mp4')).toEqual(film([avc, aac]))
  })
})

describe('the store and the caller', () => {
  it('passes on what the store throws, and works again', async () => {
    const away: ByteSource = {
      ...sourceOf(Buffer.alloc(1000)),
      bytes: async () => {
        throw new UploadError('storage_failed', 'The store is away.')
      },
    }
    await expect(probe(away, 'image/png')).rejects.toMatchObject({ code: 'storage_failed' })
    const unopened = { ...sourceOf(await readFile(samples + 'still.png')), toFile: () => away.bytes(0, 1).then(String) }
    await expect(probe(unopened, 'image/png')).rejects.toMatchObject({ code: 'storage_failed' })
    expect(await probe(await readFile(samples + 'still.png'), 'image/png')).toEqual(still())
  })

  it('takes a used-up budget for a file that asked too much', async () => {
    const poor: ByteSource = {
      ...sourceOf(Buffer.alloc(1000)),
      bytes: async () => {
        throw new BudgetError('used up')
      },
    }
    expect(await probe(poor, 'video/mp4')).toEqual(none)
  })

  it('does 20 files at once, each with its own answer', async () => {
    const answers = await Promise.all(
      formats.slice(0, 20).map(async ([file, contentType]) => probe(await readFile(samples + file), contentType)),
    )
    expect(answers.map(({ width }) => width)).toEqual(formats.slice(0, 20).map(([, , { width }]) => width))
  })

  it('ends with the reason of its signal, before, while it waits and while it runs', async () => {
    const hanging: ByteSource = { ...sourceOf(Buffer.alloc(1000)), bytes: () => new Promise(() => {}) }
    const reason = new Error('enough')
    await expect(probe(hanging, 'image/png', AbortSignal.abort(reason))).rejects.toBe(reason)
    const [running, waiting] = [new AbortController(), new AbortController()]
    const first = probe(hanging, 'image/png', running.signal)
    const second = probe(hanging, 'image/png', waiting.signal)
    const third = readFile(samples + 'still.png').then((content) => probe(content, 'image/png'))
    waiting.abort(reason)
    await expect(second).rejects.toBe(reason)
    running.abort(reason)
    await expect(first).rejects.toBe(reason)
    expect(await third).toEqual(still())
  })

  it('is closed for good', async () => {
    const closed = mediaInfo()
    const source = sourceOf(await readFile(samples + 'still.png'))
    const run = closed.beforeFinish?.(source, uploadContext(sampleUpload(typed('image/png'))))
    await closed.close?.()
    await expect(run).rejects.toThrow('closed')
    await expect(closed.beforeFinish?.(source, uploadContext(sampleUpload(typed('image/png'))))).rejects.toThrow(
      'closed',
    )
  })
})
