import { userInfo } from 'node:os'
import { codeOf, UploadError } from '../../errors.ts'
import type { Explanation, StoreStep } from '../../uploads/diagnosis.ts'

const verbs: Readonly<Record<StoreStep, string>> = {
  reach: 'used',
  write: 'written',
  stat: 'looked up',
  read: 'read',
  list: 'listed',
  remove: 'removed',
}

type Reason = (directory: string) => readonly [why: string, remedy: string]

const forbidden: Reason = (directory) => [
  'the file system forbids it',
  `Give the user "${userName()}" the folder ${directory} with all that is below it: chown -R.`,
]
const full: Reason = () => ['there is no room', 'Delete something, or give the file system more room.']
const missing: Reason = (directory) => [
  'a folder is missing',
  `Start the server: it makes its folders. If it has run before, ${directory} was moved or is not mounted: mend that, or storage.directory.`,
]
const away: Reason = () => [
  'too many files are open',
  'Raise the limit of open files (ulimit -n) for this user and the server.',
]

const reasons: Readonly<Record<string, Reason>> = {
  EROFS: (directory) => [
    'the file system is read-only',
    `Mount it writable, or set storage.directory; it is ${directory}.`,
  ],
  EACCES: forbidden,
  EPERM: forbidden,
  ENOSPC: full,
  EDQUOT: full,
  ENOENT: missing,
  ENOTDIR: missing,
  EMFILE: away,
  ENFILE: away,
  EIO: () => ['the disk is broken', 'See the log of the kernel, and take a backup.'],
}

/** Why the disk did not do it. */
export function explainDisk(directory: string, step: StoreStep, error: unknown): Explanation {
  const cause = error instanceof UploadError ? error.cause : error
  if (error instanceof UploadError && error.code === 'storage_failed' && cause === undefined)
    return { detail: error.message, remedy: full(directory)[1] }
  const code = codeOf(cause) ?? ''
  const reason = reasons[code]
  const [why, remedy] = reason?.(directory) ?? [String(cause), `Look at the folder ${directory}.`]
  return {
    detail: `Objects in ${directory} cannot be ${verbs[step]}: ${why}${reason ? ` (${code})` : ''}.`,
    remedy,
  }
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? '') // a container's user may have no name
  }
}
