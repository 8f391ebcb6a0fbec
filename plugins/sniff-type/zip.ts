import type { NamedType } from '../../src/plugin.ts'
import { type BinaryType, type Bytes, typeOf, typesOf } from './bytes.ts'
import { iworkFormat, iworkFormats } from './iwork.ts'
import { contentOf, directoryEntries, type Entry, headEntries } from './zip-entries.ts'

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
  'vnd.ms-excel.addin.macroenabled': 'xlam',
  'vnd.ms-excel.sheet.binary.macroenabled': 'xlsb',
  'vnd.openxmlformats-officedocument.presentationml.presentation': 'pptx',
  'vnd.openxmlformats-officedocument.presentationml.template': 'potx',
  'vnd.openxmlformats-officedocument.presentationml.slideshow': 'ppsx',
  'vnd.ms-powerpoint.presentation.macroenabled': 'pptm',
  'vnd.ms-powerpoint.template.macroenabled': 'potm',
  'vnd.ms-powerpoint.slideshow.macroenabled': 'ppsm',
  'vnd.ms-powerpoint.addin.macroenabled': 'ppam',
  'vnd.ms-visio.drawing': 'vsdx',
  'vnd.ms-visio.drawing.macroenabled': 'vsdm',
  'vnd.ms-visio.template': 'vstx',
  'vnd.ms-visio.template.macroenabled': 'vstm',
  'vnd.ms-visio.stencil': 'vssx',
  'vnd.ms-visio.stencil.macroenabled': 'vssm',
}

/** Folders of Office packages, the usual format, the usual one with macros, and the others that a name may choose. */
const officeFolders: readonly (readonly [folder: string, usual: string, macros: string, others: string])[] = [
  ['word/', 'docx', 'docm', 'dotx dotm'],
  ['xl/', 'xlsx', 'xlsm', 'xltx xltm xlsb xlam'],
  ['ppt/', 'pptx', 'pptm', 'potx potm ppsx ppsm ppam'],
  ['visio/', 'vsdx', 'vsdm', 'vstx vstm vssx vssm'],
]

/** Formats that name themselves in an entry `mimetype`. */
const selfNamed = typesOf('epub odt ott ods ots odp otp odg otg odc odf odm odb sxw sxc sxi')

/** Packages that the presence of an entry gives away, in the order in which they are tried. */
const tellingEntries: readonly (readonly [RegExp, string])[] = [
  [/^(?:AndroidManifest\.xml|classes\d*\.dex)$/, 'apk'],
  [/^META-INF\/mozilla\.rsa$/, 'xpi'],
  [/^3D\/.*\.model$/i, '3mf'],
  [/^doc\.kml$/i, 'kmz'],
]

const zip = typeOf('zip')
/** Every type that a zip archive may turn out to be. */
const packages = new Map(
  [
    zip,
    ...typesOf(`jar apk xpi 3mf kmz xps oxps ${iworkFormats}`),
    ...typesOf([...Object.values(mainParts), ...officeFolders.flatMap((row) => row.slice(1))].join(' ')),
    ...selfNamed,
  ].map((type) => [type.format, type]),
)
export const packageTypes: readonly NamedType[] = [...packages.values()]

interface Guess {
  readonly format: string
  /** Whether no other entry can say otherwise. */
  readonly sure: boolean
}

/** Tells packages from plain zip archives: by the entries that begin in the head bytes, then by the directory at the end. */
export async function zipType(bytes: Bytes, named: NamedType | undefined): Promise<BinaryType> {
  const { entries, all } = headEntries(bytes.head)
  const first = await guess(entries, all, named)
  if (first.sure || bytes.size === bytes.head.length) return typeOfPackage(first)
  if (!bytes.whole) return { ...typeOfPackage(first), mayBe: packageTypes }
  const listed = await directoryEntries(bytes)
  return typeOfPackage(listed ? await guess(listed, true, named) : first)
}

const typeOfPackage = ({ format }: Guess): NamedType => packages.get(format) ?? zip

/** @param all whether these are all entries */
async function guess(entries: readonly Entry[], all: boolean, named: NamedType | undefined): Promise<Guess> {
  const certain = (await ownName(entries)) ?? (await officeByContentTypes(entries)) ?? (await xpsFormat(entries))
  if (certain !== undefined) return { format: certain, sure: true }
  const office = officeByFolders(entries, all, named)
  if (office !== undefined) return { format: office, sure: all }
  const iwork = await iworkFormat(entries, all, named)
  if (iwork) return { ...iwork, sure: iwork.sure || all }
  const told = tellingEntries.find(([pattern]) => entries.some(({ name }) => pattern.test(name)))?.[1]
  if (told !== undefined) return { format: told, sure: true }
  return { format: epubByContainer(entries) ?? kmzByName(entries, named) ?? javaArchive(entries, named), sure: all }
}

async function ownName(entries: readonly Entry[]): Promise<string | undefined> {
  const type = (await contentOf(entries.find(({ name }) => name === 'mimetype'))).trim()
  return selfNamed.find(({ contentType }) => contentType === type)?.format ?? undefined
}

/** Names of parts have no case (ECMA-376 part 2), and some writers take that at its word. */
const isContentTypes = ({ name }: Entry): boolean => name.toLowerCase() === '[content_types].xml'

async function officeByContentTypes(entries: readonly Entry[]): Promise<string | undefined> {
  const content = await contentOf(entries.find(isContentTypes))
  const main = /ContentType\s*=\s*["']application\/([^"']{1,100})\.main(?:\+xml)?["']/i.exec(content)?.[1]
  return main === undefined ? undefined : mainParts[main.toLowerCase()]
}

async function xpsFormat(entries: readonly Entry[]): Promise<string | undefined> {
  if (!entries.some(({ name }) => /\.fdseq(?:\/\[\d+\](?:\.last)?\.piece)?$/i.test(name))) return undefined
  const relations = await contentOf(entries.find(({ name }) => /^_rels\/\.rels$/i.test(name)))
  return relations.includes('schemas.openxps.org') ? 'oxps' : 'xps'
}

/** Where `[Content_Types].xml` lies behind the head bytes, or cannot be read: by the folders, if it is a package at all. */
function officeByFolders(entries: readonly Entry[], all: boolean, named: NamedType | undefined): string | undefined {
  const has = (pattern: RegExp) => entries.some(({ name }) => pattern.test(name))
  if (all && !entries.some(isContentTypes)) return undefined
  const isPackage = has(/^(?:\[Content_Types\]\.xml$|_rels\/|docProps\/|(?:word|xl|ppt|visio)\/(?:_rels\/|theme\/))/i)
  for (const [folder, usual, macros, others] of officeFolders) {
    if (!entries.some(({ name }) => name.toLowerCase().startsWith(folder))) continue
    const said = named?.format
    if (said && [usual, macros, ...others.split(' ')].includes(said)) return said
    if (isPackage) return has(/\/vbaProject\.bin$/i) ? macros : usual
  }
  return undefined
}

/** A book whose `mimetype` is missing. */
function epubByContainer(entries: readonly Entry[]): string | undefined {
  const has = (pattern: RegExp) => entries.some(({ name }) => pattern.test(name))
  return has(/^META-INF\/container\.xml$/i) && has(/\.opf$/i) ? 'epub' : undefined
}

/** A map whose main file is not called `doc.kml`: it is the first `.kml` in the root. */
function kmzByName(entries: readonly Entry[], named: NamedType | undefined): string | undefined {
  const at = entries.findIndex(({ name }) => /^[^/]+\.kml$/i.test(name))
  return at === 0 || (at > 0 && named?.format === 'kmz') ? 'kmz' : undefined
}

function javaArchive(entries: readonly Entry[], named: NamedType | undefined): string {
  if (!entries.some(({ name }) => name.startsWith('META-INF/'))) return 'zip'
  if (named?.format === 'apk') return 'apk'
  return entries.some(({ name }) => name === 'META-INF/MANIFEST.MF') ? 'jar' : 'zip'
}
