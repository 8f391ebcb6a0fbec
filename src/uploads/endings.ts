import { type Rejection, UploadError } from '../errors.ts'
import type { NewJob, Records } from './records.ts'
import type { Upload } from './upload.ts'

export interface EndingDependencies {
  readonly records: Records
  /** Milliseconds for which an upload to which nobody comes back holds what it has declared. */
  readonly holdMs: number
  /** Milliseconds for which an unfinished upload of the resumable protocol is kept. */
  readonly resumeWithinMs: number
  readonly isRunning: (id: string) => boolean
  readonly wakeJobs: () => void
  /** What is to be done when the upload has ended. */
  readonly endJobs: (upload: Upload) => readonly NewJob[]
}

/** How uploads end that their own requests break, or whose bytes are refused. */
export function endings({ records, holdMs, resumeWithinMs, isRunning, wakeJobs, endJobs }: EndingDependencies) {
  /** Nothing of an upload that its own request broke remains. */
  async function discard(id: string, key?: string): Promise<void> {
    const gone = records.remove(id, { jobs: endJobs, force: true })
    await Promise.all([key === undefined ? undefined : records.abandon(key), gone.catch(ignoreMissing)])
    wakeJobs()
  }

  async function reject(id: string, key: string, rejection: Rejection): Promise<void> {
    if (await rejectReceiving(id, rejection)) await records.abandon(key)
    wakeJobs()
  }

  /** The verdict has written its own rejection; one that came before it is written here. */
  async function rejectReceiving(id: string, rejection: Rejection): Promise<boolean> {
    const upload = await records.get(id)
    if (upload?.state === 'pending')
      await records.transition(id, { from: ['pending'], to: 'receiving' }).catch(ignoreMissing)
    else if (upload?.state !== 'receiving') return false
    const ended = records.transition(id, { from: ['receiving'], to: 'rejected', rejection, jobs: endJobs })
    await ended.catch(ignoreMissing)
    return true
  }

  /** Uploads to which nobody has come back in time hold what they have from now on. Returns how many there were. */
  async function lapse(limit: number): Promise<number> {
    const ids = await records.lapsing(limit)
    const until = Date.now() + holdMs
    await Promise.all(
      ids.map(async (id) => {
        if (isRunning(id)) await records.hold(id, { until, expiresAt: Date.now() + resumeWithinMs })
        else await records.lapse(id)
      }),
    )
    return ids.length
  }

  return { discard, reject, rejectReceiving, lapse }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof UploadError && error.code === 'not_found')) throw error
}
