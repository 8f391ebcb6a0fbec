import type { MediaFile } from './facts.ts'
import { type Place, type PlaceTable, readStreamTable, readTextTable, valueInStream } from './pdf-places.ts'
import { unpack } from './pdf-streams.ts'
import { CutError, type Dictionary, isDictionary, isReference, type Value, ValueReader } from './pdf-values.ts'

const valueBytes = [4 * 1024, 64 * 1024, 1024 * 1024] // that are read for one value: more when it does not end
const maxStreamBytes = 8 * 1024 * 1024 // as stored
const maxTables = 64 // of one file: one for each time it was changed
const maxObjects = 64 // that are looked up in one file

interface Stream {
  readonly dictionary: Dictionary
  readonly bytes: Buffer
}

/** Finds objects in a PDF, reading as little of it as that takes. */
export class PdfFile {
  readonly #file: MediaFile
  /** Of the header: offsets count from there, or from the front. */
  readonly #base: number
  readonly #tables: PlaceTable[] = []
  readonly #visited = new Set<number>()
  readonly #waiting: number[] = []
  #looked = 0

  constructor(file: MediaFile, base: number, lastTable: number) {
    this.#file = file
    this.#base = base
    this.#waiting.push(lastTable)
  }

  async text(start: number, end: number): Promise<string> {
    return (await this.#file.read(start, end)).toString('latin1')
  }

  async valueAt(start: number): Promise<Value> {
    return (await this.#valueAt(start)).value
  }

  async #valueAt(start: number): Promise<{ value: Value; end: number }> {
    for (const length of valueBytes) {
      try {
        const reader = new ValueReader(await this.text(start, start + length))
        const value = reader.read()
        return { value, end: start + reader.position }
      } catch (error) {
        if (!(error instanceof CutError)) throw error
      }
    }
    throw new RangeError('The value is too long.')
  }

  /** The stream that an object at this offset is. */
  async streamAt(start: number): Promise<Stream> {
    const head = /^\s*\d{1,10}\s+\d{1,5}\s+obj/.exec(await this.text(start, start + 64))
    if (!head) throw new RangeError('There is no object.')
    const { value: dictionary, end } = await this.#valueAt(start + head[0].length)
    const begin = /^\s*stream(?:\r\n|\n|\r)/.exec(await this.text(end, end + 64))
    if (!begin || !isDictionary(dictionary)) throw new RangeError('The object is no stream.')
    const length = await this.resolve(dictionary.get('/Length'))
    if (typeof length !== 'number' || !(length >= 0 && length <= maxStreamBytes)) {
      throw new RangeError('The stream has no length.')
    }
    const from = end + begin[0].length
    return { dictionary, bytes: await this.#file.read(from, from + length) }
  }

  /** What a trailer says under this name, the newest first. */
  async fromTrailer(name: string): Promise<Value | undefined> {
    for await (const { trailer } of this.#allTables()) if (trailer.has(name)) return this.resolve(trailer.get(name))
    return undefined
  }

  /** The value itself, wherever it is. */
  async resolve(value: Value | undefined): Promise<Value | undefined> {
    while (isReference(value)) value = await this.#lookUp(value.object)
    return value
  }

  async #lookUp(object: number): Promise<Value | undefined> {
    if (++this.#looked > maxObjects) throw new RangeError('The file names too many objects.')
    for await (const table of this.#allTables()) {
      const place = await table.find(object)
      if (place) return this.#valueOf(object, place)
    }
    return undefined
  }

  async #valueOf(object: number, place: Place): Promise<Value | undefined> {
    if ('offset' in place) {
      for (const start of new Set([this.#base + place.offset, place.offset])) {
        const head = /^\s*(\d{1,10})\s+\d{1,5}\s+obj/.exec(await this.text(start, start + 64))
        if (head && Number(head[1]) === object) return this.valueAt(start + head[0].length)
      }
      throw new RangeError('The object is not where it should be.')
    }
    if (++this.#looked > maxObjects) throw new RangeError('The file names too many objects.')
    for await (const table of this.#allTables()) {
      const container = await table.find(place.stream)
      if (!container || !('offset' in container)) continue
      const { dictionary, bytes } = await this.#anyBase(container.offset, (start) => this.streamAt(start))
      const unpacked = unpack(bytes, dictionary)
      return unpacked && valueInStream(unpacked, dictionary, object)
    }
    return undefined
  }

  /** The newest table first; each is read when those before it do not suffice. */
  async *#allTables(): AsyncGenerator<PlaceTable> {
    for (let i = 0; ; i++) {
      const table = this.#tables[i] ?? (await this.#nextTable())
      if (!table) return
      yield table
    }
  }

  async #nextTable(): Promise<PlaceTable | undefined> {
    const offset = this.#waiting.shift()
    if (offset === undefined || this.#visited.has(offset) || this.#visited.size >= maxTables) return undefined
    this.#visited.add(offset)
    const table = await this.#anyBase(offset, (start) => this.#readTable(start))
    this.#tables.push(table)
    // A table in text may name one in a stream beside it, before the one of the time before.
    for (const name of ['/XRefStm', '/Prev']) {
      const next = table.trailer.get(name)
      if (typeof next === 'number') this.#waiting.push(next)
    }
    return table
  }

  async #readTable(start: number): Promise<PlaceTable> {
    const space = /^\s*/.exec(await this.text(start, start + 16))?.[0].length ?? 0
    const isText = (await this.text(start + space, start + space + 4)) === 'xref'
    return isText ? readTextTable(this, start + space) : readStreamTable(this, start + space)
  }

  async #anyBase<T>(offset: number, read: (start: number) => Promise<T>): Promise<T> {
    try {
      return await read(this.#base + offset)
    } catch (error) {
      if (this.#base === 0 || !(error instanceof RangeError)) throw error
      return read(offset)
    }
  }
}
