import type { MediaFile } from './facts.ts'

const maxBoxes = 10_000 // on one level; a fragmented film has two for each fragment

export interface Box {
  readonly type: string
  /** Where the contents begin and end. */
  readonly start: number
  readonly end: number
}

/** The boxes of an ISO base media file (mp4, mov, heic, avif) between two offsets. */
export async function* boxes(file: MediaFile, start: number, end: number): AsyncGenerator<Box> {
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

/** The first box at the end of a path of types, such as `moov`, `trak`, `mdia`. */
export async function findBox(file: MediaFile, within: Box, ...path: string[]): Promise<Box | undefined> {
  const [type, ...rest] = path
  if (type === undefined) return within
  for await (const box of boxes(file, within.start, within.end)) {
    if (box.type === type) return findBox(file, box, ...rest)
  }
  return undefined
}

export const wholeFile = (file: MediaFile): Box => ({ type: '', start: 0, end: file.size })

/** The first bytes of a box's contents, as many as there are up to `most`. */
export const contents = (file: MediaFile, box: Box, most: number): Promise<Buffer> =>
  file.read(box.start, Math.min(box.end, box.start + most))
