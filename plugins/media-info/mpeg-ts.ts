import type { Found, MediaFile } from './facts.ts'
import { streamTypes } from './mpeg-tables.ts'
import { isVideoType, type Video, videoIn } from './mpeg-video.ts'

const edgeBytes = 512 * 1024 // of the beginning and the end that are searched for times
const wideEdgeBytes = 4 * 1024 * 1024 // when the last 512 KiB hold none
const maxVideos = 8 // streams in which a header is looked for
const clock = 90_000 // ticks per second
const wrap = 2 ** 33 // ticks

/** Packets of 188 bytes; on Blu-ray after 4 bytes of time, on air before 16 of correction. */
const strides = [188, 192, 204]

export interface Packet {
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

/** A PES packet: a picture, or several frames of sound. */
interface Pes {
  /** Ticks at which it is shown. */
  readonly time: number
  /** Bytes of a packet of sound. */
  readonly weight: number
}

function readPes(payload: Buffer): Pes | undefined {
  if ((payload.readUInt8(6) & 0xc0) !== 0x80 || (payload.readUInt8(7) & 0x80) === 0) return undefined
  const [high, middle, low] = [payload.readUInt8(9), payload.readUInt16BE(10), payload.readUInt16BE(12)]
  return {
    time: ((high >> 1) & 7) * 2 ** 30 + (middle >> 1) * 2 ** 15 + (low >> 1),
    weight: isPicture(payload) ? 1 : payload.readUInt16BE(4) || 1,
  }
}

/** The PES packets of each elementary stream, as they are shown. */
function streams(bytes: Buffer): Pes[][] {
  const found = new Map<number, Pes[]>()
  for (const { pid, starts, payload } of packets(bytes)) {
    const pes = starts && isPesStart(payload) ? readPes(payload) : undefined
    if (!pes) continue
    const stream = found.get(pid)
    if (stream) stream.push(pes)
    else found.set(pid, [pes])
  }
  return [...found.values()].map((stream) => stream.toSorted((a, b) => a.time - b.time))
}

/** Ticks at which the last packet has been shown, which takes about as long as the one before it. */
function endOf(stream: readonly Pes[]): number {
  const last = stream.at(-1) ?? { time: 0, weight: 1 }
  const previous = stream.at(-2) ?? last
  return last.time + Math.min((last.time - previous.time) * (last.weight / previous.weight), clock)
}

/** From the first time shown to the end of the last one. */
async function transportSeconds(file: MediaFile): Promise<number | undefined> {
  const firsts = streams(await file.read(0, edgeBytes))
  let lasts = streams(await file.read(Math.max(0, file.size - edgeBytes), file.size))
  if (lasts.length === 0) lasts = streams(await file.read(Math.max(0, file.size - wideEdgeBytes), file.size))
  if (firsts.length === 0 || lasts.length === 0) return undefined
  const begin = Math.min(...firsts.map(([first]) => first?.time ?? Infinity))
  const end = Math.max(...lasts.map(endOf))
  return (end < begin ? end + wrap - begin : end - begin) / clock
}

/** The bytes of one stream, without the headers of its PES packets. */
function elementary(bytes: Buffer, pid: number): Buffer {
  const parts: Buffer[] = []
  for (const packet of packets(bytes)) {
    if (packet.pid !== pid) continue
    const { payload } = packet
    const start = packet.starts && isPesStart(payload) ? 9 + payload.readUInt8(8) : 0
    parts.push(payload.subarray(start))
  }
  return Buffer.concat(parts)
}

/** The first video of a kind that is read here. Its kind is asked first: what begins a header in one is a picture in another. */
async function findVideo(file: MediaFile): Promise<Video | undefined> {
  for (const length of [edgeBytes, wideEdgeBytes]) {
    const bytes = await file.read(0, length)
    const videos = [...streamTypes(packets(bytes))].filter(([, type]) => isVideoType(type))
    for (const [pid, type] of videos.slice(0, maxVideos)) {
      const video = videoIn(elementary(bytes, pid), type)
      if (video) return video
    }
    if (videos.length === 0 || bytes.length < length) return undefined
  }
  return undefined
}

/** MPEG-TS: the length, from the times at both ends, and the video by its own header: the library ignores fields, and MPEG-2. */
export async function probeTransportStream(file: MediaFile, found: Found): Promise<void> {
  const seconds = await transportSeconds(file)
  if (seconds !== undefined) found.duration = seconds
  const video = await findVideo(file)
  if (!video) return
  const { codec, width, height } = video
  Object.assign(found, { width, height })
  if (!found.codecs?.includes(codec)) found.codecs = [codec, ...(found.codecs ?? [])]
}
