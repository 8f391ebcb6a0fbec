import { type Box, boxes, contents, findBox } from './boxes.ts'
import type { MediaFile } from './facts.ts'

/** Seconds of a `mvhd` or `mdhd`; undefined when it says zero or "unknown", as live and looping files do. */
async function headerSeconds(file: MediaFile, header: Box | undefined): Promise<number | undefined> {
  if (header === undefined) return undefined
  const bytes = await contents(file, header, 32)
  const long = bytes[0] === 1
  const timescale = bytes.readUInt32BE(long ? 20 : 12)
  const duration = long ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(16)
  const unknown = long ? duration >= 2 ** 63 : duration === 2 ** 32 - 1
  return duration === 0 || timescale === 0 || unknown ? undefined : duration / timescale
}

/** What the header of a whole movie says; edit lists are counted in. */
export const movieSeconds = async (file: MediaFile, moov: Box): Promise<number | undefined> =>
  headerSeconds(file, await findBox(file, moov, 'mvhd'))

export const isFragmented = async (file: MediaFile, moov: Box): Promise<boolean> =>
  (await findBox(file, moov, 'mvex')) !== undefined

export interface Track {
  readonly seconds: number | undefined
  readonly samples: number | undefined
  /** Pixels, as displayed. */
  readonly width: number
  readonly height: number
}

/** The first track that shows something; `undefined` when there is none. */
export async function firstPicture(file: MediaFile, moov: Box): Promise<Track | undefined> {
  for await (const trak of boxes(file, moov.start, moov.end)) {
    if (trak.type !== 'trak') continue
    const header = await findBox(file, trak, 'tkhd')
    if (header === undefined) continue
    const bytes = await contents(file, header, 96)
    const matrix = bytes[0] === 1 ? 52 : 40
    const turned = bytes.readInt32BE(matrix) === 0 && bytes.readInt32BE(matrix + 4) !== 0
    const width = bytes.readUInt32BE(matrix + 36) / 65_536
    const height = bytes.readUInt32BE(matrix + 40) / 65_536
    if (width === 0 || height === 0) continue
    const sizes = await findBox(file, trak, 'mdia', 'minf', 'stbl', 'stsz')
    return {
      seconds: await headerSeconds(file, await findBox(file, trak, 'mdia', 'mdhd')),
      samples: sizes && (await contents(file, sizes, 12)).readUInt32BE(8),
      width: turned ? height : width,
      height: turned ? width : height,
    }
  }
  return undefined
}
