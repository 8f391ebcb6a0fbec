import { expect, it } from 'vitest'

import { type ChaosStore, diskChaos, s3Chaos } from '../support/chaos-stores.ts'
import { tusChaos } from '../support/chaos-tus.ts'
import { missingS3, sharedS3 } from '../support/s3.ts'

const kills = 3
const uploads = 24

async function survives(store: ChaosStore): Promise<void> {
  const { breaches, counts, lostBytes } = await tusChaos({
    store,
    uploads,
    kills,
    clients: 4,
    // Sizes and ways that have been seen to reach everything that is asked for below.
    seed: '11',
    secondsBetween: [0.3, 1],
    largestBytes: 9 * 1024 * 1024,
  })
  expect(breaches).toEqual([])
  expect(lostBytes).toBe(0)
  // The storm was one: all of this has happened.
  for (const what of ['cut by the client', 'left half-open', 'wrong checksum refused', 'made of parts', 'PATCH, twin'])
    expect(counts[what], what).toBeGreaterThan(0)
  expect(counts['deleted half way']).toBeGreaterThan(0)
  expect((counts['files done'] ?? 0) + (counts['deleted half way'] ?? 0)).toBe(uploads)
  expect(counts['objects in the end']).toBe(counts['files done'])
}

it('keeps every acknowledged byte of resumable uploads when it is killed', { timeout: 120_000 }, () =>
  survives(diskChaos()),
)

it.skipIf(missingS3())(
  'keeps every acknowledged byte of resumable uploads on S3 when it is killed',
  { timeout: 180_000 },
  async () => survives(await s3Chaos({ server: await sharedS3(), presignTtl: 1, settle: 1, memory: '16MiB' })),
)
