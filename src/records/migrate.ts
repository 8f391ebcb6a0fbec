import type Database from 'better-sqlite3'
import { spine } from './migrations/001-spine.ts'
import { s3 } from './migrations/002-s3.ts'
import { form } from './migrations/003-form.ts'
import { tus } from './migrations/004-tus.ts'
import { holdings } from './migrations/005-holdings.ts'

/** In order; one that has landed is never edited. The number of those applied is kept in the file's `user_version`. */
const migrations: readonly string[] = [spine, s3, form, tus, holdings]

export interface Migrated {
  readonly from: number
  readonly to: number
}

/**
 * Brings the tables to this program's version, all or nothing.
 *
 * @throws {Error} when the file is newer than the program.
 */
export function migrate(db: Database.Database): Migrated {
  // Another process may be at it: whoever gets the write lock second finds the work done.
  db.exec('BEGIN IMMEDIATE')
  try {
    const from = Number(db.pragma('user_version', { simple: true }))
    if (from > migrations.length)
      throw new Error(
        `The database has version ${from}, this program knows versions up to ${migrations.length}: start the program that wrote it, or a newer one.`,
      )
    for (const migration of migrations.slice(from)) db.exec(migration)
    // Where nothing is to be done nothing is written: a full disk stops no start.
    if (from < migrations.length) db.pragma(`user_version = ${migrations.length}`)
    db.exec('COMMIT')
    return { from, to: migrations.length }
  } catch (cause) {
    if (db.inTransaction) db.exec('ROLLBACK') // a full disk has done it
    throw cause
  }
}
