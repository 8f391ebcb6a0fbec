import type { MediaFile } from './facts.ts'

const maxBoxes = 10_000 // on one level

export interface Box {
  readonly type: string
  /** Where the contents begin and end. */
  readonly start: number
  readonly end: number
}

interface Header {
  readonly type: string
  readonly headSize: number
  readonly size: number
}

/** The beginning of a box, in 16 bytes or as many as there are; `rest` is the size of one that goes on to the end. */
function readHeader(head: Buffer, rest: number): Header {
  const short = head.readUInt32BE(0)
  const headSize = short === 1 ? 16 : 8
  const size = short === 1 ? Number(head.readBigUInt64BE(8)) : short === 0 ? rest : short
  if (size < headSize) throw new RangeError('A box is smaller than its own header.')
  return { type: head.toString('latin1', 4, 8), headSize, size }
}

/** The boxes of an ISO base media file (mp4, mov, avif) between two offsets. */
export async function* boxes(file: MediaFile, start: number, end: number, most = maxBoxes): AsyncGenerator<Box> {
  for (let count = 0; count < most && start + 8 <= end; count++) {
    const { type, headSize, size } = readHeader(await file.read(start, start + 16), end - start)
    yield { type, start: start + headSize, end: Math.min(start + size, end) }
    start += size
  }
}

/** The boxes between two offsets of bytes that are there; the last may be cut. */
export function* boxesIn(bytes: Buffer, start = 0, end = bytes.length): Generator<Box> {
  while (start + 8 <= end) {
    const { type, headSize, size } = readHeader(bytes.subarray(start, start + 16), end - start)
    yield { type, start: start + headSize, end: Math.min(start + size, end) }
    start += size
  }
}

/** The first box at the end of a path of types, such as `trak`, `mdia`. */
export async function findBox(file: MediaFile, within: Box, ...path: string[]): Promise<Box | undefined> {
  const [type, ...rest] = path
  if (type === undefined) return within
  for await (const box of boxes(file, within.start, within.end)) {
    if (box.type === type) return findBox(file, box, ...rest)
  }
  return undefined
}

export const findMovie = (file: MediaFile): Promise<Box | undefined> =>
  findBox(file, { type: '', start: 0, end: file.size }, 'moov')
