import { afterAll, beforeAll, describe } from 'vitest'
import { objectStoreContract } from '../contracts/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import { type S3Rig, startS3Rig } from '../support/s3-rig.ts'

describe.skipIf(missingS3())('on a real S3 server', () => {
  let rig: S3Rig
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  afterAll(() => rig.close())

  objectStoreContract('s3', async () => {
    const { store, proxy, prefix, bucket, objects, uploads, get, close } = rig.open()
    await store.recover()
    return {
      store,
      raw: {
        get,
        put: (key, bytes) => bucket.put(prefix + key, Buffer.from(bytes)),
        keys: async () => (await objects()).map(({ key }) => key),
        leftovers: async () => (await uploads()).map(({ key }) => key),
      },
      settled: () => proxy.idle(),
      close,
    }
  })
})
