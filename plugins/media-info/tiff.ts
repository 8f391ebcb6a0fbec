import type { Found, MediaFile } from './facts.ts'

const maxPages = 10_000
const maxEntries = 4096 // of one page
const tags = { width: 256, height: 257, orientation: 274 }
const kindBytes: Readonly<Record<number, number>> = { 3: 2, 4: 4, 16: 8 } // of one number
const firstTurned = 5 // of the eight ways to show a picture, those from here on change its sides

/** How a file writes numbers: in which order, and how long its offsets are. */
interface Layout {
  readonly isLittle: boolean
  readonly isBig: boolean
}

function readNumber(bytes: Buffer, at: number, length: number, { isLittle }: Layout): number {
  if (length < 8) return isLittle ? bytes.readUIntLE(at, length) : bytes.readUIntBE(at, length)
  return Number(isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at))
}

interface Page {
  readonly values: ReadonlyMap<number, number>
  readonly next: number
}

async function readPage(file: MediaFile, at: number, layout: Layout): Promise<Page> {
  const [countBytes, entryBytes, offsetBytes] = layout.isBig ? [8, 20, 8] : [2, 12, 4]
  const count = readNumber(await file.read(at, at + countBytes), 0, countBytes, layout)
  if (count > maxEntries) throw new RangeError('The page has too many entries.')
  const start = at + countBytes
  const bytes = await file.read(start, start + count * entryBytes + offsetBytes)
  const values = new Map<number, number>()
  for (let i = 0; i < count && (i + 1) * entryBytes <= bytes.length; i++) {
    const entry = bytes.subarray(i * entryBytes, (i + 1) * entryBytes)
    const length = kindBytes[readNumber(entry, 2, 2, layout)]
    if (length === undefined || length > offsetBytes) continue
    values.set(readNumber(entry, 0, 2, layout), readNumber(entry, 4 + offsetBytes, length, layout))
  }
  const end = count * entryBytes
  return { values, next: end + offsetBytes <= bytes.length ? readNumber(bytes, end, offsetBytes, layout) : 0 }
}

/** TIFF: the size and the number of pages that the directories state, for colours that no decoder here knows. */
export async function probeTiff(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 16)
  const isLittle = head.toString('latin1', 0, 2) === 'II'
  const isBig = readNumber(head, 2, 2, { isLittle, isBig: false }) === 43
  const layout = { isLittle, isBig }
  const seen = new Set<number>()
  let at = isBig ? readNumber(head, 8, 8, layout) : readNumber(head, 4, 4, layout)
  while (at > 0 && at < file.size && !seen.has(at) && seen.size < maxPages) {
    seen.add(at)
    const { values, next } = await readPage(file, at, layout)
    if (seen.size === 1) {
      const [width, height] = [values.get(tags.width), values.get(tags.height)]
      const isTurned = (values.get(tags.orientation) ?? 1) >= firstTurned
      Object.assign(found, isTurned ? { width: height, height: width } : { width, height })
    } else found.pages = seen.size
    at = next
  }
}
