import { type NamedType, typesOfName } from '../../src/plugin.ts'

/** Bytes of one entry of the directory; entries begin at multiples of it. */
const entryBytes = 128
const nameBytes = 64

/** Streams that give a format away. A document may hold others embedded, so the first that is there wins. */
const telling: readonly (readonly [name: string, format: string])[] = [
  ['WordDocument', 'doc'],
  ['PowerPoint Document', 'ppt'],
  ['Workbook', 'xls'],
  ['Book', 'xls'],
  ['VisioDocument', 'vsd'],
  ['__properties_version1.0', 'msg'],
]
/** Class of the root entry of a Windows Installer package, {000C1084-0000-0000-C000-000000000046}, as it is stored. */
const installerClass = Buffer.from('84100c0000000000c000000000000046', 'hex')
const formats = new Set('doc xls ppt msg vsd msi'.split(' '))
/** What an encrypted package (`EncryptedPackage`) may hold; only the name tells. */
const encryptable = new Set('docx docm xlsx xlsm xlsb pptx pptm'.split(' '))

/** Which of the formats an OLE2 compound file is: by its directory where that lies in the head bytes, by the name otherwise. */
export function cfbType(head: Buffer, named: readonly NamedType[]): NamedType {
  const { names, installer } = readDirectory(head)
  const said = named.find(({ format }) => formats.has(format ?? ''))
  if (installer) return typeOf('msi')
  const found = new Set(telling.filter(([name]) => names.has(name)).map(([, format]) => format))
  if (said && (found.size === 0 || found.has(said.format ?? ''))) return said
  const encrypted = names.has('EncryptedPackage') && named.find(({ format }) => encryptable.has(format ?? ''))
  if (encrypted) return encrypted
  return typeOf([...found][0] ?? 'cfb')
}

const typeOf = (format: string): NamedType =>
  typesOfName(`.${format}`)[0] ?? { contentType: 'application/x-cfb', format: 'cfb' }

/** Reads whatever looks like a directory entry, which saves following the sector chain. */
function readDirectory(head: Buffer): { names: Set<string>; installer: boolean } {
  const names = new Set<string>()
  let installer = false
  for (let at = 512; at + entryBytes <= head.length; at += entryBytes) {
    const length = head.readUInt16LE(at + nameBytes)
    const kind = head[at + nameBytes + 2] ?? 0
    if (length < 4 || length > nameBytes || length % 2 === 1 || kind < 1 || kind > 5) continue
    names.add(head.toString('utf16le', at, at + length - 2))
    if (kind === 5 && head.subarray(at + 80, at + 96).equals(installerClass)) installer = true
  }
  return { names, installer }
}
