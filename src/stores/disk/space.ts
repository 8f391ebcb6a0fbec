import { statfs } from 'node:fs/promises'
import { storageUnavailable } from '../../errors.ts'

/**
 * Bytes that objects leave free, on a small disk a quarter of it; `/readyz` warns below the same mark. The records often lie beside them,
 * and a disk without any room would not even take the deletion that makes some.
 */
export const reservedBytes = 64 * 1024 * 1024
/** Bytes that all writers together may write before the file system is asked again. */
const askAfterBytes = 1024 * 1024
/** Milliseconds for which an answer is believed: others may fill the disk meanwhile. */
const believedMs = 1_000

/** Bytes that objects may take, negative below the mark. */
async function roomOn(directory: string): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(directory)
  return bavail * bsize - Math.min(reservedBytes, (blocks * bsize) / 4)
}

/** Asked before bytes are written. @throws {UploadError} `storage_failed` when they would take what is reserved. */
export type Space = (bytes: number) => Promise<void>

export function spaceOn(directory: string): Space {
  let left = 0
  let askedAt = -Infinity
  return async (bytes) => {
    left -= bytes
    const now = performance.now()
    if (left >= 0 && now - askedAt < believedMs) return
    askedAt = now
    const free = await roomOn(directory).catch(() => undefined) // who may not ask hears it from the write
    if (free === undefined) return
    if (free < bytes) throw storageUnavailable('The disk of the store is full.')
    left = Math.min(free, askAfterBytes) - bytes
  }
}
