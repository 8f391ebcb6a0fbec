import { constants } from 'node:fs'
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ignoreMissing } from '../../errors.ts'
import type { ObjectWriter } from '../../uploads/object-store.ts'
import { type DirectorySync, earlySyncBytes, fail, fileMode, sizeOf, writeAll } from './files.ts'
import type { Space } from './space.ts'

const { O_WRONLY, O_CREAT, O_EXCL } = constants

/** Opens its file with the first bytes. */
export function diskWriter(temporary: string, target: string, sync: DirectorySync, space: Space): ObjectWriter {
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
        await space(sizeOf(chunks))
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
