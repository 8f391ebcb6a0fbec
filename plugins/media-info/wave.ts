import type { Found, MediaFile } from './facts.ts'

const maxChunks = 1000

/** Names of the formats that AVI and WAVE number. */
export const waveCodecs: Readonly<Record<number, string>> = {
  0x1: 'pcm',
  0x2: 'adpcm',
  0x3: 'pcm-float',
  0x6: 'alaw',
  0x7: 'ulaw',
  0x11: 'adpcm',
  0x31: 'gsm',
  0x50: 'mp2',
  0x55: 'mp3',
  0xff: 'mp4a.40.2',
  0x2000: 'ac-3',
  0x2001: 'dts',
}

const pcm = 1
const extensible = 0xfffe // the true format stands further behind

/** WAVE (RIFF, or RF64 past 4 GiB): bytes of sound by bytes a second. A recorder that did not finish leaves the length 0 or -1. */
export async function probeWave(file: MediaFile, found: Found): Promise<void> {
  let [bytesPerSecond, samplesPerSecond, samples, format] = [0, 0, 0, 0]
  let longData: number | undefined
  let at = 12
  for (let count = 0; count < maxChunks; count++) {
    const chunk = await file.read(at, at + 36)
    if (chunk.length < 8) return
    const id = chunk.toString('latin1', 0, 4)
    const size = chunk.readUInt32LE(4)
    if (id === 'fmt ') {
      format = chunk.readUInt16LE(8)
      if (format === extensible) format = chunk.readUInt16LE(32)
      const codec = waveCodecs[format]
      if (codec) found.codecs = [codec === 'pcm' ? `pcm-s${chunk.readUInt16LE(22)}`.replace('s8', 'u8') : codec]
      samplesPerSecond = chunk.readUInt32LE(12)
      bytesPerSecond = chunk.readUInt32LE(16)
    } else if (id === 'fact') {
      samples = chunk.readUInt32LE(8)
    } else if (id === 'ds64') {
      longData = Number(chunk.readBigUInt64LE(16))
    } else if (id === 'data') {
      const rest = file.size - at - 8
      const stated = size === 0xffff_ffff ? longData : size
      const isCounted = format !== pcm && samples > 0 // compressed sound has an uneven rate of bytes
      found.duration = isCounted ? samples / samplesPerSecond : Math.min(stated || rest, rest) / bytesPerSecond
      return
    }
    at += 8 + size + (size % 2)
  }
}
