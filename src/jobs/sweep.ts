import { type ErrorCode, UploadError } from '../errors.ts'
import type { PluginLog } from '../plugin.ts'
import { isTrial } from '../uploads/diagnosis.ts'
import type { StoredObject } from '../uploads/object-store.ts'
import type { Finding } from '../uploads/records.ts'
import { excessOf, type ExcessDependencies } from './excess.ts'
import type { UploadService } from '../uploads/service.ts'
import type { Upload } from '../uploads/upload.ts'

/** Rows or objects of one step. */
const stepSize = 500
/** Findings that are told one by one: of a folder that is not mounted every object is missing. */
const toldFindings = 1_000
/** Milliseconds for which single ledger rows are kept. */
const ledgerMs = 30 * 86_400_000
/** Milliseconds between two comparisons of the records with the store. */
const reconcileEveryMs = 6 * 3_600_000

export interface SweepDependencies extends ExcessDependencies {}

export interface Reconciled {
  /** What is wrong, in sentences. */
  readonly findings: readonly Finding[]
  readonly objects: number
  readonly uploads: number
  /** Keys of objects that were given to the job that removes them. */
  readonly orphans: readonly string[]
}

/**
 * Compares records and store both ways. Objects, finished or only begun, that no record, intent or job knows of, and that are older
 * than the grace period, go (unless `dryRun`); uploads whose object is missing can only be reported.
 */
export async function reconcile(
  deps: SweepDependencies,
  options: { dryRun: boolean; signal?: AbortSignal },
): Promise<Reconciled> {
  const { records, store } = deps
  const findings: Finding[] = []
  const orphans: string[] = []
  let untold = 0
  let objects = 0
  let uploads = 0

  function tell(finding: Finding): void {
    if (findings.length < toldFindings) findings.push(finding)
    else untold++
  }

  /** Numbers of the uploads whose object was listed with the right size: of the others each is asked for. */
  const sound = new Set<number>()

  async function lookAt(page: readonly StoredObject[]): Promise<void> {
    const sizes = new Map(page.map((object) => [object.key, object.size]))
    for (const upload of await records.storedUnder([...sizes.keys()]))
      if (sizes.get(upload.key) === upload.size) sound.add(upload.number)
    const old = page.filter((object) => object.modifiedAt <= Date.now() - deps.orphanGraceMs)
    for (const key of await records.unknownKeys(old.map((object) => object.key))) {
      // It may have been deleted since it was listed.
      if (!(await store.stat(key))) continue
      orphans.push(key)
      if (options.dryRun) tell(`Object ${key} belongs to no upload.`)
      else await records.abandon(key)
    }
  }

  let page: StoredObject[] = []
  for await (const object of store.list(options.signal)) {
    if (isTrial(object.key, object.modifiedAt)) continue
    objects++
    page.push(object)
    if (page.length >= stepSize) await lookAt(page.splice(0))
  }
  await lookAt(page)

  for await (const begun of store.unfinished?.(options.signal) ?? []) {
    if (isTrial(begun.key, begun.startedAt)) continue
    if (begun.startedAt > Date.now() - deps.orphanGraceMs) continue
    if (await records.staged(begun.key)) {
      const excess = await excessOf(deps, begun.key, options.dryRun)
      if (excess > 0) tell(`Object ${begun.key} has ${excess} bytes that do not count.`)
      continue
    }
    orphans.push(begun.key)
    if (options.dryRun) tell(`Object ${begun.key} was begun, and nobody is writing it.`)
    else await store.endUnfinished?.(begun)
  }

  for (let after = 0; !options.signal?.aborted;) {
    const stored = await records.storedUploads(after, stepSize)
    for (const upload of stored) {
      uploads++
      after = upload.number
      if (upload.objectKey === null || sound.has(upload.number)) continue
      const object = await store.stat(upload.objectKey)
      if (object?.size === upload.size) continue
      // It may have been deleted since the page was read.
      const now = await records.get(upload.id)
      if (now?.objectKey !== upload.objectKey) continue
      const found = object ? `has ${object.size} bytes instead of ${upload.size}` : 'is missing'
      tell(`The object of upload ${upload.id} (workspace ${upload.workspaceId}) ${found}.`)
    }
    if (stored.length < stepSize) break
  }
  if (untold > 0) findings.push(`${untold} more findings of this kind are not told one by one.`)
  return { findings, objects, uploads, orphans }
}

export interface Sweeper {
  stop(): Promise<void>
}

/** The periodic repair: expires what was never finished, forgets what ended long ago, compares records with the store. */
export function startSweep(
  deps: SweepDependencies & {
    readonly service: UploadService
    readonly intervalMs: number
    /** Milliseconds for which `rejected` and `expired` records are kept. */
    readonly keepEndedMs: number
    readonly wakeJobs: () => void
    readonly log: PluginLog
  },
): Sweeper {
  const { records, service, log } = deps
  const stopped = new AbortController()
  let nextReconcile = Date.now() + reconcileEveryMs
  let timer: NodeJS.Timeout | undefined
  let round: Promise<void> | undefined

  /** Whether nothing failed: it is overdue no more, or bytes are still coming for it. */
  async function expire(upload: Upload): Promise<boolean> {
    try {
      await service.expire(upload)
      return true
    } catch (error) {
      // It was confirmed or deleted in the meantime.
      if (error instanceof UploadError && raced.has(error.code)) return true
      log.error({ err: error, uploadId: upload.id }, 'an overdue upload could not be ended')
      return false
    }
  }

  async function sweep(): Promise<void> {
    let last: Upload | undefined
    for (let left = true; left && !stopped.signal.aborted;) {
      const overdue = await records.overdue(stepSize, last)
      const ended = await Promise.all(overdue.map(expire))
      // Each comes once in a round, also when it cannot be ended yet; when all of them failed, the others would as well.
      left = overdue.length === stepSize && ended.includes(true)
      last = overdue.at(-1)
      if (overdue.length > 0) deps.wakeJobs()
      if (left) await pause()
    }
    while ((await service.lapse(stepSize)) === stepSize) await pause()
    while ((await records.forget(Date.now() - deps.keepEndedMs, stepSize)) === stepSize) await pause()
    while ((await records.forgetClaims(stepSize)) === stepSize) await pause()
    while ((await records.foldLedger(Date.now() - ledgerMs, stepSize)) === stepSize) await pause()
    if (Date.now() < nextReconcile) return
    nextReconcile = Date.now() + reconcileEveryMs
    const trim = (id: string, before: number) => service.resumable.trim(id, before)
    const { findings, orphans } = await reconcile({ ...deps, trim }, { dryRun: false, signal: stopped.signal })
    for (const finding of findings) log.error({}, finding)
    if (orphans.length > 0) log.warn({ orphans: orphans.length }, 'objects without a record were removed')
  }

  function look(): void {
    round = sweep()
      .catch((error: unknown) => {
        if (!stopped.signal.aborted) log.error({ err: error }, 'the sweep failed')
      })
      .finally(() => {
        if (!stopped.signal.aborted) timer = setTimeout(look, deps.intervalMs)
      })
  }

  look()
  return {
    async stop() {
      stopped.abort()
      clearTimeout(timer)
      await round
    },
  }
}

const raced: ReadonlySet<ErrorCode> = new Set(['not_found', 'upload_state_conflict'])

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
