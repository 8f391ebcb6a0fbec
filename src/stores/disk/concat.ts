import { constants, createReadStream, createWriteStream } from 'node:fs'
import { copyFile, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ignoreMissing, UploadError } from '../../errors.ts'
import { type DirectorySync, failure, fileMode } from './files.ts'

/** Bytes that are read at a time. */
const readBytes = 1024 * 1024
const { O_WRONLY, O_CREAT, O_EXCL } = constants

export interface SourceFile {
  readonly path: string
  /** Bytes that it must have. */
  readonly size: number
}

/**
 * Makes one file of others. The first is cloned where the file system can share its bytes, and copied inside the kernel where not; the
 * others are copied behind it, as nothing in Node clones into the middle of a file.
 */
export async function joinFiles(
  sources: readonly SourceFile[],
  temporary: string,
  target: string,
  sync: DirectorySync,
  signal?: AbortSignal,
): Promise<void> {
  try {
    const [first, ...rest] = sources
    if (first) await copyFile(first.path, temporary, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
    else await (await open(temporary, O_CREAT | O_EXCL | O_WRONLY, fileMode)).close()
    for (const { path } of rest) {
      signal?.throwIfAborted()
      const copy = createWriteStream(temporary, { flags: 'a' })
      await pipeline(createReadStream(path, { highWaterMark: readBytes }), copy, signal ? { signal } : {})
    }
    const bytes = sources.reduce((sum, { size }) => sum + size, 0)
    await settle(temporary, bytes)
    await rename(temporary, target)
    await sync(dirname(target))
  } catch (cause) {
    await unlink(temporary).catch(ignoreMissing)
    throw failure('The objects could not be joined.', cause, signal)
  }
}

async function settle(temporary: string, bytes: number): Promise<void> {
  await using joined = await open(temporary, 'r+')
  const { size } = await joined.stat()
  if (size !== bytes) throw new UploadError('storage_failed', `The objects have ${size} bytes instead of ${bytes}.`)
  await joined.datasync()
}
