import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { v7 } from 'uuid'
import { sqliteRecords } from '../../src/records/sqlite.ts'
import type { Job, NewRecord, Records, StoredBytes } from '../../src/uploads/records.ts'
import type { Upload } from '../../src/uploads/upload.ts'

export interface OpenOptions {
  /** @default null */
  readonly defaultQuota?: number | null
  readonly now?: () => number
}

/** For `expect.poll`: what should happen at once has time on a machine that is busy. */
export const patiently = { timeout: 15_000, interval: 5 } as const

export type Row = Readonly<Record<string, unknown>>

/** Records on a database of their own, and other ways to look at it and to hurt it. */
export interface Backend {
  readonly records: Records
  /** How another process opens the same records: what `records-writer.ts` takes. */
  readonly url: string
  /** Closes the records and opens them again. */
  reopen(): Promise<Records>
  /** Opens the records as they would be found if the process had been killed now. */
  crash(): Promise<Records>
  /** One statement through another client, on a connection of its own. */
  readonly raw: (sql: string, ...values: readonly unknown[]) => Promise<readonly Row[]>
  /** Closes the records and takes everything away: who opens them next finds nothing. */
  wipe(): Promise<void>
  /** Makes the database claim this version of the tables; returns the one that it had. */
  setVersion(version: number): Promise<number>
  close(): Promise<void>
}

/** Memory where there is such a folder: nobody pulls the plug here, and waiting for the disk takes most of the time otherwise. */
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export interface SqliteBackend extends Backend {
  readonly path: string
}

export async function sqliteBackend(options: OpenOptions = {}): Promise<SqliteBackend> {
  const folder = await mkdtemp(join(scratch, 'fairlead-records-'))
  const left: Records[] = []
  let crashes = 0
  let path = join(folder, 'records.db')
  const open = () => sqliteRecords({ path, defaultQuota: options.defaultQuota ?? null, ...nowOf(options) })
  let records = open()

  async function raw(sql: string, ...values: readonly unknown[]): Promise<readonly Row[]> {
    const db = new Database(path)
    try {
      const statement = db.prepare<unknown[], Row>(sql)
      if (statement.reader) return statement.all(...values)
      statement.run(...values)
      return []
    } finally {
      db.close()
    }
  }

  return {
    get records() {
      return records
    },
    get url() {
      return `sqlite:${path}`
    },
    get path() {
      return path
    },
    async reopen() {
      await records.close()
      return (records = open())
    },
    async crash() {
      // Nobody is in the middle of a write here, so the files are what a killed process leaves.
      const next = join(folder, `crash-${++crashes}.db`)
      for (const end of ['', '-wal']) if (existsSync(path + end)) copyFileSync(path + end, next + end)
      left.push(records)
      path = next
      return (records = open())
    },
    raw,
    async wipe() {
      await records.close()
      for (const end of ['', '-wal', '-shm']) await rm(path + end, { force: true })
    },
    async setVersion(version) {
      const [row] = await raw('pragma user_version')
      await raw(`pragma user_version = ${version}`)
      return Number(row?.['user_version'])
    },
    async close() {
      await Promise.all([...left, records].map((one) => one.close()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const nowOf = ({ now }: OpenOptions) => (now ? { now } : {})

let made = 0

/** A record to be created; what is not given is small and harmless. */
export const newRecord = (over: Partial<NewRecord> = {}): NewRecord => ({
  id: v7(),
  workspaceId: 'w',
  userId: 'u',
  put: null,
  state: 'pending',
  dialect: 'presigned',
  filename: `file-${++made}.bin`,
  category: null,
  projectId: null,
  declaredType: null,
  declaredSize: null,
  declaredChecksum: null,
  context: null,
  metadata: {},
  properties: { contentType: 'application/octet-stream', format: null },
  extra: {},
  reserve: 0,
  stagedKey: null,
  expiresAt: null,
  createdAt: Date.now(),
  projectMode: 'open',
  ...over,
})

/** An id whose time is this millisecond; `order` sorts ids of the same one. */
export const idAt = (msecs: number, order = 0): string => v7({ msecs, seq: order })

/** A key as the service makes them, of an object that need not exist. */
export const newKey = (): string => `00/${randomBytes(9).toString('hex')}`

export const storedBytes = (over: Partial<StoredBytes> & { readonly key: string }): StoredBytes => ({
  size: 10,
  sha256: 'ab'.repeat(32),
  patch: {},
  to: 'receiving',
  expiresAt: null,
  jobs: [],
  ...over,
})

/** Brings an upload that exists to the state, as the service would. */
export async function advance(
  records: Records,
  id: string,
  to: Upload['state'],
  size = 10,
  patch: StoredBytes['patch'] = {},
): Promise<Upload> {
  const expired = { from: ['pending', 'receiving'], to: 'expired' } as const
  const upload = await records.get(id)
  if (!upload) throw new Error('There is no such upload.')
  if (to === 'pending') return upload
  if (to === 'expired') return records.transition(id, expired)
  const key = newKey()
  await records.stage(id, key)
  const received = await records.stored(id, storedBytes({ key, size, patch }))
  if (to === 'receiving') return received
  const processing = await records.transition(id, {
    from: ['receiving'],
    to: 'processing',
    expiresAt: null,
    jobs: [{ kind: 'verdict', uploadId: id, due: 0 }],
  })
  if (to === 'processing') return processing
  return records.transition(id, { from: ['processing'], to })
}

/** A new upload in this state. */
export async function uploadIn(
  records: Records,
  state: Upload['state'],
  over: Partial<NewRecord> & { readonly size?: number; readonly patch?: StoredBytes['patch'] } = {},
): Promise<Upload> {
  const { size, patch, ...record } = over
  const upload = await records.create(newRecord(record))
  return advance(records, upload.id, state, size, patch)
}

/** What is to be done by all jobs that are due now. They are claimed for a moment only. */
export async function dueWork(records: Records): Promise<readonly Job['work'][]> {
  return (await records.claim(10_000, 0)).map((job) => job.work)
}

const balances = `
  select w.id, w.used, w.reserved,
    (select coalesce(sum(size), 0) from upload where workspace_id = w.id and state = 'ready') as stored,
    (select coalesce(sum(reserved), 0) from upload where workspace_id = w.id) as held,
    (select coalesce(sum(used), 0) from ledger where workspace_id = w.id) as booked_used,
    (select coalesce(sum(reserved), 0) from ledger where workspace_id = w.id) as booked_reserved
  from workspace w`

/** What does not add up, as another client sees it: counters, uploads and ledger of each workspace. */
export async function unbalanced(raw: Backend['raw']): Promise<readonly Row[]> {
  return (await raw(balances)).filter(
    (row) =>
      row['used'] !== row['stored'] ||
      row['used'] !== row['booked_used'] ||
      row['reserved'] !== row['held'] ||
      row['reserved'] !== row['booked_reserved'],
  )
}
