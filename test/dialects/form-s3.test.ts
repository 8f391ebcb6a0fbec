import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, configText, eventually, requestHead, sha256, wireTo } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { field, file, formBytes, formType } from '../support/multipart.ts'
import { missingS3, newBucket, sharedS3 } from '../support/s3.ts'
import { s3Variables } from '../support/s3-server.ts'
import type { RawBucket } from '../support/s3-raw.ts'

const path = '/v2/default/project/p/upload'

interface Batch {
  readonly id: string
  readonly status: string
  readonly tasks: readonly { readonly id: string }[]
}

describe.skipIf(missingS3())('forms whose files go to S3', () => {
  let bucket: RawBucket
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    const server = await sharedS3()
    bucket = await newBucket(server)
    gateway = await startGateway({
      config: configText('sniffType(), quota()', 's3: { settle: 1 }'),
      env: {
        ...s3Variables(server, bucket.name),
        FAIRLEAD_S3_FORCE_PATH_STYLE: 'true',
      },
    })
    call = clientOf(gateway, gateway.key)
  })
  afterAll(async () => {
    await gateway?.close()
    await bucket?.drop()
  })

  const usage = async () =>
    (await call('GET', '/api/v1/usage/summary')).json<{ data: { storage: object; uploads: object } }>().data

  it('bring a small and a large file, which go together', async () => {
    const contents = [randomBytes(1_000), randomBytes(12 * 1024 * 1024)]
    const parts = [...contents.map((bytes, i) => file(`${i}.bin`, bytes)), field('name', 'Two')]
    const answer = await call('POST', path, { headers: { 'Content-Type': formType }, body: formBytes(parts) })
    expect(answer.status).toBe(201)
    const batch = answer.json<Batch>()
    expect(batch.status).toBe('completed')
    for (const [i, { id }] of batch.tasks.entries()) {
      const { bytes } = await call('GET', `/api/v1/uploads/${id}/download`)
      expect(sha256(bytes)).toBe(sha256(contents[i] ?? Buffer.alloc(0)))
    }
    expect((await call('DELETE', `${path}/${batch.id}`)).status).toBe(204)
    expect((await usage()).storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
    await eventually(async () => expect(await bucket.list('')).toEqual([]))
  })

  it('that break leave nothing', async () => {
    const body = formBytes([file('a.bin', randomBytes(1_000)), file('b.bin', randomBytes(12 * 1024 * 1024))])
    for (const sent of [900, 5_000, 7 * 1024 * 1024, body.length - 3]) {
      const wire = await wireTo(gateway.url)
      const headers = { 'x-api-key': gateway.key, 'Content-Type': formType, 'Content-Length': body.length }
      await wire.send(requestHead('POST', path, headers))
      await wire.send(body.subarray(0, sent))
      wire.cut()
    }
    await eventually(async () => {
      expect(await usage()).toMatchObject({ storage: { used_bytes: 0, reserved_bytes: 0 }, uploads: { total: 0 } })
      expect([await bucket.list(''), await bucket.uploads('')]).toEqual([[], []])
    })
  })
})
