import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { clientOf, eventually, requestHead, wireTo } from '../support/client.ts'
import { disk } from '../support/places.ts'
import { downloadsSuite } from './suites/downloads.ts'

describe('on disk', () => {
  downloadsSuite(disk)
})

it.each([{}, { Range: 'bytes=1-8' }, { Range: 'bytes=0-0,6-8' }])(
  'a download of a file that has become shorter breaks off, and is in the log: %o',
  async (range: Readonly<Record<string, string>>) => {
    const gateway = await disk.start()
    try {
      const call = clientOf(gateway, gateway.key)
      const made = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.bin' }, body: 'ten bytes.' })
      const { assetId } = made.json<{ data: { assetId: string } }>().data
      const [key = ''] = await disk.stored(gateway)
      await truncate(join(gateway.dataDir, 'objects', key), 4)
      const wire = await wireTo(gateway.url)
      const path = `/api/v1/uploads/${assetId}/download`
      await wire.send(requestHead('GET', path, { Authorization: `Bearer ${gateway.key}`, ...range }))
      expect(await wire.closed()).toBe(true)
      const told = /^{"level":50.*"requestId":"req_.*could not be read to its end/gm
      await eventually(() => expect(gateway.log().match(told)).toHaveLength(1))
    } finally {
      await gateway.close()
    }
  },
)
