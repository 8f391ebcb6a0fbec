import { UploadError } from '../../errors.ts'
import {
  type Growth,
  type GrowOptions,
  largestKeptPiece,
  type NewPiece,
  type Piece,
} from '../../uploads/object-store.ts'
import type { SentPart } from './multipart.ts'

/** Bytes up to which pieces are put together: bytes that come one by one would be as many pieces. */
const mergedBytes = 64 * 1024

/** A part that the store has. */
export interface StoredPart extends SentPart {
  /** Where it begins in the object. */
  readonly start: number
  /** Bytes. */
  readonly size: number
}

/** Absent where nothing goes on record. */
export type Keeping = Pick<GrowOptions, 'keep' | 'kept' | 'hold'>

/** What counts of an object that is written: parts that the store has, and behind them the tail, whose bytes are on record. */
export interface GrowthRecord {
  /** Bytes that count. */
  readonly bytes: number
  /** Every part that was sent, also those that do not count yet. */
  readonly parts: readonly StoredPart[]
  /** Parts that count. */
  readonly countedParts: number
  /** Bytes on record behind the last part that was cut. */
  readonly tailBytes: number
  /** The tail becomes the beginning of a part. */
  cut(): void
  /** The store has the part. It counts when all before it do. */
  sent(part: StoredPart): Promise<void>
  /** Puts on record what is sent, and these bytes behind it. */
  save(start: number, chunks: readonly Uint8Array[]): Promise<void>
  /** Bytes that are on record. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

export function growthRecord(growth: Growth, keeping: Keeping | undefined, signal: AbortSignal): GrowthRecord {
  const parts = growth.pieces.flatMap(partOf)
  if (endOf(growth.pieces.at(-1)) !== growth.bytes || (parts.length > 0 && growth.note === null)) throw notOurs()
  /** Sent, and not on record yet; by where they begin. */
  const waiting = new Map<number, StoredPart>()
  let tail = growth.pieces.filter(({ ref }) => ref === null)
  let { bytes } = growth
  /** Where the next part begins that goes on record. */
  let next = endOf(parts.at(-1))
  let turn: Promise<void> = Promise.resolve()

  function inTurn(work: () => Promise<void>): Promise<void> {
    turn = turn.then(work)
    return turn
  }

  async function keep(pieces: readonly NewPiece[]): Promise<void> {
    if (!keeping || pieces.length === 0) return
    signal.throwIfAborted()
    const end = endOf(pieces.at(-1))
    await keeping.keep(end, pieces)
    bytes = end
  }

  /** Takes the parts that follow without a gap on those that are on record. */
  function takeSent(): NewPiece[] {
    const taken: NewPiece[] = []
    for (let part = waiting.get(next); part; part = waiting.get(next)) {
      waiting.delete(next)
      next = endOf(part)
      const { start, size, PartNumber, ETag = '' } = part
      taken.push({ start, size, ref: `${PartNumber} ${ETag}`, bytes: null })
    }
    return taken
  }

  /** What small pieces lie before these bytes becomes one with them when it is no more than they are: so each byte moves seldom. */
  async function merged(start: number, chunks: readonly Uint8Array[]): Promise<NewPiece[]> {
    const pieces: NewPiece[] = []
    let end = start
    for (const chunk of chunks) {
      pieces.push({ start: end, size: chunk.length, ref: null, bytes: chunk })
      end += chunk.length
    }
    const [only] = pieces
    if (!keeping || !only?.bytes || pieces.length > 1) return pieces
    let from = start
    for (const piece of tail.toReversed()) {
      if (piece.size > end - from || end - piece.start > mergedBytes) break
      from = piece.start
    }
    if (from === start) return pieces
    const before = await keeping.kept({ start: from, end: start })
    return [{ start: from, size: end - from, ref: null, bytes: Buffer.concat([before, only.bytes]) }]
  }

  return {
    get bytes() {
      return bytes
    },
    get parts() {
      return parts
    },
    get countedParts() {
      return parts.filter((part) => endOf(part) <= bytes).length
    },
    get tailBytes() {
      const [first] = tail
      return first ? endOf(tail.at(-1)) - first.start : 0
    },
    cut() {
      tail = []
    },
    async sent(part) {
      parts.push(part)
      // The only part of an empty object.
      if (part.size > 0) waiting.set(part.start, part)
      if (!keeping?.hold) await inTurn(() => keep(takeSent()))
    },
    save: (start, chunks) =>
      inTurn(async () => {
        const fresh = await merged(start, chunks)
        // What is held counts as a whole, or not at all; else one piece at a time holds up nobody's records for long.
        if (keeping?.hold) await keep([...takeSent(), ...fresh])
        else for (const piece of fresh) await keep([piece])
        const from = fresh[0]?.start ?? start
        tail = [
          ...tail.filter((piece) => piece.start < from),
          ...fresh.map(({ start: at, size, ref }) => ({ start: at, size, ref })),
        ]
      }),
    async *read(start, end) {
      if (!keeping) return
      for (let at = start; at < end; at += largestKeptPiece)
        yield await keeping.kept({ start: at, end: Math.min(at + largestKeptPiece, end) })
    },
  }
}

const endOf = (piece: Pick<Piece, 'start' | 'size'> | undefined): number => (piece ? piece.start + piece.size : 0)

function partOf({ start, size, ref }: Piece): StoredPart[] {
  if (ref === null) return []
  const [, number, ETag] = /^(\d{1,5}) (.*)$/.exec(ref) ?? []
  if (number === undefined || ETag === undefined) throw notOurs()
  return [{ start, size, PartNumber: Number(number), ETag }]
}

const notOurs = (): UploadError =>
  new UploadError('storage_failed', 'What is on record of the object is not of this store.')
