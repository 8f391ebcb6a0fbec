import type { Found, MediaFile } from './facts.ts'
import { type Frame, frameSeconds, isRow, type ReadFrame } from './frames.ts'

const none = undefined
const headBytes = 32 * 1024 // more than two frames of anything
const speechSeconds = 0.02 // of every frame of AMR
const narrowBytes = [12, 13, 15, 17, 19, 20, 26, 31, 5, none, none, none, none, none, none, 0]
const wideBytes = [17, 23, 32, 36, 40, 46, 50, 58, 60, 5, none, none, none, none, 0, 0]

const speech =
  (sizes: readonly (number | undefined)[]): ReadFrame =>
  (bytes, at) => {
    const size = at < bytes.length ? sizes[(bytes.readUInt8(at) >> 3) & 0xf] : undefined
    return size === undefined ? undefined : { bytes: 1 + size, seconds: speechSeconds }
  }

/** Kilobits a second of AC-3. */
const dolbyRates = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640]
const dolbySampleRates = [48_000, 44_100, 32_000]
const dolbyHeaderBytes = 6
const blockSamples = 256
const lastOldVersion = 10 // of the stream; later ones are Enhanced AC-3

function readDolbyFrame(bytes: Buffer, at: number): Frame | undefined {
  if (at + dolbyHeaderBytes > bytes.length || bytes.readUInt16BE(at) !== 0x0b77) return undefined
  const version = bytes.readUInt8(at + 5) >> 3
  if (version > 16) return undefined
  return version <= lastOldVersion ? readOldFrame(bytes.readUInt8(at + 4), version) : readEnhancedFrame(bytes, at + 2)
}

function readOldFrame(codes: number, version: number): Frame | undefined {
  const baseRate = dolbySampleRates[codes >> 6]
  const rate = dolbyRates[(codes & 0x3f) >> 1]
  if (baseRate === undefined || rate === undefined) return undefined
  const samples = 6 * blockSamples
  const words = Math.floor((rate * 1000 * samples) / baseRate / 16) + (baseRate === 44_100 ? codes & 1 : 0)
  return { bytes: words * 2, seconds: samples / (baseRate >> Math.max(0, version - 8)) }
}

/** More channels beside the first stream take no time of their own. */
function readEnhancedFrame(bytes: Buffer, at: number): Frame | undefined {
  const code = bytes.readUInt16BE(at)
  const [kind, stream] = [code >> 14, (code >> 11) & 7]
  const rates = bytes.readUInt8(at + 2)
  const blocks = rates >> 6 === 3 ? 6 : ([1, 2, 3, 6][(rates >> 4) & 3] ?? 6)
  const rate = rates >> 6 === 3 ? (dolbySampleRates[(rates >> 4) & 3] ?? 0) / 2 : dolbySampleRates[rates >> 6]
  if (!rate || kind === 3) return undefined
  const isFirst = kind !== 1 && stream === 0
  return { bytes: ((code & 0x7ff) + 1) * 2, seconds: isFirst ? (blocks * blockSamples) / rate : 0 }
}

const aacRates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350]
const aacHeaderBytes = 7
const aacBlockSamples = 1024
const aacRowLength = 2 // frames in a row that other sounds do not have

function readAacFrame(bytes: Buffer, at: number): Frame | undefined {
  if (at + aacHeaderBytes > bytes.length || (bytes.readUInt16BE(at) & 0xfff6) !== 0xfff0) return undefined
  const rate = aacRates[(bytes.readUInt8(at + 2) >> 2) & 0xf]
  const length = (bytes.readUIntBE(at + 3, 3) >> 5) & 0x1fff
  if (rate === undefined || length < aacHeaderBytes) return undefined
  return { bytes: length, seconds: (((bytes.readUInt8(at + 6) & 3) + 1) * aacBlockSamples) / rate }
}

/** Adaptive Multi-Rate, the sound of voice memos on phones; with one channel, as all of them are. */
export async function probeAmr(file: MediaFile, found: Found): Promise<void> {
  const start = (await file.read(0, 16)).toString('latin1')
  const [name, codec, sizes] = start.startsWith('#!AMR-WB\n')
    ? ['#!AMR-WB\n', 'sawb', wideBytes]
    : ['#!AMR\n', 'samr', narrowBytes]
  if (!start.startsWith(name)) throw new Error('Not AMR of one channel.')
  found.codecs = [codec]
  found.duration = await frameSeconds(file, name.length, file.size, speech(sizes))
}

/** AC-3 and Enhanced AC-3 from an offset on. Whether it was that. */
export async function probeDolby(file: MediaFile, found: Found, start: number): Promise<boolean> {
  const head = await file.read(start, start + dolbyHeaderBytes)
  if (!readDolbyFrame(head, 0)) return false
  found.codecs = [head.readUInt8(5) >> 3 <= lastOldVersion ? 'ac-3' : 'ec-3']
  found.duration = await frameSeconds(file, start, file.size, readDolbyFrame)
  return true
}

/** AAC in frames of its own (ADTS) from an offset on. Whether it was that. */
export async function probeAac(file: MediaFile, found: Found, start: number): Promise<boolean> {
  const head = await file.read(start, start + headBytes)
  if (!isRow(head, 0, readAacFrame, aacRowLength)) return false
  found.codecs = [`mp4a.40.${(head.readUInt8(2) >> 6) + 1}`]
  found.duration = await frameSeconds(file, start, file.size, readAacFrame)
  return true
}
