import { statfs } from 'node:fs/promises'
import { storageUnavailable } from '../../errors.ts'

/**
 * Bytes that objects leave free, on a small disk a quarter of it. The records often lie beside them, and a disk without any room would not
 * even take the deletion that makes some.
 */
const reservedBytes = 8 * 1024 * 1024
/** Bytes that all writers together may write before the file system is asked again. */
const askAfterBytes = 1024 * 1024

/** Asked before bytes are written. @throws {UploadError} `storage_failed` when they would take what is reserved. */
export type Space = (bytes: number) => Promise<void>

export function spaceOn(directory: string): Space {
  let left = 0
  return async (bytes) => {
    left -= bytes
    if (left >= 0) return
    const found = await statfs(directory).catch(() => undefined) // who may not ask hears it from the write
    if (!found) return
    const free = found.bavail * found.bsize - Math.min(reservedBytes, (found.blocks * found.bsize) / 4)
    if (free < bytes) throw storageUnavailable('The disk of the store is full.')
    left = Math.min(free, askAfterBytes) - bytes
  }
}
