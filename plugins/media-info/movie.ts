import type { Found, MediaFile } from './facts.ts'

const maxBoxes = 10_000 // on one level

interface Box {
  readonly type: string
  /** Where the contents begin and end. */
  readonly start: number
  readonly end: number
}

/** The boxes of an ISO base media file (mp4, mov, avif) between two offsets. */
async function* boxes(file: MediaFile, start: number, end: number): AsyncGenerator<Box> {
  for (let count = 0; count < maxBoxes && start + 8 <= end; count++) {
    const head = await file.read(start, start + 16)
    const short = head.readUInt32BE(0)
    const headSize = short === 1 ? 16 : 8
    const size = short === 1 ? Number(head.readBigUInt64BE(8)) : short === 0 ? end - start : short
    if (size < headSize) throw new Error('A box is smaller than its own header.')
    yield { type: head.toString('latin1', 4, 8), start: start + headSize, end: Math.min(start + size, end) }
    start += size
  }
}

/** The first box at the end of a path of types, such as `trak`, `mdia`. */
async function findBox(file: MediaFile, within: Box, ...path: string[]): Promise<Box | undefined> {
  const [type, ...rest] = path
  if (type === undefined) return within
  for await (const box of boxes(file, within.start, within.end)) {
    if (box.type === type) return findBox(file, box, ...rest)
  }
  return undefined
}

const findMovie = (file: MediaFile): Promise<Box | undefined> =>
  findBox(file, { type: '', start: 0, end: file.size }, 'moov')

/** Seconds of a `mvhd` or `mdhd`; undefined when it says zero or "unknown", as live and looping files do. */
async function headerSeconds(file: MediaFile, header: Box | undefined): Promise<number | undefined> {
  if (header === undefined) return undefined
  const bytes = await file.read(header.start, header.start + 32)
  const long = bytes[0] === 1
  const timescale = bytes.readUInt32BE(long ? 20 : 12)
  const duration = long ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(16)
  const unknown = long ? duration >= 2 ** 63 : duration === 2 ** 32 - 1
  return duration === 0 || timescale === 0 || unknown ? undefined : duration / timescale
}

/** Seconds of a film by its own header, which knows of edits; undefined when it does not say, or for a film in fragments. */
export async function movieSeconds(file: MediaFile): Promise<number | undefined> {
  const moov = await findMovie(file)
  if (moov === undefined || (await findBox(file, moov, 'mvex'))) return undefined
  return headerSeconds(file, await findBox(file, moov, 'mvhd'))
}

/** A sequence of pictures (AVIF, HEIF), whose first visible track has one sample for each. */
export async function probeSequence(file: MediaFile, found: Found): Promise<void> {
  const moov = await findMovie(file)
  if (moov === undefined) return
  for await (const trak of boxes(file, moov.start, moov.end)) {
    const header = trak.type === 'trak' ? await findBox(file, trak, 'tkhd') : undefined
    if (header === undefined) continue
    const bytes = await file.read(header.start, header.start + 96)
    const matrix = bytes[0] === 1 ? 52 : 40
    const isTurned = bytes.readInt32BE(matrix) === 0 && bytes.readInt32BE(matrix + 4) !== 0
    const [wide, high] = [bytes.readUInt32BE(matrix + 36) / 65_536, bytes.readUInt32BE(matrix + 40) / 65_536]
    if (wide === 0 || high === 0) continue
    Object.assign(found, isTurned ? { width: high, height: wide } : { width: wide, height: high })
    const sizes = await findBox(file, trak, 'mdia', 'minf', 'stbl', 'stsz')
    const pages = sizes ? (await file.read(sizes.start, sizes.start + 12)).readUInt32BE(8) : 0
    const seconds = await headerSeconds(file, await findBox(file, trak, 'mdia', 'mdhd'))
    if (pages > 1) Object.assign(found, { pages, duration: seconds })
    return
  }
}
