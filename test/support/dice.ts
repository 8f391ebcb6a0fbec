import { createCipheriv, createHash } from 'node:crypto'

/** Chance that comes out the same whenever it begins with the same seed. */
export interface Dice {
  /** A whole number from 0 on, less than `below`. */
  int(below: number): number
  /** Whether it happens, of which `share` is the probability. */
  chance(share: number): boolean
  pick<T>(of: readonly [T, ...T[]]): T
  /** Dice of their own for one purpose: how often these are cast does not change them. */
  fork(purpose: string | number): Dice
  bytes(length: number): Buffer
}

export function dice(seed: string): Dice {
  let state = createHash('sha256').update(seed).digest().readUInt32LE()

  /** From 0 on, less than 1: mulberry32. */
  function cast(): number {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }

  const int = (below: number): number => Math.floor(cast() * below)
  return {
    int,
    chance: (share) => cast() < share,
    pick: (of) => of[int(of.length)] ?? of[0],
    fork: (purpose) => dice(`${seed}/${purpose}`),
    bytes(length) {
      const key = createHash('md5').update(seed).digest()
      return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
    },
  }
}
