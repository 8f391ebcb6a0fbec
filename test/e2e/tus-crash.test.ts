import { expect, it } from 'vitest'
import { type ChaosStore, diskChaos, s3Chaos } from '../support/chaos-stores.ts'
import { tusChaos } from '../support/chaos-tus.ts'
import { missingS3, sharedS3 } from '../support/s3.ts'

const uploads = 24
/** What must have happened for the storm to have been one. */
const happenings = [
  'cut by the client',
  'left half-open',
  'wrong checksum refused',
  'made of parts',
  'PATCH, twin',
  'deleted half way',
]

async function storm(store: ChaosStore) {
  const { breaches, counts, lostBytes } = await tusChaos({
    store,
    uploads,
    kills: 3,
    clients: 6,
    // Draws sizes and ways that reach everything in the list.
    seed: '11',
    secondsBetween: [0.3, 1],
    largestBytes: 9 * 1024 * 1024,
  })
  const { 'files done': done = 0, 'deleted half way': deleted = 0, 'objects in the end': objects } = counts
  return {
    breaches,
    lostBytes,
    missed: happenings.filter((what) => counts[what] === undefined),
    ended: done + deleted,
    strays: (objects ?? 0) - done,
  }
}

const survived = { breaches: [], lostBytes: 0, missed: [], ended: uploads, strays: 0 }

it('keeps every acknowledged byte of resumable uploads when it is killed', { timeout: 120_000 }, async () => {
  expect(await storm(diskChaos())).toEqual(survived)
})

it.skipIf(missingS3())(
  'keeps every acknowledged byte of resumable uploads on S3 when it is killed',
  { timeout: 180_000 },
  async () => {
    const store = await s3Chaos({ server: await sharedS3(), presignTtl: 1, settle: 1, memory: '16MiB' })
    expect(await storm(store)).toEqual(survived)
  },
)
