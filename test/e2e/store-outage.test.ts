import { expect, it } from 'vitest'
import { s3Chaos } from '../support/chaos-stores.ts'
import { outage, outages } from '../support/outage.ts'
import { missingS3, sharedS3 } from '../support/s3.ts'

it.skipIf(missingS3())(
  'tells clients when the S3 server fails, and keeps every promise when it is back',
  { timeout: 120_000 },
  async () => {
    const { breaches, tallies, ready } = await outage({
      store: await s3Chaos({ server: await sharedS3(), presignTtl: 5, settle: 1 }),
      outages: [
        ['away', outages['refuses connections'], 2.5],
        ['done, and not said', outages['does what it is asked and answers 500'], 1],
        ['flaky', outages['fails now and then'], 1],
      ],
      clients: 3,
      largestBytes: 9 * 1024 * 1024,
    })
    expect(breaches).toEqual([])
    // It was away, and said so; what needs no store went on.
    expect(ready.get('away')?.['503']).toBeGreaterThan(0)
    expect(tallies.get('raw upload')?.get('503')?.times).toBeGreaterThan(0)
    expect([...(tallies.get('create')?.keys() ?? [])]).toEqual(['201'])
  },
)
