import { randomBytes } from 'node:crypto'
import { v7 } from 'uuid'
import { Rejection, UploadError } from '../errors.ts'
import { type Body, ingest, type IngestDependencies, type IngestOptions } from './ingest.ts'
import { guessType } from './names.ts'
import { merge, type Reserve } from './pipeline.ts'
import { checkDraft, checkFound } from './policy.ts'
import { demandProject, demandScope, owned, type Principal } from './principal.ts'
import type { Claim, NewJob, NewRecord, Records } from './records.ts'
import type { NewUpload, Upload, UploadContextRef } from './upload.ts'

/** Milliseconds after which an upload that arrives in one request, and whose request was lost track of, expires. */
const oneRequestMs = 24 * 3_600_000
/** Milliseconds that are added to the pipeline's budget before a job looks after an unfinished verdict. */
const verdictMarginMs = 5_000

export interface ServiceDependencies extends IngestDependencies {
  readonly records: Records
  /** Milliseconds for which an upload URL is good. */
  readonly presignTtlMs: number
  /** Milliseconds for which bytes that nobody confirms are kept. */
  readonly confirmWithinMs: number
  /** Milliseconds that a request waits for the pipeline. */
  readonly syncBudgetMs: number
  /** There are new jobs that should not wait for the worker's next round. */
  readonly wakeJobs: () => void
  /** Something went on in the background and failed. */
  readonly onError: (error: unknown, uploadId: string) => void
}

/**
 * The one place that knows the states of an upload and the rules between them. Dialects translate what a client says into these
 * calls; they decide nothing.
 */
export function uploadService(deps: ServiceDependencies) {
  const { records, pipeline, policy } = deps
  const running = new Map<string, Set<AbortController>>()
  const verdicts = new Map<string, Promise<Upload>>()

  /** Makes the record of an upload whose bytes come later. */
  async function create(principal: Principal, draft: NewUpload, claim: Claim | null = null): Promise<Upload> {
    const record = await newRecord(principal, draft, claim)
    return records.create({
      ...record,
      state: 'pending',
      stagedKey: null,
      expiresAt: record.createdAt + deps.presignTtlMs,
    })
  }

  /** Takes a file that comes in one request: when it returns, the file is `ready`, or still `processing` past the budget. */
  async function receive(
    principal: Principal,
    draft: NewUpload,
    body: Body,
    claim: Claim | null = null,
  ): Promise<Upload> {
    const record = await newRecord(principal, draft, claim)
    const key = objectKey(record.id)
    const created = records.create({
      ...record,
      state: 'receiving',
      stagedKey: key,
      expiresAt: record.createdAt + oneRequestMs,
    })
    let made = false
    const upload = created.then((one) => ((made = true), one))
    try {
      const processing = await bring(record.id, upload, body, { key, draft, allowEmpty: false }, 'processing')
      return await verdict(processing)
    } catch (error) {
      await upload.catch(() => {})
      if (made && error instanceof Rejection) await reject(record.id, key, error)
      else if (made) await discard(record.id, key)
      throw error
    }
  }

  /** Takes the bytes of a `pending` upload from whoever holds its upload URL. They are kept until the confirm. */
  async function put(id: string, body: Body): Promise<Upload> {
    const key = objectKey(id)
    const upload = records.stage(id, key)
    let staged = false
    try {
      const known = await upload
      staged = true
      return await bring(id, upload, body, { key, draft: known, allowEmpty: true }, 'receiving')
    } catch (error) {
      if (staged) await Promise.all([records.abandon(key), records.unreserve(id)])
      deps.wakeJobs()
      throw error
    }
  }

  async function bring(
    id: string,
    upload: Promise<Upload>,
    body: Body,
    options: Pick<IngestOptions, 'key' | 'draft' | 'allowEmpty'>,
    to: 'receiving' | 'processing',
  ): Promise<Upload> {
    const stopped = new AbortController()
    const controllers = running.get(id) ?? new Set()
    running.set(id, controllers.add(stopped))
    try {
      const ingested = await ingest(deps, body, {
        ...options,
        upload,
        signal: stopped.signal,
        reserve: reserveFor(id),
      })
      return await records.stored(id, {
        ...ingested,
        key: options.key,
        to,
        expiresAt: to === 'receiving' ? Date.now() + deps.confirmWithinMs : null,
        jobs: to === 'processing' ? [verdictJob(id)] : [],
      })
    } catch (error) {
      if (stopped.signal.reason instanceof UploadError) throw stopped.signal.reason
      throw error
    } finally {
      controllers.delete(stopped)
      if (controllers.size === 0) running.delete(id)
    }
  }

  /** Finishes an upload whose bytes are there. Again, or twice at once, gives the same answer. */
  async function confirm(principal: Principal, id: string, context: UploadContextRef | null): Promise<Upload> {
    const upload = await owned(records, principal, id, 'uploads:write')
    switch (upload.state) {
      case 'ready':
        return upload
      case 'processing':
        return verdict(upload)
      case 'rejected':
        throw new UploadError(
          upload.rejection?.code ?? 'file_type_not_allowed',
          upload.rejection?.message ?? 'The file was refused.',
        )
      case 'expired':
        throw new UploadError('upload_expired', 'The upload was not finished in time.')
      case 'pending':
      case 'receiving':
    }
    if (upload.objectKey === null)
      throw new UploadError('upload_not_received', 'The bytes have not arrived: PUT them to the upload URL first.')
    const change = { from: ['receiving'], to: 'processing', expiresAt: null, jobs: [verdictJob(upload.id)] } as const
    try {
      return await verdict(await records.transition(upload.id, { ...change, context: context ?? upload.context }))
    } catch (error) {
      const raced = error instanceof UploadError && error.code === 'upload_state_conflict'
      if (!raced) throw error
      // Another confirm came first: its verdict is ours. Any other state answers for itself.
      return confirm(principal, id, context)
    }
  }

  /** What a request has made whose answer was lost, as it would be answered now; `undefined` when nothing is left of it. */
  async function recall(id: string): Promise<Upload | undefined> {
    const upload = await records.get(id)
    if (upload?.state === 'rejected' || upload?.state === 'expired') return undefined
    return upload?.state === 'processing' ? verdict(upload) : upload
  }

  /** Waits for the verdict on a `processing` upload, as long as a request may. */
  async function verdict(upload: Upload): Promise<Upload> {
    const decided = decide(upload)
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
      decided = judge(upload).finally(() => verdicts.delete(upload.id))
      verdicts.set(upload.id, decided)
      // Nobody may be waiting any more when it fails; the job that was written with the state asks again.
      decided.catch((error: unknown) => {
        if (!(error instanceof UploadError)) deps.onError(error, upload.id)
      })
    }
    return decided
  }

  async function judge(upload: Upload): Promise<Upload> {
    try {
      const patch = await pipeline.beforeFinish(upload, { reserve: reserveFor(upload.id) })
      const known = merge(upload, patch)
      checkFound(policy, known)
      const jobs = pipeline
        .afterFinish(known)
        .map((plugin) => ({ kind: 'after-finish', uploadId: upload.id, plugin }) as const)
      const ready = await records.transition(upload.id, { from: ['processing'], to: 'ready', patch, jobs })
      if (jobs.length > 0) deps.wakeJobs()
      return ready
    } catch (error) {
      if (error instanceof Rejection) {
        await records.transition(upload.id, {
          from: ['processing'],
          to: 'rejected',
          rejection: error,
          jobs: endJobs(upload),
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

  /** The record goes first and gives its bytes back; the object goes after the answer. What still receives it is stopped. */
  async function remove(principal: Principal, id: string): Promise<void> {
    const upload = await owned(records, principal, id, 'uploads:write')
    await records.remove(upload.id, { jobs: endJobs })
    stop(upload.id, new UploadError('not_found', 'The upload was deleted.'))
    deps.wakeJobs()
  }

  /** An upload whose time is over: nobody brings the rest any more. */
  async function expire(upload: Upload): Promise<void> {
    await records.transition(upload.id, { from: ['pending', 'receiving'], to: 'expired', jobs: endJobs(upload) })
  }

  /** Nothing of an upload that its own request broke remains. */
  async function discard(id: string, key: string): Promise<void> {
    const gone = records.remove(id, { jobs: endJobs, force: true })
    await Promise.all([records.abandon(key), gone.catch(ignoreMissing)])
    deps.wakeJobs()
  }

  async function reject(id: string, key: string, rejection: Rejection): Promise<void> {
    const upload = await records.get(id)
    // The verdict has written its own rejection; one that came while the bytes were on their way is written here.
    if (upload?.state !== 'receiving') return
    const ended = records.transition(id, { from: ['receiving'], to: 'rejected', rejection, jobs: endJobs(upload) })
    await Promise.all([records.abandon(key), ended.catch(ignoreMissing)])
    deps.wakeJobs()
  }

  function stop(id: string, reason: UploadError): void {
    for (const controller of running.get(id) ?? []) controller.abort(reason)
  }

  const endJobs = (upload: Upload): NewJob[] =>
    pipeline.afterTerminate(upload).map((plugin) => ({ kind: 'after-terminate', upload, plugin }) as const)

  const verdictJob = (uploadId: string): NewJob => ({
    kind: 'verdict',
    uploadId,
    due: Date.now() + deps.syncBudgetMs + verdictMarginMs,
  })

  function reserveFor(id: string): Reserve {
    return async (bytes) => {
      try {
        await records.reserve(id, bytes)
      } catch (error) {
        if (error instanceof UploadError && error.code === 'quota_exceeded')
          throw new Rejection(error.code, error.message, { facts: error.facts })
        throw error
      }
    }
  }

  async function newRecord(
    principal: Principal,
    draft: NewUpload,
    claim: Claim | null,
  ): Promise<Omit<NewRecord, 'state' | 'stagedKey' | 'expiresAt'>> {
    demandScope(principal, 'uploads:write')
    demandProject(principal, draft.projectId)
    checkDraft(policy, draft)
    const { reserve, patch } = await pipeline.beforeCreate(draft, principal.workspaceId)
    const id = v7()
    return {
      ...draft,
      id,
      workspaceId: principal.workspaceId,
      userId: principal.userId,
      properties: { ...guessType(draft.filename, draft.declaredType), ...patch.properties },
      extra: patch.extra ?? {},
      reserve,
      createdAt: timeOf(id),
      projectMode: policy.projectMode,
      claim,
    }
  }

  /** At the start, before anything else: nothing is on its way any more. */
  const recover = (): Promise<void> => records.recover(endJobs)

  return { create, receive, put, confirm, recall, resume, remove, expire, recover }
}

export type UploadService = ReturnType<typeof uploadService>

/** The moment that a version 7 UUID begins with: lists are in its order, so no other may be shown. */
const timeOf = (id: string): number => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)

/** Every attempt to bring bytes writes under a key of its own, so that a late one never touches what came after. */
function objectKey(id: string): string {
  const plain = id.replaceAll('-', '')
  return `${plain.slice(-2)}/${plain}.${randomBytes(6).toString('hex')}`
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof UploadError && error.code === 'not_found')) throw error
}
