import { canonicalType, isActive, kindOf, typeOfName, unknownType } from '../../src/plugin.ts'
import { isShown } from './shown.ts'

/** Types whose text shows what it is, so that a claim of them can be refuted; other kinds of text look alike. */
const shownText =
  /[/+](?:xml|json)$|^(?:text\/(?:html|vtt|calendar|vcard)|application\/(?:x-ndjson|hta)|multipart\/related)$/
const markup = /^text\/html$|[/+]xml$/

const packages =
  /\+zip$|officedocument|opendocument|macroenabled|archive$|^application\/(?:vnd\.(?:apple\.|sun\.xml|ms-(?:visio|xps))|oxps)|^model\/3mf$|kmz$/
const compound =
  /^application\/(?:msword|vnd\.ms-(?:excel|powerpoint|outlook|project)|vnd\.visio|x-msi|x-mspublisher)$|officedocument|macroenabled/
/** Archives of one file: what sends `a.tar.gz` may speak of the tar. */
const packed = /^application\/(?:gzip|zstd|x-(?:bzip2|xz|compress|lz4))$/
const raw = /^image\/x-(?:adobe|canon|nikon|sony|fujifilm|olympus|panasonic)-/

/** What honest systems say of a type, as they know no better, or as its files are of that kind too: claimed, and found. */
const taken: readonly (readonly [claimed: RegExp, found: RegExp])[] = [
  [/^application\/zip$/, packages],
  [/^application\/x-cfb$/, compound],
  [compound, /^application\/x-cfb$/],
  [/^application\/xml$/, /[/+]xml$/],
  [/^application\/json$/, /[+]json$|ndjson$/],
  [/[+]json$/, /^application\/json$/],
  [/[+]xml$/, /^application\/xml$/],
  [/^text\/html$/, /^application\/xhtml\+xml$/],
  [/^application\/xhtml\+xml$/, /^text\/html$/],
  // text that has a type of its own
  [/^text\/plain$/, /^application\/(?:rtf|postscript|eps|pgp-encrypted)$|^model\/stl$/],
  // the programs that open a file, not its format; and what browsers on Windows say of a CSV
  [/^application\/msword$/, /^application\/(?:rtf|xml|vnd\.ms-word\..+)$|wordprocessingml/],
  [
    /^application\/vnd\.ms-excel$/,
    /^(?:text\/(?:csv|plain|tab-separated-values)|application\/xml)$|spreadsheetml|\.ms-excel\./,
  ],
  [/^application\/vnd\.ms-powerpoint$/, /presentationml|\.ms-powerpoint\./],
  [/^application\/vnd\.visio$/, /\.ms-visio\./],
  [/^application\/(?:vnd\.ms-xpsdocument|oxps)$/, /^application\/(?:vnd\.ms-xpsdocument|oxps)$/],
  // Illustrator's files are one or the other, and Encapsulated PostScript is both
  [/^application\/(?:postscript|eps)$/, /^application\/(?:postscript|eps|pdf)$/],
  [/^application\/java-archive$/, /^application\/vnd\.android\.package-archive$/],
  [/^application\/x-tar$/, packed],
  [/^image\/svg\+xml$/, /^application\/gzip$/],
  // pictures whose first brand or tag is a general one
  [/^image\/(?:heif|heic|avif)$/, /^image\/heif$/],
  [/^image\/heif$/, /^image\/(?:heic|avif)$/],
  [/^image\/tiff$/, raw],
  [raw, /^image\/tiff$/],
  [/^image\/(?:jp[2xm]|mj2)$/, /^image\/(?:jp[2xm]|mj2)$/],
  [/^font\/(?:ttf|otf)$/, /^font\/(?:ttf|otf|collection)$/],
  // files that may begin with anything: their signature is elsewhere, or is not of every one
  [
    /^(?:application\/(?:x-apple-diskimage|x-iso9660-image|x-tar|dicom)|audio\/(?:mpeg|aac)|video\/(?:mpeg|mp2t))$/,
    /^application\/octet-stream$/,
  ],
  // containers that hold sound or pictures alike, and brands of one container
  [/^(?:audio|video)\/(?:mp4|3gpp2?|quicktime)$/, /^(?:audio|video)\/(?:mp4|3gpp2?|quicktime)$/],
  [/^(?:audio|video)\/(?:webm|x-matroska)$/, /^(?:audio|video)\/webm$/],
  [/^(?:audio|video)\/x-matroska$/, /^(?:audio|video)\/x-matroska$/],
  [/^(?:audio|video|application)\/ogg$/, /^(?:audio|video|application)\/ogg$/],
  [/^(?:audio|video)\/x-ms-(?:asf|wma|wmv)$/, /^(?:audio|video)\/x-ms-(?:asf|wma|wmv)$/],
  [/^video\/(?:mpeg|mp2t)$/, /^video\/(?:mpeg|mp2t)$/],
]

/** Whether the claimed type of a file is another than that of its bytes. What packs a file may speak of what is packed. */
export function isLie(claimed: string, found: string, filename: string): boolean {
  if (agrees(claimed, found)) return false
  const unpacked = packed.test(found) ? typeOfName(filename.replace(/\.[^.]*$/, ''), claimed) : null
  return unpacked?.contentType !== canonicalType(claimed)
}

/** Whether a claimed type is that of the bytes: the same one, a more general one, or one that the bytes cannot tell from it. */
function agrees(claimedType: string, found: string): boolean {
  const claimed = canonicalType(claimedType)
  if (claimed === null || claimed === unknownType.contentType || claimed === found) return true
  if (taken.some(([says, is]) => says.test(claimed) && is.test(found))) return true
  if (kindOf(claimed) === 'text') {
    const isProse = kindOf(found) === 'text' && !markup.test(found)
    return isProse && (claimed === 'text/plain' || !shownText.test(claimed))
  }
  return !isShown(claimed) && couldBe(claimed, found)
}

const media = new Set(['image', 'video', 'audio', 'font'])
const topOf = (type: string): string => type.slice(0, type.indexOf('/'))

/** Whether bytes of this type may be what a type says that no signature shows: their container, or nothing known. */
function couldBe(claimed: string, found: string): boolean {
  if (found === unknownType.contentType) return true
  if (isActive(found)) return isActive(claimed)
  const [says, is] = [topOf(claimed), topOf(found)]
  if (!media.has(says)) return true
  const kind = kindOf(found)
  return (
    says === is || kind === 'text' || kind === 'archive' || (says !== 'image' && (is === 'audio' || is === 'video'))
  )
}
