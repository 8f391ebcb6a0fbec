import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import Database from 'better-sqlite3'
import { z } from 'zod'
import type { RawBucket } from './s3-raw.ts'

const uploadRow = z.object({
  number: z.number(),
  workspace_id: z.string(),
  state: z.string(),
  filename: z.string(),
  size: z.number().nullable(),
  reserved: z.number(),
  object_key: z.string().nullable(),
  sha256: z.instanceof(Uint8Array).nullable(),
})
const workspaceRow = z.object({ id: z.string(), used: z.number(), reserved: z.number() })
const sumsRow = z.object({ used: z.number().nullable(), reserved: z.number().nullable() })
const countRow = z.object({ rows: z.number() })

export type UploadRow = z.infer<typeof uploadRow>

export interface Inventory {
  readonly uploads: readonly UploadRow[]
  readonly objects: number
  /** What does not fit together, in sentences. */
  readonly breaches: readonly string[]
}

/** Where the objects are, past the program. */
export interface Shelf {
  list(): Promise<readonly { readonly key: string; readonly size: number }[]>
  /** SHA-256, hexadecimal. */
  digest(key: string): Promise<string>
  /** What was begun there and is neither finished nor gone, in sentences. */
  unfinished(): Promise<readonly string[]>
}

/**
 * Looks at an installation without the program: the database through a connection that can only read, the objects through their shelf.
 * Nothing may be under way: every job done, every object known, every digest right, every counter the sum of its rows.
 */
export async function inventory(dataDir: string, shelf = folderShelf(dataDir)): Promise<Inventory> {
  const db = openRecords(dataDir)
  try {
    const uploads = z.array(uploadRow).parse(db.prepare('select * from upload').all())
    const breaches = [...leftovers(db), ...counterBreaches(db, uploads), ...stateBreaches(uploads)]
    const objects = await shelf.list()
    breaches.push(...(await objectBreaches(shelf, objects, uploads)), ...(await shelf.unfinished()))
    return { uploads, objects: objects.length, breaches }
  } finally {
    db.close()
  }
}

/** Jobs and intents that are left: what the server still has to do by itself. */
export const workLeft = (dataDir: string): readonly string[] => looked(dataDir, leftovers)

/** Uploads whose verdict is still to come. */
export const undecided = (dataDir: string): readonly string[] =>
  looked(dataDir, (db) => leftRows(db, 'upload', "where state = 'processing'"))

function looked<T>(dataDir: string, look: (db: Database.Database) => T): T {
  const db = openRecords(dataDir)
  try {
    return look(db)
  } finally {
    db.close()
  }
}

/** What begins the keys of this installation in a bucket. */
export const prefixOf = (dataDir: string): string =>
  looked(dataDir, (db) => `${z.object({ id: z.string() }).parse(db.prepare('select id from installation').get()).id}/`)

const openRecords = (dataDir: string): Database.Database =>
  new Database(join(dataDir, 'fairlead.db'), { readonly: true })

/** The files of the disk driver. */
export function folderShelf(dataDir: string): Shelf {
  const folder = join(dataDir, 'objects')
  return {
    async list() {
      const files = await filesBelow(folder)
      // A job may remove a file while this looks: then it is not there.
      const sizes = await Promise.all(files.map((key) => stat(join(folder, key)).catch(() => undefined)))
      return files.flatMap((key, i) => (sizes[i] ? [{ key, size: sizes[i].size }] : []))
    },
    async digest(key) {
      const hash = createHash('sha256')
      await pipeline(createReadStream(join(folder, key)), hash)
      return hash.digest('hex')
    },
    unfinished: async () => [],
  }
}

/** The installation's part of a bucket, through a client that is not the driver's. */
export function bucketShelf(bucket: RawBucket, prefix: string): Shelf {
  return {
    async list() {
      return (await bucket.list(prefix)).map(({ key, size }) => ({ key: key.slice(prefix.length), size }))
    },
    async digest(key) {
      return createHash('sha256')
        .update((await bucket.get(prefix + key)) ?? '')
        .digest('hex')
    },
    async unfinished() {
      return (await bucket.uploads()).map(({ key }) => `The multipart upload of ${key} is still open.`)
    },
  }
}

const leftovers = (db: Database.Database): string[] => [...leftRows(db, 'job'), ...leftRows(db, 'object_intent')]

function leftRows(db: Database.Database, table: string, where = ''): string[] {
  const { rows } = countRow.parse(db.prepare(`select count(*) as rows from ${table} ${where}`).get())
  return rows === 0 ? [] : [`${rows} rows are left in ${table}${where === '' ? '' : ` ${where}`}.`]
}

function counterBreaches(db: Database.Database, uploads: readonly UploadRow[]): string[] {
  const workspaces = z.array(workspaceRow).parse(db.prepare('select * from workspace').all())
  const ledger = db.prepare('select sum(used) as used, sum(reserved) as reserved from ledger where workspace_id = ?')
  return workspaces.flatMap((workspace) => {
    const own = uploads.filter((upload) => upload.workspace_id === workspace.id)
    const stored = own.filter((upload) => upload.state === 'ready').map((upload) => upload.size ?? 0)
    const sums = { used: total(stored), reserved: total(own.map((upload) => upload.reserved)) }
    const booked = sumsRow.parse(ledger.get(workspace.id))
    return (['used', 'reserved'] as const)
      .filter((counter) => workspace[counter] !== sums[counter] || workspace[counter] !== (booked[counter] ?? 0))
      .map(
        (counter) =>
          `${workspace.id}: ${counter} is ${workspace[counter]}, its uploads have ${sums[counter]}, its ledger ${booked[counter]}.`,
      )
  })
}

function stateBreaches(uploads: readonly UploadRow[]): string[] {
  return uploads.flatMap(({ number, state, object_key: key, reserved }) => {
    const stored = key !== null
    const right =
      state === 'ready'
        ? stored && reserved === 0
        : state === 'pending'
          ? !stored
          : state === 'receiving'
            ? stored
            : state !== 'processing' && !stored && reserved === 0
    return right ? [] : [`Upload ${number} is ${state}, holds ${reserved} bytes and ${stored ? 'an' : 'no'} object.`]
  })
}

async function objectBreaches(
  shelf: Shelf,
  objects: Awaited<ReturnType<Shelf['list']>>,
  uploads: readonly UploadRow[],
): Promise<string[]> {
  const known = new Map(uploads.flatMap((upload) => (upload.object_key === null ? [] : [[upload.object_key, upload]])))
  const breaches: string[] = []
  for (const { key, size } of objects) {
    const upload = known.get(key)
    known.delete(key)
    if (!upload) {
      breaches.push(`The object ${key} belongs to no upload.`)
      continue
    }
    if (size !== upload.size) breaches.push(`${key} has ${size} bytes, its row says ${upload.size}.`)
    // What came past the gateway may have no digest there; whoever brought it knows what it has to be.
    if (upload.sha256 !== null && (await shelf.digest(key)) !== Buffer.from(upload.sha256).toString('hex'))
      breaches.push(`${key} has not the digest of its row.`)
  }
  for (const [key, { number, state }] of known) breaches.push(`Upload ${number} (${state}) has no object ${key}.`)
  return breaches
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)
