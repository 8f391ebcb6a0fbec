import { type NamedType } from '../../src/plugin.ts'
import { type Bytes, typeOf } from './bytes.ts'

const stl = typeOf('stl')
const headerBytes = 84
const triangleBytes = 50
/** Triangles whose numbers are looked at. */
const lookedAt = 8
const largest = 1e9 // of a coordinate, in whatever unit

/**
 * A binary STL file has no signature: a header of any bytes, a count, and triangles of twelve numbers. It is believed when the
 * count is that of the file's size, or the name or declared type says so, and the numbers are such as a shape has.
 */
export function stlType(bytes: Bytes, claimed: readonly NamedType[]): NamedType | undefined {
  const { head, size } = bytes
  if (head.length < headerBytes + triangleBytes) return undefined
  const count = head.readUInt32LE(80)
  const fits =
    size === undefined ? claimed.some(({ format }) => format === 'stl') : size === headerBytes + count * triangleBytes
  if (!fits || count === 0) return undefined
  const triangles = Math.min(count, lookedAt, Math.floor((head.length - headerBytes) / triangleBytes))
  for (let i = 0; i < triangles; i++) {
    const at = headerBytes + i * triangleBytes
    for (let number = 0; number < 12; number++) {
      if (!(Math.abs(head.readFloatLE(at + number * 4)) < largest)) return undefined
    }
  }
  return stl
}
