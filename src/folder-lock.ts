import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { ConfigError } from '../config/error.ts'

export interface FolderLock {
  release(): void
}

/**
 * One server for each data directory. The lock is one of the operating system's, held through a database file of its own, so that
 * it goes with the process however that ends: there is no stale lock to remove.
 *
 * @throws {ConfigError} when another server has it.
 */
export function lockFolder(folder: string): FolderLock {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const db = new Database(join(folder, 'server.lock'), { timeout: 0 })
  try {
    db.pragma('journal_mode = MEMORY') // nothing is ever written, and a full disk has no room for a journal
    db.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    db.close()
    if (!(cause instanceof Database.SqliteError) || cause.code !== 'SQLITE_BUSY')
      throw new ConfigError(`${join(folder, 'server.lock')} cannot be locked: ${String(cause)}`)
    throw new ConfigError(
      `Another Fairlead server is running on ${folder}: stop it, or set FAIRLEAD_DATA_DIR. (${String(cause)})`,
    )
  }
  return {
    release() {
      db.exec('ROLLBACK')
      db.close()
    },
  }
}
