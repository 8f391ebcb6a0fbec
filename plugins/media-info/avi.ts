import type { Found, MediaFile } from './facts.ts'
import { soundCodecs } from './sound-tags.ts'

const maxHeaderBytes = 512 * 1024 // the lists with all streams; an index for growing files makes them large

interface Chunk {
  /** For a list its kind, such as `LIST:hdrl`. */
  readonly id: string
  readonly start: number
  readonly end: number
}

/** The chunks between two offsets; a length that reaches too far is cut. */
function* chunks(bytes: Buffer, start: number, end: number): Generator<Chunk> {
  while (start + 12 <= end) {
    const id = bytes.toString('latin1', start, start + 4)
    const size = bytes.readUInt32LE(start + 4)
    const isList = id === 'LIST' || id === 'RIFF'
    const inside = isList ? `${id}:${bytes.toString('latin1', start + 8, start + 12)}` : id
    yield { id: inside, start: start + (isList ? 12 : 8), end: Math.min(start + 8 + size, end) }
    start += 8 + size + (size % 2)
  }
}

interface Stream {
  kind: string
  codec: string | undefined
  seconds: number
  /** Seconds of one frame. */
  tick: number
  width: number
  height: number
}

function readStream(bytes: Buffer, list: Chunk): Stream {
  const stream: Stream = { kind: '', codec: undefined, seconds: 0, tick: 0, width: 0, height: 0 }
  for (const { id, start } of chunks(bytes, list.start, list.end)) {
    if (id === 'strh') {
      stream.kind = bytes.toString('latin1', start, start + 4)
      stream.tick = bytes.readUInt32LE(start + 20) / bytes.readUInt32LE(start + 24)
      stream.seconds = bytes.readUInt32LE(start + 32) * stream.tick
    } else if (id === 'strf' && stream.kind === 'vids') {
      stream.width = bytes.readInt32LE(start + 4)
      stream.height = Math.abs(bytes.readInt32LE(start + 8)) // below zero: top down
      stream.codec = bytes
        .toString('latin1', start + 16, start + 20)
        .trim()
        .toLowerCase()
    } else if (id === 'strf' && stream.kind === 'auds') {
      stream.codec = soundCodecs[bytes.readUInt16LE(start)]
    }
  }
  return stream
}

/** AVI: the lists at the front say it all. Past 1 GiB only the OpenDML header counts all frames. */
export async function probeAvi(file: MediaFile, found: Found): Promise<void> {
  const listBytes = (await file.read(16, 20)).readUInt32LE(0) // of the first list, which is the header
  const bytes = await file.read(12, 20 + Math.min(listBytes, maxHeaderBytes))
  const header = [...chunks(bytes, 0, bytes.length)].find(({ id }) => id === 'LIST:hdrl')
  if (!header) throw new Error('The header list is missing.')
  const streams: Stream[] = []
  let frames = 0
  for (const chunk of chunks(bytes, header.start, header.end)) {
    if (chunk.id === 'avih') frames = bytes.readUInt32LE(chunk.start + 16)
    if (chunk.id === 'LIST:strl') streams.push(readStream(bytes, chunk))
    if (chunk.id === 'LIST:odml') frames = Math.max(frames, bytes.readUInt32LE(chunk.start + 8))
  }
  const picture = streams.find(({ kind }) => kind === 'vids')
  if (picture) Object.assign(found, { width: picture.width, height: picture.height })
  const lengths = [...streams.map(({ seconds }) => seconds), frames * (picture?.tick ?? 0)]
  found.duration = Math.max(...lengths.filter(Number.isFinite))
  found.codecs = streams.map(({ codec }) => codec).filter((codec) => codec !== undefined)
}
