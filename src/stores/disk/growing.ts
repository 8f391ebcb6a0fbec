import { constants } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, UploadError } from '../../errors.ts'
import type { GrowingWriter, GrowOptions } from '../../uploads/object-store.ts'
import { type DirectorySync, earlySyncBytes, fail, fileMode, sizeOf, writeAll } from './files.ts'
import type { Space } from './space.ts'

const { O_RDWR, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants

export interface GrowingPlaces {
  /** Where the file grows. */
  readonly growing: string
  /** Where it is when it is whole. */
  readonly target: string
}

/**
 * Goes on with a file at the end of what counts: what lies beyond is cut off. `finish` renames it; when nobody has heard of that, the next
 * writer takes it back, as nothing reads an object that is not stored.
 */
export function growingFile(
  { growing, target }: GrowingPlaces,
  { growth, keep, hold = false }: Pick<GrowOptions, 'growth' | 'keep' | 'hold'>,
  sync: DirectorySync,
  space: Space,
): GrowingWriter {
  let handle: FileHandle | undefined
  /** Bytes that were written, that are on disk, and that count. */
  let written = growth.bytes
  let synced = growth.bytes
  let counted = growth.bytes
  /** Whether the name of the file survives a power loss. */
  let named = growth.bytes > 0
  let checkpoint: Promise<void> = Promise.resolve()
  let unkept: unknown
  let state: 'open' | 'finished' | 'aborted' = 'open'
  let running: Promise<unknown> = Promise.resolve()

  /** One step at a time; `abort` waits for the one that is under way. */
  function step(message: string, work: () => Promise<void>): Promise<void> {
    const done = state === 'open' ? work() : Promise.reject(new Error(`The writer is ${state}.`))
    running = done.catch(() => {})
    return done.catch((error: unknown) => {
      // What the records say is no failure of the disk.
      if (error === unkept) throw error
      return fail(message)(error)
    })
  }

  const file = async (): Promise<FileHandle> =>
    (handle ??= growth.bytes === 0 ? await begin(growing) : await goOn({ growing, target }, growth.bytes))

  /** Makes durable what was written till now, and counts it. */
  async function settle(counts: boolean): Promise<void> {
    const end = written
    const current = await file()
    if (end > synced || !named) {
      await Promise.all([current.datasync(), named ? undefined : sync(dirname(growing))])
      named = true
      synced = end
    }
    if (!counts || end === counted) return
    try {
      await keep(end, [])
    } catch (error) {
      unkept = error
      throw error
    }
    counted = end
  }

  return {
    get bytes() {
      return counted
    },
    write: (chunks) =>
      step('The object could not be written.', async () => {
        await space(sizeOf(chunks))
        written += await writeAll(await file(), chunks, written)
        if (written - synced < earlySyncBytes) return
        await checkpoint
        checkpoint = settle(!hold)
        // It is heard by the next step.
        checkpoint.catch(() => {})
      }),
    save: () =>
      step('The object could not be kept.', async () => {
        await checkpoint
        await settle(true)
      }),
    finish: () =>
      step('The object could not be finished.', async () => {
        await checkpoint
        const whole = await file()
        if (written > synced) await whole.datasync()
        await rename(growing, target)
        handle = undefined
        await Promise.all([whole.close(), sync(dirname(target))])
        counted = written
        if (state === 'open') state = 'finished'
      }),
    async abort() {
      if (state === 'finished') return
      state = 'aborted'
      await Promise.allSettled([running, checkpoint])
      // What does not count is nobody's, and would fill the disk.
      if (written > counted) await handle?.truncate(counted).catch(() => {})
      await handle?.close().catch(() => {})
      handle = undefined
    },
  }
}

const begin = (growing: string): Promise<FileHandle> => open(growing, O_CREAT | O_TRUNC | O_RDWR | O_NOFOLLOW, fileMode)

async function goOn({ growing, target }: GrowingPlaces, bytes: number): Promise<FileHandle> {
  const handle = await open(growing, O_RDWR | O_NOFOLLOW).catch(async (error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
    await rename(target, growing)
    return open(growing, O_RDWR | O_NOFOLLOW)
  })
  try {
    const { size } = await handle.stat()
    if (size < bytes) throw new UploadError('storage_failed', 'The disk has lost bytes of an unfinished object.')
    if (size > bytes) await handle.truncate(bytes)
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}
