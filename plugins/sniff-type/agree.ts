import { canonicalType, kindOf, unknownType } from '../../src/plugin.ts'

/** Types whose bytes show what they are, so that a claim of them can be refuted; other kinds of text look alike. */
const shown =
  /[/+](?:xml|json)$|^(?:text\/(?:html|vtt|calendar|vcard)|application\/(?:x-ndjson|hta)|multipart\/related)$/
const markup = /^text\/html$|[/+]xml$/
const packages = /\+zip$|officedocument|opendocument|macroenabled|archive$|^application\/vnd\.apple\.|^model\/3mf$|kmz$/
const compound = /^application\/(?:msword|vnd\.ms-(?:excel|powerpoint|outlook)|vnd\.visio|x-msi)$/
/** Containers that hold sound or pictures alike: `audio/webm` is no lie about a `video/webm`. */
const container = /^(?:audio|video|application)\/(mp4|webm|ogg|x-matroska|3gpp|3gpp2)$/
const asf = /^(?:audio|video)\/x-ms-(?:asf|wma|wmv)$/
const heif = /^image\/(?:heif|heic|avif)$/

/** Whether a claimed type is that of the bytes: the same one, a more general one, or one that the bytes cannot tell from it. */
export function agrees(claimedType: string, found: string): boolean {
  const claimed = canonicalType(claimedType)
  if (claimed === null || claimed === unknownType.contentType || claimed === found) return true
  switch (claimed) {
    case 'application/zip':
      return packages.test(found)
    case 'application/x-cfb':
      return compound.test(found)
    case 'application/xml':
      return markup.test(found) && found !== 'text/html'
    case 'application/json':
      return /[+]json$|ndjson$/.test(found)
    case 'image/heif':
      return heif.test(found)
    case 'text/plain':
      return kindOf(found) === 'text' && !markup.test(found)
    case 'application/vnd.ms-excel': // what browsers on Windows say of a CSV
      return found === 'text/csv' || found === 'text/plain'
    default:
  }
  if (asf.test(claimed)) return asf.test(found)
  const held = container.exec(claimed)?.[1]
  if (held !== undefined) return held === container.exec(found)?.[1]
  if (/[+]json$/.test(claimed)) return found === 'application/json'
  if (/[+]xml$/.test(claimed)) return found === 'application/xml'
  return kindOf(claimed) === 'text' && kindOf(found) === 'text' && !shown.test(claimed) && !markup.test(found)
}
