import { Cursor } from './cursor.ts'
import type { Found, MediaFile } from './facts.ts'

const maxWalk = 16 * 1024 * 1024 // bytes; a longer file is estimated from samples
const samples = 16
const sampleBytes = 256 * 1024
const maxLead = 64 * 1024 // bytes before the first frame
const maxTags = 16

interface Frame {
  /** Bytes, with the header. */
  readonly size: number
  readonly seconds: number
  readonly codec: string
  /** Bytes from the header to where a Xing header would stand. */
  readonly xingAt?: number
}
type ReadFrame = (header: number, more: number) => Frame | undefined

const adtsRates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350]

/** `header`: the first 4 bytes of a frame, `more`: the 4 after them. */
function readAdts(header: number, more: number): Frame | undefined {
  if (header >>> 20 !== 0xfff || ((header >>> 17) & 3) !== 0) return undefined
  const rate = adtsRates[(header >>> 10) & 15]
  const size = ((header & 3) << 11) | (more >>> 21)
  if (rate === undefined || size < 7) return undefined
  return { size, seconds: (1024 * (((more >>> 8) & 3) + 1)) / rate, codec: `mp4a.40.${((header >>> 14) & 3) + 1}` }
}

const bitRates: Readonly<Record<string, readonly number[]>> = {
  '1-1': [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  '1-2': [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  '1-3': [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  '2-1': [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  '2-2': [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  '2-3': [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}

function readMpegAudio(header: number): Frame | undefined {
  const version = (header >>> 19) & 3 // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
  const layer = 4 - ((header >>> 17) & 3)
  const rate = [44_100, 48_000, 32_000][(header >>> 10) & 3]
  const kilobits = bitRates[`${version === 3 ? 1 : 2}-${layer}`]?.[((header >>> 12) & 15) - 1]
  if (header >>> 21 !== 0x7ff || version === 1 || rate === undefined || kilobits === undefined) return undefined
  const hertz = version === 3 ? rate : version === 2 ? rate / 2 : rate / 4
  const length = layer === 1 ? 384 : layer === 3 && version !== 3 ? 576 : 1152 // audio samples
  const padding = (header >>> 9) & 1
  const size =
    layer === 1
      ? Math.floor((12_000 * kilobits) / hertz + padding) * 4
      : Math.floor((125 * length * kilobits) / hertz) + padding
  const mono = ((header >>> 6) & 3) === 3
  const xingAt = 4 + (version === 3 ? (mono ? 17 : 32) : mono ? 9 : 17)
  return { size, seconds: length / hertz, codec: layer === 3 ? 'mp3' : `mp${layer}`, xingAt }
}

/** Offset behind the ID3 tags, which may hold pictures of megabytes. */
async function behindTags(file: MediaFile): Promise<number> {
  let at = 0
  for (let count = 0; count < maxTags; count++) {
    const head = await file.read(at, at + 10)
    if (head.length < 10 || head.toString('latin1', 0, 3) !== 'ID3') break
    const size = [6, 7, 8, 9].reduce((sum, i) => sum * 128 + (head.readUInt8(i) & 0x7f), 0)
    at += 10 + size + (((head[5] ?? 0) & 0x10) !== 0 ? 10 : 0)
  }
  return at
}

const frameAt = (bytes: Buffer, at: number, read: ReadFrame): Frame | undefined =>
  at + 8 <= bytes.length ? read(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)) : undefined

/** Where three frames in a row begin, or fewer when the bytes end with them: one header alone is found in any noise. */
function firstFrame(bytes: Buffer, read: ReadFrame): { at: number; frame: Frame } | undefined {
  for (let at = bytes.indexOf(0xff); at !== -1; at = bytes.indexOf(0xff, at + 1)) {
    const frame = frameAt(bytes, at, read)
    const second = frame && at + frame.size
    const third = second && second + (frameAt(bytes, second, read)?.size ?? Number.NaN)
    if (frame && ((at === 0 && second === bytes.length) || third === bytes.length)) return { at, frame }
    if (frame && third && frameAt(bytes, third, read)) return { at, frame }
  }
  return undefined
}

/** Seconds and bytes of the frames between two offsets. */
async function walk(file: MediaFile, start: number, end: number, read: ReadFrame) {
  const total = { seconds: 0, bytes: 0 }
  const cursor = new Cursor(file, start)
  while (cursor.position < end && (cursor.has(8) || (await cursor.fill(8)))) {
    const frame = read(cursor.bytes.readUInt32BE(0), cursor.bytes.readUInt32BE(4))
    if (frame) {
      total.seconds += frame.seconds
      total.bytes += frame.size
    }
    cursor.position += frame?.size ?? 1
  }
  return total
}

async function estimate(file: MediaFile, start: number, read: ReadFrame): Promise<number> {
  const total = { seconds: 0, bytes: 0 }
  const step = (file.size - start - sampleBytes) / (samples - 1)
  for (let i = 0; i < samples; i++) {
    const at = Math.floor(start + i * step)
    const first = firstFrame(await file.read(at, at + sampleBytes), read)
    if (!first) continue
    const part = await walk(file, at + first.at, at + sampleBytes, read)
    total.seconds += part.seconds
    total.bytes += part.bytes
  }
  return ((file.size - start) * total.seconds) / total.bytes
}

/** How many frames a Xing, Info or VBRI header counts. */
function countedFrames(bytes: Buffer, frame: Frame): number | undefined {
  const tag = bytes.toString('latin1', frame.xingAt, (frame.xingAt ?? 0) + 4)
  if ((tag === 'Xing' || tag === 'Info') && frame.xingAt !== undefined) {
    const hasFrames = (bytes.readUInt32BE(frame.xingAt + 4) & 1) === 1
    return hasFrames ? bytes.readUInt32BE(frame.xingAt + 8) : undefined
  }
  return bytes.toString('latin1', 36, 40) === 'VBRI' ? bytes.readUInt32BE(50) : undefined
}

/** A row of ADTS (AAC) or MPEG audio frames after tags: counted by its first frame, walked through, or estimated from samples. */
export async function probeFrames(file: MediaFile, found: Found): Promise<void> {
  const tagsEnd = await behindTags(file)
  const lead = await file.read(tagsEnd, tagsEnd + maxLead)
  const adts = firstFrame(lead, readAdts)
  const mpeg = firstFrame(lead, readMpegAudio)
  const first = adts && (!mpeg || adts.at <= mpeg.at) ? adts : mpeg
  if (!first) throw new Error('No frames were found.')
  found.codecs = [first.frame.codec]

  const counted = first === mpeg ? countedFrames(lead.subarray(first.at), first.frame) : undefined
  const start = tagsEnd + first.at
  const read = first === adts ? readAdts : readMpegAudio
  if (counted) found.duration = counted * first.frame.seconds
  else if (file.size - start <= maxWalk) found.duration = (await walk(file, start, file.size, read)).seconds
  else found.duration = await estimate(file, start, read)
}
