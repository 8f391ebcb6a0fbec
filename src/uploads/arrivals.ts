import { Rejection, UploadError } from '../errors.ts'
import type { NewJob, Records } from './records.ts'
import type { Upload } from './upload.ts'

/** Milliseconds from the creation to the first look, and between two looks at least. */
const shortestGapMs = 2_000
/** Milliseconds between two looks at most, while the upload is young. */
const longestGapMs = 30_000
/** An old upload is looked for again when it has grown older by this part of its age. */
const oldAgePart = 1 / 30
/** Milliseconds after the end of the URL, when the last look is due. */
const afterEndMs = 1_000

export interface ArrivalDependencies {
  readonly records: Pick<Records, 'get'>
  /** @throws {UploadError} `upload_not_received` */
  readonly finish: (upload: Upload) => Promise<Upload>
}

/** Finishes uploads whose bytes come to the store past the gateway, and whose clients never say that they have. */
export function arrivalsOf({ records, finish }: ArrivalDependencies) {
  return {
    /** The first look; goes into the transaction that makes the upload. */
    job: (upload: Pick<Upload, 'id' | 'createdAt'>): NewJob => lookJob({ ...upload, expiresAt: null }),

    /** One look, as a job; returns the next one, as long as there is something to look for. */
    async look(id: string): Promise<readonly NewJob[]> {
      const upload = await records.get(id)
      if (!upload || !isOpen(upload)) return []
      try {
        await finish(upload)
      } catch (error) {
        // A store that is away is no reason to look less often when it is back.
        if (!(error instanceof UploadError)) throw error
      }
      const now = await records.get(id)
      return now && isOpen(now) ? [lookJob(now)] : []
    },

    /** The upload, finished if its bytes have come. @throws {UploadError} why it ended */
    async settle(upload: Upload): Promise<Upload> {
      try {
        return await finish(upload)
      } catch (error) {
        if (error instanceof Rejection || !(error instanceof UploadError) || error.code !== 'upload_not_received')
          throw error
        return upload
      }
    },
  }
}

type Expected = Pick<Upload, 'id' | 'createdAt' | 'expiresAt'>

const lookJob = (upload: Expected): NewJob => ({
  kind: 'arrival',
  uploadId: upload.id,
  due: nextLook(upload, Date.now()),
})

/** Whether bytes may still come for it. */
const isOpen = ({ state }: Upload): boolean => state === 'pending' || state === 'receiving'

/** Soon at first, as most clients send at once; then ever less often. When the URL has ended there is one look right after. */
function nextLook({ createdAt, expiresAt }: Expected, now: number): number {
  const age = now - createdAt
  const longest = Math.max(longestGapMs, age * oldAgePart)
  const due = now + Math.round(Math.min(longest, Math.max(shortestGapMs, age / 2)))
  return expiresAt !== null && expiresAt > now ? Math.min(due, expiresAt + afterEndMs) : due
}
