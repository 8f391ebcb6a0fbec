import { BitReader } from './bits.ts'

export interface Video {
  /** Pixels as displayed. */
  readonly width: number
  readonly height: number
  readonly codec: string
}

const maxHeaderBytes = 1024 // of one header; scaling lists make it long
const maxHeaders = 16 // that are tried when the ones before are damaged
const startCode = Buffer.from([0, 0, 1])
const extendedSar = 255
/** Shapes of pixels that have a number, the same in all of these standards. H.264 has more of them than MPEG-4. */
const shapes = '1:1 12:11 10:11 16:11 40:33 24:11 20:11 32:11 80:33 18:11 15:11 64:33 160:99 4:3 3:2 2:1'
  .split(' ')
  .map((shape) => shape.split(':').map(Number))
const highProfiles = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]

/** The longer side grows, so that no pixel is lost. */
function displayed(width: number, height: number, [wide = 1, high = 1]: readonly number[] = []) {
  if (wide === 0 || high === 0 || wide === high) return { width, height }
  return wide > high
    ? { width: Math.round((width * wide) / high), height }
    : { width, height: Math.round((height * high) / wide) }
}

/** MPEG-1 and MPEG-2: the sequence header. */
function readSequence(header: Buffer): Omit<Video, 'codec'> {
  const size = header.readUIntBE(0, 3)
  return { width: size >> 12, height: size & 0xfff }
}

/** MPEG-4 part 2: the header of a video object layer. */
function readObjectLayer(header: Buffer): Video {
  const bits = new BitReader(header)
  bits.skip(1 + 8)
  const version = bits.flag() ? bits.read(7) >> 3 : 1
  const shapeNumber = bits.read(4)
  const shape = shapeNumber === 15 ? [bits.read(8), bits.read(8)] : shapes[shapeNumber - 1]
  if (bits.flag()) {
    bits.skip(2 + 1)
    if (bits.flag()) bits.skip(79)
  }
  const outline = bits.read(2)
  if (outline === 3 && version !== 1) bits.skip(4)
  bits.skip(1)
  const ticks = bits.read(16)
  bits.skip(1)
  if (bits.flag()) bits.skip(Math.max(1, 32 - Math.clz32(ticks - 1)))
  if (outline !== 0) throw new RangeError('Not a rectangle.')
  bits.skip(1)
  const width = bits.read(13)
  bits.skip(1)
  return { ...displayed(width, bits.read(13), shape), codec: 'mp4v.20' }
}

function skipScalingList(bits: BitReader, length: number): void {
  let last = 8
  for (let i = 0; i < length; i++) {
    last = (last + bits.signed() + 256) % 256
    if (last === 0) return
  }
}

/** H.264: a sequence parameter set behind the byte that says so. A film of fields counts rows of macroblocks of one field. */
function readParameterSet(unit: Buffer): Video {
  const bytes = withoutEscapes(unit)
  const bits = new BitReader(bytes)
  const profile = bits.read(8)
  bits.skip(16)
  bits.unsigned()
  let chroma = 1
  if (highProfiles.includes(profile)) {
    chroma = bits.unsigned()
    if (chroma === 3 && bits.flag()) chroma = 0 // planes on their own
    bits.unsigned()
    bits.unsigned()
    bits.skip(1)
    if (bits.flag()) {
      for (let i = 0; i < (chroma === 3 ? 12 : 8); i++) if (bits.flag()) skipScalingList(bits, i < 6 ? 16 : 64)
    }
  }
  bits.unsigned()
  const order = bits.unsigned()
  if (order === 0) bits.unsigned()
  if (order === 1) {
    bits.skip(1)
    bits.signed()
    bits.signed()
    for (let count = bits.unsigned(); count > 0; count--) bits.signed()
  }
  bits.unsigned()
  bits.skip(1)
  const [columns, rows] = [bits.unsigned() + 1, bits.unsigned() + 1]
  const fields = bits.flag() ? 1 : 2
  if (fields === 2) bits.skip(1)
  bits.skip(1)
  const [left, right, top, bottom] = bits.flag()
    ? [bits.unsigned(), bits.unsigned(), bits.unsigned(), bits.unsigned()]
    : [0, 0, 0, 0]
  const unitX = chroma === 1 || chroma === 2 ? 2 : 1
  const unitY = (chroma === 1 ? 2 : 1) * fields
  const width = columns * 16 - unitX * (left + right)
  const height = rows * 16 * fields - unitY * (top + bottom)
  return { ...displayed(width, height, pixelShape(bits)), codec: `avc1.${bytes.toString('hex', 0, 3)}` }
}

/** From the usability information, if there is any; square pixels need none. */
function pixelShape(bits: BitReader): readonly number[] | undefined {
  if (!bits.flag() || !bits.flag()) return undefined
  const number = bits.read(8)
  return number === extendedSar ? [bits.read(16), bits.read(16)] : shapes[number - 1]
}

/** A unit in which no start code can appear, with the 3s taken out that see to that. */
function withoutEscapes(unit: Buffer): Buffer {
  const bytes: number[] = []
  let zeros = 0
  for (const byte of unit) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0
      continue
    }
    zeros = byte === 0 ? zeros + 1 : 0
    bytes.push(byte)
  }
  return Buffer.from(bytes)
}

interface Coding {
  /** Whether the byte after a start code begins the header. */
  begins(code: number): boolean
  read(header: Buffer): Video
}

const mpeg = (codec: string): Coding => ({
  begins: (code) => code === 0xb3,
  read: (header) => ({ ...readSequence(header), codec }),
})

/** By the number that an MPEG-TS gives to the kind of a stream. */
const codings: Readonly<Record<number, Coding>> = {
  0x01: mpeg('mp4v.6a'),
  0x02: mpeg('mp4v.61'),
  0x10: { begins: (code) => code >= 0x20 && code <= 0x2f, read: readObjectLayer },
  0x1b: { begins: (code) => (code & 0x9f) === 7, read: readParameterSet },
}

export const isVideoType = (streamType: number): boolean => codings[streamType] !== undefined

/** What the first header in a stream of this kind says; undefined when there is none that makes sense. */
export function videoIn(stream: Buffer, streamType: number): Video | undefined {
  const coding = codings[streamType]
  if (!coding) return undefined
  let at = stream.indexOf(startCode)
  for (let tries = 0; at >= 0 && at + 4 < stream.length && tries < maxHeaders; at = stream.indexOf(startCode, at + 3)) {
    if (!coding.begins(stream.readUInt8(at + 3))) continue
    tries++
    try {
      const video = coding.read(stream.subarray(at + 4, at + 4 + maxHeaderBytes))
      if (video.width > 0 && video.height > 0) return video
    } catch (error) {
      if (!(error instanceof RangeError)) throw error // cut or damaged: perhaps the next is whole
    }
  }
  return undefined
}
