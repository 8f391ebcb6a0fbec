import { leastPart, mostParts } from './part-sizes.ts'

/** Bytes of one of the objects that are put together. */
export interface Stretch {
  /** Its place in the list. */
  readonly source: number
  readonly start: number
  readonly end: number
}

/** One stretch that is large enough is copied inside the store; others are read and sent. */
export interface PlannedPart {
  readonly size: number
  readonly stretches: readonly Stretch[]
}

export interface ConcatLimits {
  /** Bytes of one copy at most; at least twice the smallest part. */
  readonly largestCopy: number
  /** Bytes of one part that is read and sent, at most. */
  readonly largestGathered: number
  /** Bytes that every part but the last must have, where the server wants that. */
  readonly equalPart: number | null
}

export const isCopy = ({ size, stretches }: PlannedPart): boolean => stretches.length === 1 && size >= leastPart

/**
 * Parts that make one object of others, in their order: all but the last have 5 MiB or more. What lies in the store is copied where that
 * can be, and gathered across the seams otherwise.
 *
 * @param sizes bytes of each object
 * @returns nothing when it cannot be done within the limits
 */
export function planConcat(sizes: readonly number[], limits: ConcatLimits): readonly PlannedPart[] | undefined {
  const { largestCopy, largestGathered, equalPart } = limits
  if (equalPart !== null) {
    const parts = cutAll(sizes, () => equalPart)
    return parts.length <= mostParts ? parts : undefined
  }
  // Larger parts are fewer; and more of them have to be read.
  for (let least = leastPart; 2 * least <= Math.min(largestCopy, largestGathered); least *= 2) {
    const parts = cutAll(sizes, (have, left) => nextCut(have, left, least, largestCopy))
    if (parts.length <= mostParts) return parts
  }
  return undefined
}

/**
 * Bytes that a part may have, of which there are some, when it goes on in an object of which so many bytes are left. Parts are gathered to
 * less than twice the least.
 */
function nextCut(have: number, left: number, least: number, largestCopy: number): number {
  if (have > 0) {
    if (have >= least) return have
    // What is left of the object is enough for a copy, or comes along.
    return left - (least - have) >= least ? least : have + left
  }
  if (left < least || left <= largestCopy) return left
  // Too little before a seam would have to be gathered.
  return left - largestCopy >= least ? largestCopy : left - least
}

function cutAll(sizes: readonly number[], cut: (have: number, left: number) => number): PlannedPart[] {
  const parts: PlannedPart[] = []
  let stretches: Stretch[] = []
  let have = 0
  const end = (): void => {
    if (have > 0) parts.push({ size: have, stretches })
    stretches = []
    have = 0
  }
  for (const [source, size] of sizes.entries())
    for (let start = 0; start < size;) {
      const taken = Math.min(size - start, cut(have, size - start) - have)
      if (taken > 0) {
        stretches.push({ source, start, end: start + taken })
        have += taken
        start += taken
      }
      if (have >= cut(have, size - start)) end()
    }
  end()
  return parts
}
