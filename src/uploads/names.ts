import { aliasesOf, typeRows } from './name-table.ts'

/** What a name says about a file. */
export interface NamedType {
  /** MIME type without parameters, lower case. */
  readonly contentType: string
  /** Short name of the format, such as `jpeg`. */
  readonly format: string | null
}

/** The word that the raw dialect shows as `type`. */
export type Kind = 'image' | 'video' | 'audio' | 'document' | 'archive' | 'text' | 'other'

export const unknownType: NamedType = { contentType: 'application/octet-stream', format: null }

const aliases = new Map(
  Object.entries(aliasesOf).flatMap(([type, others]) => others.split(' ').map((other) => [other, type])),
)
const byExtension = new Map<string, NamedType[]>()
const byType = new Map<string, { format: string; extensions: string[] }>()
for (const [contentType, format, list] of typeRows) {
  const extensions = list.split(' ')
  for (const extension of extensions) {
    byExtension.set(extension, [...(byExtension.get(extension) ?? []), { contentType, format }])
  }
  const known = byType.get(contentType)
  if (known) known.extensions.push(...extensions)
  else byType.set(contentType, { format, extensions })
}

/** One part of a MIME type: RFC 6838, section 4.2. */
const restrictedName = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/

/** Whether the text is a MIME type, without parameters, as RFC 6838 allows it to be registered. */
export function isMimeType(text: string): boolean {
  const slash = text.indexOf('/')
  return slash > 0 && restrictedName.test(text.slice(0, slash)) && restrictedName.test(text.slice(slash + 1))
}

/** The one name of a MIME type that we use: lower case, without parameters, aliases resolved. Null when it is none. */
export function canonicalType(contentType: string): string | null {
  const type = (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
  if (!isMimeType(type)) return null
  return aliases.get(type) ?? type
}

/** What is known of a MIME type: its canonical name and format. Null when it is none, or says nothing. */
export function typeOfDeclared(declared: string | null): NamedType | null {
  const contentType = declared === null ? null : canonicalType(declared)
  if (contentType === null || contentType === unknownType.contentType) return null
  return { contentType, format: byType.get(contentType)?.format ?? null }
}

/** Every type whose files have this name's extension, the usual one first. */
export function typesOfName(filename: string): readonly NamedType[] {
  const dot = filename.lastIndexOf('.')
  return (dot < 0 ? undefined : byExtension.get(filename.slice(dot + 1).toLowerCase())) ?? []
}

/** What the extension says; the declared type chooses where it means several. Null when it says nothing. */
export function typeOfName(filename: string, declared: string | null): NamedType | null {
  const named = typesOfName(filename)
  const said = declared === null ? null : canonicalType(declared)
  return named.find((type) => type.contentType === said) ?? named[0] ?? null
}

/** A guess before the bytes are there: from the name, and from the declared type when the name tells nothing. */
export function guessType(filename: string, declared: string | null): NamedType {
  return typeOfName(filename, declared) ?? typeOfDeclared(declared) ?? unknownType
}

/** Every type of this kind that we know. */
export function typesOfKind(kind: Kind): readonly string[] {
  return [...byType.keys()].filter((contentType) => kindOf(contentType) === kind)
}

/** Extensions of files of this type, without the dot, the usual one first; none when the type is not known. */
export function extensionsOf(contentType: string): readonly string[] {
  return byType.get(canonicalType(contentType) ?? '')?.extensions ?? []
}

const xmlType = /[/+]xml$/
const documents =
  /^application\/(?:pdf|rtf|msword|postscript|eps|epub\+zip|x-mobipocket-ebook|x-mspublisher|oxps|vnd\.(?:sun\.xml|oasis\.opendocument|openxmlformats-officedocument|visio|ms-(?:word|excel|powerpoint|visio|project|publisher|xpsdocument)|apple\.(?:pages|numbers|keynote)))(?:$|[.+-])/
const archives =
  /^application\/(?:zip|gzip|zstd|lzip|java-archive|x-(?:tar|bzip2|xz|7z-compressed|lz4|lzma|compress|lzh-compressed|arj|ace-compressed|cpio|unix-archive|iso9660-image|apple-diskimage|deb|rpm|xpinstall)|vnd\.(?:rar|ms-cab-compressed|android\.package-archive|google-earth\.kmz))$/
const textual =
  /^(?:text\/.+|message\/rfc822|multipart\/related|application\/(?:json|x-ndjson|yaml|toml|sql|graphql|hta|x-sh|x-bat|x-powershell|x-subrip|xml-dtd))$|[/+]xml$|[/+]json$/
const media: Readonly<Record<string, Kind>> = {
  'application/ogg': 'audio',
  'application/mxf': 'video',
  'application/vnd.rn-realmedia': 'video',
}

/** The kind of a file that a person would name. */
export function kindOf(contentType: string): Kind {
  const type = canonicalType(contentType) ?? ''
  const top = type.slice(0, type.indexOf('/'))
  if (top === 'image' || top === 'video' || top === 'audio') return top
  if (documents.test(type)) return 'document'
  if (archives.test(type)) return 'archive'
  if (textual.test(type)) return 'text'
  return media[type] ?? 'other'
}

const active = new Set([
  'text/html',
  'text/javascript',
  'text/xsl',
  'text/x-component',
  'text/webviewhtml',
  'text/x-server-parsed-html',
  'text/cache-manifest',
  'text/xml-external-parsed-entity',
  'application/xml-external-parsed-entity',
  'application/xml-dtd',
  'application/hta',
  'application/wasm',
  'application/x-shockwave-flash',
  'multipart/related',
  'multipart/x-mixed-replace',
  'message/rfc822',
])

/** Whether a browser could run a file that is served with this type, or is not known to keep from it: never show one inline. */
export function isActive(contentType: string): boolean {
  const type = canonicalType(contentType)
  return type === null || active.has(type) || xmlType.test(type)
}
