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
    const parts = equalParts(sizes, equalPart)
    return parts.length <= mostParts ? parts : undefined
  }
  // Larger parts are fewer; and more of them have to be read.
  for (let least = leastPart; 2 * least <= Math.min(largestCopy, largestGathered); least *= 2) {
    const parts = partsOf(sizes, least, largestCopy)
    if (parts.length <= mostParts) return parts
  }
  return undefined
}

/** Parts of at least so many bytes; those that are gathered have less than twice as many. */
function partsOf(sizes: readonly number[], least: number, largestCopy: number): PlannedPart[] {
  const { parts, add, end } = collector()
  let gathered = 0
  for (const [source, size] of sizes.entries()) {
    let start = 0
    if (gathered > 0) {
      const missing = least - gathered
      // What is left then is enough for a copy, or comes along.
      start = size - missing >= least ? missing : size
      add({ source, start: 0, end: start })
      gathered += start
      if (gathered < least) continue
      end()
    }
    for (let left = size - start; left >= least; left = size - start) {
      // Too little before a seam would have to be gathered.
      const most = left - largestCopy >= least ? largestCopy : left - least
      const taken = left <= largestCopy ? left : most
      add({ source, start, end: start + taken })
      end()
      start += taken
    }
    add({ source, start, end: size })
    gathered = size - start
  }
  end()
  return parts
}

function equalParts(sizes: readonly number[], part: number): PlannedPart[] {
  const { parts, add, end } = collector()
  let missing = part
  for (const [source, size] of sizes.entries())
    for (let start = 0; start < size;) {
      const taken = Math.min(size - start, missing)
      add({ source, start, end: start + taken })
      start += taken
      missing -= taken
      if (missing > 0) continue
      end()
      missing = part
    }
  end()
  return parts
}

/** Puts stretches together; what is empty counts for nothing. */
function collector() {
  const parts: PlannedPart[] = []
  let stretches: Stretch[] = []
  const add = (stretch: Stretch): void => {
    if (stretch.end > stretch.start) stretches.push(stretch)
  }
  const end = (): void => {
    const size = stretches.reduce((sum, one) => sum + one.end - one.start, 0)
    if (size > 0) parts.push({ size, stretches })
    stretches = []
  }
  return { parts, add, end }
}
