import type { Found, MediaFile } from './facts.ts'
import { type Frame, frameSeconds, isRow } from './frames.ts'

const searchedBytes = 128 * 1024 // of zeros or junk before the first frame
const rowLength = 3 // frames in a row that junk does not have
const headerBytes = 4
const crcBytes = 2
const fraunhoferBytes = 32 // between a header and the tag of that encoder, whatever the channels

/** Kilobits a second, by layer: of version 1, and of 2 and 2.5. */
const rates: Readonly<Record<number, readonly [readonly number[], readonly number[]]>> = {
  1: [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  ],
  2: [
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  ],
  3: [
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  ],
}
const sampleRates = [44_100, 48_000, 32_000]

interface MpegFrame extends Frame {
  readonly layer: number
  readonly samples: number
  readonly sampleRate: number
  /** Bytes behind the header before a count of all frames, if there is one. */
  readonly sideBytes: number
}

/** A header of MPEG audio; a rate of bits that the frame leaves open has no length. */
function readMpegFrame(bytes: Buffer, at: number): MpegFrame | undefined {
  if (at + headerBytes > bytes.length || bytes[at] !== 0xff) return undefined
  const [second, third, fourth] = [bytes.readUInt8(at + 1), bytes.readUInt8(at + 2), bytes.readUInt8(at + 3)]
  const versionBits = (second >> 3) & 3 // 3: version 1, 2: version 2, 0: 2.5
  const layer = 4 - ((second >> 1) & 3)
  if ((second & 0xe0) !== 0xe0 || versionBits === 1 || layer === 4) return undefined
  const isFirst = versionBits === 3
  const rate = rates[layer]?.[isFirst ? 0 : 1][(third >> 4) - 1]
  const baseRate = sampleRates[(third >> 2) & 3]
  if (rate === undefined || baseRate === undefined) return undefined
  const sampleRate = baseRate / (isFirst ? 1 : versionBits === 2 ? 2 : 4)
  const samples = layer === 1 ? 384 : layer === 3 && !isFirst ? 576 : 1152
  const slot = layer === 1 ? 4 : 1
  const padding = (third >> 1) & 1
  const isMono = fourth >> 6 === 3
  const sideBytes = isFirst ? (isMono ? 17 : 32) : isMono ? 9 : 17
  return {
    bytes: (Math.floor((samples / 8) * ((rate * 1000) / slot / sampleRate)) + padding) * slot,
    seconds: samples / sampleRate,
    layer,
    samples,
    sampleRate,
    sideBytes,
  }
}

/** Frames of one file have one layer and one rate of samples; how they share their channels may change. */
const framesLike =
  (first: MpegFrame) =>
  (bytes: Buffer, at: number): MpegFrame | undefined => {
    const frame = readMpegFrame(bytes, at)
    return frame?.layer === first.layer && frame.sampleRate === first.sampleRate ? frame : undefined
  }

/** Seconds that the first frame says all have; undefined when it does not say. The letters count only where they belong. */
function statedSeconds(bytes: Buffer, at: number, { sideBytes, seconds }: MpegFrame): number | undefined {
  const behindHeader = at + headerBytes
  for (const tag of [behindHeader + sideBytes, behindHeader + sideBytes + crcBytes]) {
    if (!['Xing', 'Info'].includes(bytes.toString('latin1', tag, tag + 4)) || tag + 12 > bytes.length) continue
    const hasCount = (bytes.readUInt32BE(tag + 4) & 1) !== 0
    const count = hasCount ? bytes.readUInt32BE(tag + 8) : 0
    return count > 0 ? count * seconds : undefined
  }
  const tag = behindHeader + fraunhoferBytes
  if (bytes.toString('latin1', tag, tag + 4) !== 'VBRI' || tag + 18 > bytes.length) return undefined
  return bytes.readUInt32BE(tag + 14) * seconds || undefined
}

/** MPEG audio (MP3, layers 1 and 2) from an offset on. Whether it was that. */
export async function probeMpegAudio(file: MediaFile, found: Found, start: number, end = file.size): Promise<boolean> {
  const bytes = await file.read(start, Math.min(end, start + searchedBytes))
  const isWhole = start + bytes.length >= Math.min(end, file.size)
  for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const first = readMpegFrame(bytes, at)
    if (!first || !(isWhole || at + first.bytes * rowLength < bytes.length)) continue
    if (!isRow(bytes, at, framesLike(first), rowLength)) continue
    found.codecs = [`mp${first.layer}`]
    const stated = first.layer === 3 ? statedSeconds(bytes, at, first) : undefined
    found.duration = stated ?? (await frameSeconds(file, start + at, end, framesLike(first)))
    return true
  }
  return false
}
