import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, eventually, pause, sha256 } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { s3Place, strays } from '../support/places.ts'
import { sharedS3 } from '../support/s3.ts'
import type { Act, FaultOptions } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts'
import { pathOf, type Tus, tusOf } from '../support/tus.ts'

const mib = 1024 * 1024
/** Requests that break one after another: more than the driver tries by itself. */
const times = 6
const place = s3Place()

/** What the store is asked while a file comes in pieces and is joined. */
const operations: readonly S3Operation[] = [
  'CreateMultipartUpload',
  'UploadPart',
  'CompleteMultipartUpload',
  'UploadPartCopy',
  'PutObject',
  'GetObject',
]
const acts: readonly (readonly [string, Act, NonNullable<FaultOptions['when']>])[] = [
  ['work, and nobody is told', 'cut', 'after'],
  ['are answered with 503', { status: 503, code: 'SlowDown' }, 'before'],
]

/** Asks again as clients do, until it works; never is it told anything that is not true. */
async function stubborn(ask: () => Promise<Answer>, failures = [423, 502, 503]): Promise<Answer> {
  for (let tries = 0; tries < 60; tries++) {
    const answer = await ask()
    if (answer.status < 300) return answer
    expect(failures).toContain(answer.status)
    await pause(20)
  }
  throw new Error('It never works.')
}

describe.skipIf(place.missing)('a store that fails in the middle', () => {
  let proxy: S3Proxy
  let gateway: TestGateway
  let tus: Tus
  beforeAll(async () => {
    const { endpoint } = await sharedS3()
    proxy = await startS3Proxy(endpoint)
    gateway = await place.start({ env: { FAIRLEAD_S3_ENDPOINT: proxy.endpoint } })
    tus = tusOf(() => gateway, [])
  })
  afterAll(async () => {
    proxy?.reset()
    await gateway?.close()
    await proxy?.close()
    await place.close()
  })

  /** Brings the file in pieces of that size, and goes on wherever HEAD says. */
  async function bring(bytes: Buffer, size: number, headers: Record<string, string> = {}): Promise<string> {
    const id = await tus.made(bytes.length, headers)
    let acknowledged = 0
    for (let tries = 0; tries < 80; tries++) {
      // Of a 5xx clients would make that there is no such upload.
      const offset = Number((await stubborn(() => tus.head(id), [423])).headers.get('upload-offset'))
      expect(offset).toBeGreaterThanOrEqual(acknowledged)
      if (offset === bytes.length) return id
      const answer = await tus.patch(id, offset, bytes.subarray(offset, offset + size))
      expect([204, 423, 502, 503]).toContain(answer.status)
      acknowledged = answer.status === 204 ? Number(answer.headers.get('upload-offset')) : offset
    }
    throw new Error('It never ends.')
  }

  it.each(operations.flatMap((operation) => acts.map(([how, act, when]) => ({ operation, how, act, when }))))(
    'when $operation requests $how: every byte is right in the end',
    async ({ operation, act, when }) => {
      const fault = proxy.fault(operation, { act, when, times })
      const contents = [randomBytes(9 * mib), randomBytes(200_000)]
      const ids = await Promise.all([
        bring(contents[0] ?? Buffer.alloc(0), 5 * mib),
        bring(contents[1] ?? Buffer.alloc(0), 100_000),
        ...contents.map((bytes) => bring(bytes, 4 * mib, { 'Upload-Concat': 'partial' })),
      ])
      const parts = ids.slice(2).map(pathOf)
      const joined = await stubborn(() => tus.post({ 'Upload-Concat': `final;${parts.join(' ')}` }))
      const whole = joined.headers.get('location')?.split('/').pop() ?? ''
      await stubborn(() => tus.head(whole), [423])
      expect(fault.hits()).toBeGreaterThan(0)
      fault.release()
      proxy.reset()
      const digests = await Promise.all(
        [ids[0] ?? '', ids[1] ?? '', whole].map(async (id) => sha256(await tus.download(id))),
      )
      expect(digests).toEqual([...contents.map((bytes) => sha256(bytes)), sha256(Buffer.concat(contents))])
      for (const id of [...ids, whole]) expect((await tus.remove(id)).status).toBe(204)
      expect((await tus.usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
    },
  )

  it('leaves nothing in the bucket', async () => {
    await eventually(async () => expect(await strays(place, gateway)).toEqual([]), 20_000)
  })
})
