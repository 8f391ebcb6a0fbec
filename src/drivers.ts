import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigError } from '../config/error.ts'
import type { Config } from '../config/load.ts'
import { codeOf } from './errors.ts'
import { refuseLostRecords } from './first-start.ts'
import { memoryLocker } from './lockers/memory.ts'
import type { Migrated } from './records/migrate.ts'
import { damagedRemedy, migrateFile, sqliteRecords } from './records/sqlite.ts'
import { diskStore } from './stores/disk.ts'
import { largestPartSize } from './stores/s3/part-sizes.ts'
import { profileOf, profiles, regionOf } from './stores/s3/profiles.ts'
import type { Locker } from './uploads/locker.ts'
import type { ObjectStore } from './uploads/object-store.ts'
import type { Records } from './uploads/records.ts'

// The drivers that the configuration names: here and nowhere else.

/** @param options `verify`: a damaged file is not opened */
export async function openRecords(config: Config, options: { readonly verify?: boolean } = {}): Promise<Records> {
  await refuseLostRecords(config)
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  const { path } = config.database
  const { workspaceQuota: defaultQuota, openUploads, bareRecords } = config.limits
  return opening(path, () => sqliteRecords({ path, defaultQuota, openUploads, bareRecords, ...options }))
}

/** Brings the database to this version of the program. */
export async function migrateRecords(config: Config): Promise<Migrated> {
  await refuseLostRecords(config)
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  return opening(config.database.path, () => migrateFile(config.database.path))
}

/** @throws {ConfigError} that says which file it was */
function opening<T>(path: string, open: () => T): T {
  try {
    return open()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    if (codeOf(cause) === 'ERR_DLOPEN_FAILED')
      throw new ConfigError(
        `SQLite cannot be loaded: ${reason}. Where its folder is mounted noexec, let XDG_CACHE_HOME name another: docs/binary.md.`,
        { cause },
      )
    throw new ConfigError(
      `The database ${path} (FAIRLEAD_DATABASE_URL) cannot be opened: ${reason}${remedyFor(path, codeOf(cause))}`,
      { cause },
    )
  }
}

/** What the operator can do, where the reason alone does not say it. */
function remedyFor(path: string, code = ''): string {
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return `. ${damagedRemedy}`
  if (/^SQLITE_(IOERR_SHM|PROTOCOL)/.test(code))
    return `. The file system of ${dirname(path)} does not let files be mapped into memory (mmap), as some network and FUSE mounts: keep the database on a local one (FAIRLEAD_DATABASE_URL).`
  if (/^(EACCES|EPERM|SQLITE_(CANTOPEN|READONLY|PERM|IOERR_ACCESS))/.test(code))
    return `. Give the user that runs Fairlead the folder ${dirname(path)} with all that is in it: chown -R.`
  return ''
}

/** One process has the data folder for itself, so that its memory is enough. */
export const openLocker = (): Locker => memoryLocker()

export async function openStore(config: Config, records: Records): Promise<ObjectStore> {
  if (config.storage.driver === 'disk') return diskStore({ directory: config.storage.directory })
  const { s3, limits } = config
  const profile = s3.profile ?? profileOf(s3.endpoint)
  const least = largestPartSize(limits.maxFileSize, profiles[profile].equalParts)
  if (s3.memory < least)
    throw new ConfigError(
      `s3.memory is ${s3.memory} bytes; files of limits.maxFileSize need parts of ${least}: raise the one or lower the other.`,
    )
  const { s3Store } = await import('./stores/s3.ts') // only when it is needed: the SDK takes a while to load
  return s3Store({
    bucket: s3.bucket ?? '',
    prefix: `${await records.installation()}/`,
    profile,
    endpoint: s3.endpoint,
    publicEndpoint: s3.publicEndpoint,
    region: s3.region ?? regionOf(s3.endpoint),
    forcePathStyle: s3.forcePathStyle,
    ...(s3.accessKeyId !== undefined && s3.secretAccessKey !== undefined
      ? { credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey } }
      : {}),
    settledMs: s3.settle * 1_000,
    memoryBytes: s3.memory,
    largestObject: limits.maxFileSize,
  })
}
