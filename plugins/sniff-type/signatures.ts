import { fileTypeFromBuffer } from 'file-type'
import { canonicalType, kindOf, type NamedType, typeOfDeclared, typesOfName, unknownType } from '../../src/plugin.ts'
import { type BinaryType, type Bytes, typeOf, typesOf } from './bytes.ts'
import { cfbType } from './cfb.ts'
import { confirms, isBitmap } from './confirm.ts'
import { asfType, heifType, isAsf, isAudioMatroska, mp4Type } from './containers.ts'
import { signedType, signedTypes } from './own-signatures.ts'
import { stlType } from './solid.ts'
import { behindId3Tags, id3TagBytes, paddedMpegAudio } from './sound.ts'
import { zipType } from './zip.ts'

const startBytes = 64

const pdf = typeOf('pdf')
/** Readers look for a document's beginning that far (ISO 32000, annex H). */
const pdfStartBytes = 1024
const bitmap = typeOf('bmp')
const icon = typeOf('ico')
const gzip = typeOf('gz')
/** Types that are found without the library, beside those of archives and compound files. */
export const ownTypes: readonly NamedType[] = [
  ...signedTypes,
  pdf,
  bitmap,
  icon,
  gzip,
  ...typesOf('avif heic heif mp4 m4a asf wma webm mka mp3 flac aac ac3 ape wv mpc stl'),
]

/**
 * The type of bytes that are not text; undefined when no signature is known. The signature at the start decides.
 * `named` is what the name may mean: it chooses between the members of a family (Office), and backs signatures of two bytes.
 * `claimed` is that and the declared type, for what has no signature.
 */
export async function binaryType(
  bytes: Bytes,
  named: readonly NamedType[],
  claimed: readonly NamedType[],
): Promise<BinaryType | undefined> {
  const { head } = bytes
  const start = head.toString('latin1', 0, startBytes)
  if (/^(?:\xef\xbb\xbf)?\s*%PDF-/.test(start)) return pdf
  if (start.startsWith('\xef\xbb\xbf')) return pdfBehind(head)
  if (start.startsWith('PK\x03\x04')) return zipType(bytes, named[0])
  if (start.startsWith('\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1')) return cfbType(bytes, named)
  // not left to the library, which would unpack it
  if (start.startsWith('\x1f\x8b\x08')) return gzip
  if (isAsf(head)) return asfType(bytes)
  if (id3TagBytes(head) > 0) return behindId3Tags(bytes)
  const found = heifType(head) ?? (await askLibrary(head, named))
  if (found) return soundOnly(found, bytes)
  return signedType(start) ?? os2Type(head) ?? stlType(bytes, claimed) ?? paddedMpegAudio(head) ?? pdfBehind(head)
}

/** A document behind something else: a header of another system, or what a printer was told first. */
function pdfBehind(head: Buffer): NamedType | undefined {
  return /%PDF-[12]\.\d/.test(head.toString('latin1', 0, pdfStartBytes)) ? pdf : undefined
}

/** Bitmaps, icons and pointers of OS/2, alone or as an array of several. */
function os2Type(head: Buffer): NamedType | undefined {
  const at = head.toString('latin1', 0, 2) === 'BA' ? 14 : 0
  if (!isBitmap(head, at)) return undefined
  const kind = head.toString('latin1', at, at + 2)
  if (/^(?:CI|IC|CP|PT)$/.test(kind)) return icon
  return kind === 'BM' ? bitmap : undefined
}

async function askLibrary(head: Buffer, named: readonly NamedType[]): Promise<NamedType | undefined> {
  let result
  try {
    result = await fileTypeFromBuffer(head)
  } catch {
    return undefined // a file that defeats the parser is unknown, not refused
  }
  if (!result || !confirms(result.ext, head, named)) return undefined
  const contentType = canonicalType(result.mime)
  // types that the library made up mean nothing to anybody else
  if (contentType === null || contentType.startsWith('application/x-ft-')) return { ...unknownType, format: result.ext }
  if (kindOf(contentType) === 'text') return undefined // it is not text, whatever it begins with
  const byExtension = typesOfName(`.${result.ext}`).find((type) => type.contentType === contentType)
  return byExtension ?? { contentType, format: typeOfDeclared(contentType)?.format ?? result.ext }
}

async function soundOnly(found: NamedType, bytes: Bytes): Promise<BinaryType> {
  const { contentType } = found
  if (contentType === 'video/mp4') return mp4Type(bytes)
  if (contentType === 'video/webm' && isAudioMatroska(bytes.head)) return { contentType: 'audio/webm', format: 'webm' }
  if (contentType === 'video/x-matroska' && isAudioMatroska(bytes.head)) {
    return { contentType: 'audio/x-matroska', format: 'mka' }
  }
  return found
}
