const shownCharacters = 80
const messageCharacters = 300

/** A configuration with which the gateway does not start. The message is one line for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** One line, whatever it came from: control and invisible characters are written out. */
export const oneLine = (text: string, most = messageCharacters): string => {
  const visible = text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
  return (visible.length > most ? `${visible.slice(0, most)}…` : visible).toWellFormed()
}

const hidden = (secret: string): string => `(hidden, ${secret.length} characters)`

/** Passwords as they stand in a database URL: `scheme://user:password@host`, `?password=…`. */
const hidePassword = (text: string): string =>
  text
    .replace(/(password\s*=\s*)('[^']*'|[^\s&]+)/gi, (_, name: string, password: string) => name + hidden(password))
    .replace(
      /^((?:[a-z][a-z0-9+.-]*:\/+)?[^:]*):(.*)@/is,
      (_, user: string, password: string) => `${user}:${hidden(password)}@`,
    )

/** What the operator wrote, fit for a message. */
export function describeValue(value: unknown, secret = false): string {
  if (secret) return typeof value === 'string' || typeof value === 'number' ? hidden(String(value)) : '(hidden)'
  if (typeof value === 'string') return `"${oneLine(hidePassword(value), shownCharacters)}"`
  if (typeof value === 'function') return `the function ${oneLine(value.name, shownCharacters)}`
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  return oneLine(String(value), shownCharacters)
}

/** The known name that a misspelled one may have meant. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const furthest = Math.min(3, Math.floor(name.length / 2)) // two letters swapped are two edits
  const ranked = known.map((candidate) => ({ candidate, edits: distance(name.toLowerCase(), candidate.toLowerCase()) }))
  return ranked.filter(({ edits }) => edits <= furthest).toSorted((a, b) => a.edits - b.edits)[0]?.candidate
}

/** Letters to insert, drop or change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [index, letter] of a.split('').entries()) {
    const next = [index + 1]
    for (let column = 1; column <= b.length; column++) {
      const changed = (row[column - 1] ?? 0) + (letter === b[column - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
