import { type ErrorCode, Rejection, UploadError } from '../errors.ts'
import { aloneWith } from './alone.ts'
import { arrivalsOf } from './arrivals.ts'
import { batches } from './batches.ts'
import { type Body, ingest, type IngestDependencies, type IngestOptions, skip } from './ingest.ts'
import { collector } from './collect.ts'
import { endings } from './endings.ts'
import type { Locker } from './locker.ts'
import { type Begun, newRecord } from './new-record.ts'
import { objectKey } from './object-key.ts'
import type { Reserve } from './pipeline.ts'
import { owned, type Principal } from './principal.ts'
import type { Claim, NewJob, Records } from './records.ts'
import { resumables } from './resumable.ts'
import type { Finish, NewUpload, Upload, UploadContextRef } from './upload.ts'
import { tooLargeForPut } from './upload-url.ts'
import { runningWork } from './running.ts'
import { isWholePart, timelyRecords } from './timely.ts'
import { verdictsOf } from './verdicts.ts'

/** Milliseconds after which an upload that arrives in one request, and whose request was lost track of, expires. */
const oneRequestMs = 24 * 3_600_000
const secondMs = 1_000

export interface ServiceDependencies extends IngestDependencies {
  readonly records: Records
  /** Milliseconds for which an upload URL is good. */
  readonly presignTtlMs: number
  /** Milliseconds for which bytes that nobody confirms are kept. */
  readonly confirmWithinMs: number
  /** Milliseconds for which an unfinished upload of the resumable protocol is kept after something has come for it. */
  readonly resumeWithinMs: number
  /** Milliseconds for which an upload to which nobody comes back holds what it has declared. */
  readonly holdMs: number
  /** Parts that a final upload may name, and how often the same one. */
  readonly partsPerUpload: number
  readonly timesPerPart: number
  readonly locker: Locker
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
  const { pipeline } = deps
  const { stoppable, stop, isRunning } = runningWork()
  const records = timelyRecords(deps.records, { ...deps, isRunning })
  const arrivals = arrivalsOf({ records, finish: (upload) => finish(upload, null) })
  const newestAlone = aloneWith({ locker: deps.locker, stoppable })
  const collections = new Map<string, Promise<Upload>>()
  const collecting = collector(deps)
  const { discard, reject, rejectReceiving, lapse } = endings({ ...deps, records, isRunning, endJobs })
  const verdicts = verdictsOf({ ...deps, records, endJobs, reserveFor, stoppable })
  const resumable = resumables({
    ...deps,
    records,
    expiryMs: deps.resumeWithinMs,
    verdicts,
    reserveFor,
    stoppable,
    discard,
    async reject(id, rejection) {
      await rejectReceiving(id, rejection)
      deps.wakeJobs()
    },
  })

  /** Makes the record of an upload whose bytes come later. */
  async function create(
    principal: Principal,
    draft: NewUpload,
    claim: Claim | null = null,
    finishedBy: Finish = 'confirm',
  ): Promise<Upload> {
    const { direct } = deps.store
    const record = await newRecord(deps, principal, draft, claim)
    // After the rules: what may not come at all cannot come in another way either.
    if (direct && (draft.declaredSize ?? 0) > direct.largestPut) throw tooLargeForPut(direct.largestPut)
    // URLs end with a second, and never sooner than promised; nobody looks for what they bring before that.
    const until = Math.ceil((record.createdAt + deps.presignTtlMs) / secondMs) * secondMs
    return records.create({
      ...record,
      state: 'pending',
      stagedKey: null,
      put: direct ? { key: objectKey(record.id), until } : null,
      expiresAt: until,
      jobs: direct && finishedBy === 'arrival' ? [arrivals.job(record)] : [],
    })
  }

  /** Takes a file that comes in one request: when it returns, the file is `ready`, or still `processing` past the budget. */
  async function receive(
    principal: Principal,
    draft: NewUpload,
    body: Body,
    claim: Claim | null = null,
  ): Promise<Upload> {
    const processing = await arrive(
      await newRecord(deps, principal, draft, claim),
      body,
      { allowEmpty: false },
      'processing',
    )
    try {
      return await verdicts.wait(processing)
    } catch (error) {
      if (!(error instanceof Rejection)) await discard(processing.id)
      throw error
    }
  }

  /** A file that comes in the request that makes its record. What the request breaks is gone when this fails. */
  async function arrive(
    record: Begun,
    body: Body,
    options: Pick<IngestOptions, 'allowEmpty'>,
    to: 'receiving' | 'processing',
  ): Promise<Upload> {
    const { id, refused } = record
    const key = objectKey(id)
    const expiresAt = record.createdAt + oneRequestMs
    const created = records.create({ ...record, state: 'receiving', stagedKey: key, put: null, expiresAt })
    let made = false
    const upload = created.then((one) => ((made = true), one))
    try {
      if (refused) throw refused
      return await bring(id, upload, body, { ...options, key, draft: record }, to, oneRequestMs)
    } catch (error) {
      await upload.catch(() => {})
      if (made && error instanceof Rejection) await reject(id, key, error)
      else if (made) await discard(id, key)
      throw error
    }
  }

  const together = batches(deps, {
    async bring(principal, draft, body, batchId) {
      await arrive(await newRecord(deps, principal, draft, null, batchId), body, { allowEmpty: true }, 'receiving')
    },
    skip: (draft, body) => skip(deps, body, draft.category),
    decide: verdicts.decide,
    verdictJob: verdicts.job,
    endJobs: (upload) => endJobs(upload),
    stop,
  })

  /** Takes the bytes of a `pending` upload from whoever holds its upload URL: the newest request ends the one before it. They are kept until the confirm, or are all that it needs. */
  function put(id: string, body: Body, finishedBy: Finish = 'confirm'): Promise<Upload> {
    return newestAlone(id, (signal) => putAlone(id, body, finishedBy, signal))
  }

  async function putAlone(id: string, body: Body, finishedBy: Finish, signal: AbortSignal): Promise<Upload> {
    const key = objectKey(id)
    const upload = records.stage(id, key)
    let staged = false
    try {
      const known = await upload
      staged = true
      const to = finishedBy === 'arrival' ? 'processing' : 'receiving'
      const options = { key, draft: known, allowEmpty: true, signal }
      const brought = await bring(id, upload, body, options, to)
      // The verdict comes after the answer. Whoever asks for the upload hears it, and its job is written.
      if (to === 'processing') finish(brought, null).catch(() => {})
      return brought
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
    options: Pick<IngestOptions, 'key' | 'draft' | 'allowEmpty'> & { readonly signal?: AbortSignal },
    to: 'receiving' | 'processing',
    keepMs = deps.confirmWithinMs,
  ): Promise<Upload> {
    return stoppable(id, async (signal) => {
      const ingested = await ingest(deps, body, {
        ...options,
        upload,
        signal: options.signal ? AbortSignal.any([options.signal, signal]) : signal,
        reserve: reserveFor(id),
        note: (text) => records.note(options.key, text),
      })
      return records.stored(id, {
        ...ingested,
        key: options.key,
        to,
        expiresAt: to === 'receiving' ? Date.now() + keepMs : null,
        jobs: to === 'processing' ? [verdicts.job(id)] : [],
      })
    })
  }

  /** Finishes an upload whose bytes are there. Again, or twice at once, gives the same answer. */
  async function confirm(principal: Principal, id: string, context: UploadContextRef | null): Promise<Upload> {
    return finish(await owned(records, principal, id, 'uploads:write'), context)
  }

  async function finish(upload: Upload, context: UploadContextRef | null): Promise<Upload> {
    switch (upload.state) {
      case 'ready':
        return upload
      case 'processing':
        return verdicts.wait(upload)
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
    if (upload.batchId !== null || upload.resumable !== null)
      throw new UploadError('upload_not_received', 'It is still being brought, and is finished by its last byte.')
    const change = { from: ['receiving'], to: 'processing', expiresAt: null, jobs: [verdicts.job(upload.id)] } as const
    try {
      if (upload.objectKey === null) return await verdicts.wait(await collectOnce(upload, context))
      return await verdicts.wait(await records.transition(upload.id, { ...change, context: context ?? upload.context }))
    } catch (error) {
      const raced = error instanceof UploadError && racedCodes.has(error.code)
      const now = raced ? await records.get(upload.id) : undefined
      if (!now || (now.state === upload.state && now.objectKey === upload.objectKey)) throw error
      // Another confirm came first: its verdict is ours. Any other state answers for itself.
      return finish(now, context)
    }
  }

  /** The upload as it is now; bytes that have come are finished first, confirmed or not. @throws {UploadError} why it ended */
  async function settle(principal: Principal, id: string): Promise<Upload> {
    return arrivals.settle(await owned(records, principal, id, 'uploads:read'))
  }

  /** What came by the upload URL, past the gateway: of confirms at the same time one takes it. */
  function collectOnce(upload: Upload, context: UploadContextRef | null): Promise<Upload> {
    const { id } = upload
    let collection = collections.get(id)
    if (!collection) {
      const jobs = [verdicts.job(id)]
      collection = stoppable(id, (signal) => collecting.collect(upload, { key: objectKey(id), context, jobs, signal }))
        .catch(async (error: unknown) => {
          if (error instanceof Rejection) await rejectReceiving(id, error)
          throw error
        })
        .finally(() => {
          collections.delete(id)
          deps.wakeJobs()
        })
      collections.set(id, collection)
    }
    return collection
  }

  /** What a request has made whose answer was lost, as it would be answered now; `undefined` when nothing is left of it. */
  async function recall(id: string): Promise<Upload | undefined> {
    const upload = await records.get(id)
    if (upload?.state === 'rejected' || upload?.state === 'expired') return undefined
    return upload?.state === 'processing' ? verdicts.wait(upload) : upload
  }

  /** The record goes first and gives its bytes back; the object goes after the answer. What still receives it is stopped. */
  async function remove(principal: Principal, id: string): Promise<void> {
    const upload = await owned(records, principal, id, 'uploads:write')
    await records.remove(upload.id, { jobs: endJobs })
    stop(upload.id, new UploadError('not_found', 'The upload was deleted.'))
    deps.wakeJobs()
  }

  /** An upload whose time is over: nobody brings the rest any more. What has come past the gateway may still be confirmed. */
  async function expire(upload: Upload): Promise<void> {
    // Bytes are coming for it: that counts more than the clock.
    if (isRunning(upload.id) || (await collecting.keep(upload)) || !(await isOver(upload))) return
    await records.transition(upload.id, { from: ['pending', 'receiving'], to: 'expired', jobs: endJobs })
  }

  /** Whether the time of an overdue upload is over: a part that is complete stays as long as another one that belongs to it. */
  async function isOver(upload: Upload): Promise<boolean> {
    return !isWholePart(upload) || (await records.siblingsEnd(upload.id, deps.resumeWithinMs)) === null
  }

  function endJobs(upload: Upload): NewJob[] {
    return pipeline.afterTerminate(upload).map((plugin) => ({ kind: 'after-terminate', upload, plugin }) as const)
  }

  function reserveFor(id: string): Reserve {
    return async (bytes) => {
      try {
        await records.reserve(id, bytes)
      } catch (error) {
        if (error instanceof UploadError && error.code === 'quota_exceeded')
          throw new Rejection(error.code, error.message, { facts: error.facts })
        // It was deleted a moment ago, and whoever did that is about to end what goes on for it.
        if (!(error instanceof UploadError && error.code === 'not_found')) throw error
        stop(id, error)
        throw new UploadError(error.code, error.message, { ended: true })
      }
    }
  }

  /** At the start, before anything else: nothing is on its way any more. */
  async function recover(): Promise<void> {
    await records.recover(endJobs)
    await resumable.recover()
  }

  return {
    create,
    receive,
    put,
    confirm,
    settle,
    lookForArrival: (id: string) => arrivals.look(id),
    recall,
    async resume(id: string): Promise<void> {
      await resumable.resume(id)
      await verdicts.resume(id)
    },
    resumable,
    /** As uploads are now: one whose time is over has expired, be the sweep late or not. */
    records,
    remove,
    expire,
    lapse,
    recover,
    ...together,
  }
}

export type UploadService = ReturnType<typeof uploadService>

/** What a confirm is told when the upload has changed since it looked. */
const racedCodes: ReadonlySet<ErrorCode> = new Set(['upload_state_conflict', 'upload_not_received'])
