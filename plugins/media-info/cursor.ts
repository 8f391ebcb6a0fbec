import type { MediaFile } from './facts.ts'

const windowBytes = 64 * 1024

/** Reads a file in order, byte by byte, without a promise for each byte. */
export class Cursor {
  readonly #file: MediaFile
  #window: Buffer = Buffer.alloc(0)
  #windowStart = 0
  /** Offset in the file. */
  position: number

  constructor(file: MediaFile, position: number) {
    this.#file = file
    this.position = position
  }

  /** True when the next `count` bytes are at hand; otherwise `await fill(count)`. */
  has(count: number): boolean {
    const at = this.position - this.#windowStart
    return at >= 0 && at + count <= this.#window.length
  }

  /** False when the file ends before. */
  async fill(count: number): Promise<boolean> {
    this.#windowStart = this.position
    this.#window = await this.#file.read(this.position, this.position + Math.max(count, windowBytes))
    return this.#window.length >= count
  }

  /** What is at hand from the position on. */
  get bytes(): Buffer {
    return this.#window.subarray(this.position - this.#windowStart)
  }

  /** One byte that is at hand, `ahead` bytes from the position. */
  peek(ahead: number): number {
    return this.#window[this.position - this.#windowStart + ahead] ?? 0
  }
}
