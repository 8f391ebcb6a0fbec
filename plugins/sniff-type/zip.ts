import { constants, inflateRawSync } from 'node:zlib'
import { type NamedType, typesOfName } from '../../src/plugin.ts'

interface Entry {
  readonly name: string
  readonly deflated: boolean
  /** As stored, cut where the head bytes end. */
  readonly data: Buffer
}

/** Entries that are looked at; the kind of a package shows in the first few. */
const mostEntries = 1_000
/** Bytes that one entry may unpack to: `[Content_Types].xml` has a few kilobytes. */
const mostUnpackedBytes = 256 * 1024

const localHeader = Buffer.from('PK\x03\x04', 'latin1')
const localHeaderBytes = 30

/** The main part of an Office package, as `[Content_Types].xml` names it, and the format that it makes. */
const mainParts: Readonly<Record<string, string>> = {
  'vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'vnd.openxmlformats-officedocument.wordprocessingml.template': 'dotx',
  'vnd.ms-word.document.macroenabled': 'docm',
  'vnd.ms-word.template.macroenabledtemplate': 'dotm',
  'vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  'vnd.openxmlformats-officedocument.spreadsheetml.template': 'xltx',
  'vnd.ms-excel.sheet.macroenabled': 'xlsm',
  'vnd.ms-excel.template.macroenabled': 'xltm',
  'vnd.ms-excel.sheet.binary.macroenabled': 'xlsb',
  'vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
  'vnd.openxmlformats-officedocument.presentationml.template': 'potx',
  'vnd.openxmlformats-officedocument.presentationml.slideshow': 'ppsx',
  'vnd.ms-powerpoint.presentation.macroenabled': 'pptm',
  'vnd.ms-powerpoint.template.macroenabled': 'potm',
  'vnd.ms-powerpoint.slideshow.macroenabled': 'ppsm',
  'vnd.ms-visio.drawing': 'vsdx',
}

/** Folders of Office packages, the usual format, and the others that a name may choose. */
const officeFolders: readonly (readonly [folder: string, usual: string, others: string])[] = [
  ['word/', 'docx', 'docm dotx dotm'],
  ['xl/', 'xlsx', 'xlsm xltx xltm xlsb'],
  ['ppt/', 'pptx', 'pptm potx potm ppsx ppsm'],
  ['visio/', 'vsdx', ''],
]

/** Formats that name themselves in an entry `mimetype`. */
const selfNamed = new Set('epub odt ott ods ots odp otp odg'.split(' '))

/** Packages that the presence of an entry gives away, in the order in which they are tried. */
const tellingEntries: readonly (readonly [RegExp, string])[] = [
  [/^(?:AndroidManifest\.xml|classes\d*\.dex)$/, 'apk'],
  [/^META-INF\/mozilla\.rsa$/, 'xpi'],
  [/^3D\/.*\.model$/, '3mf'],
  [/^Index\/MasterSlide/, 'key'],
  [/^Index\/Tables\//, 'numbers'],
  [/^Index\/Document\.iwa$/, 'pages'],
  [/^doc\.kml$/, 'kmz'],
]

/** Tells packages from plain zip archives, by the entries that begin in the head bytes. */
export function zipType(head: Buffer, named: NamedType | undefined): NamedType {
  const { entries, all } = readEntries(head)
  return typeOfFormat(
    ownName(entries) ??
      officeByContentTypes(entries) ??
      officeByFolders(entries, all, named) ??
      tellingEntries.find(([pattern]) => entries.some(({ name }) => pattern.test(name)))?.[1] ??
      javaArchive(entries, named) ??
      'zip',
  )
}

function typeOfFormat(format: string): NamedType {
  const type = typesOfName(`.${format}`)[0]
  if (!type) throw new TypeError(`There is no type for the format ${format}.`)
  return type
}

/** Goes from local header to local header. `all` says that none lies behind the head bytes. */
function readEntries(head: Buffer): { entries: readonly Entry[]; all: boolean } {
  const entries: Entry[] = []
  let at = 0
  while (entries.length < mostEntries && at + localHeaderBytes <= head.length) {
    if (!head.subarray(at, at + localHeader.length).equals(localHeader)) return { entries, all: true }
    const flags = head.readUInt16LE(at + 6)
    const packed = head.readUInt32LE(at + 18)
    const nameEnd = at + localHeaderBytes + head.readUInt16LE(at + 26)
    const start = nameEnd + head.readUInt16LE(at + 28)
    // with bit 3 the size follows the data: look for the next entry instead
    const sizeLater = (flags & 8) !== 0 && packed === 0
    const found = sizeLater ? head.indexOf(localHeader, start) : start + packed
    const end = found < 0 ? head.length : found
    entries.push({
      name: head.toString('latin1', at + localHeaderBytes, nameEnd),
      deflated: head.readUInt16LE(at + 8) === 8,
      data: head.subarray(start, end),
    })
    at = end
  }
  return { entries, all: false }
}

function contentOf(entry: Entry | undefined): string {
  if (!entry) return ''
  if (!entry.deflated) return entry.data.toString('latin1')
  try {
    const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: mostUnpackedBytes }
    return inflateRawSync(entry.data, options).toString('latin1')
  } catch {
    return '' // broken, or larger than any honest one
  }
}

function ownName(entries: readonly Entry[]): string | undefined {
  const type = contentOf(entries.find(({ name }) => name === 'mimetype')).trim()
  return [...selfNamed].find((format) => typeOfFormat(format).contentType === type)
}

function officeByContentTypes(entries: readonly Entry[]): string | undefined {
  const content = contentOf(entries.find(({ name }) => name === '[Content_Types].xml'))
  const main = /ContentType\s*=\s*["']application\/([^"']{1,100})\.main(?:\+xml)?["']/.exec(content)?.[1]
  return main && mainParts[main.toLowerCase()]
}

/** Where `[Content_Types].xml` lies behind the head bytes, or cannot be read: by the folders, if it is a package at all. */
function officeByFolders(entries: readonly Entry[], all: boolean, named: NamedType | undefined): string | undefined {
  const has = (pattern: RegExp) => entries.some(({ name }) => pattern.test(name))
  if (all && !has(/^\[Content_Types\]\.xml$/)) return undefined
  const isPackage = has(/^(?:\[Content_Types\]\.xml$|_rels\/|docProps\/|(?:word|xl|ppt|visio)\/(?:_rels\/|theme\/))/)
  for (const [folder, usual, others] of officeFolders) {
    if (!entries.some(({ name }) => name.startsWith(folder))) continue
    const said = named?.format
    if (said && (said === usual || others.split(' ').includes(said))) return said
    if (isPackage) return has(/\/vbaProject\.bin$/) ? usual.replace(/x$/, 'm') : usual
  }
  return undefined
}

function javaArchive(entries: readonly Entry[], named: NamedType | undefined): string | undefined {
  if (!entries.some(({ name }) => name.startsWith('META-INF/'))) return undefined
  if (named?.format === 'apk') return 'apk'
  return entries.some(({ name }) => name === 'META-INF/MANIFEST.MF') ? 'jar' : undefined
}
