import type { Dice } from './dice.ts'

const kib = 1024
const mib = 1024 * kib
/** Partial uploads of one file at most. */
const mostParts = 4

/** How one upload is brought. */
export interface Plan {
  readonly name: string
  readonly bytes: Buffer
  readonly partial: boolean
  /** The length is told with the last bytes, or after them; else with the creation. */
  readonly length: 'first' | 'with the last bytes' | 'after them'
  readonly chunks: 'whole' | 'random' | 'tiny'
  /** Share of the bodies that have a checksum. */
  readonly checksums: number
  /** The first bytes come with the creation. */
  readonly withCreation: boolean
  /** The creation is repeated under an `Idempotency-Key` until it is answered. */
  readonly once: boolean
  /** Methods are sent as POST with `X-HTTP-Method-Override`. */
  readonly override: boolean
  /** Bodies that are cut by the client. */
  readonly cuts: number
  /** Milliseconds between pieces of 64 KiB. */
  readonly pauseMs: number
  /** It is deleted when so many bytes have come. */
  readonly deleteAt: number | null
  readonly dice: Dice
}

/** A file in one upload, or in several partial ones with a final one. */
export interface FilePlan {
  readonly bytes: Buffer
  readonly parts: readonly [Plan, ...Plan[]]
}

/** @param pool where the bytes are taken from: a MiB more than the largest file has */
export function filePlan(name: string, pool: Buffer, largestBytes: number, cast: Dice): FilePlan {
  const size = sizeOf(cast, largestBytes)
  const from = cast.int(mib)
  const bytes = pool.subarray(from, from + size)
  if (!cast.chance(1 / 8)) return { bytes, parts: [planOf(name, bytes, false, cast)] }
  const ends = [...Array.from({ length: 1 + cast.int(mostParts - 1) }, () => cast.int(size + 1)), size]
  const [end = size, ...more] = ends.toSorted((a, b) => a - b)
  const part = (start: number, stop: number, number: number): Plan =>
    planOf(`${name}-part-${number}`, bytes.subarray(start, stop), true, cast.fork(number))
  return {
    bytes,
    parts: [part(0, end, 0), ...more.map((stop, i) => part(i === 0 ? end : (more[i - 1] ?? end), stop, i + 1))],
  }
}

function planOf(name: string, bytes: Buffer, partial: boolean, cast: Dice): Plan {
  const size = bytes.length
  const deferred = cast.pick<Plan['length']>(['with the last bytes', 'after them'])
  return {
    name,
    bytes,
    partial,
    length: cast.chance(1 / 4) ? deferred : 'first',
    chunks: size <= 8 * kib && cast.chance(0.5) ? 'tiny' : cast.pick(['whole', 'random', 'random']),
    checksums: cast.pick([0, 0, 0.4, 1]),
    withCreation: cast.chance(1 / 3),
    once: cast.chance(1 / 2),
    override: cast.chance(1 / 5),
    cuts: size < 2 ? 0 : 1 + cast.int(3),
    pauseMs: cast.pick([0, 0, 1, 3]),
    deleteAt: !partial && cast.chance(1 / 10) ? cast.int(size + 1) : null,
    dice: cast.fork('way'),
  }
}

/** Sizes at which something changes: nothing, what is looked at first, what a store keeps together, what it takes at once. */
function sizeOf(cast: Dice, largestBytes: number): number {
  const near = (bytes: number): number => bytes + cast.int(3) - 1
  const size = cast.pick([
    () => 0,
    () => 1,
    () => 2 + cast.int(300),
    () => 4_050 + cast.int(100),
    () => 4_050 + cast.int(100),
    () => near(256 * kib),
    () => near(5 * mib),
    () => near(8 * mib),
    () => Math.round(2 ** (cast.int(1_000) * (Math.log2(largestBytes) / 1_000))),
    () => Math.round(2 ** (cast.int(1_000) * (Math.log2(largestBytes) / 1_000))),
    () => cast.int(largestBytes + 1),
  ])()
  return Math.min(size, largestBytes)
}

/** Bytes of the next body. */
export function chunkSize({ chunks, bytes, dice: cast }: Plan, at: number): number {
  const left = bytes.length - at
  if (chunks === 'whole') return left
  const most = chunks === 'tiny' ? 300 : Math.ceil(bytes.length / 3)
  return Math.min(left, 1 + cast.int(most))
}
