import { randomUUID } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import {
  access,
  type FileHandle,
  lstat,
  mkdir,
  open,
  opendir,
  readdir,
  realpath,
  rm,
  statfs,
  truncate,
  unlink,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ignoreMissing, notFound, storageUnavailable } from '../errors.ts'
import { checkRange, keyPattern, type ObjectStore, type StoredObject } from '../uploads/object-store.ts'
import { joinFiles } from './disk/concat.ts'
import { explainDisk } from './disk/explain.ts'
import { directorySyncs, type DirectorySync, fail, failure, fileMode, syncDirectory } from './disk/files.ts'
import { growingFile } from './disk/growing.ts'
import { reservedBytes, spaceOn } from './disk/space.ts'
import { diskWriter } from './disk/writer.ts'

const fanOut = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
const directoryMode = 0o700
/** Bytes that are read at a time for a stream. */
const readBytes = 256 * 1024

const { R_OK, W_OK, X_OK, O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants

export interface DiskStoreOptions {
  /** Made when it is missing. Nobody else may write below it. */
  readonly directory: string
}

/**
 * Stores objects as files `<directory>/xx/<name>`. A writer writes to `<directory>/tmp/`, or to `<directory>/open/` what may be gone on with
 * after a restart; `finish` syncs the file, renames it and syncs the directory, so nobody ever sees half an object, and none is lost with
 * the power.
 *
 * No key leads out of the directory, and no symbolic link is followed where an object should be. That `xx` itself is no link is checked by
 * `recover`, `list` and `finish`; whoever can swap these directories under the running program can lead a read elsewhere.
 *
 * @throws {UploadError} `storage_failed`, with `retryAfter` when the disk is full or broken or file descriptors are short.
 */
export function diskStore(options: DiskStoreOptions): ObjectStore {
  const { directory } = options
  const temporary = join(directory, 'tmp')
  const unfinished = join(directory, 'open')
  const sync = directorySyncs()
  const space = spaceOn(directory)
  let writers = 0

  const path = (key: string): string => join(directory, checked(key))
  const temporaryPath = (key: string): string => join(temporary, `${flatName(key)}.${++writers}`)
  /** Where the object grows under this key. */
  const growingPath = (key: string): string => join(unfinished, flatName(key))

  async function remove(key: string): Promise<void> {
    await removeFile(path(key), sync).catch(fail('The object could not be removed.'))
  }
  async function endUnfinished({ key }: { readonly key: string }): Promise<void> {
    await unlink(growingPath(key)).catch(ignoreMissing).catch(fail('The object could not be removed.'))
  }

  return {
    name: 'disk',
    path,
    diagnosis: { explain: (step, error) => explainDisk(directory, step, error) },
    write: (key) => diskWriter(temporaryPath(key), path(key), sync, space),
    grow: (key, how) => growingFile({ growing: growingPath(key), target: path(key) }, how, sync, space),
    async concat(sources, key, { signal }) {
      await space(sources.reduce((sum, { size }) => sum + size, 0))
      const files = sources.map((source) => ({ path: path(source.key), size: source.size }))
      return joinFiles(files, temporaryPath(key), path(key), sync, signal)
    },
    async read(key, range, signal) {
      if (range) checkRange(range)
      const handle = await openObject(path(key), signal)
      return handle.createReadStream({
        highWaterMark: readBytes,
        ...(range && { start: range.start, end: range.end - 1 }),
        ...(signal && { signal }),
      })
    },
    async bytes(key, range, signal) {
      checkRange(range)
      await using handle = await openObject(path(key), signal)
      try {
        const buffer = Buffer.allocUnsafe(range.end - range.start)
        let filled = 0
        while (filled < buffer.length) {
          signal?.throwIfAborted()
          const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, range.start + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return buffer.subarray(0, filled)
      } catch (cause) {
        throw failure('The object could not be read.', cause, signal)
      }
    },
    async stat(key) {
      const target = path(key)
      return stat(key, target).catch(fail('The object could not be looked up.'))
    },
    // Durable too: who has noted that an object is gone need not look for it again.
    remove,
    // A writer removes its own file in `tmp`; those of a process that died go at the start.
    async clear(key) {
      await endUnfinished({ key })
      await remove(key)
    },
    async *unfinished(signal) {
      try {
        for (const name of await readdir(unfinished)) {
          signal?.throwIfAborted()
          const key = name.replace('-', '/')
          const file = keyPattern.test(key) ? await stat(key, join(unfinished, name)) : undefined
          if (file) yield { key, note: '', startedAt: file.modifiedAt }
        }
      } catch (cause) {
        throw failure('The unfinished objects could not be listed.', cause, signal)
      }
    },
    endUnfinished,
    async excess(key, { bytes }, { before, cut }) {
      const file = growingPath(key)
      const found = await stat(key, file).catch(fail('The object could not be looked up.'))
      if (!found || found.size <= bytes || found.modifiedAt > before) return 0
      if (cut) await truncate(file, bytes).catch(fail('The object could not be cut off.'))
      return found.size - bytes
    },
    async *list(signal) {
      try {
        for (const folder of fanOut) {
          await checkDirectory(join(directory, folder))
          for await (const entry of await opendir(join(directory, folder))) {
            signal?.throwIfAborted()
            const key = `${folder}/${entry.name}`
            const object = keyPattern.test(key) ? await stat(key, path(key)) : undefined
            if (object) yield object
          }
        }
      } catch (cause) {
        throw failure('The objects could not be listed.', cause, signal)
      }
    },
    async recover() {
      await prepare(directory, temporary).catch(fail('The directory of the store could not be prepared.'))
    },
    async check() {
      const user = await probe(join(temporary, `probe.${randomUUID()}`)).catch(fail('The store cannot be written.'))
      await Promise.all(fanOut.map((folder) => checkUsable(join(directory, folder), user))).catch(
        fail('A folder of the store cannot be used.'),
      )
      const { bavail, bsize } = await statfs(temporary).catch(fail('The free space is not known.'))
      if (bavail * bsize < reservedBytes)
        throw storageUnavailable('The disk of the store is nearly full: uploads are refused, deletions are not.')
    },
  }
}

function checked(key: string): string {
  if (!keyPattern.test(key)) throw new TypeError('That is no key of an object.')
  return key
}

const flatName = (key: string): string => checked(key).replace('/', '-')

async function openObject(path: string, signal?: AbortSignal): Promise<FileHandle> {
  signal?.throwIfAborted()
  const handle = await open(path, O_RDONLY | O_NOFOLLOW)
    .catch(ignoreMissing)
    .catch(fail('The object could not be opened.'))
  if (!handle) throw notFound()
  return handle
}

async function stat(key: string, path: string): Promise<StoredObject | undefined> {
  const found = await lstat(path).catch(ignoreMissing)
  return found?.isFile() ? { key, size: found.size, modifiedAt: Math.floor(found.mtimeMs) } : undefined
}

/** Syncs even when the file was gone: whoever removed it may have been interrupted before that. */
async function removeFile(path: string, sync: DirectorySync): Promise<void> {
  await unlink(path).catch(ignoreMissing)
  await sync(dirname(path))
}

/** Makes what is missing, checks the rest, and empties the directory of unfinished files. */
async function prepare(directory: string, temporary: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: directoryMode })
  const present = new Set(await readdir(directory))
  const makeOrCheck = (name: string): Promise<unknown> =>
    present.has(name) ? checkDirectory(join(directory, name)) : mkdir(join(directory, name), directoryMode)
  // A start that is refused makes nothing any more.
  const folders = await Promise.allSettled(['tmp', 'open', ...fanOut].map(makeOrCheck))
  for (const folder of folders) if (folder.status === 'rejected') throw folder.reason
  await syncDirectory(await realpath(directory))
  if (made !== undefined) await syncDirectory(await realpath(dirname(directory)))
  for (const name of await readdir(temporary)) await rm(join(temporary, name), { recursive: true, force: true })
}

/** Writes to the disk itself, which a look at the permissions would not. Returns the number of the user that owns what is written. */
async function probe(path: string): Promise<number> {
  const handle = await open(path, O_CREAT | O_EXCL | O_WRONLY, fileMode)
  try {
    await handle.write('probe')
    await handle.datasync()
    return (await handle.stat()).uid
  } finally {
    await handle.close()
    await unlink(path)
  }
}

/** A directory that this process may change: one that was restored from a backup may have another owner. */
async function checkUsable(path: string, user: number): Promise<void> {
  const { uid, mode } = await checkDirectory(path)
  const isOwn = uid === user && (mode & directoryMode) === directoryMode
  // Groups and lists of access may allow it all the same.
  if (!isOwn) await access(path, R_OK | W_OK | X_OK)
}

async function checkDirectory(path: string): Promise<Stats> {
  const found = await lstat(path)
  if (!found.isDirectory()) throw new Error(`${path} is not a directory.`)
  return found
}
