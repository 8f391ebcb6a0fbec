import { deflateSync } from 'node:zlib'

/** Files made by hand, for what no encoder at hand makes: each says only what its header needs. */

export const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const le16 = (value: number): Buffer => Buffer.from(u16(value).toReversed())
const le32 = (value: number): Buffer => Buffer.from(u32(value).toReversed())

/** A box of an ISO base media file. */
export function box(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([u32(body.length + 8), Buffer.from(type, 'latin1'), body])
}

/** A chunk of a RIFF file. */
export function chunk(id: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(id, 'latin1'), le32(body.length), body, Buffer.alloc(body.length % 2)])
}

export interface Tiff {
  readonly bits: number
  /** Of the colours: 1 for grey, 8 for Lab. */
  readonly photometric: number
  readonly samples: number
  readonly orientation?: number
  readonly pages?: number
}

/** An uncompressed TIFF of 64 by 48. */
export function tiff({ bits, photometric, samples, orientation = 1, pages = 1 }: Tiff): Buffer {
  const pixels = (64 * 48 * samples * bits) / 8
  const entries = [
    [256, 64],
    [257, 48],
    [258, bits],
    [259, 1],
    [262, photometric],
    [273, 8],
    [274, orientation],
    [277, samples],
    [278, 48],
    [279, pixels],
  ]
  const length = 2 + entries.length * 12 + 4
  const directories = Array.from({ length: pages }, (_, page) => {
    const rows = entries.map(([tag = 0, value = 0]) => Buffer.concat([le16(tag), le16(4), le32(1), le32(value)]))
    const next = page === pages - 1 ? 0 : 8 + (page + 1) * length
    return Buffer.concat([le16(entries.length), ...rows, le32(next)])
  })
  return Buffer.concat([Buffer.from('II*\0'), le32(8), ...directories, Buffer.alloc(pixels)])
}

/** An AVIF whose properties are packed in bits. */
export function packedAvif(width: number, height: number, orientation = 1): Buffer {
  const isSmall = width <= 128 && height <= 128
  const size = (side: number) => (side - 1).toString(2).padStart(isSmall ? 7 : 15, '0')
  const bits = `${'0'.repeat(13)}${(orientation - 1).toString(2).padStart(3, '0')}${isSmall ? 1 : 0}${size(width)}${size(height)}`
  const bytes = bits.padEnd(128, '0').match(/.{8}/g) ?? []
  const mini = Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)))
  return Buffer.concat([box('ftyp', Buffer.from('mif3avif')), box('mini', mini)])
}

/** An enhanced metafile of so many hundredths of a millimetre. */
export function emf(width: number, height: number): Buffer {
  const numbers = [1, 108, 0, 0, 10, 10, 0, 0, width, height]
  return Buffer.concat([...numbers.map(le32), Buffer.from(' EMF'), le32(0x10000), Buffer.alloc(56)])
}

/** A placeable metafile: its frame, and how many of its units an inch has. */
export function wmf(left: number, top: number, right: number, bottom: number, perInch: number): Buffer {
  const numbers = [0, left & 0xffff, top & 0xffff, right, bottom, perInch]
  return Buffer.concat([le32(0x9ac6cdd7), ...numbers.map(le16), Buffer.alloc(24)])
}

/** Bytes of a frame of MPEG audio with so many kilobits a second. */
const frameBytes = { 32: 104, 128: 417 }

/** MPEG audio of layer 3 and 44.1 kHz: so many frames of nothing, the first with more bits than the others. `channels` are two bits of each header. */
export function mp3Frames(count: number, channels: (frame: number) => number = () => 3): Buffer {
  const frames = Array.from({ length: count }, (_, i) => {
    const frame = Buffer.alloc(i === 0 ? frameBytes[128] : frameBytes[32])
    frame.writeUInt32BE((i === 0 ? 0xfffb9000 : 0xfffb1000) + (channels(i) << 6))
    return frame
  })
  return Buffer.concat(frames)
}

export const mp3FrameSeconds = 1152 / 44_100

/** AMR of one mode, of frames of 20 ms. */
export function amr(count: number, wide = false): Buffer {
  const [name, mode, bytes] = wide ? ['#!AMR-WB\n', 2, 32] : ['#!AMR\n', 7, 31]
  const frame = Buffer.concat([Buffer.from([(mode << 3) | 4]), Buffer.alloc(bytes)])
  return Buffer.concat([Buffer.from(name), ...Array.from({ length: count }, () => frame)])
}

export interface PdfOptions {
  /** What comes before the header. */
  readonly junk?: string
  /** Objects and the table of their places in streams, as of version 1.5. */
  readonly packed?: boolean
  /** Rows of the packed table are written as differences to the row above. */
  readonly predicted?: boolean
  /** More entries of the trailer. */
  readonly trailer?: string
  /** What the tree says, when it lies. */
  readonly count?: string
}

const pdfHead = '%PDF-1.7\n%\xff\xff\xff\xff\n'

/** Catalogue, tree and pages, by their numbers from 1 on. A text in the tree spells another count. */
function pdfObjects(pages: number, count: string): string[] {
  const kids = Array.from({ length: pages }, (_, i) => `${i + 3} 0 R`).join(' ')
  return [
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Kids [${kids}] /Note (a \\) >> /Count 77 \\( ) /Count ${count} >>`,
    ...Array.from({ length: pages }, () => '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>'),
  ]
}

const pdfObject = (number: number, value: string): string => `${number} 0 obj\n${value}\nendobj\n`
const pdfEnd = (table: number): string => `startxref\n${table}\n%%EOF\n`
const textRow = (place: number): string => `${String(place).padStart(10, '0')} 00000 n\r\n`
const packedRow = (kind: number, place: number, rest: number): Buffer => Buffer.from([kind, ...u32(place), rest & 0xff])

function pdfStream(entries: string, content: Buffer): string {
  const bytes = deflateSync(content)
  const head = `<< ${entries} /Filter /FlateDecode /Length ${bytes.length} >>`
  return `${head}\nstream\r\n${bytes.toString('latin1')}\nendstream`
}

/** A PDF of so many empty pages. */
export function pdf(pages: number, options: PdfOptions = {}): Buffer {
  const objects = pdfObjects(pages, options.count ?? String(pages))
  const text = options.packed ? packedPdf(objects, options) : plainPdf(objects, options)
  return Buffer.from((options.junk ?? '') + text, 'latin1')
}

function plainPdf(objects: readonly string[], { trailer = '' }: PdfOptions): string {
  let text = pdfHead
  let rows = '0000000000 65535 f\r\n'
  for (const [i, object] of objects.entries()) {
    rows += textRow(text.length)
    text += pdfObject(i + 1, object)
  }
  const size = objects.length + 1
  return `${text}xref\n0 ${size}\n${rows}trailer\n<< /Size ${size} /Root 1 0 R ${trailer} >>\n${pdfEnd(text.length)}`
}

/** All objects are in a stream, which is the last but one; the table is the last. */
function packedPdf(objects: readonly string[], { trailer = '', predicted = false }: PdfOptions): string {
  const container = objects.length + 1
  let at = 0
  const pairs = objects.map((object, i) => {
    const pair = `${i + 1} ${at}`
    at += object.length + 1
    return pair
  })
  const index = `${pairs.join(' ')}\n`
  const held = Buffer.from(index + objects.join('\n'))
  const text = pdfHead + pdfObject(container, pdfStream(`/N ${objects.length} /First ${index.length}`, held))
  const rows = [
    packedRow(0, 0, 0),
    ...objects.map((_, i) => packedRow(2, container, i)),
    packedRow(1, pdfHead.length, 0),
    packedRow(1, text.length, 0),
  ]
  const differences = rows.map((row, i) => Buffer.from([2, ...row.map((byte, j) => byte - (rows[i - 1]?.[j] ?? 0))]))
  const settings = predicted ? '/DecodeParms << /Predictor 12 /Columns 6 >>' : ''
  const entries = `/Type /XRef /W [1 4 1] /Size ${rows.length} /Root 1 0 R ${settings} ${trailer}`
  const table = pdfStream(entries, Buffer.concat(predicted ? differences : rows))
  return text + pdfObject(container + 1, table) + pdfEnd(text.length)
}

/** The PDF with one page more, written behind its end as an editor does that only adds. */
export function withPage(file: Buffer, pages: number): Buffer {
  const text = file.toString('latin1')
  const previous = /startxref\n(\d+)/.exec(text)?.[1] ?? ''
  const added = text + pdfObject(2, `<< /Type /Pages /Kids [] /Count ${pages + 1} >>`)
  const trailer = `trailer\n<< /Size 9 /Root 1 0 R /Prev ${previous} >>\n`
  return Buffer.from(`${added}xref\n2 1\n${textRow(text.length)}${trailer}${pdfEnd(added.length)}`, 'latin1')
}
