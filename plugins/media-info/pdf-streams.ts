import { constants, inflateSync } from 'node:zlib'
import { type Dictionary, isDictionary, type Value } from './pdf-values.ts'

const maxInflatedBytes = 16 * 1024 * 1024
const maxRowBytes = 1024 // of a table of places

const first = (value: Value | undefined): Value | undefined => (Array.isArray(value) ? value[0] : value)

/** The contents of a stream; undefined when they are packed in another way than indices are. */
export function unpack(bytes: Buffer, dictionary: Dictionary): Buffer | undefined {
  const filter = dictionary.get('/Filter')
  if (filter === undefined || filter === null) return bytes
  if (first(filter) !== '/FlateDecode' || (Array.isArray(filter) && filter.length > 1)) return undefined
  const inflated = inflate(bytes)
  const settings = first(dictionary.get('/DecodeParms'))
  if (!inflated || !isDictionary(settings)) return inflated
  const predictor = settings.get('/Predictor') ?? 1
  if (predictor === 1) return inflated
  const columns = settings.get('/Columns') ?? 1
  const isUsual = typeof predictor === 'number' && predictor >= 10 && !settings.has('/Colors')
  return isUsual && typeof columns === 'number' && columns <= maxRowBytes ? unpredict(inflated, columns) : undefined
}

/** What can be had of it: some writers forget the end. */
function inflate(bytes: Buffer): Buffer | undefined {
  try {
    return inflateSync(bytes, { maxOutputLength: maxInflatedBytes, finishFlush: constants.Z_SYNC_FLUSH })
  } catch {
    return undefined // damaged, or encrypted
  }
}

/** Undoes the filters of PNG, of which each row of single bytes names one. */
function unpredict(bytes: Buffer, columns: number): Buffer {
  const rows = Math.floor(bytes.length / (columns + 1))
  const out = Buffer.alloc(rows * columns)
  for (let row = 0; row < rows; row++) {
    const kind = bytes[row * (columns + 1)] ?? 0
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column
      const left = column > 0 ? (out[at - 1] ?? 0) : 0
      const up = row > 0 ? (out[at - columns] ?? 0) : 0
      const corner = column > 0 && row > 0 ? (out[at - columns - 1] ?? 0) : 0
      out[at] = ((bytes[row * (columns + 1) + 1 + column] ?? 0) + guess(kind, left, up, corner)) & 0xff
    }
  }
  return out
}

function guess(kind: number, left: number, up: number, corner: number): number {
  if (kind === 1) return left
  if (kind === 2) return up
  if (kind === 3) return (left + up) >> 1
  return kind === 4 ? nearest(left, up, corner) : 0
}

/** Paeth's guess. */
function nearest(left: number, up: number, corner: number): number {
  const [fromLeft, fromUp, fromCorner] = [
    Math.abs(up - corner),
    Math.abs(left - corner),
    Math.abs(left + up - 2 * corner),
  ]
  if (fromLeft <= fromUp && fromLeft <= fromCorner) return left
  return fromUp <= fromCorner ? up : corner
}
