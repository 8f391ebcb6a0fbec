import type { Found, MediaFile } from './facts.ts'

const tailBytes = 256 * 1024 // larger than any frame that encoders make

/** The number that a frame header carries in the manner of UTF-8, and its bytes; undefined when it is none. */
function codedNumber(bytes: Buffer, at: number): { value: number; length: number } | undefined {
  const first = bytes.readUInt8(at)
  const ones = Math.clz32(~(first << 24))
  const length = Math.max(ones, 1)
  if (ones === 1 || ones > 7) return undefined
  let value = ones === 0 ? first : first & (0x7f >> ones)
  for (let i = 1; i < length; i++) value = value * 64 + (bytes.readUInt8(at + i) & 0x3f)
  return { value, length }
}

function crc8(bytes: Buffer): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ ((crc & 0x80) === 0 ? 0 : 7)) & 0xff
  }
  return crc
}

/** Where the frame that begins here ends, in samples; undefined when its checksum says that it is none. */
function frameEnd(bytes: Buffer, at: number, fixedBlock: number): number | undefined {
  if (at + 16 > bytes.length || (bytes.readUInt8(at + 1) & 0xfe) !== 0xf8) return undefined
  const number = codedNumber(bytes, at + 4)
  if (!number) return undefined
  const code = bytes.readUInt8(at + 2) >> 4
  const rate = bytes.readUInt8(at + 2) & 15
  const blockAt = at + 4 + number.length
  const rateAt = blockAt + (code === 6 ? 1 : code === 7 ? 2 : 0)
  const crcAt = rateAt + (rate === 12 ? 1 : rate === 13 || rate === 14 ? 2 : 0)
  if (crc8(bytes.subarray(at, crcAt)) !== bytes.readUInt8(crcAt)) return undefined
  const block =
    code >= 8
      ? 256 << (code - 8)
      : code === 7
        ? bytes.readUInt16BE(blockAt) + 1
        : code === 6
          ? bytes.readUInt8(blockAt) + 1
          : code === 1
            ? 192
            : 576 << (code - 2)
  const isVariable = (bytes.readUInt8(at + 1) & 1) === 1
  return number.value * (isVariable ? 1 : fixedBlock) + block
}

/** FLAC: the stream's header; when an encoder could not go back to it, the last frame counts the samples. */
export async function probeFlac(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 26)
  const fixedBlock = head.readUInt16BE(8)
  const rate = head.readUIntBE(18, 3) >> 4
  const samples = (head.readUInt8(21) & 15) * 2 ** 32 + head.readUInt32BE(22)
  found.codecs = ['flac']
  if (samples > 0) {
    found.duration = samples / rate
    return
  }
  const tail = await file.read(Math.max(0, file.size - tailBytes), file.size)
  for (let at = tail.lastIndexOf(0xff); at > 0; at = tail.lastIndexOf(0xff, at - 1)) {
    const end = frameEnd(tail, at, fixedBlock)
    if (end === undefined) continue
    found.duration = end / rate
    return
  }
}
