const mib = 1024 * 1024
/** Smaller parts cost more requests than the memory is worth. */
const smallestPart = 8 * mib
/** Parts of one object at most. */
export const mostParts = 10_000
/** Some are left for parts that must be cut early. */
const plannedParts = 9_000
/** Parts of an object of unknown length: the first number for which the size holds, and the size. Together 492 GiB. */
const growing = [
  [3_001, 64 * mib],
  [2_001, 32 * mib],
  [1_001, 16 * mib],
  [1, smallestPart],
] as const

/** Bytes below which a part may not be, unless it is the last. */
export const leastPart = 5 * mib

const roundedUp = (bytes: number): number => Math.ceil(bytes / mib) * mib
const enoughFor = (length: number): number => Math.max(smallestPart, roundedUp(length / plannedParts))

/**
 * Bytes of each part of an object, by its number.
 *
 * @param length bytes of the object; `null`: not known
 * @param largest bytes of the largest object that may come
 * @param equal every part has one size
 * @param begun bytes of the first part, where it is in the store already
 */
export function partSizes(
  length: number | null,
  largest: number,
  equal: boolean,
  begun?: number,
): (number: number) => number {
  if (length !== null || equal) {
    const size = (equal ? begun : undefined) ?? enoughFor(length ?? largest)
    return () => size
  }
  const last = Math.max(64 * mib, enoughFor(largest))
  return (number) => {
    const [from, size] = growing.find(([first]) => number >= first) ?? growing[0]
    return from === 3_001 ? last : size
  }
}

/** Bytes of the largest part that any object may need. */
export function largestPartSize(largest: number, equal: boolean): number {
  const size = partSizes(null, largest, equal)
  let number = 1
  for (let left = largest; left > size(number); number++) left -= size(number)
  return Math.max(enoughFor(largest), size(number))
}
