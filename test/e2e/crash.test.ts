import { expect, it } from 'vitest'
import { chaos } from '../support/chaos.ts'

const kills = 4

it('keeps every promise when it is killed under load and started again', { timeout: 120_000 }, async () => {
  const { breaches, counts } = await chaos({
    kills,
    secondsBetween: [0.3, 0.8],
    clients: 5,
    largestBytes: 8 * 1024 * 1024,
  })
  expect(breaches).toEqual([])
  // The storm was one: files came, and requests were in flight when the server went.
  expect(counts['raw upload']).toBeGreaterThan(0)
  expect(counts['confirm']).toBeGreaterThan(0)
  expect(counts['delete']).toBeGreaterThan(0)
  expect(Object.entries(counts).filter(([what]) => what.endsWith(', no answer'))).not.toEqual([])
  expect(counts['objects in the end']).toBeGreaterThan(0)
})
