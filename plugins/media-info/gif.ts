import { Cursor } from './cursor.ts'
import type { Found, MediaFile } from './facts.ts'

const hasTable = 0x80 // flag: a table of 3-byte colours follows, 2^(n+1) of them
const tableBytes = (flags: number): number => ((flags & hasTable) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1))
const shortestDelay = 2 // hundredths of a second; players take less for 10

/** GIF: the screen from the header; frames and their delays by walking the blocks, which are never decoded. */
export async function probeGif(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 13)
  Object.assign(found, { width: head.readUInt16LE(6), height: head.readUInt16LE(8) })
  const cursor = new Cursor(file, 13 + tableBytes(head.readUInt8(10)))
  let frames = 0
  let hundredths = 0
  let delay = 0 // of the next frame

  for (;;) {
    if (!cursor.has(10) && !(await cursor.fill(10))) break
    const block = cursor.peek(0)
    if (block === 0x21) {
      if (cursor.peek(1) === 0xf9) delay = cursor.peek(4) + cursor.peek(5) * 256
      cursor.position += 2
    } else if (block === 0x2c) {
      frames++
      hundredths += delay < shortestDelay ? 10 : delay
      delay = 0
      cursor.position += 10 + tableBytes(cursor.peek(9)) + 1
    } else {
      break
    }
    for (;;) {
      if (!cursor.has(1) && !(await cursor.fill(1))) break
      const length = cursor.peek(0)
      cursor.position += 1 + length
      if (length === 0) break
    }
  }
  if (frames > 1) Object.assign(found, { pages: frames, duration: hundredths / 100 })
}
