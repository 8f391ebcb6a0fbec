import { randomBytes } from 'node:crypto'
import { profileOf } from '../../src/stores/s3/profiles.ts'
import { type S3Store, s3Store, type S3StoreOptions } from '../../src/stores/s3.ts'
import type { ObjectStore, WriteOptions } from '../../src/uploads/object-store.ts'
import { newBucket, sharedS3 } from './s3.ts'
import { type S3Proxy, startS3Proxy } from './s3-proxy.ts'
import type { RawBucket, RawObject, RawUpload } from './s3-raw.ts'

const mib = 1024 * 1024

/** The driver in a part of the bucket that nobody else uses, behind a proxy. */
export interface OpenS3 {
  readonly store: S3Store
  readonly proxy: S3Proxy
  readonly prefix: string
  /** Past the proxy; its keys begin with the prefix. */
  readonly bucket: RawBucket
  /** By the store's own keys. */
  objects(): Promise<RawObject[]>
  uploads(): Promise<RawUpload[]>
  get(key: string): Promise<Buffer | undefined>
  close(): Promise<void>
}

export interface S3Rig {
  readonly bucket: RawBucket
  /** Forgets what the proxy has seen and was told. */
  open(options?: Partial<S3StoreOptions>): OpenS3
  /** What the driver needs to reach the server through the proxy. */
  options(prefix?: string): S3StoreOptions
  close(): Promise<void>
}

/** One bucket and one proxy for a test file. */
export async function startS3Rig(): Promise<S3Rig> {
  const { endpoint, region, accessKeyId, secretAccessKey } = await sharedS3()
  const bucket = await newBucket({ endpoint, region, accessKeyId, secretAccessKey })
  const proxy = await startS3Proxy(endpoint)

  const options = (prefix = `${randomBytes(6).toString('hex')}/`): S3StoreOptions => ({
    bucket: bucket.name,
    prefix,
    profile: profileOf(endpoint),
    region,
    endpoint: proxy.endpoint,
    credentials: { accessKeyId, secretAccessKey },
    settledMs: 1_000,
    memoryBytes: 64 * mib,
    largestObject: 5 * 1024 * mib,
  })

  return {
    bucket,
    options,
    open(more = {}) {
      proxy.reset()
      const all = { ...options(), ...more }
      const { prefix } = all
      const store = s3Store(all)
      const own = <T extends { readonly key: string }>(found: readonly T[]): T[] =>
        found.map((one) => ({ ...one, key: one.key.slice(prefix.length) }))
      return {
        store,
        proxy,
        prefix,
        bucket,
        objects: async () => own(await bucket.list(prefix)),
        uploads: async () => own(await bucket.uploads(prefix)),
        get: (key) => bucket.get(prefix + key),
        async close() {
          proxy.reset()
          store.close()
          for (const upload of await bucket.uploads(prefix)) await bucket.abort(upload)
          for (const { key } of await bucket.list(prefix)) await bucket.remove(key)
        },
      }
    },
    async close() {
      await proxy.close()
      await bucket.drop()
    },
  }
}

export interface WriteObjectOptions extends WriteOptions {
  /** Bytes of each call. @default all */
  readonly chunk?: number
}

export async function writeObject(
  store: ObjectStore,
  key: string,
  bytes: Uint8Array,
  { chunk = Math.max(1, bytes.length), ...options }: WriteObjectOptions = {},
): Promise<void> {
  const writer = store.write(key, options)
  try {
    for (let at = 0; at < bytes.length; at += chunk) await writer.write([bytes.subarray(at, at + chunk)])
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
