import type { Found, MediaFile } from './facts.ts'

const maxEntries = 4096 // of one directory; libtiff allows as many
const maxPages = 10_000

interface Directory {
  /** Values of the entries that hold one number. */
  readonly numbers: ReadonlyMap<number, number>
  /** Offset of the next directory; 0: none. */
  readonly next: number
}

const widthTag = 0x100
const heightTag = 0x101
const orientationTag = 0x112

/** Reads the directories of a TIFF structure that begins at `base`: a file, or the EXIF data inside of one. */
async function tiffReader(file: MediaFile, base: number) {
  const head = await file.read(base, base + 16)
  const little = head.toString('latin1', 0, 2) === 'II'
  const u16 = (bytes: Buffer, at: number) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at))
  const u32 = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  const u64 = (bytes: Buffer, at: number) => Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at))
  const big = u16(head, 2) === 43 // BigTIFF
  const [countSize, entrySize, offset] = big ? [8, 20, u64] : [2, 12, u32]

  async function directory(at: number): Promise<Directory> {
    const count = (big ? u64 : u16)(await file.read(base + at, base + at + countSize), 0)
    if (count > maxEntries) throw new Error('A directory has too many entries.')
    const start = base + at + countSize
    const entries = await file.read(start, start + count * entrySize + 8)
    const numbers = new Map<number, number>()
    for (let i = 0; i < count; i++) {
      const entry = i * entrySize
      const value = entry + entrySize - (big ? 8 : 4)
      const type = u16(entries, entry + 2)
      if (type === 3) numbers.set(u16(entries, entry), u16(entries, value))
      else if (type === 4) numbers.set(u16(entries, entry), u32(entries, value))
      else if (type === 16) numbers.set(u16(entries, entry), u64(entries, value))
    }
    const link = count * entrySize
    return { numbers, next: entries.length < link + (big ? 8 : 4) ? 0 : offset(entries, link) }
  }
  return { first: offset(head, big ? 8 : 4), directory }
}

/** EXIF orientation 1 to 8; 5 and above lie on their side. */
export async function exifOrientation(file: MediaFile, base: number): Promise<number> {
  const { first, directory } = await tiffReader(file, base)
  return (await directory(first)).numbers.get(orientationTag) ?? 1
}

export const isSideways = (orientation: number): boolean => orientation >= 5 && orientation <= 8

export async function probeTiff(file: MediaFile, found: Found): Promise<void> {
  const { first, directory } = await tiffReader(file, 0)
  const page = await directory(first)
  const size = [page.numbers.get(widthTag) ?? 0, page.numbers.get(heightTag) ?? 0] as const
  const [width, height] = isSideways(page.numbers.get(orientationTag) ?? 1) ? [size[1], size[0]] : size
  Object.assign(found, { width, height })

  const seen = new Set([first])
  for (let next = page.next; next !== 0 && !seen.has(next); next = (await directory(next)).next) {
    if (seen.size >= maxPages) throw new Error('The file has too many pages.')
    seen.add(next)
  }
  if (seen.size > 1) found.pages = seen.size
}
