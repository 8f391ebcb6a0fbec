import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Onlooker, onlookers } from '../../src/uploads/onlooker.ts'

const minuteMs = 60_000
const most = 1_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const dropped: string[] = []
function one(name: string): Onlooker {
  return {
    seen: 3,
    before: async () => {},
    pass: async () => {},
    end: async () => ({ patch: {}, sha256: '' }),
    drop: () => void dropped.push(name),
  }
}
beforeEach(() => void dropped.splice(0))

it('an onlooker is kept for whoever goes on where it was, for ten minutes', () => {
  const kept = onlookers()
  const first = one('first')
  kept.keep('a', first)
  vi.advanceTimersByTime(9 * minuteMs)
  expect(kept.take('a', 3)).toBe(first)
  vi.advanceTimersByTime(9 * minuteMs)
  expect(dropped).toEqual([])
  kept.keep('a', first)
  vi.advanceTimersByTime(11 * minuteMs)
  expect(dropped).toEqual(['first'])
  expect(kept.take('a', 3)).toBeUndefined()
  expect(vi.getTimerCount()).toBe(0)
})

it('one that has seen other bytes, or is replaced, or is the oldest of too many, is dropped', () => {
  const kept = onlookers()
  kept.keep('a', one('other'))
  expect(kept.take('a', 4)).toBeUndefined()
  kept.keep('b', one('replaced'))
  kept.keep('b', one('newer'))
  expect(dropped).toEqual(['other', 'replaced'])
  for (let i = 1; i < most; i++) kept.keep(String(i), one(String(i)))
  expect(dropped).toHaveLength(2)
  kept.keep('last', one('last'))
  expect(dropped).toEqual(['other', 'replaced', 'newer'])
})
