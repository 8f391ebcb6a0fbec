import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  opendir,
  readdir,
  realpath,
  rename,
  rm,
  statfs,
  unlink,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { notFound, storageUnavailable, UploadError } from '../errors.ts'
import {
  checkRange,
  keyPattern,
  type ObjectStore,
  type ObjectWriter,
  type StoredObject,
} from '../uploads/object-store.ts'
import { explainDisk } from './disk/explain.ts'

const fanOut = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
const directoryMode = 0o700
const fileMode = 0o600
/** Bytes that are read at a time for a stream. */
const readBytes = 256 * 1024
/**
 * Bytes after which a file that is still growing is synced, while more comes: the last sync is short then, also for the largest file, and
 * what waits in memory for the disk is bounded.
 */
const earlySyncBytes = 32 * 1024 * 1024
/** Bytes that must be free for the store to count as working. */
const leastFreeBytes = 64 * 1024 * 1024

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants

export interface DiskStoreOptions {
  /** Made when it is missing. Nobody else may write below it. */
  readonly directory: string
}

/**
 * Stores objects as files `<directory>/xx/<name>`. A writer writes to `<directory>/tmp/`; `finish` syncs the file, renames it and syncs the
 * directory, so nobody ever sees half an object, and none is lost with the power.
 *
 * No key leads out of the directory, and no symbolic link is followed where an object should be. That `xx` itself is no link is checked by
 * `recover`, `list` and `finish`; whoever can swap these directories under the running program can lead a read elsewhere.
 *
 * @throws {UploadError} `storage_failed`, with `retryAfter` when the disk is full or broken or file descriptors are short.
 */
export function diskStore(options: DiskStoreOptions): ObjectStore {
  const { directory } = options
  const temporary = join(directory, 'tmp')
  const sync = directorySyncs()
  let writers = 0

  const remove = (key: string): Promise<void> =>
    removeFile(path(key), sync).catch(fail('The object could not be removed.'))

  function path(key: string): string {
    if (!keyPattern.test(key)) throw new TypeError('That is no key of an object.')
    return join(directory, key)
  }

  return {
    name: 'disk',
    path,
    diagnosis: { explain: (step, error) => explainDisk(directory, step, error) },
    write(key) {
      const target = path(key)
      return diskWriter(join(temporary, `${key.replace('/', '-')}.${++writers}`), target, sync)
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
      const handle = await openObject(path(key), signal)
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
      } finally {
        await handle.close()
      }
    },
    async stat(key) {
      const target = path(key)
      return stat(key, target).catch(fail('The object could not be looked up.'))
    },
    // Durable too: who has noted that an object is gone need not look for it again.
    remove: async (key) => remove(key),
    // A writer removes its own unfinished file; those of a process that died go at the start.
    clear: async (key) => remove(key),
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
      await probe(join(temporary, `probe.${randomUUID()}`)).catch(fail('The store cannot be written.'))
      const { bavail, bsize } = await statfs(temporary).catch(fail('The free space is not known.'))
      if (bavail * bsize < leastFreeBytes) throw storageUnavailable('The disk of the store is nearly full.')
    },
  }
}

type DirectorySync = (directory: string) => Promise<void>

/** Opens its file with the first bytes. */
function diskWriter(temporary: string, target: string, sync: DirectorySync): ObjectWriter {
  let handle: FileHandle | undefined
  let unsynced = 0
  let syncing: Promise<void> = Promise.resolve()
  let renamed = false
  let state: 'open' | 'finished' | 'aborted' = 'open'
  let running: Promise<unknown> = Promise.resolve()

  /** One step at a time; `abort` waits for the one that is under way. */
  function step(message: string, work: () => Promise<void>): Promise<void> {
    const done = state === 'open' ? work() : Promise.reject(new Error(`The writer is ${state}.`))
    running = done.catch(() => {})
    return done.catch(fail(message))
  }

  async function file(): Promise<FileHandle> {
    handle ??= await open(temporary, O_CREAT | O_EXCL | O_WRONLY, fileMode)
    return handle
  }

  return {
    write: (chunks) =>
      step('The object could not be written.', async () => {
        const growing = await file()
        unsynced += await writeAll(growing, chunks)
        if (unsynced < earlySyncBytes) return
        await syncing
        unsynced = 0
        syncing = growing.datasync()
        // It is heard by the next sync; the disk reports a failure only once.
        syncing.catch(() => {})
      }),
    finish: () =>
      step('The object could not be finished.', async () => {
        const whole = await file()
        await syncing
        await whole.datasync()
        await rename(temporary, target)
        renamed = true
        handle = undefined
        await Promise.all([whole.close(), sync(dirname(target))])
        if (state === 'open') state = 'finished'
      }),
    async abort() {
      if (state === 'finished') return
      state = 'aborted'
      await Promise.allSettled([running, syncing])
      const left = renamed ? target : handle && temporary
      await handle?.close().catch(() => {})
      handle = undefined
      if (left !== undefined) await unlink(left).catch(ignoreMissing).catch(fail('The object could not be removed.'))
    },
  }
}

/** One call usually; a short write goes on where it stopped. Returns the bytes. */
async function writeAll(file: FileHandle, chunks: readonly Uint8Array[]): Promise<number> {
  let total = 0
  for (let rest = chunks; rest.length > 0;) {
    const { bytesWritten } = await file.writev(rest)
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
function directorySyncs(): DirectorySync {
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

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

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
  const makeOrCheck = (name: string): Promise<void> =>
    present.has(name) ? checkDirectory(join(directory, name)) : mkdir(join(directory, name), directoryMode)
  await Promise.all(['tmp', ...fanOut].map(makeOrCheck))
  await syncDirectory(await realpath(directory))
  if (made !== undefined) await syncDirectory(dirname(directory))
  for (const name of await readdir(temporary)) await rm(join(temporary, name), { recursive: true, force: true })
}

/** Writes to the disk itself, which a look at the permissions would not. */
async function probe(path: string): Promise<void> {
  const handle = await open(path, O_CREAT | O_EXCL | O_WRONLY, fileMode)
  try {
    await handle.write('probe')
    await handle.datasync()
  } finally {
    await handle.close()
    await unlink(path)
  }
}

async function checkDirectory(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) throw new Error(`${path} is not a directory.`)
}

/** Full, broken or out of descriptors: another time it may work. */
const passing = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EIO'])

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

function failure(message: string, cause: unknown, signal?: AbortSignal): unknown {
  if (cause instanceof UploadError || signal?.aborted) return cause
  const code = codeOf(cause)
  return typeof code === 'string' && passing.has(code)
    ? storageUnavailable(message, cause)
    : new UploadError('storage_failed', message, { cause })
}

const fail =
  (message: string) =>
  (cause: unknown): never => {
    throw failure(message, cause)
  }

function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error
}
