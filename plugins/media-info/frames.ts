import type { MediaFile } from './facts.ts'

const windowBytes = 1024 * 1024 // that are read at once
const maxWalk = 16 * 1024 * 1024 // bytes of a row of frames that are counted; a longer one is estimated from them
const maxTags = 16 // at the front of one file
const id3HeaderBytes = 10
const footerFlag = 0x10

export interface Frame {
  readonly bytes: number
  readonly seconds: number
}

/** The frame that begins at an offset; undefined when none does. */
export type ReadFrame = (bytes: Buffer, at: number) => Frame | undefined

/** The first byte behind the ID3v2 tags at the front. */
export async function behindTags(file: MediaFile): Promise<number> {
  let at = 0
  for (let count = 0; count < maxTags; count++) {
    const head = await file.read(at, at + id3HeaderBytes)
    const sizes = head.subarray(6)
    if (sizes.length < 4 || head.toString('latin1', 0, 3) !== 'ID3' || sizes.some((byte) => byte > 0x7f)) break
    const footer = (head.readUInt8(5) & footerFlag) !== 0 ? id3HeaderBytes : 0
    at += id3HeaderBytes + sizes.reduce((sum, byte) => sum * 128 + byte, 0) + footer
  }
  return at
}

/** Whether so many frames, or all up to the end of these bytes or the tag there, stand in a row. */
export function isRow(bytes: Buffer, at: number, readFrame: ReadFrame, count: number): boolean {
  for (let i = 0; i < count; i++) {
    const frame = readFrame(bytes, at)
    if (!frame) return i > 0 && (at === bytes.length || bytes.toString('latin1', at, at + 3) === 'TAG')
    at += frame.bytes
  }
  return true
}

/** Seconds of a row of frames between two offsets; what is no frame is passed over. */
export async function frameSeconds(file: MediaFile, start: number, end: number, readFrame: ReadFrame): Promise<number> {
  const until = Math.min(end, start + maxWalk)
  let seconds = 0
  let at = start
  while (at < until) {
    const bytes = await file.read(at, Math.min(at + windowBytes, end))
    const isLast = at + bytes.length >= Math.min(end, file.size)
    let offset = 0
    while (offset < bytes.length && at + offset < until) {
      const frame = readFrame(bytes, offset)
      if (frame) seconds += frame.seconds
      else if (!isLast && bytes.length - offset < 16) break // a header that the window cuts
      offset += frame?.bytes ?? 1
    }
    if (offset === 0) break
    at += offset
  }
  return at < end ? (seconds * (end - start)) / (at - start) : seconds
}
