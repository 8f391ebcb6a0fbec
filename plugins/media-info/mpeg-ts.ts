import type { Found, MediaFile } from './facts.ts'

const edgeBytes = 512 * 1024 // of the beginning and the end that are searched for times
const wideEdgeBytes = 4 * 1024 * 1024 // when the last 512 KiB hold none
const clock = 90_000 // ticks per second
const wrap = 2 ** 33 // ticks
const pictureHeadBytes = 64 * 1024

/** Packets of 188 bytes; on Blu-ray after 4 bytes of time, on air before 16 of correction. */
const strides = [188, 192, 204]

interface Packet {
  readonly pid: number
  /** A PES packet begins here. */
  readonly starts: boolean
  readonly payload: Buffer
}

/** Where the packets begin and how far apart they are. */
function alignment(bytes: Buffer): { offset: number; stride: number } | undefined {
  for (let offset = 0; offset < 204; offset++) {
    for (const stride of strides) {
      const isSync = [0, 1, 2, 3].every((i) => bytes[offset + i * stride] === 0x47)
      if (isSync) return { offset, stride }
    }
  }
  return undefined
}

export const isTransportStream = (bytes: Buffer): boolean => alignment(bytes) !== undefined

function* packets(bytes: Buffer): Generator<Packet> {
  const found = alignment(bytes)
  if (!found) return
  for (let at = found.offset; at + 188 <= bytes.length; at += found.stride) {
    if (bytes[at] !== 0x47) continue
    const second = bytes.readUInt8(at + 1)
    const control = (bytes.readUInt8(at + 3) >> 4) & 3
    const start = at + 4 + (control === 3 ? 1 + bytes.readUInt8(at + 4) : 0)
    if ((control & 1) === 0 || start >= at + 188) continue
    yield {
      pid: ((second & 0x1f) << 8) | bytes.readUInt8(at + 2),
      starts: (second & 0x40) !== 0,
      payload: bytes.subarray(start, at + 188),
    }
  }
}

const isPesStart = (payload: Buffer): boolean => payload.length >= 14 && payload.readUIntBE(0, 3) === 1
const isPicture = (payload: Buffer): boolean => (payload.readUInt8(3) & 0xf0) === 0xe0

/** Ticks at which the PES packet is shown. */
function presentationTime(payload: Buffer): number | undefined {
  if ((payload.readUInt8(6) & 0xc0) !== 0x80 || (payload.readUInt8(7) & 0x80) === 0) return undefined
  const [high, middle, low] = [payload.readUInt8(9), payload.readUInt16BE(10), payload.readUInt16BE(12)]
  return ((high >> 1) & 7) * 2 ** 30 + (middle >> 1) * 2 ** 15 + (low >> 1)
}

/** The times of each elementary stream, in order. */
function timesByStream(bytes: Buffer): Map<number, number[]> {
  const times = new Map<number, number[]>()
  for (const { pid, starts, payload } of packets(bytes)) {
    const time = starts && isPesStart(payload) ? presentationTime(payload) : undefined
    if (time !== undefined) times.set(pid, [...(times.get(pid) ?? []), time])
  }
  return times
}

/** From the first time shown to the last one, plus one frame. */
async function transportSeconds(file: MediaFile): Promise<number | undefined> {
  const firsts = timesByStream(await file.read(0, edgeBytes))
  let lasts = timesByStream(await file.read(Math.max(0, file.size - edgeBytes), file.size))
  if (lasts.size === 0) lasts = timesByStream(await file.read(Math.max(0, file.size - wideEdgeBytes), file.size))
  const begin = Math.min(...[...firsts.values()].map((times) => Math.min(...times)))
  const ends = [...lasts.values()].map((times) => {
    const [last = 0, previous = last] = times.toSorted((a, b) => b - a)
    const frame = Math.min(last - previous, clock)
    return (last < begin ? last + wrap : last) + frame
  })
  return ends.length === 0 ? undefined : (Math.max(...ends) - begin) / clock
}

/** Size of MPEG-2 video, from its first sequence header. */
async function mpegVideoSize(file: MediaFile): Promise<{ width: number; height: number } | undefined> {
  let pid: number | undefined
  const parts: Buffer[] = []
  let length = 0
  for (const packet of packets(await file.read(0, edgeBytes))) {
    if (pid === undefined && packet.starts && isPesStart(packet.payload) && isPicture(packet.payload)) pid = packet.pid
    if (packet.pid !== pid) continue
    parts.push(packet.payload)
    length += packet.payload.length
    if (length > pictureHeadBytes) break
  }
  const video = Buffer.concat(parts)
  const at = video.indexOf('\0\0\x01\xb3', 0, 'latin1')
  if (at === -1 || at + 7 > video.length) return undefined
  const size = video.readUIntBE(at + 4, 3)
  return { width: size >> 12, height: size & 0xfff }
}

/** MPEG-TS: the length, from the times at both ends, and the size and codec of MPEG-2 video when nobody found a video. */
export async function probeTransportStream(file: MediaFile, found: Found): Promise<void> {
  const seconds = await transportSeconds(file)
  if (seconds !== undefined) found.duration = seconds
  if (found.width !== undefined) return
  const size = await mpegVideoSize(file)
  if (size) Object.assign(found, { ...size, codecs: ['mp4v.61', ...(found.codecs ?? [])] })
}
