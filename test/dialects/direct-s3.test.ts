import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf, eventually } from '../support/client.ts'
import { type Blob, type Direct, directOf } from '../support/direct.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place, strays } from '../support/places.ts'
import { refusal } from '../support/presigned.ts'
import { directSuite } from './suites/direct.ts'

const place = s3Place()
afterAll(() => place.close())

/** Lays other bytes where the URL leads, as nobody but the store itself could. */
async function lay({ direct_upload: upload }: Blob, other: string): Promise<void> {
  const bucket = await place.bucket()
  const key = decodeURIComponent(new URL(upload?.url ?? '').pathname).slice(`/${bucket.name}/`.length)
  await bucket.put(key, Buffer.from(other))
}

describe.skipIf(place.missing)('on S3', () => {
  directSuite(place)

  it('keeps no header of the PUT with the object', async () => {
    const gateway = await place.start()
    try {
      const by = directOf(clientOf(gateway, gateway.key))
      const blob = await by.sent(Buffer.from('x'), { filename: 'a.html', content_type: 'text/html' })
      expect((await by.look(blob)).json()).toMatchObject({ metadata: { identified: true } })
      await eventually(async () => expect(await place.stored(gateway)).toHaveLength(1))
      const [key = ''] = await place.stored(gateway)
      const headers = await (await place.bucket()).head(`${place.prefixOf(gateway)}${key}`)
      expect(headers?.get('content-disposition')).toBeNull()
      expect(headers?.get('content-type')).not.toContain('html')
    } finally {
      await gateway.close()
    }
  })

  it('finds bytes that came when the URL was about to end', async () => {
    const gateway = await place.start({ more: 'sweep: { interval: 1 }', env: { FAIRLEAD_PRESIGN_TTL: '1' } })
    try {
      const by = directOf(clientOf(gateway, gateway.key))
      const blob = await by.made(Buffer.from('late'))
      await lay(blob, 'late')
      await eventually(async () => expect(await by.status(blob)).toBe('confirmed'), 15_000)
    } finally {
      await gateway.close()
    }
  })

  describe('a store that does not check', () => {
    const bytes = Buffer.from('exactly these bytes')
    let gateway: TestGateway
    let ours: Direct
    beforeAll(async () => {
      gateway = await place.start()
      ours = directOf(clientOf(gateway, gateway.key))
    })
    afterAll(() => gateway.close())

    it.each([
      ['other bytes', 'exactly other bytes', '422 checksum_mismatch'],
      ['more bytes', 'exactly these bytes, and more', '422 size_mismatch'],
    ])('has %s refused by the gateway, asked or not', async (_what, other, answer) => {
      const asked = await ours.made(bytes)
      await lay(asked, other)
      expect(refusal(await ours.look(asked))).toBe(answer)
      expect(await ours.status(asked)).toBe('rejected')
      const unasked = await ours.made(bytes)
      await lay(unasked, other)
      await eventually(async () => expect(await ours.status(unasked)).toBe('rejected'), 15_000)
      expect(refusal(await ours.look(unasked))).toBe(answer)
      await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    })
  })
})
