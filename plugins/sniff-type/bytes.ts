import { type NamedType, typesOfName } from '../../src/plugin.ts'

/** Bytes that one read behind the head bytes brings, and that are kept: what is asked for next mostly lies in them. */
const windowBytes = 64 * 1024
/** Reads behind the head bytes of one file, each perhaps a request to a remote store. */
const mostWindows = 32

/** The type of some bytes. */
export interface BinaryType extends NamedType {
  /** Types that the rest of the file may yet show; absent when the type is certain. */
  readonly mayBe?: readonly NamedType[]
}

/** What is behind the head bytes, once the whole file is stored. */
export interface Rest {
  /** Bytes of the whole file. */
  readonly size: number
  bytes(start: number, end: number): Promise<Uint8Array>
}

/** The bytes of a file as far as they can be had now. */
export interface Bytes {
  readonly head: Buffer
  /** Whether nothing follows the head bytes, or what follows can be read. */
  readonly whole: boolean
  /** Bytes of the whole file; `undefined` while more may come. */
  readonly size: number | undefined
  /**
   * Bytes from `at` on, fewer where the file ends. `undefined` when they cannot be had: they lie behind the head bytes and
   * have not been stored yet, or this file has been read enough.
   */
  read(at: number, length: number): Promise<Buffer | undefined>
}

/** @param complete whether `head` is the whole file */
export function bytesOf(head: Buffer, complete: boolean, rest: Rest | undefined): Bytes {
  const size = complete ? head.length : rest?.size
  const windows: { readonly at: number; readonly bytes: Buffer }[] = []

  async function windowOf(at: number, end: number, source: Rest): Promise<Buffer | undefined> {
    const known = windows.find((one) => at >= one.at && end <= one.at + one.bytes.length)
    if (known) return known.bytes.subarray(at - known.at, Math.max(at, end) - known.at)
    if (windows.length === mostWindows) return undefined
    const fetched = await source.bytes(at, Math.min(source.size, Math.max(end, at + windowBytes)))
    const window = Buffer.from(fetched.buffer, fetched.byteOffset, fetched.byteLength)
    windows.push({ at, bytes: window })
    return window.subarray(0, Math.max(0, end - at))
  }

  return {
    head,
    whole: size !== undefined,
    size,
    async read(at, length) {
      if (at < 0 || !Number.isSafeInteger(at)) return undefined
      const end = Math.min(at + length, size ?? Infinity)
      if (end <= head.length) return head.subarray(at, Math.max(at, end))
      return rest && windowOf(at, end, rest)
    },
  }
}

/** The type of a format's files. Asked while the program loads: a format without a row then stops a start, not an upload. */
export function typeOf(format: string): NamedType {
  const type = typesOfName(`.${format}`).find((one) => one.format === format)
  if (!type) throw new TypeError(`There is no type for the format ${format}.`)
  return type
}

/** The types of the formats that a text names. */
export const typesOf = (formats: string): readonly NamedType[] => formats.split(' ').map(typeOf)
