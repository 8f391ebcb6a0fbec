import type { NamedType } from '../../src/plugin.ts'
import { type BinaryType, type Bytes, typeOf, typesOf } from './bytes.ts'

const headerBytes = 512
/** Bytes of one entry of the directory. */
const entryBytes = 128
const nameBytes = 64
/** Sectors of the directory that are read, and entries that are looked at. */
const mostSectors = 256
const mostEntries = 4_096
/** Sectors of the allocation table that the header names itself, and sectors of the list of further ones that are read. */
const headerTableSectors = 109
const mostListSectors = 64
const noEntry = 0xffff_ffff

/** Entries of the root that give a format away. A document may hold others embedded, but not there. */
const telling: readonly (readonly [name: string, format: string])[] = [
  ['WordDocument', 'doc'],
  ['PowerPoint Document', 'ppt'],
  ['PP40', 'ppt'],
  ['Workbook', 'xls'],
  ['Book', 'xls'],
  ['VisioDocument', 'vsd'],
  ['__properties_version1.0', 'msg'],
  ['Quill', 'pub'],
]
/** Classes of the root, as they are stored: those of Windows Installer's packages and patches, and of Project. */
const classes: Readonly<Record<string, string>> = {
  '84100c0000000000c000000000000046': 'msi',
  '86100c0000000000c000000000000046': 'msi',
  '3a8fb774c8c8d111be1100c04fb6faf1': 'mpp',
}
const own = typesOf('doc xls ppt vsd msg pub mpp msi')
/** What an encrypted package (`EncryptedPackage`) may hold; only the name tells. */
const encryptable = typesOf('docx docm xlsx xlsm xlsb pptx pptm')
const unknown = typeOf('cfb')
export const compoundTypes: readonly NamedType[] = [...own, ...encryptable, unknown]

/** Which of the formats an OLE2 compound file is: by the root of its directory, by the name where that is not to be found. */
export async function cfbType(bytes: Bytes, named: readonly NamedType[]): Promise<BinaryType> {
  const directory = await readDirectory(bytes)
  const said = named.find(({ format }) => own.some((type) => type.format === format))
  if (!directory && !bytes.whole) return { ...(said ?? unknown), mayBe: compoundTypes }
  const { names, rootClass } = rootOf(directory ?? bytes.head.subarray(headerBytes))
  const ofClass = classes[rootClass]
  if (ofClass !== undefined) return typeOf(ofClass)
  const found = telling.filter(([name]) => names.has(name)).map(([, format]) => format)
  if (said && (found.length === 0 || found.includes(said.format ?? ''))) return said
  const encrypted = names.has('EncryptedPackage') && named.find(({ format }) => isIn(encryptable, format))
  if (encrypted) return encrypted
  return found[0] === undefined ? unknown : typeOf(found[0])
}

const isIn = (types: readonly NamedType[], format: string | null): boolean =>
  types.some((type) => type.format === format)

/** The sectors of the directory, in order; `undefined` when the first of them cannot be had. */
async function readDirectory(bytes: Bytes): Promise<Buffer | undefined> {
  const { head } = bytes
  if (head.length < headerBytes) return undefined
  const sectorBytes = 2 ** head.readUInt16LE(0x1e)
  if (sectorBytes !== 512 && sectorBytes !== 4096) return undefined
  const read = async (sector: number) => {
    const found = await bytes.read((sector + 1) * sectorBytes, sectorBytes)
    return found?.length === sectorBytes ? found : undefined
  }
  /** The sector that has this part of the allocation table. */
  const tableSector = async (part: number) => {
    if (part < headerTableSectors) return read(head.readUInt32LE(0x4c + part * 4))
    // the last number of a list's sector names the next one
    const perSector = sectorBytes / 4 - 1
    let left = part - headerTableSectors
    let list = await read(head.readUInt32LE(0x44))
    for (let i = 0; list && left >= perSector && i < mostListSectors; i++, left -= perSector)
      list = await read(list.readUInt32LE(perSector * 4))
    return list && left < perSector ? read(list.readUInt32LE(left * 4)) : undefined
  }
  const sectors: Buffer[] = []
  const seen = new Set<number>()
  let sector = head.readUInt32LE(0x30)
  while (sectors.length < mostSectors && !seen.has(sector)) {
    seen.add(sector)
    const content = await read(sector)
    if (!content) break
    sectors.push(content)
    const at = sector * 4
    const table = await tableSector(Math.floor(at / sectorBytes))
    if (!table) break
    sector = table.readUInt32LE(at % sectorBytes)
  }
  return sectors.length === 0 ? undefined : Buffer.concat(sectors)
}

/** The entries right below the root; all that look like entries where the root names none. */
function rootOf(directory: Buffer): { readonly names: ReadonlySet<string>; readonly rootClass: string } {
  const root = entryAt(directory, 0)
  const names = new Set<string>()
  const left = root?.kind === 5 ? [root.child] : []
  for (let i = 0; i < left.length && i < mostEntries; i++) {
    const entry = entryAt(directory, left[i] ?? noEntry)
    if (!entry || names.has(entry.name)) continue
    names.add(entry.name)
    left.push(entry.left, entry.right)
  }
  if (names.size === 0) {
    for (let index = 0; index < mostEntries && (index + 1) * entryBytes <= directory.length; index++) {
      const entry = entryAt(directory, index)
      if (entry) names.add(entry.name)
    }
  }
  return { names, rootClass: root?.kind === 5 ? root.classId : '' }
}

function entryAt(directory: Buffer, index: number) {
  const at = index * entryBytes
  if (index === noEntry || at + entryBytes > directory.length) return undefined
  const length = directory.readUInt16LE(at + nameBytes)
  const kind = directory[at + nameBytes + 2] ?? 0
  if (length < 4 || length > nameBytes || length % 2 === 1 || kind < 1 || kind > 5) return undefined
  return {
    kind,
    name: directory.toString('utf16le', at, at + length - 2),
    left: directory.readUInt32LE(at + 68),
    right: directory.readUInt32LE(at + 72),
    child: directory.readUInt32LE(at + 76),
    classId: directory.toString('hex', at + 80, at + 96),
  }
}
