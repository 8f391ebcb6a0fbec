import { unpack } from './pdf-streams.ts'
import { type Dictionary, isDictionary, ValueReader } from './pdf-values.ts'
import type { PdfFile } from './pdf-file.ts'

const maxRanges = 10_000 // of numbers in one table
const entryBytes = 20
const maxPairs = 100_000 // of objects in one stream

/** Where an object is: at an offset, or as one of those in a stream. */
export type Place = { readonly offset: number } | { readonly stream: number }

/** One table of places; a file that was changed has several, each with the place of the one before. */
export interface PlaceTable {
  readonly trailer: Dictionary
  find(object: number): Promise<Place | undefined>
}

interface Range {
  readonly first: number
  readonly count: number
  /** Of the first entry. */
  readonly at: number
}

const within = (ranges: readonly Range[], object: number): Range | undefined =>
  ranges.find(({ first, count }) => object >= first && object < first + count)

/** A table in text: `xref`, ranges of lines of 20 bytes, `trailer`. */
export async function readTextTable(file: PdfFile, start: number): Promise<PlaceTable> {
  const ranges: Range[] = []
  let at = start + 'xref'.length
  while (ranges.length < maxRanges) {
    const line = await file.text(at, at + 64)
    const range = /^\s*(\d{1,10})\s+(\d{1,10})\s*?(?:\r\n|\n|\r)/.exec(line)
    if (!range) break
    at += range[0].length
    ranges.push({ first: Number(range[1]), count: Number(range[2]), at })
    at += Number(range[2]) * entryBytes
  }
  const word = /^\s*trailer/.exec(await file.text(at, at + 64))
  if (!word) throw new RangeError('The table has no trailer.')
  const trailer = await file.valueAt(at + word[0].length)
  if (!isDictionary(trailer)) throw new RangeError('The trailer is no dictionary.')
  return {
    trailer,
    async find(object) {
      const range = within(ranges, object)
      if (!range) return undefined
      const entryAt = range.at + (object - range.first) * entryBytes
      const entry = /^\s*(\d{10}) \d{5} n/.exec(await file.text(entryAt, entryAt + entryBytes))
      return entry ? { offset: Number(entry[1]) } : undefined
    },
  }
}

/** A table in a stream: rows of three numbers of so many bytes each. */
export async function readStreamTable(file: PdfFile, start: number): Promise<PlaceTable> {
  const stream = await file.streamAt(start)
  const { dictionary: trailer } = stream
  const rows = unpack(stream.bytes, trailer)
  const widths = numbers(trailer.get('/W'))
  const [kindBytes = 0, placeBytes = 0, restBytes = 0] = widths
  if (!rows || widths.length < 3 || widths.some((width) => width > 6)) throw new RangeError('The table cannot be read.')
  const width = kindBytes + placeBytes + restBytes
  const index = trailer.has('/Index') ? numbers(trailer.get('/Index')) : [0, Number(trailer.get('/Size'))]
  const ranges: Range[] = []
  let at = 0
  for (let i = 0; i + 1 < index.length && ranges.length < maxRanges; i += 2) {
    const [first = 0, count = 0] = [index[i], index[i + 1]]
    ranges.push({ first, count, at })
    at += count * width
  }
  return {
    trailer,
    async find(object) {
      const range = within(ranges, object)
      const entryAt = range ? range.at + (object - range.first) * width : rows.length
      if (entryAt + width > rows.length) return undefined
      const kind = kindBytes === 0 ? 1 : rows.readUIntBE(entryAt, kindBytes)
      const place = placeBytes === 0 ? 0 : rows.readUIntBE(entryAt + kindBytes, placeBytes)
      if (kind === 1) return { offset: place }
      return kind === 2 ? { stream: place } : undefined
    },
  }
}

const numbers = (value: unknown): number[] =>
  Array.isArray(value) ? value.filter((one): one is number => Number.isSafeInteger(one) && one >= 0) : []

/** The value of one object among those of a stream: pairs of numbers and offsets, then the values. */
export function valueInStream(bytes: Buffer, dictionary: Dictionary, object: number) {
  const [count, first] = [dictionary.get('/N'), dictionary.get('/First')]
  if (typeof count !== 'number' || typeof first !== 'number') return undefined
  const text = bytes.toString('latin1')
  const pairs = new ValueReader(text)
  for (let i = 0; i < Math.min(count, maxPairs) && pairs.position < first; i++) {
    const [number, offset] = [pairs.read(), pairs.read()]
    if (number === object && typeof offset === 'number') return new ValueReader(`${text} `, first + offset).read()
  }
  return undefined
}
