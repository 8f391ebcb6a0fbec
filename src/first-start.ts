import { lstat, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, oneLine } from '../config/error.ts'
import type { Config } from '../config/load.ts'
import { ignoreMissing, UploadError } from './errors.ts'
import { isTrial } from './uploads/diagnosis.ts'
import type { ObjectStore } from './uploads/object-store.ts'
import type { Records } from './uploads/records.ts'

// A first start makes records and a secret. What looks like one, and is not, would give up all files that there are.

/**
 * Asked before the database is opened, which makes one.
 *
 * @throws {ConfigError} when there is a secret, and the records that were made with it are not there.
 */
export async function refuseLostRecords({ dataDir, database }: Config): Promise<void> {
  const file = await stat(database.path).catch(ignoreMissing)
  if (file && file.size > 0) return
  const secret = join(dataDir, 'secret')
  if (!(await lstat(secret).catch(ignoreMissing))) return
  throw new ConfigError(
    `The database ${oneLine(database.path)} is ${file ? 'empty' : 'missing'}, but ${oneLine(secret)} says that there was one: ` +
      'restore it from a backup (or correct FAIRLEAD_DATABASE_URL), or, to begin anew, move the data directory away.',
  )
}

/** Whether uploads were made whose URLs a new secret would not know. */
export const needsItsSecret = async (records: Records): Promise<boolean> =>
  (await records.storedUploads(0, 1)).length > 0

/** @throws {ConfigError} when the records are empty, and the store is not. */
export async function refuseForeignStore(records: Records, store: ObjectStore): Promise<void> {
  if ((await records.workspaces()).length > 0) return
  for await (const { key, modifiedAt } of store.list()) {
    if (isTrial(key, modifiedAt)) continue
    throw new ConfigError(
      `The records are empty, but the store (${store.name}) holds objects such as ${key}: restore the database from a backup ` +
        '(or correct FAIRLEAD_DATA_DIR), or, to begin anew, name an empty storage.directory.',
    )
  }
}

/**
 * Makes the store ready, and asks once whether it is there.
 *
 * @returns what is wrong, where the start goes on nevertheless
 * @throws {ConfigError}
 */
export async function prepareStore(store: ObjectStore, required: boolean): Promise<string | undefined> {
  await store.recover().catch((error: unknown) => {
    throw new ConfigError(whyNot(store, error), { cause: error })
  })
  try {
    await store.check()
    return undefined
  } catch (error) {
    // From a full disk files can be deleted.
    const isFull = store.path !== undefined && error instanceof UploadError && error.retryAfter !== undefined
    const why = await whyAway(store, error)
    if (isFull || !required) return why
    throw new ConfigError(`${why} To start without the store: storage.required (FAIRLEAD_STORAGE_REQUIRED) = false.`, {
      cause: error,
    })
  }
}

/** A look at what answers tells more than the failure of a probe, where the store has one. */
async function whyAway(store: ObjectStore, error: unknown): Promise<string> {
  const failed = (await store.diagnosis?.reach?.())?.find(({ ok }) => !ok)
  return failed ? oneLine(`${failed.detail} ${failed.remedy}`, longestReason) : whyNot(store, error)
}

function whyNot(store: ObjectStore, error: unknown): string {
  const { detail, remedy } = store.diagnosis?.explain('reach', error) ?? { detail: String(error), remedy: '' }
  return oneLine(`${detail} ${remedy}`, longestReason)
}

const longestReason = 600 // characters
