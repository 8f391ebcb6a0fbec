import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import Database from 'better-sqlite3'
import { z } from 'zod'
import { configText } from './client.ts'
import { startGateway, type TestGateway } from './gateway.ts'
import { missingS3, newBucket, sharedS3 } from './s3.ts'
import type { RawBucket } from './s3-raw.ts'
import { type S3Connection, s3Variables } from './s3-server.ts'

export interface PlaceOptions {
  /** As in `configText`. */
  readonly plugins?: string | null
  readonly more?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Where gateways keep their files. A suite is a function of it, and says what is true of every place. */
export interface Place {
  /** Upload URLs lead to the gateway, which sees what comes by them. */
  readonly takesPuts: boolean
  start(options?: PlaceOptions): Promise<TestGateway>
  /** Keys of all that the gateway has there, finished or not, as the place itself tells them. */
  stored(gateway: TestGateway): Promise<string[]>
  /** Bytes that lie there of an object that grows. */
  growing(gateway: TestGateway, key: string): Promise<number>
}

export const disk: Place = {
  takesPuts: true,
  start: ({ plugins, more, env = {} } = {}) => startGateway({ config: configText(plugins, more), env }),
  async growing({ dataDir }, key) {
    const file = join(dataDir, 'objects', 'open', key.replace('/', '-'))
    return existsSync(file) ? (await stat(file)).size : 0
  },
  async stored({ dataDir }) {
    const folder = join(dataDir, 'objects')
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((file) => relative(folder, join(file.parentPath, file.name)))
  },
}

export interface S3Place extends Place {
  /** Why it cannot be had on this machine, for `describe.skipIf`. */
  readonly missing: string | undefined
  /** The one bucket of all gateways that were started here, seen through a client that is not the driver's. */
  bucket(): Promise<RawBucket>
  /** What begins the keys of this gateway in the bucket. */
  prefixOf(gateway: TestGateway): string
  close(): Promise<void>
}

/** The real server that all test files share. @param settings the section `s3` of the configuration */
export function s3Place(settings = `downloads: 'proxy', settle: 1`): S3Place {
  let made: Promise<{ readonly server: S3Connection; readonly bucket: RawBucket }> | undefined
  const opened = () => (made ??= sharedS3().then(async (server) => ({ server, bucket: await newBucket(server) })))
  return {
    missing: missingS3(),
    takesPuts: false,
    prefixOf,
    async bucket() {
      return (await opened()).bucket
    },
    async start({ plugins, more = '', env = {} } = {}) {
      const { server, bucket } = await opened()
      const config = configText(plugins, `s3: { ${settings} }, ${more}`)
      return startGateway({ config, env: { ...s3Variables(server, bucket.name), ...env } })
    },
    async growing(gateway, key) {
      const { bucket } = await opened()
      const open = await bucket.uploads(prefixOf(gateway) + key)
      const sizes = await Promise.all(open.map((upload) => bucket.partBytes(upload)))
      return sizes.reduce((sum, size) => sum + size, 0)
    },
    async stored(gateway) {
      const { bucket } = await opened()
      const prefix = prefixOf(gateway)
      const found = [...(await bucket.list(prefix)), ...(await bucket.uploads(prefix))]
      return found.map(({ key }) => key.slice(prefix.length))
    },
    async close() {
      await made?.then(({ bucket }) => bucket.drop())
    },
  }
}

/** What lies in the place, and is neither the object of an upload, whole or growing, nor where the URL of an unfinished one leads. */
export async function strays(place: Place, gateway: TestGateway): Promise<string[]> {
  const stored = await place.stored(gateway)
  const growing = column(
    gateway.dataDir,
    `select i.object_key as key from object_intent i join upload u on u.id = i.upload_id
      where i.grows = 1 and u.state in ('pending', 'receiving')`,
  )
  const known = new Set([
    ...column(gateway.dataDir, 'select object_key as key from upload where object_key is not null'),
    ...growing,
    // The disk keeps what grows apart from what is whole.
    ...growing.map((key) => `open/${key.replace('/', '-')}`),
    ...column(
      gateway.dataDir,
      `select i.object_key as key from object_intent i join upload u on u.id = i.upload_id
        where i.until is not null and u.state in ('pending', 'receiving')`,
    ),
  ])
  return stored.filter((key) => !known.has(key))
}

const prefixOf = ({ dataDir }: TestGateway): string =>
  `${column(dataDir, 'select id as key from installation').join('')}/`

const keys = z.array(z.object({ key: z.string() }))

function column(dataDir: string, query: string): string[] {
  const db = new Database(join(dataDir, 'fairlead.db'), { readonly: true })
  try {
    return keys.parse(db.prepare(query).all()).map(({ key }) => key)
  } finally {
    db.close()
  }
}
