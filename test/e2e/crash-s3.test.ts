import { expect, it } from 'vitest'
import { chaos } from '../support/chaos.ts'
import { s3Chaos } from '../support/chaos-stores.ts'
import { missingS3, sharedS3 } from '../support/s3.ts'

it.skipIf(missingS3())(
  'keeps every promise on S3 when it is killed under load and started again',
  { timeout: 120_000 },
  async () => {
    const store = await s3Chaos({ server: await sharedS3(), presignTtl: 4, settle: 1, memory: '16MiB' })
    const { breaches, counts } = await chaos({
      store,
      kills: 3,
      secondsBetween: [0.3, 0.8],
      clients: 3,
      largestBytes: 18 * 1024 * 1024,
      largeShare: 0.05,
    })
    expect(breaches).toEqual([])
    // The storm was one: bytes came on both ways, and requests were in flight when the server went.
    for (const what of ['raw upload', 'PUT', 'confirm', 'delete']) expect(counts[what]).toBeGreaterThan(0)
    expect(Object.keys(counts).filter((what) => what.endsWith(', no answer'))).not.toEqual([])
    expect(counts['objects in the end']).toBeGreaterThan(0)
  },
)
