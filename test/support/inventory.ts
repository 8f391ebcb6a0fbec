import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import Database from 'better-sqlite3'
import { z } from 'zod'

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
  /** Files below the store's directory. */
  readonly objects: number
  /** What does not fit together, in sentences. */
  readonly breaches: readonly string[]
}

/**
 * Looks at a data directory without the program: the database through a connection that can only read, the files through node:fs.
 * Nothing may be under way: every job done, every object known, every digest right, every counter the sum of its rows.
 */
export async function inventory(dataDir: string): Promise<Inventory> {
  const db = new Database(join(dataDir, 'fairlead.db'), { readonly: true })
  try {
    const uploads = z.array(uploadRow).parse(db.prepare('select * from upload').all())
    const breaches = [...leftovers(db), ...counterBreaches(db, uploads), ...stateBreaches(uploads)]
    const files = await filesBelow(join(dataDir, 'objects'))
    breaches.push(...(await objectBreaches(join(dataDir, 'objects'), files, uploads)))
    return { uploads, objects: files.length, breaches }
  } finally {
    db.close()
  }
}

function leftovers(db: Database.Database): string[] {
  return ['job', 'object_intent'].flatMap((table) => {
    const { rows } = countRow.parse(db.prepare(`select count(*) as rows from ${table}`).get())
    return rows === 0 ? [] : [`${rows} rows are left in ${table}.`]
  })
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
  folder: string,
  files: readonly string[],
  uploads: readonly UploadRow[],
): Promise<string[]> {
  const known = new Map(uploads.flatMap((upload) => (upload.object_key === null ? [] : [[upload.object_key, upload]])))
  const breaches: string[] = []
  for (const file of files) {
    const upload = known.get(file)
    known.delete(file)
    if (!upload) {
      breaches.push(`The file ${file} belongs to no upload.`)
      continue
    }
    const path = join(folder, file)
    const { size } = await stat(path)
    if (size !== upload.size) breaches.push(`${file} has ${size} bytes, its row says ${upload.size}.`)
    if ((await digestOf(path)) !== Buffer.from(upload.sha256 ?? []).toString('hex'))
      breaches.push(`${file} has not the digest of its row.`)
  }
  for (const [key, { number, state }] of known) breaches.push(`Upload ${number} (${state}) has no file ${key}.`)
  return breaches
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)
