import type { Found, MediaFile } from './facts.ts'

const headBytes = 64 * 1024
const tails = [64 * 1024, 1024 * 1024, 8 * 1024 * 1024] // bytes at the end in which the last pages are looked for
const maxStreams = 16
const maxTries = 10_000 // places that look like a page
const pageHeaderBytes = 27
const beginsFlag = 2
const noTime = -1n

interface Page {
  readonly begins: boolean
  readonly serial: number
  /** What the stream counts, at the end of the page. */
  readonly position: bigint
  readonly body: Buffer
  readonly end: number
  /** All of it is there. */
  readonly isWhole: boolean
}

function readPage(bytes: Buffer, at: number): Page | undefined {
  if (at + pageHeaderBytes > bytes.length || bytes.toString('latin1', at, at + 5) !== 'OggS\0') return undefined
  const count = bytes.readUInt8(at + 26)
  const start = at + pageHeaderBytes + count
  const lengths = bytes.subarray(at + pageHeaderBytes, start)
  const end = start + lengths.reduce((sum, length) => sum + length, 0)
  return {
    begins: (bytes.readUInt8(at + 5) & beginsFlag) !== 0,
    serial: bytes.readUInt32LE(at + 14),
    position: bytes.readBigInt64LE(at + 6),
    body: bytes.subarray(start, end),
    end,
    isWhole: lengths.length === count && end <= bytes.length,
  }
}

interface Stream {
  readonly codec: string
  readonly size?: { readonly width: number; readonly height: number }
  seconds(position: bigint): number
}

const sampled = (codec: string, rate: number, skipped = 0): Stream => ({
  codec,
  seconds: (position) => Math.max(0, Number(position) - skipped) / rate,
})

/** Theora counts pictures since the last whole one, and those before it. */
function readTheora(body: Buffer): Stream {
  const rate = body.readUInt32BE(22) / body.readUInt32BE(26)
  const shift = BigInt(((body.readUInt8(40) & 3) << 3) | (body.readUInt8(41) >> 5))
  return {
    codec: 'theora',
    size: { width: body.readUIntBE(14, 3), height: body.readUIntBE(17, 3) },
    seconds: (position) => Number((position >> shift) + (position & ((1n << shift) - 1n))) / rate,
  }
}

/** Rate of the samples of a FLAC stream, whose first block begins behind so many bytes. */
const flacRate = (body: Buffer, block: number): number => body.readUIntBE(block + 10, 3) >> 4

/** By the first packet of each stream. */
const readers: Readonly<Record<string, (body: Buffer) => Stream>> = {
  '\x01vorbis': (body) => sampled('vorbis', body.readUInt32LE(12)),
  OpusHead: (body) => sampled('opus', 48_000, body.readUInt16LE(10)),
  '\x7fFLAC': (body) => sampled('flac', flacRate(body, 17)),
  fLaC: (body) => sampled('flac', body.length > 8 ? flacRate(body, 8) : Number.NaN),
  'Speex   ': (body) => sampled('speex', body.readUInt32LE(36)),
  '\x80theora': readTheora,
}

/** The streams that begin at the front, by their numbers. */
function readStreams(head: Buffer): Map<number, Stream> {
  const streams = new Map<number, Stream>()
  let page = readPage(head, 0)
  while (page?.begins && streams.size < maxStreams) {
    const { serial, body, end } = page
    const name = Object.keys(readers).find((start) => body.toString('latin1', 0, start.length) === start)
    const stream = name === undefined ? undefined : readers[name]?.(body)
    if (stream) streams.set(serial, stream)
    page = readPage(head, end)
  }
  return streams
}

/** Seconds at the end of the last pages of these streams; of one that is cut only when there is no other. */
function lastSeconds(tail: Buffer, streams: ReadonlyMap<number, Stream>): number | undefined {
  const [whole, cut]: [number[], number[]] = [[], []]
  const seen = new Set<number>()
  let at = tail.lastIndexOf('OggS', undefined, 'latin1')
  for (let tries = 0; at >= 0 && tries < maxTries; tries++) {
    const page = readPage(tail, at)
    const stream = page && !seen.has(page.serial) ? streams.get(page.serial) : undefined
    if (page && stream && page.position !== noTime) {
      const seconds = stream.seconds(page.position)
      if (page.isWhole) seen.add(page.serial)
      if (seconds > 0) (page.isWhole ? whole : cut).push(seconds)
    }
    at = at === 0 || seen.size === streams.size ? -1 : tail.lastIndexOf('OggS', at - 1, 'latin1')
  }
  const known = whole.length > 0 ? whole : cut
  return known.length > 0 ? Math.max(...known) : undefined
}

/** Ogg: what its streams say at the front, and how far the last pages have come. */
export async function probeOgg(file: MediaFile, found: Found): Promise<void> {
  const streams = readStreams(await file.read(0, headBytes))
  found.codecs = [...streams.values()].map(({ codec }) => codec)
  const size = [...streams.values()].find((stream) => stream.size)?.size
  if (size) Object.assign(found, size)
  if (streams.size === 0) return
  for (const length of tails) {
    const seconds = lastSeconds(await file.read(Math.max(0, file.size - length), file.size), streams)
    if (seconds !== undefined) {
      found.duration = seconds
      return
    }
    if (length >= file.size) return
  }
}
