import type { NamedType } from '../../src/plugin.ts'
import { typeOf } from './bytes.ts'

interface Signature {
  /** What a file of this type begins with, one of them. */
  readonly starts: readonly string[]
  readonly type: NamedType
  /** What must also be in the first bytes, where the start alone is too short to be believed. */
  readonly holds?: { readonly at: number; readonly oneOf: readonly string[] }
}

/** Signatures that we look at ourselves: file-type lacks them, or loses them when the file goes on behind the head bytes. */
const signatures: readonly Signature[] = [
  { starts: ['II*\0', 'MM\0*'], type: typeOf('tiff') },
  { starts: ['AT&TFORM'], type: typeOf('djvu') },
  { starts: ['v/1\x01'], type: typeOf('exr') },
  { starts: ['\x89HDF\r\n\x1a\n'], type: typeOf('hdf5') },
  { starts: ['\n\r\r\n'], type: typeOf('pcapng') },
  { starts: ['\x89PNG\r\n\x1a\n'], type: typeOf('png') },
  { starts: ['OggS\0'], type: typeOf('ogx') },
  { starts: ['RF64', 'BW64'], holds: { at: 8, oneOf: ['WAVE'] }, type: typeOf('wav') },
  { starts: ['.snd\0'], type: typeOf('au') },
  // placeable, or plain: type, words of the header, version
  {
    starts: [
      '\xd7\xcd\xc6\x9a',
      '\x01\0\x09\0\0\x01',
      '\x01\0\x09\0\0\x03',
      '\x02\0\x09\0\0\x01',
      '\x02\0\x09\0\0\x03',
    ],
    type: typeOf('wmf'),
  },
  { starts: ['\x01\0\0\0'], holds: { at: 40, oneOf: [' EMF'] }, type: typeOf('emf') },
  // Word 1 and 2, and Write: no compound files yet
  { starts: ['\x9b\xa5\x21\0', '\xdb\xa5\x2d\0', '\x31\xbe\0\0\0\xab', '\x32\xbe\0\0\0\xab'], type: typeOf('doc') },
  // Excel 2 to 5: the record that begins something, and what: a workbook's globals, a sheet, a chart, macros, a workbook
  {
    starts: ['\x09\0\x04\0', '\x09\x02\x06\0', '\x09\x04\x06\0', '\x09\x08\x08\0'],
    holds: { at: 6, oneOf: ['\x05\0', '\x10\0', '\x20\0', '\x40\0', '\0\x01'] },
    type: typeOf('xls'),
  },
]

export const signedTypes: readonly NamedType[] = signatures.map(({ type }) => type)

/** @param start the first bytes, one character each */
export function signedType(start: string): NamedType | undefined {
  return signatures.find(
    ({ starts, holds }) =>
      starts.some((one) => start.startsWith(one)) &&
      (!holds || holds.oneOf.some((one) => start.startsWith(one, holds.at))),
  )?.type
}
