import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ConcatLimits, isCopy, planConcat, type PlannedPart } from '../../src/stores/s3/concat-plan.ts'

const mib = 1024 * 1024
const gib = 1024 * mib
const leastPart = 5 * mib
const mostParts = 10_000
const usual: ConcatLimits = { largestCopy: gib, largestGathered: 64 * mib, equalPart: null }

/** Around all borders that there are. */
const size = fc.oneof(
  fc.integer({ min: 0, max: 12 * mib }),
  fc.integer({ min: 0, max: 3 * gib }),
  fc
    .tuple(
      fc.constantFrom(0, 5 * mib, 8 * mib, 10 * mib, 16 * mib, gib, gib + 5 * mib),
      fc.integer({ min: -2, max: 2 }),
    )
    .map(([border, more]) => Math.max(0, border + more)),
)
const sizes = fc.array(size, { maxLength: 40 })

describe('the plan of putting objects together', () => {
  it('covers every byte once, in order, in parts that the store takes', () => {
    const limits = fc.record({
      largestCopy: fc.integer({ min: 10 * mib, max: 2 * gib }),
      largestGathered: fc.constant(64 * mib),
      equalPart: fc.option(fc.integer({ min: 5, max: 64 }).map((n) => n * mib)),
    })
    fc.assert(
      fc.property(sizes, limits, (objects, limit) => {
        const plan = planConcat(objects, limit) ?? []
        expectWhole(plan, objects)
        for (const part of plan.slice(0, -1)) {
          expect(part.size).toBeGreaterThanOrEqual(leastPart)
          expect(limit.equalPart ?? part.size).toBe(part.size)
        }
        const { largestCopy, equalPart } = limit
        expect(largest(plan.filter(isCopy))).toBeLessThanOrEqual(equalPart ?? largestCopy)
        expect(largest(plan.filter((part) => !isCopy(part)))).toBeLessThanOrEqual(equalPart ?? 10 * mib)
      }),
    )
  })

  it('reads no more than is needed at each seam', () => {
    fc.assert(
      fc.property(sizes, (objects) => {
        const read = (planConcat(objects, usual) ?? []).filter((part) => !isCopy(part))
        for (const { stretches } of read.slice(0, -1))
          expect(new Set(stretches.map(({ source }) => source)).size).toBe(stretches.length)
        // Less than 10 MiB of each object that is copied in part, and all of those that are smaller.
        const most = objects.reduce((sum, one) => sum + Math.min(one, 10 * mib), 0)
        expect(read.reduce((sum, part) => sum + part.size, 0)).toBeLessThanOrEqual(most)
      }),
    )
  })

  it.each<[string, number[], number[]]>([
    ['copies what can be copied', [6 * mib, 9 * mib], [6 * mib, 9 * mib]],
    ['leaves enough for a copy behind a seam', [6 * mib, 1, 12 * mib], [6 * mib, 5 * mib, 7 * mib + 1]],
    ['takes along what would be too little', [6 * mib, 1, 7 * mib], [6 * mib, 7 * mib + 1]],
    ['leaves no small rest of a large object', [gib + 1, 1], [gib + 1 - 5 * mib, 5 * mib, 1]],
    ['has nothing to do for nothing', [0, 0], []],
  ])('%s', (_, objects, expected) => {
    expect(planConcat(objects, usual)?.map((part) => part.size)).toEqual(expected)
  })

  it.each([
    ['single bytes', 1, 1],
    ['small ones', 6 * mib, 5],
  ])('makes larger parts of very many objects: %s', (_, bytes, share) => {
    const objects = Array.from({ length: 20_000 }, () => bytes)
    const plan = planConcat(objects, usual) ?? []
    expect(plan.length).toBeGreaterThanOrEqual(1)
    expect(plan.length).toBeLessThanOrEqual(mostParts)
    expect(Math.max(...plan.map((part) => part.size))).toBeLessThanOrEqual(share * 8 * mib)
    expectWhole(plan, objects)
  })

  it('says when it cannot be done', () => {
    const objects = Array.from({ length: 20_000 }, () => 6 * mib)
    expect(planConcat(objects, { ...usual, largestGathered: 16 * mib })).toBeUndefined()
    expect(planConcat(objects, { ...usual, equalPart: 8 * mib })).toBeUndefined()
  })
})

function expectWhole(plan: readonly PlannedPart[], objects: readonly number[]): void {
  const next = objects.map(() => 0)
  let last = 0
  for (const { size: bytes, stretches } of plan) {
    expect(bytes).toBe(stretches.reduce((sum, { start, end }) => sum + end - start, 0))
    for (const { source, start, end } of stretches) {
      expect(source).toBeGreaterThanOrEqual(last)
      expect(start).toBe(next[source])
      expect(end).toBeGreaterThan(start)
      next[source] = end
      last = source
    }
  }
  expect(next).toEqual(objects)
}

const largest = (some: readonly PlannedPart[]): number => Math.max(0, ...some.map((part) => part.size))
