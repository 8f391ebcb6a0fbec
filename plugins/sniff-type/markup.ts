import type { NamedType } from '../../src/plugin.ts'

const html: NamedType = { contentType: 'text/html', format: 'html' }
const xhtml: NamedType = { contentType: 'application/xhtml+xml', format: 'xhtml' }
const svg: NamedType = { contentType: 'image/svg+xml', format: 'svg' }
const xml: NamedType = { contentType: 'application/xml', format: 'xml' }

/** Root elements that tell one kind of XML from others. */
const xmlRoots: Readonly<Record<string, NamedType>> = {
  svg,
  html: xhtml,
  rss: { contentType: 'application/rss+xml', format: 'rss' },
  feed: { contentType: 'application/atom+xml', format: 'atom' },
  gpx: { contentType: 'application/gpx+xml', format: 'gpx' },
  kml: { contentType: 'application/vnd.google-earth.kml+xml', format: 'kml' },
  math: { contentType: 'application/mathml+xml', format: 'mathml' },
  stylesheet: { contentType: 'application/xslt+xml', format: 'xsl' },
}

/** What only a page begins with. */
const pageTags = new Set(
  'html head body script style title iframe frameset meta link base object embed noscript template'.split(' '),
)
/** What a page may begin with, and Markdown too. */
const flowTags = new Set(
  'a b i u p br hr h1 h2 h3 h4 h5 h6 div span font center table ul ol dl img picture video audio form input button section article main nav header footer details marquee em strong pre code'.split(
    ' ',
  ),
)

interface Prolog {
  readonly declared: boolean
  readonly comment: boolean
  readonly doctype: string | undefined
  readonly root: string | undefined
}

/** Goes over what may stand before the root element. Every step moves on, so this takes time in the order of the text's length. */
function readProlog(text: string): Prolog {
  const word = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[1]?.toLowerCase()
  }
  const past = (end: string): number => {
    const found = text.indexOf(end, at)
    return found < 0 ? text.length : found + end.length
  }
  let at = 0
  let declared = false
  let comment = false
  let doctype: string | undefined
  for (;;) {
    while (' \t\n\f\r'.includes(text.charAt(at)) && at < text.length) at++
    if (word(/<\?(xml)(?:[\s?-]|$)/iy)) {
      declared = true
      at = past('?>')
    } else if (text.startsWith('<!--', at)) {
      comment = true
      at = past('-->')
    } else if (doctype === undefined && (doctype = word(/<!doctype\s+([a-z_][\w:.-]*)/iy)) !== undefined) {
      at = pastDoctype(text, at)
    } else {
      return { declared, comment, doctype, root: word(/<([a-z_][\w:.-]*)(?=[\s/>]|$)/iy) }
    }
  }
}

/** The position behind a document type, with its internal subset, if any. */
function pastDoctype(text: string, start: number): number {
  const subset = text.indexOf('[', start)
  const end = text.indexOf('>', start)
  if (subset < 0 || end < subset) return end < 0 ? text.length : end + 1
  const close = /\]\s*>/g
  close.lastIndex = subset
  return close.test(text) ? close.lastIndex : text.length
}

/**
 * What kind of markup the text begins with, as a browser would take it; undefined when it is none.
 * `hint` is what the name says: it is needed where plain text and markup begin alike.
 */
export function markupOf(text: string, hint: NamedType | undefined): NamedType | undefined {
  const { declared, comment, doctype, root } = readProlog(text)
  const local = root?.split(':').at(-1)
  if (local === 'svg' || (doctype === 'svg' && !local)) return svg
  if (declared) return xmlRoots[local ?? doctype ?? ''] ?? xml
  if (doctype === 'html' || (local !== undefined && pageTags.has(local))) {
    return hint?.format === 'xhtml' && local === 'html' ? xhtml : html
  }
  if (doctype !== undefined) return xmlRoots[local ?? doctype] ?? xml
  if (hint && /[/+]xml$/.test(hint.contentType) && local) return xmlRoots[local] ?? (hint.format === 'svg' ? xml : hint)
  if (hint?.format === 'md') return undefined
  return comment || (local !== undefined && flowTags.has(local)) ? html : undefined
}
