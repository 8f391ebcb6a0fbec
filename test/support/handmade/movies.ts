/** A box of an ISO base media file. */
export function box(type: string, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  const header = Buffer.alloc(8)
  header.writeUInt32BE(body.length + 8)
  header.write(type, 4, 'latin1')
  return Buffer.concat([header, body])
}

export const brand = (major: string, ...others: readonly string[]): Buffer =>
  box('ftyp', Buffer.from(`${major}\0\0\0\0${[major, ...others].join('')}`, 'latin1'))

export const track = (handler: string, before: readonly Uint8Array[] = []): Buffer =>
  box(
    'trak',
    box('tkhd', Buffer.alloc(84)),
    ...before,
    box(
      'mdia',
      box('mdhd', Buffer.alloc(24)),
      box('hdlr', Buffer.from(`\0\0\0\0\0\0\0\0${handler}`), Buffer.alloc(13)),
    ),
  )

export const movie = (...parts: readonly Uint8Array[]): Buffer => box('moov', box('mvhd', Buffer.alloc(100)), ...parts)

const guid = (hex: string): Buffer => Buffer.from(hex, 'hex')
const asfObject = (id: string, ...content: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(content)
  const size = Buffer.alloc(8)
  size.writeUInt32LE(body.length + 24)
  return Buffer.concat([guid(id), size, body])
}

const streamTypes = { sound: '409e69f84d5bcf11a8fd00805f5c442b', film: 'c0ef19bc4d5bcf11a8fd00805f5c442b' } as const

/** A Windows Media file with these streams. @param before bytes of another object before them, such as a cover */
export function windowsMedia(streams: readonly (keyof typeof streamTypes)[], before = 0): Buffer {
  const objects = streams.map((kind) =>
    asfObject('9107dcb7b7a9cf118ee600c00c205365', guid(streamTypes[kind]), Buffer.alloc(38)),
  )
  const count = Buffer.alloc(6)
  count.writeUInt32LE(objects.length)
  const cover = before > 0 ? [asfObject('40a4d0d207e3d21197f000a0c95ea850', Buffer.alloc(before))] : []
  const header = asfObject('3026b2758e66cf11a6d900aa0062ce6c', count, ...cover, ...objects)
  return Buffer.concat([header, asfObject('3626b2758e66cf11a6d900aa0062ce6c', Buffer.alloc(26))])
}

/** An ID3 tag of this length. */
export function id3(bytes: number): Buffer {
  const tag = Buffer.alloc(bytes)
  tag.write('ID3\x04\0\0', 'latin1')
  for (let i = 0; i < 4; i++) tag[6 + i] = ((bytes - 10) >> (7 * (3 - i))) & 0x7f
  return tag
}

/** Two frames of ADTS, of AC-3, and three of MPEG audio. */
export const adts = Buffer.concat([0, 1].map(() => Buffer.concat([guid('fff15080020ffc'), Buffer.alloc(9)])))
export const ac3 = Buffer.concat([guid('0b77000014405c'), Buffer.alloc(121)])
export const mpegFrames = Buffer.concat([0, 1, 2].map(() => Buffer.concat([guid('fffb9000'), Buffer.alloc(413, 0x55)])))
