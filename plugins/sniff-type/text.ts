export interface DecodedText {
  /** Without the byte order mark. */
  readonly text: string
  /** Null when it is text in an encoding that we cannot name. */
  readonly charset: string | null
}

/** From this many bytes on, bytes without a single control character are not there by chance. */
const legacyTextBytes = 256
/** So many are needed where the name or the declared type says that they are text. */
const claimedTextBytes = 2
/** Letters of one script that show short text by themselves. */
const scriptLetters = 8
/** Encodings of other alphabets, and the letters that text in them has. */
const scripts: readonly (readonly [label: string, letters: RegExp])[] = [
  ['windows-1251', /\p{Script=Cyrillic}/u],
  ['windows-1253', /\p{Script=Greek}/u],
  // not the narrow katakana, which are single bytes and would make words of anything
  ['shift_jis', /[\p{Script=Hiragana}\u30a0-\u30ff\p{Script=Han}]/u],
  ['gb18030', /\p{Script=Han}/u],
  ['big5', /\p{Script=Han}/u],
  ['euc-kr', /\p{Script=Hangul}/u],
]
/** Largest share of non-ASCII characters in text that is taken for Western European. */
const mostWestern = 0.25

const strictUtf8 = () => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Control characters that do not occur in text (the WHATWG's "binary data bytes", and DEL). */
const isControl = (code: number): boolean =>
  (code < 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0c && code !== 0x0d && code !== 0x1b) || code === 0x7f

function hasControl(codes: Uint8Array | string): boolean {
  for (let i = 0; i < codes.length; i++) {
    if (isControl(typeof codes === 'string' ? codes.charCodeAt(i) : (codes[i] ?? 0))) return true
  }
  return false
}

/**
 * The head bytes as text; undefined when they are none.
 *
 * @param complete whether these are all bytes of the file; when not, the last character may be cut
 * @param claimed whether the name or the declared type says that they are text
 */
export function decodeText(head: Uint8Array, complete: boolean, claimed: boolean): DecodedText | undefined {
  const [a, b, c, d] = head
  if (a === 0xef && b === 0xbb && c === 0xbf) {
    const rest = head.subarray(3)
    const text = hasControl(rest) ? undefined : utf8(rest, false)
    return text === undefined ? undefined : { text, charset: 'utf-8' }
  }
  if (a === 0xff && b === 0xfe) return utf16(head.subarray(2), 'utf-16le')
  if (a === 0xfe && b === 0xff) return utf16(head.subarray(2), 'utf-16be')
  // XML needs no mark: `<?` or `<s` says which half of the first character is zero
  if (a === 0x3c && b === 0 && c !== 0 && d === 0) return utf16(head, 'utf-16le')
  if (a === 0 && b === 0x3c && c === 0 && d !== 0) return utf16(head, 'utf-16be')
  if (hasControl(head)) return undefined
  const text = utf8(head, complete)
  if (text !== undefined) return { text, charset: 'utf-8' }
  if (isWestern(head)) return { text: new TextDecoder('windows-1252').decode(head), charset: 'windows-1252' }
  const least = claimed ? claimedTextBytes : legacyTextBytes
  if (head.length < least && !isOfOneScript(head)) return undefined
  return { text: Buffer.from(head).toString('latin1'), charset: null }
}

function utf8(bytes: Uint8Array, complete: boolean): string | undefined {
  try {
    return strictUtf8().decode(bytes)
  } catch {
    // a character cut at the end is forgiven: where there is more to come, or where whole ones came before
  }
  try {
    const text = strictUtf8().decode(bytes, { stream: true })
    return complete && text.length === bytes.length - cutBytes(bytes) ? undefined : text
  } catch {
    return undefined
  }
}

/** Bytes of the unfinished character at the end. */
function cutBytes(bytes: Uint8Array): number {
  let cut = 1
  while (cut < bytes.length && ((bytes.at(-cut) ?? 0) & 0xc0) === 0x80) cut++
  return cut
}

function utf16(bytes: Uint8Array, charset: 'utf-16le' | 'utf-16be'): DecodedText | undefined {
  try {
    const text = new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true })
    // what nobody writes is not text: unassigned and private characters
    return hasControl(text) || /[\p{Cn}\p{Co}]/u.test(text) ? undefined : { text, charset }
  } catch {
    return undefined
  }
}

/** Punctuation and letters between 0x80 and 0xBF that Western European text has. */
const westernMarks = new Set(Buffer.from('808284858a8c8e91929394959697999a9c9e9fa0a1a3a7a9aaabaeb0b4b5b7babbbf', 'hex'))

/** Some accented letters and typographic marks among much ASCII. */
function isWestern(bytes: Uint8Array): boolean {
  let high = 0
  for (const byte of bytes) {
    if (byte < 0x80) continue
    if (byte < 0xc0 && !westernMarks.has(byte)) return false
    high++
  }
  return high <= bytes.length * mostWestern
}

/** A capital right behind a small letter, both beyond ASCII: no word of any language. */
const brokenWord = /(?![\0-\x7f])\p{Ll}(?![\0-\x7f])\p{Lu}/u

/** Short text whose every letter beyond ASCII is of one script, in an encoding that is usual for it. */
function isOfOneScript(bytes: Uint8Array): boolean {
  return scripts.some(([label, letters]) => {
    let text
    try {
      text = new TextDecoder(label, { fatal: true }).decode(bytes)
    } catch {
      return false
    }
    const beyond = Array.from(text).filter((character) => character > '\x7f')
    const others = beyond.filter((character) => !letters.test(character))
    const isSpelled = beyond.length - others.length >= scriptLetters && !brokenWord.test(text)
    return isSpelled && others.every((character) => /[\p{P}\p{Zs}]/u.test(character))
  })
}
