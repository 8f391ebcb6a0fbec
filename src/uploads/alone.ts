import { UploadError } from '../errors.ts'
import type { Locker } from './locker.ts'
import type { Upload } from './upload.ts'

/** Seconds after which to ask again. */
const askAgainSeconds = 1

export interface AloneDependencies {
  readonly locker: Locker
  /** Work that ends, with the reason, when somebody ends the upload. */
  readonly stoppable: (
    id: string,
    work: (signal: AbortSignal) => Promise<Upload>,
    stopped?: AbortController,
  ) => Promise<Upload>
}

/** Lets one request at a time write to an upload: the newest. The one before it has ended when its work begins. */
export function aloneWith({ locker, stoppable }: AloneDependencies) {
  return async (id: string, work: (signal: AbortSignal) => Promise<Upload>): Promise<Upload> => {
    const stopped = new AbortController()
    const lock = locker.newLock(id)
    await lock.lock(stopped.signal, () => stopped.abort(locked('A newer request for this upload has come.')))
    try {
      return await stoppable(id, work, stopped)
    } finally {
      await lock.unlock()
    }
  }
}

export const locked = (message: string): UploadError =>
  new UploadError('upload_locked', message, { retryAfter: askAgainSeconds })
