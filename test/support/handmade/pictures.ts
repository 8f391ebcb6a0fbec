/** Little-endian numbers of two and four bytes, and texts, one after another. */
export function pack(...values: readonly (readonly ['u16' | 'u32', number] | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      if (typeof value === 'string') return Buffer.from(value, 'latin1')
      if (value instanceof Uint8Array) return value
      const [kind, number] = value
      const bytes = Buffer.alloc(kind === 'u16' ? 2 : 4)
      if (kind === 'u16') bytes.writeUInt16LE(number)
      else bytes.writeUInt32LE(number)
      return bytes
    }),
  )
}

const pixels = Buffer.alloc(8)

/** A bitmap of two pixels whose second header has this length, which only OS/2 wrote in most cases. */
export function bitmap(headerBytes: number, kind = 'BM'): Buffer {
  const short = headerBytes === 12
  const header = short
    ? pack(['u32', 12], ['u16', 2], ['u16', 1], ['u16', 1], ['u16', 24])
    : pack(['u32', headerBytes], ['u32', 2], ['u32', 1], ['u16', 1], ['u16', 24], Buffer.alloc(headerBytes - 16))
  const offset = 14 + header.length
  return pack(kind, ['u32', offset + pixels.length], ['u32', 0], ['u32', offset], header, pixels)
}

/** OS/2's array of one. */
export const bitmapArray = (kind: string): Buffer =>
  pack('BA', ['u32', 40], ['u32', 0], ['u16', 640], ['u16', 480], bitmap(12, kind))

/** An icon of Windows 3, by a program that leaves in the unused bytes what was there. */
export const oldIcon = (): Buffer =>
  pack(
    ['u16', 0], ['u16', 1], ['u16', 1],
    Uint8Array.of(32, 32, 16, 0x8c), ['u16', 0x1a2], ['u16', 7], ['u32', 40 + 16], ['u32', 22],
    ['u32', 40], ['u32', 32], ['u32', 64], ['u16', 1], ['u16', 4], Buffer.alloc(24), Buffer.alloc(16),
  ) // prettier-ignore

/** A binary STL file with these triangles. @param title what its header says */
export function stl(triangles: number, title = 'made by hand'): Buffer {
  const bytes = Buffer.alloc(84 + triangles * 50)
  bytes.write(title)
  bytes.writeUInt32LE(triangles, 80)
  for (let at = 84; at < bytes.length; at += 50)
    [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0].forEach((number, index) => bytes.writeFloatLE(number, at + index * 4))
  return bytes
}
