import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { clientOf } from '../support/client.ts'
import { directOf } from '../support/direct.ts'
import { disk } from '../support/places.ts'
import { viewOf, workspaceOf } from '../support/presigned.ts'

const bytes = Buffer.from('exactly these bytes')
const texts = ['the first secret of the tests, long enough', 'the second secret of the tests, long enough'] as const
const [first, second] = texts

/** What was signed before the secret was changed. */
describe('another secret', () => {
  it.each([
    ['that was made at the first start', {}],
    ['that was configured', { FAIRLEAD_SECRET: first }],
  ])('instead of one %s', async (_, env) => {
    const gateway = await disk.start({ env })
    const old = 'FAIRLEAD_SECRET' in env ? first : (await readFile(join(gateway.dataDir, 'secret'), 'utf8')).trim()
    const call = clientOf(gateway, gateway.key)
    const direct = directOf(call)
    const presigned = workspaceOf(call)
    const here = (url: string) => gateway.url + url.slice(new URL(url).origin.length)
    /** An id, a download URL, and two upload URLs that nobody has used. */
    async function sign() {
      const blob = await direct.sent(bytes)
      expect((await direct.look(blob)).status).toBe(200)
      const upload = viewOf(await call('GET', `/api/v1/uploads/${blob.key}`))
      return { blob, download: upload.download_url ?? '', made: await presigned.made(), next: await direct.made(bytes) }
    }
    type Signed = Awaited<ReturnType<typeof sign>>
    const answers = async ({ blob, download, made, next }: Signed) => [
      (await direct.look(blob)).status,
      (await call('GET', here(download), { key: null })).status,
      (await call('PUT', here(made.upload_url), { key: null, headers: made.upload_headers, body: bytes })).status,
      (
        await call('PUT', here(next.direct_upload?.url ?? ''), {
          key: null,
          headers: next.direct_upload?.headers ?? {},
          body: bytes,
        })
      ).status,
    ]
    try {
      const before = await sign()
      await gateway.stop()
      await gateway.start({ FAIRLEAD_SECRET: second, FAIRLEAD_SECRET_PREVIOUS: old })
      expect(await answers(before)).toEqual([200, 200, 200, 200])
      const after = await sign()
      await gateway.stop()
      await gateway.start({ FAIRLEAD_SECRET: second })
      expect(await answers(after)).toEqual([200, 200, 200, 200])
      expect((await answers(before)).slice(0, 3)).toEqual([404, 403, 403])
      expect(gateway.log()).not.toMatch(new RegExp([old, ...texts].join('|')))
    } finally {
      await gateway.close()
    }
  })
})
