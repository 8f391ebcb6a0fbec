import { randomBytes } from 'node:crypto'
import { projectRoot } from './gateway.ts'
import { bucketShelf, folderShelf, prefixOf, type Shelf } from './inventory.ts'
import { type S3Proxy, startS3Proxy } from './s3-proxy.ts'
import { rawBucket } from './s3-raw.ts'
import type { S3Connection } from './s3-server.ts'

/** Where the objects are while the storm is on. */
export interface ChaosStore {
  /** Text of `uploads.config.ts`. */
  readonly config: string
  readonly env: Readonly<Record<string, string>>
  /** Milliseconds for which an upload URL is good. */
  readonly presignTtlMs: number
  /** Milliseconds within which the server must be idle once the clients have gone. */
  readonly idleWithinMs: number
  /** What clients reach past the gateway. */
  readonly proxy?: S3Proxy
  /** The objects, past the program. */
  shelf(dataDir: string): Shelf
  close(): Promise<void>
}

/** What no record knows is an orphan after a second, and the sweep comes round every second. */
const configOf = (rest: string): string => `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default {
  plugins: [sniffType(), quota()],
  sweep: { interval: 1, orphanGrace: 1 },
  server: { shutdownGrace: 1 },
  ${rest}
}
`

/** Every upload URL outlives the run. */
export function diskChaos(): ChaosStore {
  const ttl = 86_400
  return {
    config: configOf(`presign: { ttl: ${ttl} },`),
    env: {},
    presignTtlMs: ttl * 1_000,
    idleWithinMs: 30_000,
    shelf: folderShelf,
    close: async () => {},
  }
}

export interface S3ChaosOptions {
  readonly server: S3Connection
  /** Seconds for which an upload URL is good: the run lasts so much longer. */
  readonly presignTtl: number
  /** Seconds after which a request that was given up has no effect in the server any more. */
  readonly settle: number
  /** Memory for parts, such as `16MiB`. */
  readonly memory?: string | undefined
  readonly downloads?: 'redirect' | 'proxy'
}

/** A bucket of its own, behind a proxy that clients use as well. */
export async function s3Chaos(options: S3ChaosOptions): Promise<ChaosStore> {
  const { endpoint, region, accessKeyId, secretAccessKey } = options.server
  const bucket = rawBucket(
    { endpoint, region, accessKeyId, secretAccessKey },
    `fairlead-chaos-${randomBytes(8).toString('hex')}`,
  )
  await bucket.create()
  const proxy = await startS3Proxy(endpoint)
  const { presignTtl: ttl, settle, memory = '64MiB', downloads = 'redirect' } = options
  return {
    config: configOf(
      `presign: { ttl: ${ttl} }, s3: { settle: ${settle}, memory: '${memory}', downloads: '${downloads}' },`,
    ),
    env: {
      FAIRLEAD_STORAGE: 's3',
      FAIRLEAD_S3_BUCKET: bucket.name,
      FAIRLEAD_S3_ENDPOINT: proxy.endpoint,
      FAIRLEAD_S3_REGION: region,
      FAIRLEAD_S3_ACCESS_KEY_ID: accessKeyId,
      FAIRLEAD_S3_SECRET_ACCESS_KEY: secretAccessKey,
    },
    presignTtlMs: ttl * 1_000,
    // URLs must have ended, and jobs that met a kill or a failing store come again after a while.
    idleWithinMs: (ttl + settle) * 1_000 + 60_000,
    proxy,
    shelf: (dataDir) => bucketShelf(bucket, prefixOf(dataDir)),
    async close() {
      await proxy.close()
      await bucket.drop()
    },
  }
}
