const maxZeros = 31 // before the first one of an Exp-Golomb code; more is no number that a header has

/** Reads bits from the front of some bytes. Throws a RangeError behind their end. */
export class BitReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** A number of up to 32 bits. */
  read(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++) value = value * 2 + this.#bit()
    return value
  }

  flag(): boolean {
    return this.#bit() === 1
  }

  skip(count: number): void {
    this.#at += count
  }

  /** An Exp-Golomb code, `ue(v)` of the standards. */
  unsigned(): number {
    let zeros = 0
    while (this.#bit() === 0) {
      if (++zeros > maxZeros) throw new RangeError('Not an Exp-Golomb code.')
    }
    return 2 ** zeros - 1 + this.read(zeros)
  }

  /** `se(v)` of the standards. */
  signed(): number {
    const code = this.unsigned()
    return code % 2 === 0 ? -code / 2 : (code + 1) / 2
  }

  #bit(): number {
    const byte = this.#bytes[this.#at >> 3]
    if (byte === undefined) throw new RangeError('The bits have ended.')
    return (byte >> (7 - (this.#at++ & 7))) & 1
  }
}
