import type { Records } from './records.ts'
import type { Upload } from './upload.ts'

export interface TimelyDependencies {
  /** Clients reach the store by themselves: what came in time may be found later. */
  readonly store: { readonly direct?: unknown }
  /** Milliseconds for which an unfinished upload of the resumable protocol is kept after something has come for it. */
  readonly resumeWithinMs: number
  /** Whether something is going on for the upload. */
  readonly isRunning: (id: string) => boolean
}

/**
 * Records in which an upload ends at the second in which its time is over, and not when the sweep comes. While bytes come for it its end
 * moves on; a part that is complete lives as long as another one that belongs to it.
 */
export function timelyRecords(records: Records, { store, resumeWithinMs, isRunning }: TimelyDependencies): Records {
  async function get(...asked: Parameters<Records['get']>): Promise<Upload | undefined> {
    const upload = await records.get(...asked)
    return upload && timely(upload)
  }

  async function timely(upload: Upload): Promise<Upload> {
    const { state, expiresAt } = upload
    if (expiresAt === null || (state !== 'pending' && state !== 'receiving')) return upload
    const now = Date.now()
    if (isRunning(upload.id))
      return upload.resumable ? { ...upload, expiresAt: Math.max(expiresAt, now + resumeWithinMs) } : upload
    if (expiresAt > now || (state === 'pending' && store.direct && !upload.resumable)) return upload
    const end = isWholePart(upload) ? await records.siblingsEnd(upload.id, resumeWithinMs) : null
    return end === null ? { ...upload, state: 'expired' } : { ...upload, expiresAt: end }
  }

  return { ...records, get }
}

export const isWholePart = ({ resumable, objectKey }: Upload): boolean =>
  resumable?.partial === true && objectKey !== null
