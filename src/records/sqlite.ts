import { closeSync, openSync, statSync } from 'node:fs'
import Database from 'better-sqlite3'
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import { storageUnavailable } from '../errors.ts'
import type { Records } from '../uploads/records.ts'
import { migrate, type Migrated } from './migrate.ts'
import { type Ballast, ballast } from './ballast.ts'
import type { Operation } from './query.ts'
import { recordsOn, type Driver, type RecordsOptions } from './records.ts'
import type { Schema } from './schema.ts'

/** Milliseconds that a statement waits for another process, such as the command line. */
const busyTimeoutMs = 5_000
const fileMode = 0o600
/** Operations of one transaction at most, so that no answer waits for a long one. */
const batchOperations = 256

/** Bytes of the largest file that is looked through before it is used: it takes about a second. Of a larger one the doctor does it. */
const largestVerified = 512 * 1024 * 1024

export const damagedRemedy =
  'Stop the server, and restore the database from a backup, or save what can be read: sqlite3 fairlead.db .recover | sqlite3 new.db.'

export interface SqliteOptions extends RecordsOptions {
  /** For a server: the file is looked through first, and not opened when it is damaged; and it keeps some room for itself. */
  readonly verify?: boolean
  /** Path of the database file; made when there is none. */
  readonly path: string
}

/**
 * Records in one SQLite file. `synchronous=FULL`: what is acknowledged survives a power loss; group commit makes that as fast as
 * NORMAL (docs/decisions/003-group-commit.md).
 *
 * @throws {Error} when the file was written by a newer version of the program.
 */
export function sqliteRecords(options: SqliteOptions): Records {
  const { db } = openDatabase(options.path, options.verify)
  const writer = new Kysely<Schema>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (kysely) => new SqliteIntrospector(kysely),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
  const room = ballast(options.path)
  if (options.verify) room.take()
  return recordsOn(writer, sqliteDriver(db, room), options)
}

/** Brings the file's tables to this program's version, and tells what it was. */
export function migrateFile(path: string): Migrated {
  const { db, migrated } = openDatabase(path)
  db.close()
  return migrated
}

function openDatabase(path: string, verify = false): { readonly db: Database.Database; readonly migrated: Migrated } {
  // Made here, so that it is for its owner only; what SQLite puts beside it takes over its permissions.
  closeSync(openSync(path, 'a', fileMode))
  const db = new Database(path, { timeout: busyTimeoutMs })
  try {
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    db.pragma('cache_size = -65536')
    db.pragma('temp_store = MEMORY')
    db.pragma('journal_size_limit = 67108864')
    if (verify && statSync(path).size <= largestVerified) refuseDamage(db)
    return { db, migrated: migrate(db) }
  } catch (cause) {
    db.close()
    throw cause
  }
}

function refuseDamage(db: Database.Database): void {
  const [damage = 'ok'] = db.prepare<[], string>('PRAGMA quick_check(1)').pluck().all()
  if (damage !== 'ok') throw new Database.SqliteError(`it is damaged (${damage})`, 'SQLITE_CORRUPT')
}

/** Another process holds the file for too long, or the disk is full or broken: another time it may work. */
const passingCodes = ['SQLITE_BUSY', 'SQLITE_FULL', 'SQLITE_IOERR']

const isFull = (failure: unknown): boolean =>
  failure instanceof Database.SqliteError && failure.code.startsWith('SQLITE_FULL')

/** Pages of the file are not as they were written. */
const damageCodes = ['SQLITE_CORRUPT', 'SQLITE_NOTADB']

function passing(failure: unknown): Error {
  const code = failure instanceof Database.SqliteError ? failure.code : ''
  if (passingCodes.some((one) => code.startsWith(one)))
    return storageUnavailable('The records cannot be read or written now.', failure)
  if (damageCodes.some((one) => code.startsWith(one)))
    return storageUnavailable(`The records are damaged. ${damagedRemedy}`, failure)
  return failure instanceof Error ? failure : new Error(String(failure))
}

interface Waiting {
  run(): void
  settle(failure?: unknown): void
}

/**
 * Group commit: every operation of one turn of the event loop goes into one transaction, each in a savepoint of its own, and is
 * answered after the commit. Nothing is open between turns, so reads on the same connection see whole operations only.
 */
function sqliteDriver(db: Database.Database, room: Ballast): Driver {
  const statements = new Map<string, Database.Statement<unknown[], never>>()
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const mark = db.prepare('SAVEPOINT one')
  const keep = db.prepare('RELEASE one')
  const undo = db.prepare('ROLLBACK TO one')
  let waiting: Waiting[] = []
  let closed = false

  /** The first time that a page was not as it was written: what is read later may be wrong. */
  let damage: unknown

  function explained(failure: unknown): Error {
    const error = passing(failure)
    if (failure instanceof Database.SqliteError && damageCodes.some((one) => failure.code.startsWith(one)))
      damage ??= error
    return error
  }

  function reading<T>(operation: () => Operation<T>): T {
    try {
      return step(operation())
    } catch (failure) {
      throw explained(failure)
    }
  }

  function step<T>(operation: Operation<T>): T {
    let result = operation.next([])
    while (!result.done) {
      const { sql, values } = result.value
      let statement = statements.get(sql)
      if (!statement) statements.set(sql, (statement = db.prepare<unknown[], never>(sql)))
      let found: never[] = []
      if (statement.reader) found = statement.all(values)
      else statement.run(values)
      result = operation.next(found)
    }
    return result.value
  }

  function flush(): void {
    if (closed) return
    const batch = waiting.slice(0, batchOperations)
    waiting = waiting.slice(batchOperations)
    if (waiting.length > 0) setImmediate(flush)
    const failures = new Map<Waiting, unknown>()
    try {
      commitAll(batch, failures)
    } catch (failure) {
      if (db.inTransaction) db.exec('ROLLBACK')
      for (const one of batch) one.settle(failure)
      return
    }
    for (const one of batch) one.settle(failures.get(one))
  }

  /** A disk without a free byte must not keep anybody from deleting: once more, with the room that was kept for it. */
  function commitAll(batch: readonly Waiting[], failures: Map<Waiting, unknown>): void {
    try {
      commitOnce(batch, failures)
    } catch (failure) {
      if (db.inTransaction) db.exec('ROLLBACK')
      if (!isFull(failure) || !room.drop()) throw failure
      failures.clear()
      commitOnce(batch, failures)
    }
  }

  function commitOnce(batch: readonly Waiting[], failures: Map<Waiting, unknown>): void {
    begin.run()
    for (const one of batch) {
      mark.run()
      try {
        one.run()
        keep.run()
      } catch (failure) {
        // A full or broken disk ends the whole transaction: then nothing of the batch was done.
        if (!db.inTransaction || isFull(failure)) throw failure
        failures.set(one, failure)
        undo.run()
        keep.run()
      }
    }
    commit.run()
  }
  return {
    submit<T>(operation: () => Operation<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        if (closed) return reject(new Error('The records are closed.'))
        let result: { value: T } | undefined
        waiting.push({
          run() {
            result = { value: step(operation()) }
          },
          settle(failure) {
            if (failure === undefined && result) resolve(result.value)
            else reject(explained(failure))
          },
        })
        if (waiting.length === 1) setImmediate(flush)
      })
    },

    read: async (operation) => reading(operation),

    async readAtOnce(operation) {
      db.exec('BEGIN')
      try {
        return reading(operation)
      } finally {
        db.exec('ROLLBACK')
      }
    },

    async assertSound() {
      if (damage !== undefined) throw damage
    },

    async check() {
      const lines = db.prepare<[], string>('PRAGMA quick_check(10)').pluck().all()
      const dangling = db.prepare<[], string>('SELECT DISTINCT "table" FROM pragma_foreign_key_check').pluck().all()
      return [
        ...lines.filter((line) => line !== 'ok').map((line) => `The database file is damaged: ${line}`),
        ...dangling.map((table) => `Rows of the table ${table} belong to rows that do not exist.`),
      ]
    },

    async close() {
      if (closed) return
      while (waiting.length > 0) flush()
      closed = true
      try {
        db.pragma('optimize')
      } catch {
        // It only makes later queries faster, and a full or damaged disk is no reason not to end well.
      }
      db.close()
    },
  }
}
