import { beforeAll, describe, expect, it } from 'vitest'
import { rush, type Rush, ways } from '../support/rush.ts'

const [callers, room, bytes] = [500, 100, 10 * 1024]

describe('a quota with room for a few of many callers', () => {
  let found: Rush
  beforeAll(async () => {
    found = await rush({ callers, room, bytes })
  })

  it.each(ways)('is filled exactly, and given back: %s', (way) => {
    expect(found.results.get(way)).toMatchObject({
      accepted: room,
      refused: callers - room,
      other: [],
      full: { used: room * bytes, reserved: 0 },
      emptied: { used: 0, reserved: 0 },
      acceptedAgain: room,
    })
  })

  it('leaves nothing for the doctor to find', () => {
    expect(found.findings).toEqual([])
  })
})
