import { notFound, Rejection, UploadError } from '../errors.ts'
import { examine, type ExamineDependencies } from './examine.ts'
import { merge, mergePatches, type Reserve } from './pipeline.ts'
import { checkFound } from './policy.ts'
import type { NewJob, Records } from './records.ts'
import type { Upload } from './upload.ts'

/** Milliseconds that are added to the pipeline's budget before a job looks after an unfinished verdict. */
const marginMs = 5_000

export interface VerdictDependencies extends ExamineDependencies {
  readonly records: Records
  /** Milliseconds that a request waits for the pipeline. */
  readonly syncBudgetMs: number
  readonly wakeJobs: () => void
  /** Something went on in the background and failed. */
  readonly onError: (error: unknown, uploadId: string) => void
  /** What is to be done when the upload has ended. */
  endJobs(upload: Upload): NewJob[]
  /** Holds quota for the upload. */
  reserveFor(id: string): Reserve
  /** Work for the upload that ends when somebody ends the upload. */
  stoppable(id: string, work: (signal: AbortSignal) => Promise<Upload>): Promise<Upload>
}

/** What there is to ask about verdicts. */
export type VerdictWaits = Pick<ReturnType<typeof verdictsOf>, 'wait' | 'decide' | 'job'>

/** Decides on uploads whose bytes are all there. */
export function verdictsOf(deps: VerdictDependencies) {
  const { records, pipeline, policy } = deps
  const verdicts = new Map<string, Promise<Upload>>()

  /** Waits for the verdict on a `processing` upload, as long as a request may. */
  async function wait(upload: Upload): Promise<Upload> {
    const decided = decide(upload).catch((error: unknown) => {
      if (error instanceof UploadError && error.postponed) return upload
      throw error
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Upload>((resolve) => {
      timer = setTimeout(() => resolve(upload), deps.syncBudgetMs)
    })
    try {
      return await Promise.race([decided, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** One verdict for each upload, whoever asks: the pipeline runs, and its answer is written. */
  function decide(upload: Upload): Promise<Upload> {
    let decided = verdicts.get(upload.id)
    if (!decided) {
      decided = deps.stoppable(upload.id, (signal) => judge(upload, signal)).finally(() => verdicts.delete(upload.id))
      verdicts.set(upload.id, decided)
      // Nobody may be waiting any more when it fails; the job that was written with the state asks again.
      decided.catch((error: unknown) => {
        if (!(error instanceof UploadError)) deps.onError(error, upload.id)
      })
    }
    return decided
  }

  async function judge(upload: Upload, signal: AbortSignal): Promise<Upload> {
    const options = { reserve: deps.reserveFor(upload.id), signal }
    try {
      // Whoever has deleted it a moment ago could not end this yet.
      if (!(await records.get(upload.id))) throw notFound()
      // Bytes of which nobody has made a digest have come past the gateway, unseen.
      const unseen = upload.sha256 === null
      const seen = unseen ? await examine(deps, upload, options) : { patch: {}, sha256: upload.sha256 }
      const whole = { ...merge(upload, seen.patch), sha256: seen.sha256 }
      const found = await pipeline.beforeFinish(whole, options)
      const patch = mergePatches(seen.patch, found)
      const known = merge(upload, patch)
      checkFound(policy, known)
      const jobs = pipeline
        .afterFinish(known)
        .map((plugin) => ({ kind: 'after-finish', uploadId: upload.id, plugin }) as const)
      const { sha256 } = seen
      const ready = await records.transition(upload.id, { from: ['processing'], to: 'ready', patch, sha256, jobs })
      if (jobs.length > 0) deps.wakeJobs()
      return ready
    } catch (error) {
      if (error instanceof Rejection) {
        await records.transition(upload.id, {
          from: ['processing'],
          to: 'rejected',
          rejection: error,
          jobs: (ended) => deps.endJobs(ended),
        })
        deps.wakeJobs()
      }
      throw error
    }
  }

  /** As the job of an upload that was left `processing`. */
  async function resume(id: string): Promise<void> {
    const upload = await records.get(id)
    if (upload?.state !== 'processing') return
    try {
      await decide(upload)
    } catch (error) {
      if (!(error instanceof Rejection)) throw error
    }
  }

  /** Looks after a verdict that nobody waits for any more; goes into the transaction that makes the upload `processing`. */
  const job = (uploadId: string): NewJob => ({
    kind: 'verdict',
    uploadId,
    due: Date.now() + deps.syncBudgetMs + marginMs,
  })

  return { wait, decide, resume, job }
}
