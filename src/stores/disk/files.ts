import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { codeOf, storageUnavailable, UploadError } from '../../errors.ts'

// What the parts of the disk store do with files alike.

export const fileMode = 0o600
/**
 * Bytes after which a file that is still growing is synced, while more comes: the last sync is short then, also for the largest file, and
 * what waits in memory for the disk is bounded.
 */
export const earlySyncBytes = 32 * 1024 * 1024

const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY } = constants

export type DirectorySync = (directory: string) => Promise<void>

export const sizeOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

/** One call usually; a short write goes on where it stopped. Returns the bytes. @param at where they go; absent: at the end of what was written */
export async function writeAll(file: FileHandle, chunks: readonly Uint8Array[], at?: number): Promise<number> {
  let total = 0
  for (let rest = chunks; rest.length > 0;) {
    const { bytesWritten } = await file.writev(rest, at === undefined ? undefined : at + total)
    rest = after(rest, bytesWritten)
    total += bytesWritten
  }
  return total
}

/** What is left of the chunks behind the first `bytes`. */
function after(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skipped = 0
  for (const [i, chunk] of chunks.entries()) {
    if (skipped + chunk.length > bytes) return [chunk.subarray(bytes - skipped), ...chunks.slice(i + 1)]
    skipped += chunk.length
  }
  return []
}

interface Turn {
  begun: boolean
  done: Promise<void>
}

/**
 * Makes what happened in a directory durable. Who asks while a sync is running shares the next one: the running one may have begun
 * before the change.
 */
export function directorySyncs(): DirectorySync {
  const turns = new Map<string, Turn>()
  return (directory) => {
    const last = turns.get(directory)
    if (last && !last.begun) return last.done
    const turn: Turn = { begun: false, done: Promise.resolve(last?.done.catch(() => {})).then(run) }
    turns.set(directory, turn)
    return turn.done

    function run(): Promise<void> {
      turn.begun = true
      return syncDirectory(directory)
    }
  }
}

export async function syncDirectory(path: string): Promise<void> {
  await using handle = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  await handle.sync()
}

/** Full, broken or out of descriptors: another time it may work. */
const passing = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EIO'])

export function failure(message: string, cause: unknown, signal?: AbortSignal): unknown {
  if (cause instanceof UploadError || signal?.aborted) return cause
  return passing.has(codeOf(cause) ?? '')
    ? storageUnavailable(message, cause)
    : new UploadError('storage_failed', message, { cause })
}

export const fail =
  (message: string) =>
  (cause: unknown): never => {
    throw failure(message, cause)
  }
