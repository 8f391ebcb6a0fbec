import { fileTypeFromBuffer } from 'file-type'
import {
  canonicalType,
  kindOf,
  type NamedType,
  typeOfDeclared,
  typesOfName,
  unknownType,
} from '../../src/uploads/names.ts'
import { cfbType } from './cfb.ts'
import { heifType, isAudioMatroska, isAudioMp4 } from './containers.ts'
import { confirms } from './confirm.ts'
import { zipType } from './zip.ts'

/** Signatures that we look at ourselves: file-type lacks them, or loses them when the file goes on behind the head bytes. */
const own: readonly (readonly [bytes: string, contentType: string, format: string])[] = [
  ['\x1f\x8b\x08', 'application/gzip', 'gz'],
  ['II*\0', 'image/tiff', 'tiff'],
  ['MM\0*', 'image/tiff', 'tiff'],
  ['AT&TFORM', 'image/vnd.djvu', 'djvu'],
  ['v/1\x01', 'image/x-exr', 'exr'],
  ['\x89HDF\r\n\x1a\n', 'application/x-hdf5', 'hdf5'],
  ['\n\r\r\n', 'application/x-pcapng', 'pcapng'],
  ['\x89PNG\r\n\x1a\n', 'image/png', 'png'],
  ['0&\xb2\x75\x8e\x66\xcf\x11', 'video/x-ms-asf', 'asf'],
  ['OggS\0', 'application/ogg', 'ogx'],
]

/** Types that follow an ID3 tag; whatever else stands behind one, the file is an MP3. */
const tagged = new Set(['audio/flac', 'audio/aac', 'audio/ape', 'audio/x-musepack'])

/**
 * The type of bytes that are not text; undefined when no signature is known. The signature at the start decides.
 * `named` is what the name may mean: it chooses between the members of a family (Office), and backs signatures of two bytes.
 */
export async function binaryType(head: Uint8Array, named: readonly NamedType[]): Promise<NamedType | undefined> {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  const start = bytes.toString('latin1', 0, 64)
  if (/^(?:\xef\xbb\xbf)?\s*%PDF-/.test(start)) return { contentType: 'application/pdf', format: 'pdf' }
  if (start.startsWith('\xef\xbb\xbf')) return undefined
  if (start.startsWith('PK\x03\x04')) return zipType(bytes, named[0])
  if (start.startsWith('\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1')) return cfbType(bytes, named)
  const gzip = own[0]
  if (gzip && start.startsWith(gzip[0])) return { contentType: gzip[1], format: gzip[2] }
  const image = heifType(bytes)
  if (image) return image
  const found = await askLibrary(bytes, named)
  if (hasId3Tag(bytes) && !tagged.has(found?.contentType ?? '')) {
    return { contentType: 'audio/mpeg', format: 'mp3' }
  }
  if (found) return soundOnly(found, bytes)
  const row = own.find(([signature]) => start.startsWith(signature))
  return row && { contentType: row[1], format: row[2] }
}

/** An ID3v2 header: version 2 to 4, and a size of four bytes below 0x80. */
const hasId3Tag = (bytes: Buffer): boolean =>
  bytes.length >= 10 &&
  bytes.toString('latin1', 0, 3) === 'ID3' &&
  bytes.subarray(3, 4).every((version) => version >= 2 && version <= 4) &&
  bytes.subarray(6, 10).every((byte) => byte < 0x80)

async function askLibrary(bytes: Buffer, named: readonly NamedType[]): Promise<NamedType | undefined> {
  let result
  try {
    result = await fileTypeFromBuffer(bytes)
  } catch {
    return undefined // a file that defeats the parser is unknown, not refused
  }
  if (!result || !confirms(result.ext, bytes, named)) return undefined
  const contentType = canonicalType(result.mime)
  // types that the library made up mean nothing to anybody else
  if (contentType === null || contentType.startsWith('application/x-ft-')) return { ...unknownType, format: result.ext }
  if (kindOf(contentType) === 'text') return undefined // it is not text, whatever it begins with
  const byExtension = typesOfName(`.${result.ext}`).find((type) => type.contentType === contentType)
  return byExtension ?? { contentType, format: typeOfDeclared(contentType)?.format ?? result.ext }
}

function soundOnly(found: NamedType, bytes: Buffer): NamedType {
  const { contentType } = found
  if (contentType === 'video/mp4' && isAudioMp4(bytes)) return { contentType: 'audio/mp4', format: 'm4a' }
  if (contentType === 'video/webm' && isAudioMatroska(bytes)) return { contentType: 'audio/webm', format: 'weba' }
  if (contentType === 'video/x-matroska' && isAudioMatroska(bytes)) {
    return { contentType: 'audio/x-matroska', format: 'mka' }
  }
  return found
}
