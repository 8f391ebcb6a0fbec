import { kindOf, type NamedType } from '../../src/plugin.ts'
import { markupOf } from './markup.ts'

export const plainText: NamedType = { contentType: 'text/plain', format: 'txt' }
const json: NamedType = { contentType: 'application/json', format: 'json' }

const signatures: readonly (readonly [RegExp, string, string])[] = [
  [/^\s{0,64}%PDF-\d/, 'application/pdf', 'pdf'],
  [/^\{\\rtf/, 'application/rtf', 'rtf'],
  [/^%!PS-Adobe-[^\r\n]{0,40}EPSF/, 'application/eps', 'eps'],
  [/^%!PS/, 'application/postscript', 'ps'],
  [/^BEGIN:VCARD\s/i, 'text/vcard', 'vcf'],
  [/^BEGIN:VCALENDAR\s/i, 'text/calendar', 'ics'],
  [/^WEBVTT(?:\s|$)/, 'text/vtt', 'vtt'],
  [/^-----BEGIN PGP MESSAGE-----/, 'application/pgp-encrypted', 'pgp'],
  [/^\s{0,64}solid\b[^\r\n]{0,200}\s{1,64}(?:facet\s+normal\s|endsolid\b)/, 'model/stl', 'stl'],
]

const interpreters: readonly (readonly [RegExp, string, string])[] = [
  [/^#!.*\bpython/, 'text/x-python', 'py'],
  [/^#!.*\b(?:node|deno|bun)\b/, 'text/javascript', 'js'],
  [/^#!.*\bperl\b/, 'text/x-perl', 'pl'],
  [/^#!.*\bruby\b/, 'text/x-ruby', 'rb'],
  [/^#!.*\b(?:sh|bash|dash|zsh|ksh)\b/, 'application/x-sh', 'sh'],
  [/^<\?php\b/, 'text/x-php', 'php'],
]

/** Formats that show themselves in the text: the name alone is not believed. */
const provable = new Set(['vcf', 'ics', 'vtt', 'xhtml'])

const pdf: NamedType = { contentType: 'application/pdf', format: 'pdf' }
/** Readers look for a document's beginning in the first 1,024 bytes; in a text that only speaks of documents no object follows. */
const laterPdf = /^[^]{1,1023}?%PDF-[12]\.\d[^]{0,2048}?\b\d{1,10}\s{1,4}\d{1,5}\s{1,4}obj\b/

const jsonStart = /^\s*(?:[[{"]|-?\d|true\b|false\b|null\b)/

export const isTextType = (type: NamedType): boolean =>
  kindOf(type.contentType) === 'text' || type.contentType === 'image/svg+xml'

/**
 * What kind of text this is. Signatures and markup decide first, then `hint`: the text type that the name or the declaration gives.
 *
 * @param complete whether this is the whole file
 */
export function textType(text: string, hint: NamedType | undefined, complete: boolean): NamedType {
  return (
    match(signatures, text) ??
    markupOf(text, hint) ??
    (isPdf(text, hint) ? pdf : undefined) ??
    (hint ? believed(hint, text) : (match(interpreters, text) ?? (complete && isJson(text) ? json : plainText)))
  )
}

/** A document behind a line or two of something else; source code that makes documents is called what it is. */
const isPdf = (text: string, hint: NamedType | undefined): boolean => hint === undefined && laterPdf.test(text)

function match(table: typeof signatures, text: string): NamedType | undefined {
  const row = table.find(([pattern]) => pattern.test(text))
  return row && { contentType: row[1], format: row[2] }
}

function believed(hint: NamedType, text: string): NamedType {
  const { contentType, format } = hint
  if (/[/+](?:x-nd)?json$/.test(contentType)) return jsonStart.test(text) ? hint : plainText
  return provable.has(format ?? '') || /[/+]xml$/.test(contentType) ? plainText : hint
}

function isJson(text: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
