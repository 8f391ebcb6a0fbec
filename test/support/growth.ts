import {
  type Growth,
  type GrowOptions,
  largestKeptPiece,
  type NewPiece,
  type Piece,
} from '../../src/uploads/object-store.ts'

interface Kept extends Piece {
  readonly bytes: Buffer | null
}

/** What is on record of one object that grows. */
export interface GrowthKeeper {
  /** As it is now. */
  readonly growth: Growth
  /** Calls of `keep`. */
  readonly keeps: number
  /** For a writer that goes on from here. */
  options(more?: Partial<GrowOptions>): GrowOptions
  /** Its process dies: nothing that is kept later has any effect, and nobody is told. */
  crash(): void
  /** The next `keep` fails so. */
  failNext(error: Error): void
}

/** Keeps in memory what the records would, and is as strict as they are. */
export function growthKeeper(): GrowthKeeper {
  let bytes = 0
  let noted: string | null = null
  let pieces: readonly Kept[] = []
  let keeps = 0
  let isBusy = false
  let life = 0
  let failure: Error | undefined

  async function keep(total: number, added: readonly NewPiece[]): Promise<void> {
    if (isBusy) throw new Error('Two calls of keep overlap.')
    isBusy = true
    keeps++
    // Later than the caller, as a transaction is.
    await new Promise((resolve) => setImmediate(resolve))
    isBusy = false
    if (failure) {
      const error = failure
      failure = undefined
      throw error
    }
    const [first] = added
    if (total < bytes) throw new Error('Less counts than before.')
    if (!first) {
      if (pieces.length > 0) throw new Error('Nothing is kept.')
      bytes = total // the store knows by itself where they are
      return
    }
    const before = pieces.filter(({ start }) => start < first.start)
    const all = [...before, ...added.map(copied)]
    if (endOf(all) !== total) throw new Error(`The pieces have a gap, or ${total} bytes are not what they are.`)
    bytes = total
    pieces = all
  }

  async function kept({ start, end }: { readonly start: number; readonly end: number }): Promise<Buffer> {
    if (end - start > largestKeptPiece) throw new Error('Too much is read at once.')
    const found = pieces.filter((piece) => piece.start < end && piece.start + piece.size > start)
    const parts = found.map((piece) => {
      if (!piece.bytes) throw new Error('The bytes are not on record.')
      return piece.bytes.subarray(Math.max(0, start - piece.start), end - piece.start)
    })
    await new Promise((resolve) => setImmediate(resolve))
    const read = Buffer.concat(parts)
    if (read.length !== end - start) throw new Error('Some of the bytes are not on record.')
    return read
  }

  async function note(text: string): Promise<void> {
    noted = text
  }

  return {
    get growth() {
      return { bytes, note: noted, pieces: pieces.map(({ start, size, ref }) => ({ start, size, ref })) }
    },
    get keeps() {
      return keeps
    },
    options(more = {}) {
      const mine = life
      const whileAlive =
        <A extends readonly unknown[]>(call: (...args: A) => Promise<void>) =>
        async (...args: A): Promise<void> => {
          if (mine === life) await call(...args)
        }
      return {
        growth: this.growth,
        length: null,
        coming: null,
        note: whileAlive(note),
        keep: whileAlive(keep),
        kept,
        ...more,
      }
    },
    crash() {
      life++
    },
    failNext(error) {
      failure = error
    },
  }
}

function copied({ start, size, ref, bytes }: NewPiece): Kept {
  if ((ref === null) !== (bytes !== null)) throw new Error('A piece is in the store or on record, and not both.')
  if (bytes && (bytes.length !== size || size > largestKeptPiece)) throw new Error('A piece has not the size it says.')
  if (size < 1) throw new Error('A piece is empty.')
  return { start, size, ref, bytes: bytes && Buffer.from(bytes) }
}

/** Where the last piece ends, when none is missing before it. */
function endOf(pieces: readonly Piece[]): number | undefined {
  let end = 0
  for (const piece of pieces) {
    if (piece.start !== end) return undefined
    end += piece.size
  }
  return end
}
