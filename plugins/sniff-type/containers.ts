import type { NamedType } from '../../src/plugin.ts'

const avif: NamedType = { contentType: 'image/avif', format: 'avif' }
const heic: NamedType = { contentType: 'image/heic', format: 'heic' }
const heif: NamedType = { contentType: 'image/heif', format: 'heif' }

const avifBrands = /^avi[fs]$/
const heicBrands = /^(?:he[ivm][cxms])$/
const heifBrands = /^(?:mif[12]|msf1|miaf)$/

/** Still images in an ISO base media file. The first brand may be a general one (`mif1`), so the compatible ones are asked too. */
export function heifType(head: Buffer): NamedType | undefined {
  if (head.length < 12 || head.toString('latin1', 4, 8) !== 'ftyp') return undefined
  const end = Math.min(head.readUInt32BE(0), head.length, 256)
  const brands = [head.toString('latin1', 8, 12)]
  for (let at = 16; at + 4 <= end; at += 4) brands.push(head.toString('latin1', at, at + 4))
  const major = brands[0] ?? ''
  if (avifBrands.test(major)) return avif
  if (heicBrands.test(major)) return heic
  if (!heifBrands.test(major)) return undefined
  if (brands.some((brand) => avifBrands.test(brand))) return avif
  return brands.some((brand) => heicBrands.test(brand)) ? heic : heif
}

/** Whether an MP4 file certainly has sound and no picture: its index is in the head bytes and lists only such tracks. */
export function isAudioMp4(head: Buffer): boolean {
  for (let at = 0; at + 16 <= head.length;) {
    const short = head.readUInt32BE(at)
    const size = short === 1 ? Number(head.readBigUInt64BE(at + 8)) : short
    if (size < 8) return false
    if (head.toString('latin1', at + 4, at + 8) === 'moov') {
      if (at + size > head.length) return false
      const handlers = head.toString('latin1', at, at + size).matchAll(/hdlr.{8}(vide|soun)/gs)
      const kinds = new Set([...handlers].map((handler) => handler[1]))
      return kinds.has('soun') && !kinds.has('vide')
    }
    at += size
  }
  return false
}

/** Whether a WebM or Matroska file has sound and no picture: by the codecs that it names before its first cluster. */
export function isAudioMatroska(head: Buffer): boolean {
  const cluster = head.indexOf(Buffer.from([0x1f, 0x43, 0xb6, 0x75]))
  if (cluster < 0) return false // the list of tracks may not have ended
  const index = head.toString('latin1', 0, cluster)
  return /A_[A-Z][A-Z0-9]{2}/.test(index) && !/V_[A-Z][A-Z0-9]{2}/.test(index)
}
