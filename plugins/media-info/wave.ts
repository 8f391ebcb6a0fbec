import type { Found, MediaFile } from './facts.ts'
import { probeMpegAudio } from './mpeg-audio.ts'
import { soundCodecs } from './sound-tags.ts'

const maxChunks = 1000
const maxFormatBytes = 64
const unknownSize = 0xffff_ffff // of RF64, which says it elsewhere, and of a recording that was streamed
const extensible = 0xfffe
const adpcm = [0x2, 0x11, 0x31] // GSM among them: their blocks say how many samples they hold
const mpeg = [0x50, 0x55]

interface Format {
  readonly tag: number
  readonly rate: number
  readonly bytesPerSecond: number
  readonly blockBytes: number
  readonly bits: number
  readonly samplesPerBlock: number
}

/** Reads numbers in the order of bytes of the file. */
interface Numbers {
  readonly isBig: boolean
  short(this: void, bytes: Buffer, at: number): number
  long(this: void, bytes: Buffer, at: number): number
}

const little: Numbers = {
  isBig: false,
  short: (bytes, at) => bytes.readUInt16LE(at),
  long: (bytes, at) => bytes.readUInt32LE(at),
}
const big: Numbers = {
  isBig: true,
  short: (bytes, at) => bytes.readUInt16BE(at),
  long: (bytes, at) => bytes.readUInt32BE(at),
}

function readFormat(bytes: Buffer, { short, long }: Numbers): Format {
  const tag = short(bytes, 0)
  return {
    tag: tag === extensible && bytes.length >= 26 ? short(bytes, 24) : tag,
    rate: long(bytes, 4),
    bytesPerSecond: long(bytes, 8),
    blockBytes: short(bytes, 12),
    bits: bytes.length >= 16 ? short(bytes, 14) : 0,
    samplesPerBlock: bytes.length >= 20 ? short(bytes, 18) : 0,
  }
}

function codecOf({ tag, bits }: Format, isBig: boolean): string | undefined {
  const end = isBig && bits > 8 ? 'be' : ''
  if (tag === 1) return bits === 8 ? 'pcm-u8' : `pcm-s${Math.ceil(bits / 8) * 8}${end}`
  return tag === 3 ? `pcm-f${bits}${end}` : soundCodecs[tag]
}

/** What the chunks before the sound say. */
interface Chunks {
  format?: Format
  /** Of one channel, as a `fact` says. */
  samples?: number
  long?: { readonly bytes: number; readonly samples: number }
  data?: { readonly start: number; readonly bytes: number }
}

async function readChunks(file: MediaFile, numbers: Numbers): Promise<Chunks> {
  const chunks: Chunks = {}
  let at = 12
  for (let count = 0; count < maxChunks && at + 8 <= file.size && !chunks.data; count++) {
    const head = await file.read(at, at + 8 + maxFormatBytes)
    const [id, size] = [head.toString('latin1', 0, 4), numbers.long(head, 4)]
    const body = head.subarray(8, 8 + Math.min(size, maxFormatBytes))
    if (id === 'fmt ') chunks.format = readFormat(body, numbers)
    if (id === 'fact') chunks.samples = numbers.long(body, 0)
    if (id === 'ds64')
      chunks.long = { bytes: Number(body.readBigUInt64LE(8)), samples: Number(body.readBigUInt64LE(16)) }
    if (id === 'data') {
      const stated = chunks.long && size === unknownSize ? chunks.long.bytes : size
      const rest = file.size - at - 8
      chunks.data = { start: at + 8, bytes: size === 0 ? rest : Math.min(stated, rest) }
    }
    at += 8 + size + (size % 2)
  }
  return chunks
}

/** Seconds of sound whose bytes do not simply follow one another. */
function codedSeconds({ samples, long }: Chunks, format: Format, bytes: number): number {
  const { tag, rate, bytesPerSecond, blockBytes, samplesPerBlock } = format
  const blocks = Math.floor(bytes / blockBytes) * samplesPerBlock
  const stated = samples === unknownSize ? long?.samples : samples
  if (adpcm.includes(tag) && blocks > 0) return Math.min(stated || Infinity, blocks) / rate
  return stated ? stated / rate : bytes / bytesPerSecond
}

/** WAV, and its long form RF64: what the chunks up to the sound say. */
export async function probeWave(file: MediaFile, found: Found): Promise<void> {
  const numbers = (await file.read(0, 4)).toString('latin1') === 'RIFX' ? big : little
  const chunks = await readChunks(file, numbers)
  const { format, data } = chunks
  if (!format) throw new Error('The format is missing.')
  const codec = codecOf(format, numbers.isBig)
  if (codec !== undefined) found.codecs = [codec]
  if (!data) return
  const { tag, rate, blockBytes } = format
  const isPlain = codec?.startsWith('pcm-') || tag === 6 || tag === 7
  if (mpeg.includes(tag) && !chunks.samples && (await probeMpegAudio(file, found, data.start, data.start + data.bytes)))
    return
  const seconds = isPlain ? Math.floor(data.bytes / blockBytes) / rate : codedSeconds(chunks, format, data.bytes)
  if (Number.isFinite(seconds)) found.duration = seconds
}
