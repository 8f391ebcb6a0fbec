import type { NamedType } from '../../src/plugin.ts'
import { type BinaryType, type Bytes, typeOf } from './bytes.ts'

const avif = typeOf('avif')
const heic = typeOf('heic')
const heif = typeOf('heif')

const avifBrands = /^(?:avi[fs]|MA1[AB])$/
const heicBrands = /^(?:he[ivm][cxms])$/
/** General ones, and those of codecs whose pictures have no usual type of their own: JPEG 2000, JPEG, AVC, VVC, EVC. */
const heifBrands = /^(?:mif[123]|msf1|miaf|j2ki|j2is|jpeg|jpgs|avci|avcs|vvic|vvis|evbi|evmi|1pic)$/
/** Bytes of a `ftyp` box in which brands are looked for. */
const mostBrandBytes = 256

/** Still images in an ISO base media file. The first brand may be a general one (`mif1`), so the compatible ones are asked too. */
export function heifType(head: Buffer): NamedType | undefined {
  if (head.length < 12 || head.toString('latin1', 4, 8) !== 'ftyp') return undefined
  const end = Math.min(head.readUInt32BE(0), head.length, mostBrandBytes)
  const major = head.toString('latin1', 8, 12)
  const brands = [major]
  // where `mif3` is the first brand, the codec's stands in the place of the version (ISO/IEC 23008-12)
  for (let at = major === 'mif3' ? 12 : 16; at + 4 <= end; at += 4) brands.push(head.toString('latin1', at, at + 4))
  if (avifBrands.test(major)) return avif
  if (heicBrands.test(major)) return heic
  if (!heifBrands.test(major)) return undefined
  if (brands.some((brand) => avifBrands.test(brand))) return avif
  return brands.some((brand) => heicBrands.test(brand)) ? heic : heif
}

/** Boxes of one level that are looked at. */
const mostBoxes = 256
/** Bytes from the start of a track's `mdia` box in which its handler stands. */
const handlerBytes = 512

const mp4 = typeOf('mp4')
const mp4Sound: NamedType = { contentType: 'audio/mp4', format: 'm4a' }

/** An MP4 file whose tracks are sound without pictures is one of sound, whatever its brand. */
export async function mp4Type(bytes: Bytes): Promise<BinaryType> {
  const kinds = await trackKinds(bytes)
  if (!kinds) return bytes.whole ? mp4 : { ...mp4, mayBe: [mp4, mp4Sound] }
  return kinds.has('soun') && !kinds.has('vide') ? mp4Sound : mp4
}

interface Box {
  readonly type: string
  /** Where its content begins. */
  readonly start: number
  readonly end: number
}

/** The handlers of all tracks; `undefined` when they cannot be had. */
async function trackKinds(bytes: Bytes): Promise<ReadonlySet<string> | undefined> {
  const kinds = new Set<string>()
  for await (const movie of boxesOf(bytes, 0, Infinity)) {
    if (movie === undefined) return undefined
    if (movie.type !== 'moov') continue
    for await (const track of boxesOf(bytes, movie.start, movie.end)) {
      if (track === undefined) return undefined
      if (track.type !== 'trak') continue
      for await (const media of boxesOf(bytes, track.start, track.end)) {
        if (media === undefined) return undefined
        if (media.type !== 'mdia') continue
        const text = await bytes.read(media.start, Math.min(handlerBytes, media.end - media.start))
        if (!text) return undefined
        kinds.add(/hdlr.{8}(.{4})/s.exec(text.toString('latin1'))?.[1] ?? '')
        break
      }
    }
    return kinds
  }
  return undefined
}

/** The boxes between two positions, without their content. `undefined`: the next one cannot be had. */
async function* boxesOf(bytes: Bytes, start: number, end: number): AsyncGenerator<Box | undefined> {
  let at = start
  for (let i = 0; i < mostBoxes && at + 8 <= end; i++) {
    const header = await bytes.read(at, 16)
    if (!header) yield undefined
    if (!header || header.length < 8) return
    const short = header.readUInt32BE(0)
    const long = short === 1 && header.length === 16
    // 0: up to the end of the file
    const size = long ? Number(header.readBigUInt64BE(8)) : short === 0 ? Infinity : short
    if (size < (long ? 16 : 8)) return
    yield { type: header.toString('latin1', 4, 8), start: at + (long ? 16 : 8), end: Math.min(end, at + size) }
    at += size
  }
}

/** Whether a WebM or Matroska file has sound and no picture: by the codecs that it names before its first cluster. */
export function isAudioMatroska(head: Buffer): boolean {
  const cluster = head.indexOf(Buffer.from([0x1f, 0x43, 0xb6, 0x75]))
  if (cluster < 0) return false // the list of tracks may not have ended
  const index = head.toString('latin1', 0, cluster)
  return /A_[A-Z][A-Z0-9]{2}/.test(index) && !/V_[A-Z][A-Z0-9]{2}/.test(index)
}

const asf = typeOf('asf')
const wma = typeOf('wma')
/** `Stream Properties Object`, and the types of streams, as they are stored. */
const streamProperties = Buffer.from('9107dcb7b7a9cf118ee600c00c205365', 'hex')
const videoStream = 'c0ef19bc4d5bcf11a8fd00805f5c442b'
const audioStream = '409e69f84d5bcf11a8fd00805f5c442b'
/** Bytes of the header that are read, and streams that are looked at; a picture may stand before them. */
const mostAsfHeaderBytes = 1024 * 1024
const mostStreams = 128

export const isAsf = (head: Buffer): boolean => head.toString('latin1', 0, 8) === '0&\xb2\x75\x8e\x66\xcf\x11'

/** A Windows Media file: one of sound when no stream of its header is a film, wherever that stands. */
export async function asfType(bytes: Bytes): Promise<BinaryType> {
  if (bytes.head.length < 24) return asf
  const headerBytes = Math.min(Number(bytes.head.readBigUInt64LE(16)), mostAsfHeaderBytes)
  const header = await bytes.read(0, headerBytes)
  const looked = header ?? bytes.head
  let hasSound = false
  let at = looked.indexOf(streamProperties)
  for (let i = 0; i < mostStreams && at >= 0; i++) {
    const kind = looked.toString('hex', at + 24, at + 40)
    if (kind === videoStream) return asf
    hasSound ||= kind === audioStream
    at = looked.indexOf(streamProperties, at + streamProperties.length)
  }
  if (!header && !bytes.whole) return { ...asf, mayBe: [asf, wma] }
  // in a header that is cut, the film may have followed
  return hasSound && looked.length >= headerBytes ? wma : asf
}
