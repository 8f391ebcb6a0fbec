import { fileTypeFromBuffer } from 'file-type'
import { canonicalType, kindOf, type NamedType, typeOfDeclared, typesOfName, unknownType } from '../../src/plugin.ts'
import { cfbType } from './cfb.ts'
import { heifType, isAudioMatroska, isAudioMp4 } from './containers.ts'
import { confirms, isAdts } from './confirm.ts'
import { zipType } from './zip.ts'

/** Signatures that we look at ourselves: file-type lacks them, or loses them when the file goes on behind the head bytes. */
const own: readonly (readonly [bytes: string, contentType: string, format: string])[] = [
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

const id3HeaderBytes = 10

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
  // not left to the library, which would unpack it
  if (start.startsWith('\x1f\x8b\x08')) return { contentType: 'application/gzip', format: 'gz' }
  const image = heifType(bytes)
  if (image) return image
  if (hasId3Tag(bytes)) return behindId3Tag(bytes)
  const found = await askLibrary(bytes, named)
  if (found) return soundOnly(found, bytes)
  const row = own.find(([signature]) => start.startsWith(signature))
  return row && { contentType: row[1], format: row[2] }
}

/** An ID3v2 header: version 2 to 4, and a size of four bytes below 0x80. */
function hasId3Tag(bytes: Buffer): boolean {
  const version = bytes[3] ?? 0
  const sizes = bytes.subarray(6, id3HeaderBytes)
  return bytes.toString('latin1', 0, 3) === 'ID3' && version >= 2 && version <= 4 && sizes.every((byte) => byte < 0x80)
}

/** A tag makes an MP3 of whatever follows, but for the two other formats that carry one. */
function behindId3Tag(bytes: Buffer): NamedType {
  const size = bytes.subarray(6, id3HeaderBytes).reduce((sum, byte) => sum * 128 + byte, 0)
  const sound = bytes.subarray(id3HeaderBytes + size)
  if (sound.toString('latin1', 0, 4) === 'fLaC') return { contentType: 'audio/flac', format: 'flac' }
  if (sound.length >= 7 && isAdts(sound)) return { contentType: 'audio/aac', format: 'aac' }
  return { contentType: 'audio/mpeg', format: 'mp3' }
}

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
  if (contentType === 'video/webm' && isAudioMatroska(bytes)) return { contentType: 'audio/webm', format: 'webm' }
  if (contentType === 'video/x-matroska' && isAudioMatroska(bytes)) {
    return { contentType: 'audio/x-matroska', format: 'mka' }
  }
  return found
}
