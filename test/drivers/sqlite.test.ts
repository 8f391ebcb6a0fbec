import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { migrateFile, sqliteRecords } from '../../src/records/sqlite.ts'
import { expectWhole } from '../contracts/records/fresh.ts'
import { recordsContract } from '../contracts/records.ts'
import { newRecord, type SqliteBackend, sqliteBackend, uploadIn } from '../support/records.ts'

recordsContract('SQLite', sqliteBackend)

describe('a file of SQLite records', () => {
  let folder: string
  let path: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-sqlite-'))
    path = join(folder, 'records.db')
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('is for its owner only, from the first moment, with all that belongs to it', async () => {
    const before = process.umask(0)
    try {
      const records = sqliteRecords({ path, defaultQuota: null })
      await records.ensureWorkspace('w')
      for (const end of ['', '-wal', '-shm']) expect((await stat(path + end)).mode & 0o777).toBe(0o600)
      await records.close()
    } finally {
      process.umask(before)
    }
  })

  it('keeps the permissions that an operator gave it', async () => {
    await writeFile(path, '', { mode: 0o640 })
    await sqliteRecords({ path, defaultQuota: null }).close()
    expect((await stat(path)).mode & 0o777).toBe(0o640)
  })

  it('says what is wrong with a file that is none', async () => {
    await writeFile(path, 'This is no database, but it is long enough to look like one. '.repeat(100))
    expect(() => sqliteRecords({ path, defaultQuota: null })).toThrow(/not a database/)
    expect(() => sqliteRecords({ path: join(folder, 'none', 'records.db'), defaultQuota: null })).toThrow(/none/)
  })

  it('is brought to this version of the tables once', () => {
    expect(migrateFile(path)).toEqual({ from: 0, to: 5 })
    expect(migrateFile(path)).toEqual({ from: 5, to: 5 })
  })

  it('is written by no further start, which a full disk would stop', () => {
    migrateFile(path)
    const onlooker = new Database(path)
    const version = () => onlooker.pragma('data_version', { simple: true })
    const before = version()
    migrateFile(path)
    expect(version()).toBe(before)
    onlooker.close()
  })

  it('is written through connections that survive a power loss and check references', async () => {
    const pragmas: unknown[] = []
    const close = vi.spyOn(Database.prototype, 'close').mockImplementation(function (this: Database.Database) {
      pragmas.push(
        ...['journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout', 'journal_size_limit'].map((name) =>
          this.pragma(name, { simple: true }),
        ),
      )
      close.mockRestore()
      return this.close()
    })
    await sqliteRecords({ path, defaultQuota: null }).close()
    expect(pragmas).toEqual(['wal', 2, 1, 5_000, 67_108_864])
  })

  it('has its damage found by the audit', async () => {
    const records = sqliteRecords({ path, defaultQuota: null })
    await records.ensureWorkspace('w')
    const upload = await uploadIn(records, 'ready')
    await records.bind(upload, 'p', 'open')
    const raw = new Database(path)
    raw.pragma('foreign_keys = OFF')
    raw.exec("DELETE FROM project; INSERT INTO binding VALUES ('w', 'q', x'00', 1)")
    raw.close()
    expect(await records.audit()).toEqual(['Rows of the table binding belong to rows that do not exist.'])
    await records.close()

    const hurt = new Database(path)
    const [page] = hurt.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'upload_workspace'").pluck().all()
    hurt.close()
    const file = await open(path, 'r+')
    await file.write(Buffer.alloc(4_096, 0xaa), 0, 4_096, (Number(page) - 1) * 4_096)
    await file.close()
    const again = sqliteRecords({ path, defaultQuota: null })
    expect((await again.audit()).join()).toMatch(/damaged/)
    await again.close()
  })
})

const isStatement = (value: unknown): value is Database.Statement =>
  typeof value === 'object' && value !== null && 'run' in value

/** Counts the commits of all connections from now on. */
function commits(): () => number {
  const memory = new Database(':memory:')
  const prototype: unknown = Object.getPrototypeOf(memory.prepare('COMMIT'))
  memory.close()
  if (!isStatement(prototype)) throw new Error('That is no statement.')
  const run = vi.spyOn(prototype, 'run')
  return () => run.mock.contexts.filter(isStatement).filter(({ source }) => source === 'COMMIT').length
}

const outcomes = async (asked: readonly Promise<unknown>[]) =>
  (await Promise.allSettled(asked)).map((answer) => answer.status)

describe('group commit', () => {
  let backend: SqliteBackend

  beforeEach(async () => {
    backend = await sqliteBackend()
    await backend.records.ensureWorkspace('w')
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await expectWhole(backend)
    await backend.close()
  })

  it('a refused operation does not touch its neighbours', async () => {
    await backend.records.setQuota('w', 100)
    const committed = commits()
    const taken = newRecord({ reserve: 40 })
    const asked = [
      backend.records.create(taken),
      backend.records.create(newRecord({ reserve: 61, projectId: 'refused' })),
      backend.records.create(newRecord({ id: taken.id })),
      backend.records.create(newRecord({ workspaceId: 'nobody', projectId: 'refused', projectMode: 'registered' })),
      backend.records.create(newRecord({ reserve: 60 })),
    ]
    expect(await outcomes(asked)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled'])
    expect(committed()).toBe(1)
    expect(await backend.records.workspace('w')).toMatchObject({ reserved: 100 })
    expect(await backend.records.projects('w')).toEqual([])
    expect(await backend.records.workspace('nobody')).toBeUndefined()
    expect(await backend.raw('select count(*) as n from upload')).toEqual([{ n: 2 }])
  })

  it('a failed COMMIT rejects all of its operations, and the next one is not harmed', async () => {
    await backend.raw(
      'create table blocker (id text references workspace (id) deferrable initially deferred, why text)',
    )
    // Only the COMMIT finds out, as with a full disk.
    await backend.raw(
      "create trigger block after insert on project when new.id = 'block' begin insert into blocker values ('nobody', ''); end",
    )
    const record = newRecord({ reserve: 5 })
    const asked = [
      backend.records.create(record),
      backend.records.ensureProject('w', 'block'),
      backend.records.ensureWorkspace('x'),
    ]
    const answers = await Promise.allSettled(asked)
    for (const answer of answers) expect(answer).toMatchObject({ status: 'rejected', reason: { code: /CONSTRAINT/ } })
    expect(await backend.records.get(record.id)).toBeUndefined()
    expect(await backend.records.workspace('x')).toBeUndefined()
    expect(await backend.records.workspace('w')).toMatchObject({ reserved: 0 })
    await expect(backend.records.create(record)).resolves.toMatchObject({ reserved: 5 })
  })

  it('a transaction that ended by itself rejects all with what ended it', async () => {
    await backend.raw(
      "create trigger full before insert on project when new.id = 'full' begin select raise(rollback, 'disk is full'); end",
    )
    const record = newRecord({ reserve: 5 })
    const answers = await Promise.allSettled([
      backend.records.create(record),
      backend.records.ensureProject('w', 'full'),
      backend.records.create(newRecord()),
    ])
    for (const answer of answers)
      expect(answer).toMatchObject({ status: 'rejected', reason: { message: 'disk is full' } })
    expect(await backend.records.get(record.id)).toBeUndefined()
    await expect(backend.records.create(record)).resolves.toMatchObject({ reserved: 5 })
  })

  it('cuts what came at once into transactions of 256 operations, in order', async () => {
    const committed = commits()
    const asked = Array.from({ length: 600 }, () => backend.records.create(newRecord({ reserve: 1 })))
    const uploads = await Promise.all(asked)
    expect(committed()).toBe(3)
    expect(uploads.map((upload) => upload.number)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1))
    expect(await backend.records.workspace('w')).toMatchObject({ reserved: 600 })
  })

  it('what comes while a long queue is being written goes to its end', async () => {
    const order: string[] = []
    const first = Array.from({ length: 300 }, (_, i) =>
      backend.records.create(newRecord()).then(() => order.push(`${i}`)),
    )
    await first[0]
    const late = backend.records.ensureWorkspace('x').then(() => order.push('late'))
    await Promise.all([...first, late])
    expect(order.at(-1)).toBe('late')
    expect(order).toHaveLength(301)
  })

  it('answers nothing before its COMMIT', async () => {
    const committed = commits()
    const created = backend.records.create(newRecord()).then(committed)
    await Promise.resolve()
    expect(committed()).toBe(0)
    expect(await created).toBe(1)
  })
})
