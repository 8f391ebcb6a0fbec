const maxDepth = 32 // of arrays and dictionaries in one another

export type Dictionary = ReadonlyMap<string, Value>
/** An object elsewhere in the file, by its number. */
export interface Reference {
  readonly object: number
}
/** A value of a PDF. Texts are not kept; a name begins with its slash. */
export type Value = null | boolean | number | string | Reference | readonly Value[] | Dictionary

export const isDictionary = (value: Value | undefined): value is Dictionary => value instanceof Map
export const isReference = (value: Value | undefined): value is Reference =>
  typeof value === 'object' && value !== null && 'object' in value

/** The text ended within a value. */
export class CutError extends RangeError {
  override readonly name = 'CutError'
}

const space = /(?:[\0\t\n\f\r ]+|%[^\r\n]*)*/y
const reference = /(\d{1,10})[\0\t\n\f\r ]+\d{1,5}[\0\t\n\f\r ]+R(?![^\0\t\n\f\r ()<>[\]{}/%])/y
const token = /\/[^\0\t\n\f\r ()<>[\]{}/%]*|[^\0\t\n\f\r ()<>[\]{}/%]+/y
const textStop = /[()\\]/g

/** Reads values from a piece of a file, in Latin-1. */
export class ValueReader {
  readonly #text: string
  #at: number

  constructor(text: string, at = 0) {
    this.#text = text
    this.#at = at
  }

  /** Where the next value begins. */
  get position(): number {
    return this.#at
  }

  /** @throws {CutError} when the text ends too early, and a RangeError when it makes no sense. */
  read(depth = 0): Value {
    if (depth > maxDepth) throw new RangeError('Too many values in one another.')
    this.#match(space)
    if (this.#take('<<')) return this.#dictionary(depth)
    if (this.#take('[')) return this.#array(depth)
    if (this.#take('(')) return this.#literal()
    if (this.#take('<')) return this.#hexadecimal()
    const to = this.#match(reference)
    if (to) return { object: Number(to[1]) }
    const word = this.#match(token)?.[0]
    if (word === undefined || this.#at >= this.#text.length) this.#fail()
    return plain(word)
  }

  #dictionary(depth: number): Dictionary {
    const entries = new Map<string, Value>()
    for (;;) {
      this.#match(space)
      if (this.#take('>>')) return entries
      const key = this.read(depth + 1)
      if (typeof key !== 'string') throw new RangeError('A key is no name.')
      entries.set(key, this.read(depth + 1))
    }
  }

  #array(depth: number): readonly Value[] {
    const values: Value[] = []
    for (;;) {
      this.#match(space)
      if (this.#take(']')) return values
      values.push(this.read(depth + 1))
    }
  }

  #literal(): null {
    for (let open = 1; open > 0;) {
      textStop.lastIndex = this.#at
      const stop = textStop.exec(this.#text)
      if (!stop) throw new CutError('The text ended.')
      this.#at = stop.index + (stop[0] === '\\' ? 2 : 1)
      if (stop[0] === '(') open++
      if (stop[0] === ')') open--
    }
    return null
  }

  #hexadecimal(): null {
    const end = this.#text.indexOf('>', this.#at)
    if (end < 0) throw new CutError('The text ended.')
    this.#at = end + 1
    return null
  }

  #take(sign: string): boolean {
    if (!this.#text.startsWith(sign, this.#at)) return false
    this.#at += sign.length
    return true
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match) this.#at = pattern.lastIndex
    return match
  }

  #fail(): never {
    throw this.#at >= this.#text.length ? new CutError('The text ended.') : new RangeError('Not a value.')
  }
}

function plain(word: string): Value {
  if (word.startsWith('/')) return word
  if (word === 'true' || word === 'false') return word === 'true'
  const value = Number(word)
  return Number.isFinite(value) ? value : null
}
