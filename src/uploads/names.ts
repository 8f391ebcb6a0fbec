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

const ooxml = 'application/vnd.openxmlformats-officedocument'
const odf = 'application/vnd.oasis.opendocument'

/**
 * MIME type, format, extensions. An extension that stands in several rows means the first of them, unless the declared type
 * is that of a later one: `.ts` is TypeScript, and MPEG-TS when it was declared as `video/mp2t`.
 */
const rows: readonly (readonly [contentType: string, format: string, extensions: string])[] = [
  ['image/jpeg', 'jpeg', 'jpg jpeg jpe jfif pjpeg'],
  ['image/png', 'png', 'png apng'],
  ['image/gif', 'gif', 'gif'],
  ['image/webp', 'webp', 'webp'],
  ['image/avif', 'avif', 'avif avifs'],
  ['image/heic', 'heic', 'heic heics'],
  ['image/heif', 'heif', 'heif heifs hif'],
  ['image/tiff', 'tiff', 'tif tiff'],
  ['image/bmp', 'bmp', 'bmp dib'],
  ['image/x-icon', 'ico', 'ico cur'],
  ['image/svg+xml', 'svg', 'svg'],
  ['image/jxl', 'jxl', 'jxl'],
  ['image/jp2', 'jp2', 'jp2'],
  ['image/vnd.adobe.photoshop', 'psd', 'psd psb'],
  ['image/vnd.djvu', 'djvu', 'djvu djv'],
  ['image/vnd.dwg', 'dwg', 'dwg'],
  ['image/x-exr', 'exr', 'exr'],
  ['image/x-xcf', 'xcf', 'xcf'],
  ['image/x-adobe-dng', 'dng', 'dng'],
  ['image/x-canon-cr2', 'cr2', 'cr2'],
  ['image/x-canon-cr3', 'cr3', 'cr3'],
  ['image/x-nikon-nef', 'nef', 'nef'],
  ['image/x-sony-arw', 'arw', 'arw'],
  ['image/x-fujifilm-raf', 'raf', 'raf'],
  ['image/x-olympus-orf', 'orf', 'orf'],
  ['image/x-panasonic-rw2', 'rw2', 'rw2'],

  ['video/mp4', 'mp4', 'mp4 m4v mp4v f4v'],
  ['video/quicktime', 'mov', 'mov qt'],
  ['video/webm', 'webm', 'webm'],
  ['video/x-matroska', 'mkv', 'mkv'],
  ['video/x-msvideo', 'avi', 'avi'],
  ['video/mpeg', 'mpeg', 'mpg mpeg mpe m2p vob'],
  ['video/ogg', 'ogv', 'ogv ogm'],
  ['video/3gpp', '3gp', '3gp 3gpp'],
  ['video/3gpp2', '3g2', '3g2'],
  ['video/x-flv', 'flv', 'flv'],
  ['video/x-ms-wmv', 'wmv', 'wmv'],
  ['video/x-ms-asf', 'asf', 'asf'],
  ['application/mxf', 'mxf', 'mxf'],

  ['audio/mpeg', 'mp3', 'mp3 mp2 mpga'],
  ['audio/mp4', 'm4a', 'm4a m4b f4a mp4'],
  ['audio/aac', 'aac', 'aac adts'],
  ['audio/wav', 'wav', 'wav wave'],
  ['audio/flac', 'flac', 'flac'],
  ['audio/ogg', 'ogg', 'ogg oga spx'],
  ['audio/ogg', 'opus', 'opus'],
  ['audio/webm', 'webm', 'weba webm'],
  ['audio/x-matroska', 'mka', 'mka mkv'],
  ['audio/aiff', 'aiff', 'aif aiff aifc'],
  ['audio/midi', 'midi', 'mid midi'],
  ['audio/amr', 'amr', 'amr'],
  ['audio/x-ms-wma', 'wma', 'wma'],
  ['audio/x-caf', 'caf', 'caf'],
  ['audio/ape', 'ape', 'ape'],
  ['application/ogg', 'ogx', 'ogx'],
  ['video/ogg', 'ogv', 'ogg'],

  ['application/pdf', 'pdf', 'pdf'],
  ['application/rtf', 'rtf', 'rtf'],
  ['application/epub+zip', 'epub', 'epub'],
  ['application/x-mobipocket-ebook', 'mobi', 'mobi prc'],
  ['application/postscript', 'ps', 'ps ai'],
  ['application/eps', 'eps', 'eps epsf'],
  ['application/msword', 'doc', 'doc dot'],
  ['application/vnd.ms-excel', 'xls', 'xls xlt xla'],
  ['application/vnd.ms-powerpoint', 'ppt', 'ppt pps pot'],
  ['application/vnd.ms-outlook', 'msg', 'msg'],
  ['application/vnd.visio', 'vsd', 'vsd vst'],
  ['application/x-cfb', 'cfb', 'cfb ole'],
  [`${ooxml}.wordprocessingml.document`, 'docx', 'docx'],
  [`${ooxml}.wordprocessingml.template`, 'dotx', 'dotx'],
  ['application/vnd.ms-word.document.macroenabled.12', 'docm', 'docm'],
  ['application/vnd.ms-word.template.macroenabled.12', 'dotm', 'dotm'],
  [`${ooxml}.spreadsheetml.sheet`, 'xlsx', 'xlsx'],
  [`${ooxml}.spreadsheetml.template`, 'xltx', 'xltx'],
  ['application/vnd.ms-excel.sheet.macroenabled.12', 'xlsm', 'xlsm'],
  ['application/vnd.ms-excel.template.macroenabled.12', 'xltm', 'xltm'],
  ['application/vnd.ms-excel.sheet.binary.macroenabled.12', 'xlsb', 'xlsb'],
  [`${ooxml}.presentationml.presentation`, 'pptx', 'pptx'],
  [`${ooxml}.presentationml.template`, 'potx', 'potx'],
  [`${ooxml}.presentationml.slideshow`, 'ppsx', 'ppsx'],
  ['application/vnd.ms-powerpoint.presentation.macroenabled.12', 'pptm', 'pptm'],
  ['application/vnd.ms-powerpoint.template.macroenabled.12', 'potm', 'potm'],
  ['application/vnd.ms-powerpoint.slideshow.macroenabled.12', 'ppsm', 'ppsm'],
  ['application/vnd.ms-visio.drawing', 'vsdx', 'vsdx'],
  [`${odf}.text`, 'odt', 'odt'],
  [`${odf}.text-template`, 'ott', 'ott'],
  [`${odf}.spreadsheet`, 'ods', 'ods'],
  [`${odf}.spreadsheet-template`, 'ots', 'ots'],
  [`${odf}.presentation`, 'odp', 'odp'],
  [`${odf}.presentation-template`, 'otp', 'otp'],
  [`${odf}.graphics`, 'odg', 'odg'],
  ['application/vnd.apple.pages', 'pages', 'pages'],
  ['application/vnd.apple.numbers', 'numbers', 'numbers'],
  ['application/vnd.apple.keynote', 'key', 'key'],

  ['application/zip', 'zip', 'zip'],
  ['application/x-tar', 'tar', 'tar'],
  ['application/gzip', 'gz', 'gz tgz svgz'],
  ['application/x-bzip2', 'bz2', 'bz2 tbz2'],
  ['application/x-xz', 'xz', 'xz txz'],
  ['application/zstd', 'zst', 'zst tzst'],
  ['application/x-7z-compressed', '7z', '7z'],
  ['application/vnd.rar', 'rar', 'rar'],
  ['application/x-lz4', 'lz4', 'lz4'],
  ['application/lzip', 'lz', 'lz'],
  ['application/x-compress', 'z', 'z'],
  ['application/x-lzh-compressed', 'lzh', 'lzh lha'],
  ['application/x-arj', 'arj', 'arj'],
  ['application/x-cpio', 'cpio', 'cpio'],
  ['application/x-unix-archive', 'ar', 'ar a'],
  ['application/vnd.ms-cab-compressed', 'cab', 'cab'],
  ['application/x-iso9660-image', 'iso', 'iso'],
  ['application/x-apple-diskimage', 'dmg', 'dmg'],
  ['application/x-deb', 'deb', 'deb'],
  ['application/x-rpm', 'rpm', 'rpm'],
  ['application/java-archive', 'jar', 'jar war ear'],
  ['application/vnd.android.package-archive', 'apk', 'apk'],
  ['application/x-xpinstall', 'xpi', 'xpi'],
  ['application/vnd.google-earth.kmz', 'kmz', 'kmz'],

  ['text/plain', 'txt', 'txt text'],
  ['text/plain', 'log', 'log'],
  ['text/plain', 'ini', 'ini cfg properties'],
  ['text/plain', 'conf', 'conf'],
  ['text/plain', 'diff', 'diff patch'],
  ['text/html', 'html', 'html htm shtml'],
  ['application/xhtml+xml', 'xhtml', 'xhtml xht'],
  ['application/xml', 'xml', 'xml xsd dtd plist xaml resx'],
  ['application/xslt+xml', 'xsl', 'xsl xslt'],
  ['application/rss+xml', 'rss', 'rss'],
  ['application/atom+xml', 'atom', 'atom'],
  ['application/gpx+xml', 'gpx', 'gpx'],
  ['application/vnd.google-earth.kml+xml', 'kml', 'kml'],
  ['application/mathml+xml', 'mathml', 'mathml mml'],
  ['application/json', 'json', 'json map ipynb webmanifest'],
  ['application/geo+json', 'geojson', 'geojson'],
  ['application/ld+json', 'jsonld', 'jsonld'],
  ['application/x-ndjson', 'ndjson', 'ndjson jsonl'],
  ['text/csv', 'csv', 'csv'],
  ['text/tab-separated-values', 'tsv', 'tsv tab'],
  ['text/markdown', 'md', 'md markdown mdown mkd'],
  ['application/yaml', 'yaml', 'yaml yml'],
  ['application/toml', 'toml', 'toml'],
  ['text/css', 'css', 'css'],
  ['text/javascript', 'js', 'js mjs cjs'],
  ['text/jsx', 'jsx', 'jsx'],
  ['text/typescript', 'ts', 'ts cts'],
  ['text/tsx', 'tsx', 'tsx'],
  ['video/mp2t', 'mpegts', 'm2ts m2t mts mpegts ts'],
  ['text/typescript', 'ts', 'mts'],
  ['text/x-python', 'py', 'py pyw pyi'],
  ['text/x-ruby', 'rb', 'rb'],
  ['text/x-go', 'go', 'go'],
  ['text/x-rust', 'rs', 'rs'],
  ['text/x-java', 'java', 'java'],
  ['text/x-kotlin', 'kt', 'kt kts'],
  ['text/x-swift', 'swift', 'swift'],
  ['text/x-c', 'c', 'c h'],
  ['text/x-c++', 'cpp', 'cpp cc cxx hpp hh hxx'],
  ['text/x-csharp', 'cs', 'cs'],
  ['text/x-php', 'php', 'php phtml'],
  ['text/x-perl', 'pl', 'pl pm'],
  ['text/x-lua', 'lua', 'lua'],
  ['text/x-r', 'r', 'r'],
  ['text/x-scala', 'scala', 'scala'],
  ['text/x-tex', 'tex', 'tex'],
  ['application/x-sh', 'sh', 'sh bash zsh'],
  ['application/x-powershell', 'ps1', 'ps1'],
  ['application/x-bat', 'bat', 'bat cmd'],
  ['application/sql', 'sql', 'sql'],
  ['application/graphql', 'graphql', 'graphql gql'],
  ['text/vtt', 'vtt', 'vtt'],
  ['application/x-subrip', 'srt', 'srt'],
  ['text/calendar', 'ics', 'ics ical'],
  ['text/vcard', 'vcf', 'vcf vcard'],
  ['message/rfc822', 'eml', 'eml'],
  ['multipart/related', 'mhtml', 'mhtml mht'],
  ['application/hta', 'hta', 'hta'],

  ['font/woff', 'woff', 'woff'],
  ['font/woff2', 'woff2', 'woff2'],
  ['font/ttf', 'ttf', 'ttf'],
  ['font/otf', 'otf', 'otf'],
  ['font/collection', 'ttc', 'ttc'],
  ['application/vnd.ms-fontobject', 'eot', 'eot'],
  ['application/x-msdownload', 'exe', 'exe dll sys scr'],
  ['application/x-msi', 'msi', 'msi msp'],
  ['application/x-elf', 'elf', 'elf so'],
  ['application/x-mach-binary', 'macho', 'dylib'],
  ['application/java-vm', 'class', 'class'],
  ['application/wasm', 'wasm', 'wasm'],
  ['application/x-shockwave-flash', 'swf', 'swf'],
  ['application/x-sqlite3', 'sqlite', 'sqlite sqlite3 db'],
  ['application/vnd.apache.parquet', 'parquet', 'parquet'],
  ['application/avro', 'avro', 'avro'],
  ['application/x-hdf5', 'hdf5', 'h5 hdf5'],
  ['application/vnd.tcpdump.pcap', 'pcap', 'pcap'],
  ['application/x-pcapng', 'pcapng', 'pcapng'],
  ['application/dicom', 'dcm', 'dcm'],
  ['application/pgp-encrypted', 'pgp', 'pgp gpg asc'],
  ['model/gltf-binary', 'glb', 'glb'],
  ['model/gltf+json', 'gltf', 'gltf'],
  ['model/stl', 'stl', 'stl'],
  ['model/3mf', '3mf', '3mf'],
]

/** The name that we use, and the others that mean the same. Chosen is what browsers and servers use most, not always what is registered. */
const aliasesOf: Readonly<Record<string, string>> = {
  'application/octet-stream':
    'binary/octet-stream application/binary application/unknown application/x-download application/force-download',
  'image/jpeg': 'image/jpg image/pjpeg image/jpe',
  'image/png': 'image/x-png image/apng image/vnd.mozilla.apng',
  'image/heic': 'image/heic-sequence',
  'image/heif': 'image/heif-sequence',
  'image/avif': 'image/avif-sequence',
  'image/tiff': 'image/tif image/x-tiff',
  'image/bmp': 'image/x-bmp image/x-ms-bmp',
  'image/x-icon': 'image/vnd.microsoft.icon image/ico',
  'image/svg+xml': 'image/svg application/svg+xml',
  'image/vnd.adobe.photoshop': 'image/x-photoshop application/x-photoshop image/psd',
  'video/mp4': 'video/x-m4v video/mp4v application/mp4',
  'video/x-matroska': 'video/matroska application/x-matroska',
  'video/x-msvideo': 'video/vnd.avi video/avi video/msvideo',
  'video/mpeg': 'video/mp1s video/mp2p video/x-mpeg',
  'video/mp2t': 'video/mpegts video/vnd.dlna.mpeg-tts',
  'video/x-ms-asf': 'application/vnd.ms-asf',
  'audio/x-ms-wma': 'audio/x-ms-asf',
  'audio/mpeg': 'audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg',
  'audio/mp4': 'audio/x-m4a audio/m4a audio/x-mp4',
  'audio/aac': 'audio/x-aac audio/aacp audio/x-hx-aac-adts',
  'audio/wav': 'audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav',
  'audio/flac': 'audio/x-flac',
  'audio/ogg': 'audio/opus audio/x-ogg audio/vorbis',
  'audio/x-matroska': 'audio/matroska',
  'audio/aiff': 'audio/x-aiff',
  'audio/midi': 'audio/mid audio/x-midi',
  'application/pdf': 'application/x-pdf',
  'application/rtf': 'text/rtf text/richtext application/x-rtf',
  'application/eps': 'application/x-eps image/x-eps image/eps',
  'application/zip': 'application/x-zip-compressed application/x-zip',
  'application/gzip': 'application/x-gzip application/gzip-compressed application/x-tgz application/x-gtar-compressed',
  'application/x-bzip2': 'application/x-bzip application/bzip2',
  'application/zstd': 'application/x-zstd',
  'application/vnd.rar': 'application/x-rar-compressed application/x-rar',
  'application/x-7z-compressed': 'application/x-7zip',
  'application/x-iso9660-image': 'application/x-cd-image',
  'application/x-deb': 'application/vnd.debian.binary-package application/x-debian-package',
  'application/java-archive': 'application/x-java-archive application/x-jar',
  'application/vnd.visio': 'application/x-visio',
  'application/x-msi': 'application/x-ms-installer',
  'application/x-msdownload':
    'application/vnd.microsoft.portable-executable application/x-msdos-program application/x-dosexec application/exe application/x-exe',
  'application/x-elf': 'application/x-executable application/x-sharedlib',
  'application/x-sqlite3': 'application/vnd.sqlite3',
  'application/xml': 'text/xml',
  'application/json': 'text/json application/x-json',
  'application/x-ndjson': 'application/ndjson application/jsonl application/x-jsonlines',
  'application/yaml': 'text/yaml text/x-yaml application/x-yaml',
  'application/toml': 'text/toml text/x-toml',
  'application/sql': 'text/x-sql text/sql application/x-sql',
  'application/x-sh': 'text/x-sh text/x-shellscript application/x-shellscript',
  'application/x-subrip': 'text/srt application/srt text/x-srt',
  'text/javascript':
    'application/javascript application/x-javascript application/ecmascript application/x-ecmascript text/ecmascript text/x-ecmascript text/x-javascript text/jscript text/livescript text/javascript1.0 text/javascript1.1 text/javascript1.2 text/javascript1.3 text/javascript1.4 text/javascript1.5',
  'text/typescript': 'application/typescript application/x-typescript text/x-typescript',
  'text/csv': 'application/csv text/x-csv text/comma-separated-values',
  'text/markdown': 'text/x-markdown',
  'text/x-python':
    'text/python application/x-python application/x-python-code text/x-script.python text/x-python-script',
  'text/x-php': 'application/x-httpd-php application/x-php',
  'text/vcard': 'text/x-vcard text/directory',
  'text/calendar': 'text/x-vcalendar',
  'text/x-c': 'text/x-csrc text/x-chdr',
  'text/x-c++': 'text/x-c++src text/x-c++hdr',
  'text/x-java': 'text/x-java-source',
  'multipart/related': 'application/x-mimearchive',
  'font/ttf': 'application/x-font-ttf application/font-sfnt',
  'font/otf': 'application/x-font-otf application/x-font-opentype',
  'font/woff': 'application/font-woff application/x-font-woff',
  'font/woff2': 'application/font-woff2',
}

const aliases = new Map(
  Object.entries(aliasesOf).flatMap(([type, others]) => others.split(' ').map((other) => [other, type])),
)
const byExtension = new Map<string, NamedType[]>()
const byType = new Map<string, { format: string; extensions: string[] }>()
for (const [contentType, format, list] of rows) {
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

/** Extensions of files of this type, without the dot, the usual one first; none when the type is not known. */
export function extensionsOf(contentType: string): readonly string[] {
  return byType.get(canonicalType(contentType) ?? '')?.extensions ?? []
}

const xmlType = /[/+]xml$/
const documents =
  /^application\/(?:pdf|rtf|msword|postscript|eps|epub\+zip|x-mobipocket-ebook|vnd\.(?:oasis\.opendocument|openxmlformats-officedocument|visio|ms-(?:word|excel|powerpoint|visio|project|publisher|xpsdocument)|apple\.(?:pages|numbers|keynote)))(?:$|[.+-])/
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
