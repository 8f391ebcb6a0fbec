import type { Found, MediaFile } from './facts.ts'

const headBytes = 64 * 1024 // the root element begins and ends within, or the size stays unknown

const pixelsPerUnit: Readonly<Record<string, number>> = {
  '': 1,
  px: 1,
  in: 96,
  cm: 96 / 2.54,
  mm: 96 / 25.4,
  q: 96 / 101.6,
  pt: 96 / 72,
  pc: 16,
}

/** Pixels of an absolute length; undefined for what depends on the page (`%`, `em`). */
function pixels(length: string | undefined): number | undefined {
  const [, number, unit] = /^\s*\+?(\d{0,9}(?:\.\d{0,9})?(?:e[-+]?\d{1,2})?)([a-z]{0,2})\s*$/i.exec(length ?? '') ?? []
  const factor = pixelsPerUnit[(unit ?? '').toLowerCase()]
  const value = Number.parseFloat(number ?? '') * (factor ?? Number.NaN)
  return value > 0 && Number.isFinite(value) ? value : undefined
}

/** The text behind everything that may stand before the root element. */
function behindProlog(text: string): string {
  for (;;) {
    text = text.replace(/^[\s\uFEFF]+/, '')
    const end = text.startsWith('<!--')
      ? text.indexOf('-->', 4) + 3
      : text.startsWith('<?')
        ? text.indexOf('?>', 2) + 2
        : text.startsWith('<!')
          ? endOfDoctype(text)
          : 0
    if (end < 3) return text
    text = text.slice(end)
  }
}

function endOfDoctype(text: string): number {
  const subset = text.indexOf('[')
  const close = text.indexOf('>')
  if (subset === -1 || close < subset) return close + 1
  const subsetEnd = text.indexOf(']', subset)
  return subsetEnd === -1 ? 0 : text.indexOf('>', subsetEnd) + 1
}

/** Attributes of the root element, or undefined when it is not an `svg`. */
function rootAttributes(text: string): Map<string, string> | undefined {
  const root = /^<(?:[\w.-]{1,64}:)?svg(?=[\s/>])/.exec(text)
  if (!root) return undefined
  const attributes = new Map<string, string>()
  const attribute = /\s*([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/y
  attribute.lastIndex = root[0].length
  for (let match = attribute.exec(text); match; match = attribute.exec(text)) {
    attributes.set(match[1] ?? '', match[2] ?? match[3] ?? '')
  }
  return attributes
}

/** SVG: the size that the root element states, the rest from its viewBox. Nothing is rendered or resolved. */
export async function probeSvg(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, headBytes)
  const encoding = head[0] === 0xff && head[1] === 0xfe ? 'utf-16le' : head[0] === 0xfe ? 'utf-16be' : 'utf-8'
  const attributes = rootAttributes(behindProlog(new TextDecoder(encoding).decode(head)))
  if (!attributes) throw new Error('The root element is not an svg.')

  const [, , boxWidth = 0, boxHeight = 0] = (attributes.get('viewBox') ?? '')
    .trim()
    .split(/[\s,]+/)
    .map(Number)
  const ratio = boxWidth > 0 && boxHeight > 0 ? boxWidth / boxHeight : undefined
  const width = pixels(attributes.get('width'))
  const height = pixels(attributes.get('height'))
  if (width && height) Object.assign(found, { width, height })
  else if (width && ratio) Object.assign(found, { width, height: width / ratio })
  else if (height && ratio) Object.assign(found, { width: height * ratio, height })
  else if (ratio) Object.assign(found, { width: boxWidth, height: boxHeight })
}
