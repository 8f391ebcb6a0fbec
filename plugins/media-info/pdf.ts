import type { Found, MediaFile } from './facts.ts'
import { PdfFile } from './pdf-file.ts'
import { isDictionary, ValueReader } from './pdf-values.ts'

const headBytes = 1024 // in which the header is, perhaps behind junk
const tails = [2 * 1024, 64 * 1024] // bytes at the end in which the place of the last table is
const maxScan = 16 * 1024 * 1024 // bytes of a damaged file that are searched
const windowBytes = 1024 * 1024
const overlapBytes = 1024 // so that nothing is cut in two
const maxTrees = 1000 // of pages, in a file that is searched
const maxTreeBytes = 16 * 1024 // of one of them

/** Where the last table of places is, as the end of the file says. */
async function lastTable(file: MediaFile): Promise<number | undefined> {
  for (const length of tails) {
    const tail = (await file.read(Math.max(0, file.size - length), file.size)).toString('latin1')
    const offset = /^startxref\s+(\d{1,15})/.exec(tail.slice(tail.lastIndexOf('startxref')))?.[1]
    if (offset !== undefined) return Number(offset)
  }
  return undefined
}

/** By the trailer, the catalogue and the root of the tree of pages. */
async function treeCount(file: MediaFile, base: number): Promise<number | undefined> {
  const table = await lastTable(file)
  if (table === undefined) return undefined
  const pdf = new PdfFile(file, base, table)
  const catalogue = await pdf.fromTrailer('/Root')
  const pages = isDictionary(catalogue) ? await pdf.resolve(catalogue.get('/Pages')) : undefined
  const count = isDictionary(pages) ? await pdf.resolve(pages.get('/Count')) : undefined
  return typeof count === 'number' ? count : undefined
}

/** A file made to be shown while it comes says it at the front, if nobody has changed it since. */
function statedCount(head: string, size: number): number | undefined {
  const dictionary = /<<[^>]{0,512}\/Linearized[^>]{0,512}>>/.exec(head)?.[0] ?? ''
  const length = /\/L\s+(\d{1,15})/.exec(dictionary)?.[1]
  const count = /\/N\s+(\d{1,9})/.exec(dictionary)?.[1]
  return Number(length) === size && count !== undefined ? Number(count) : undefined
}

/** In a damaged file: the largest tree of pages that stands in it as text. */
async function searchedCount(file: MediaFile): Promise<number | undefined> {
  let most: number | undefined
  let trees = 0
  for (let at = 0; at < Math.min(file.size, maxScan); at += windowBytes - overlapBytes) {
    const text = (await file.read(at, at + windowBytes)).toString('latin1')
    for (const tree of text.matchAll(/\/Type\s{0,8}\/Pages(?![A-Za-z])/g)) {
      if (++trees > maxTrees) return most
      const count = countAround(text, tree.index)
      if (count !== undefined) most = Math.max(most ?? 0, count)
    }
  }
  return most
}

/** The count of the tree of which this place is a part. */
function countAround(text: string, at: number): number | undefined {
  const before = text.slice(Math.max(0, at - overlapBytes), at)
  const start = before.lastIndexOf('obj')
  if (start < 0) return undefined
  try {
    const tree = new ValueReader(before.slice(start + 3) + text.slice(at, at + maxTreeBytes)).read()
    const count = isDictionary(tree) ? tree.get('/Count') : undefined
    return typeof count === 'number' ? count : undefined
  } catch (error) {
    return unlessDamaged(error)
  }
}

/** PDF: how many pages its tree says it has. A page takes more than a byte; what claims more lies. */
export async function probePdf(file: MediaFile, found: Found): Promise<void> {
  const head = (await file.read(0, headBytes)).toString('latin1')
  const base = Math.max(0, head.indexOf('%PDF-'))
  const believed = (count: number | undefined) =>
    count !== undefined && Number.isSafeInteger(count) && count > 0 && count < file.size
  for (const count of [
    () => treeCount(file, base).catch(unlessDamaged),
    async () => statedCount(head, file.size),
    () => searchedCount(file),
  ]) {
    const pages = await count()
    if (pages === undefined || !believed(pages)) continue
    found.pages = pages
    return
  }
}

function unlessDamaged(error: unknown): undefined {
  if (!(error instanceof RangeError)) throw error
}
