import { randomFillSync } from 'node:crypto'
import { statfsSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf } from '../errors.ts'

/** Bytes that are kept from others: SQLite's log of a thousand changed pages, and as much again. */
const ballastBytes = 8 * 1024 * 1024
/** Bytes that must be free before they are taken: below it uploads are refused. */
const plentyBytes = 96 * 1024 * 1024
const fileMode = 0o600

export interface Ballast {
  /** Takes the room, where there is plenty. */
  take(): void
  /** Gives it back. Whether there was something to give. */
  drop(): boolean
}

/**
 * Room on the disk of the database that only the records may use. Whatever fills the disk to its last byte, a deletion must first be
 * written down before it frees anything: for that this file goes.
 */
export function ballast(database: string): Ballast {
  const path = `${database}-ballast`
  return {
    take() {
      try {
        const { bavail, bsize } = statfsSync(dirname(path))
        // Bytes that no file system can compress.
        if (bavail * bsize > plentyBytes)
          writeFileSync(path, randomFillSync(Buffer.alloc(ballastBytes)), { mode: fileMode })
      } catch {
        // Then a full disk is worse, and nothing else.
      }
    },
    drop() {
      try {
        unlinkSync(path)
        return true
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return false
        throw error
      }
    },
  }
}
