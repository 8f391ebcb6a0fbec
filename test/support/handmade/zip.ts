import { crc32, deflateRawSync } from 'node:zlib'

export type ZipEntry = readonly [name: string, content: string | Uint8Array]

/** A zip archive with these entries in this order. @param stored whether nothing is packed */
export function zip(entries: readonly ZipEntry[], stored = false): Buffer {
  const locals: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const [name, content] of entries) {
    const bytes = Buffer.from(content)
    const packed = stored ? bytes : deflateRawSync(bytes)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(stored ? 0 : 8, 4)
    common.writeUInt16LE(0x5821, 8) // a day in 2024
    common.writeUInt32LE(crc32(bytes), 10)
    common.writeUInt32LE(packed.length, 14)
    common.writeUInt32LE(bytes.length, 18)
    common.writeUInt16LE(Buffer.byteLength(name), 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), packed])
    const end = Buffer.alloc(14)
    end.writeUInt32LE(at, 10)
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), common, end, Buffer.from(name)]))
    locals.push(local)
    at += local.length
  }
  const listed = Buffer.concat(directory)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 4)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 6)
  end.writeUInt32LE(listed.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...locals, listed, Buffer.from('PK\x05\x06'), end])
}

/** Bytes that no compression makes smaller, the same in every run. */
export function noise(length: number, seed = 7): Buffer {
  let state = seed
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 24
    }),
  )
}

const declaration = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

/** `[Content_Types].xml` of a package whose main part is of this type. */
export const contentTypes = (part: string, type: string): string =>
  `${declaration}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/${part}" ContentType="${type}"/></Types>`

/** The smallest package of Office with this main part. */
export const office = (part: string, type: string, more: readonly ZipEntry[] = []): Buffer =>
  zip([['[Content_Types].xml', contentTypes(part, type)], ['_rels/.rels', '<Relationships/>'], [part, '<x/>'], ...more])

/** A file of the OpenDocument kind, or a book: what says its own type first. */
export const selfNamed = (type: string, more: readonly ZipEntry[] = [['content.xml', '<x/>']]): Buffer =>
  zip([['mimetype', type], ...more], true)

/** A document of iWork as of 2005 to 2009: XML with this root element. */
export const oldIwork = (root: string, prefix: string, namespace: string, file = 'index.xml'): Buffer =>
  zip([
    ['thumbs/page.jpg', noise(200)],
    ['buildVersionHistory.plist', '<plist/>'],
    [
      file,
      `${declaration}<${prefix}:${root} xmlns:sfa="http://developer.apple.com/namespaces/sfa" xmlns:${prefix}="http://developer.apple.com/namespaces/${namespace}"/>`,
    ],
  ])

/** An IWA file whose first object is of this type: one block of Snappy that is a literal. */
export function iwa(type: number): Buffer {
  const message = Buffer.from([0x08, ...(type < 128 ? [type] : [(type & 0x7f) | 0x80, type >> 7])])
  const info = Buffer.from([0x08, 1, 0x12, message.length, ...message])
  const content = Buffer.from([info.length, ...info])
  const block = Buffer.from([content.length, (content.length - 1) << 2, ...content])
  return Buffer.from([0, block.length, 0, 0, ...block])
}

/** What every current package of iWork has, with the document of one of its programs. */
export const iworkParts = (type: number, more: readonly string[] = []): ZipEntry[] => [
  ['Index/Document.iwa', iwa(type)],
  ['Index/CalculationEngine.iwa', iwa(4_000)],
  ['Index/Tables/DataList.iwa', iwa(6_005)],
  ...more.map((name): ZipEntry => [name, iwa(5)]),
  ['Metadata/Properties.plist', 'bplist00'],
]
