import { randomBytes } from 'node:crypto'
import { notFound, Rejection, UploadError } from '../errors.ts'
import type { Body } from './ingest.ts'
import type { Policy } from './policy.ts'
import { demandProject, demandScope, type Principal } from './principal.ts'
import type { Batch, BatchEnd, Claim, NewJob, Records } from './records.ts'
import type { NewUpload, Upload, UploadState } from './upload.ts'

/** Verdicts of one batch that are reached side by side. */
const parallelVerdicts = 4
const batchIdPattern = /^upl_[A-Za-z0-9_-]{22}$/
const failedStates: readonly UploadState[] = ['rejected', 'expired']

export interface BatchDependencies {
  readonly records: Records
  readonly policy: Policy
  /** Milliseconds that a request waits for the pipeline. */
  readonly syncBudgetMs: number
  readonly wakeJobs: () => void
}

/** What the service does for one upload. */
export interface OneUpload {
  /** Brings one file; a `Rejection` leaves the upload `rejected`, every other error leaves nothing. */
  readonly bring: (principal: Principal, draft: NewUpload, body: Body, batchId: string) => Promise<void>
  /** Reads what is left of the body of a refused file. */
  readonly skip: (draft: NewUpload, body: Body) => Promise<void>
  readonly decide: (upload: Upload) => Promise<Upload>
  readonly verdictJob: (uploadId: string) => NewJob
  readonly endJobs: (upload: Upload) => readonly NewJob[]
  readonly stop: (id: string, reason: UploadError) => void
}

/** What holds for all files of a batch; some of it is known only when they have come. */
export type BatchTerms = Pick<BatchEnd, 'name' | 'meta' | 'projectId'>

/** Brings one file of the batch. Resolves when the next may come, also when this one was refused. */
export type AddFile = (draft: NewUpload, body: Body) => Promise<void>

/** Whether nothing of the batch can be used. */
export const isFailed = (batch: Batch): boolean => batch.uploads.every(({ state }) => failedStates.includes(state))

/**
 * Files that come in one request. Until the last one is there none counts: they are `receiving`, and go when the request breaks or the
 * process dies. Then all go on to the pipeline in one step, and each has a verdict of its own.
 */
export function batches({ records, policy, syncBudgetMs, wakeJobs }: BatchDependencies, one: OneUpload) {
  /**
   * @param projectId `null`: the request will tell
   * @param fill brings the files, one after another, and then knows the terms
   * @throws {UploadError} what breaks the request, and then nothing of it remains; {Rejection} of the first file when all were refused
   */
  async function receiveBatch(
    principal: Principal,
    projectId: string | null,
    fill: (add: AddFile) => Promise<BatchTerms>,
    claim: Claim | null = null,
  ): Promise<Batch> {
    demandScope(principal, 'uploads:write')
    demandProject(principal, projectId)
    const { projectMode } = policy
    const { workspaceId } = principal
    const id = `upl_${randomBytes(16).toString('base64url')}`
    /** Of the first file, when it was refused before its bytes were stored. */
    let firstRefusal: Rejection | undefined
    let files = 0
    const add: AddFile = async (draft, body) => {
      const isFirst = files++ === 0
      try {
        await one.bring(principal, draft, body, id)
      } catch (error) {
        // What the workspace has no room for is no fault of the file.
        if (!(error instanceof Rejection) || error.code === 'quota_exceeded') throw error
        if (isFirst) firstRefusal = error
        await one.skip(draft, body)
      }
    }

    await records.openBatch({ id, workspaceId, projectId, projectMode, createdAt: Date.now(), claim })
    let batch: Batch
    try {
      const terms = await fill(add)
      demandProject(principal, terms.projectId)
      const jobs = (uploadId: string) => [one.verdictJob(uploadId)]
      batch = await records.finishBatch(id, { ...terms, projectMode, jobs })
    } catch (error) {
      await records.removeBatch(id, { jobs: one.endJobs, force: true })
      wakeJobs()
      throw error
    }
    const refusals = await verdicts(batch)
    const judged = (await records.batch(id)) ?? batch
    if (isFailed(judged)) throw firstRefusal ?? refusalOf(judged, refusals)
    return judged
  }

  /** Waits for the verdicts on all of the batch, as long as a request may. */
  async function verdicts(batch: Batch): Promise<ReadonlyMap<string, Rejection>> {
    const left = batch.uploads.filter(({ state }) => state === 'processing')
    const refusals = new Map<string, Rejection>()
    const judge = async (): Promise<void> => {
      for (let next = left.shift(); next; next = left.shift()) {
        const { id } = next
        // A failure is tried again by the job that was written with the state: until then the upload is `processing`.
        await one.decide(next).catch((error: unknown) => {
          if (error instanceof Rejection) refusals.set(id, error)
        })
      }
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, syncBudgetMs)
    })
    await Promise.race([Promise.all(Array.from({ length: parallelVerdicts }, judge)), late])
    clearTimeout(timer)
    return refusals
  }

  /** What a request has made whose answer was lost; `undefined` when nothing is left of it, or all of it was refused. */
  async function recallBatch(id: string): Promise<Batch | undefined> {
    const made = await records.batch(id)
    if (!made) return undefined
    await verdicts(made)
    const judged = await records.batch(id)
    return judged && !isFailed(judged) ? judged : undefined
  }

  async function ownedBatch(
    principal: Principal,
    projectId: string,
    id: string,
    scope: 'uploads:read' | 'uploads:write',
  ): Promise<Batch> {
    demandScope(principal, scope)
    demandProject(principal, projectId)
    const batch = batchIdPattern.test(id) ? await records.batch(id, principal.workspaceId) : undefined
    if (!batch || batch.projectId !== projectId) throw notFound()
    return batch
  }

  return {
    receiveBatch,
    recallBatch,

    getBatch: (principal: Principal, projectId: string, id: string): Promise<Batch> =>
      ownedBatch(principal, projectId, id, 'uploads:read'),

    /** All of its uploads at once: their bytes are given back, their objects go after the answer. */
    async removeBatch(principal: Principal, projectId: string, id: string): Promise<void> {
      const batch = await ownedBatch(principal, projectId, id, 'uploads:write')
      await records.removeBatch(id, { jobs: one.endJobs })
      for (const upload of batch.uploads) one.stop(upload.id, new UploadError('not_found', 'The upload was deleted.'))
      wakeJobs()
    },
  }
}

function refusalOf({ uploads: [first] }: Batch, refusals: ReadonlyMap<string, Rejection>): UploadError {
  const known = refusals.get(first?.id ?? '')
  const { code, message } = first?.rejection ?? { code: 'upload_expired', message: 'The upload has expired.' }
  return known ?? new Rejection(code, message)
}
