import { type Box, boxes, findBox, findMovie } from './boxes.ts'
import type { Found, MediaFile } from './facts.ts'
import { fragmentSeconds } from './fragments.ts'

const maxTracks = 16
const maxEntryBytes = 4096 // of the description of a track's samples
const isEnabledFlag = 1

/** What the boxes of one track say by themselves. */
export interface Track {
  readonly id: number
  readonly box: Box
  /** `vide`, `soun`, `text`, … */
  readonly kind: string
  /** Chapters and previews are not. */
  readonly isEnabled: boolean
  /** Ticks a second. */
  readonly timescale: number
  readonly seconds: number | undefined
  readonly codec: string | undefined
  /** As displayed. */
  readonly width: number
  readonly height: number
}

/** Seconds of a `mvhd` or `mdhd`; undefined when it says zero or "unknown", as live and looping files do. */
async function headerTimes(
  file: MediaFile,
  header: Box | undefined,
): Promise<{ timescale: number; seconds: number | undefined }> {
  if (header === undefined) return { timescale: 0, seconds: undefined }
  const bytes = await file.read(header.start, header.start + 32)
  const long = bytes[0] === 1
  const timescale = bytes.readUInt32BE(long ? 20 : 12)
  const duration = long ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(16)
  const unknown = long ? duration >= 2 ** 63 : duration === 2 ** 32 - 1
  return { timescale, seconds: duration === 0 || timescale === 0 || unknown ? undefined : duration / timescale }
}

async function readTrack(file: MediaFile, box: Box): Promise<Track | undefined> {
  const [header, handler] = [await findBox(file, box, 'tkhd'), await findBox(file, box, 'mdia', 'hdlr')]
  if (!header || !handler) return undefined
  const bytes = await file.read(header.start, header.start + 96)
  const isLong = bytes[0] === 1
  const matrix = isLong ? 52 : 40
  const isTurned = bytes.readInt32BE(matrix) === 0 && bytes.readInt32BE(matrix + 4) !== 0
  const [wide, high] = [bytes.readUInt32BE(matrix + 36) / 65_536, bytes.readUInt32BE(matrix + 40) / 65_536]
  return {
    id: bytes.readUInt32BE(isLong ? 20 : 12),
    box,
    kind: (await file.read(handler.start + 8, handler.start + 12)).toString('latin1'),
    isEnabled: (bytes.readUInt8(3) & isEnabledFlag) !== 0,
    ...(await headerTimes(file, await findBox(file, box, 'mdia', 'mdhd'))),
    codec: await readCodec(file, await findBox(file, box, 'mdia', 'minf', 'stbl', 'stsd')),
    width: isTurned ? high : wide,
    height: isTurned ? wide : high,
  }
}

/** The four letters of the first description, and the profile of the usual two kinds. */
async function readCodec(file: MediaFile, box: Box | undefined): Promise<string | undefined> {
  if (!box) return undefined
  const bytes = await file.read(box.start + 8, Math.min(box.end, box.start + maxEntryBytes))
  if (bytes.length < 8) return undefined
  const name = bytes.toString('latin1', 4, 8).trim()
  const profileAt = bytes.indexOf('avcC', 8, 'latin1') + 5
  if (/^avc[1-4]$/.test(name) && profileAt > 8 && profileAt + 3 <= bytes.length) {
    return `${name}.${bytes.toString('hex', profileAt, profileAt + 3)}`
  }
  return (name === 'mp4a' && aacCodec(bytes)) || name
}

/** The decoder of an elementary stream, of kind 0x40, and its own settings: their first five bits say which AAC it is. */
function aacCodec(bytes: Buffer): string | undefined {
  const stream = insideDescriptor(bytes, bytes.indexOf('esds', 0, 'latin1') + 8, 3)
  const decoder = stream && insideDescriptor(bytes, stream + 3, 4)
  const settings = decoder && bytes[decoder] === 0x40 ? insideDescriptor(bytes, decoder + 13, 5) : undefined
  const kind = settings === undefined ? undefined : bytes[settings]
  return kind === undefined ? undefined : `mp4a.40.${kind >> 3}`
}

/** Where the contents of a descriptor begin, behind a size of up to four bytes; undefined when it is another one. */
function insideDescriptor(bytes: Buffer, at: number, tag: number): number | undefined {
  if (bytes[at] !== tag) return undefined
  const last = [1, 2, 3, 4].find((i) => ((bytes[at + i] ?? 0) & 0x80) === 0) ?? 4
  return at + last + 1
}

export async function readTracks(file: MediaFile, moov: Box): Promise<Track[]> {
  const tracks: Track[] = []
  for await (const box of boxes(file, moov.start, moov.end)) {
    if (tracks.length === maxTracks) break
    const track = box.type === 'trak' ? await readTrack(file, box).catch(unlessDamaged) : undefined
    if (track) tracks.push(track)
  }
  return tracks
}

/** A track that is cut or makes no sense leaves the others what they are. */
function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof RangeError)) throw error
}

/** Pixels of the picture's own description, where the track's header says none, as cameras leave it. */
async function describedSize(file: MediaFile, { box }: Track): Promise<{ width: number; height: number } | undefined> {
  const stsd = await findBox(file, box, 'mdia', 'minf', 'stbl', 'stsd')
  const entry = stsd && (await file.read(stsd.start + 8, stsd.start + 44))
  if (!entry || entry.length < 36) return undefined
  return { width: entry.readUInt16BE(32), height: entry.readUInt16BE(34) }
}

/**
 * MP4 and QuickTime: the length, and whatever of the rest the library did not find. A film knows its
 * length, and of edits, by its own header; one in fragments only by these.
 */
export async function probeMovie(file: MediaFile, found: Found): Promise<void> {
  const moov = await findMovie(file)
  if (moov === undefined) return
  const tracks = await readTracks(file, moov)
  const pictures = tracks.filter(({ kind }) => kind === 'vide')
  const picture = pictures.find(({ isEnabled }) => isEnabled) ?? pictures[0]
  if (picture && found.width === undefined) {
    const { width, height } = picture
    Object.assign(found, width > 0 && height > 0 ? { width, height } : await describedSize(file, picture))
  }
  if (!found.codecs?.length) {
    const shown = tracks.filter(({ kind }) => kind === 'vide' || kind === 'soun')
    found.codecs = shown.flatMap(({ codec }) => codec ?? [])
  }
  const seconds = await movieSeconds(file, moov, tracks)
  if (seconds !== undefined) found.duration = seconds
}

async function movieSeconds(file: MediaFile, moov: Box, tracks: readonly Track[]): Promise<number | undefined> {
  const { seconds } = await headerTimes(file, await findBox(file, moov, 'mvhd'))
  const extension = await findBox(file, moov, 'mvex')
  const stated = seconds ?? Math.max(0, ...tracks.map((track) => track.seconds ?? 0))
  return extension || stated === 0 ? fragmentSeconds(file, moov, extension, tracks) : stated
}

/** A sequence of pictures (AVIF, HEIF), whose first visible track has one sample for each. */
export async function probeSequence(file: MediaFile, found: Found): Promise<void> {
  const moov = await findMovie(file)
  if (moov === undefined) return
  const track = (await readTracks(file, moov)).find(({ width, height }) => width > 0 && height > 0)
  if (!track) return
  const { width, height, seconds } = track
  Object.assign(found, { width, height })
  const sizes = await findBox(file, track.box, 'mdia', 'minf', 'stbl', 'stsz')
  const pages = sizes ? (await file.read(sizes.start, sizes.start + 12)).readUInt32BE(8) : 0
  if (pages > 1) Object.assign(found, { pages, duration: seconds })
}
