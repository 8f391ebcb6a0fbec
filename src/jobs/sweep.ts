import { type ErrorCode, UploadError } from '../errors.ts'
import type { PluginLog } from '../plugin.ts'
import { isTrial } from '../uploads/diagnosis.ts'
import type { ObjectStore, StoredObject, UnfinishedObject } from '../uploads/object-store.ts'
import type { Finding } from '../uploads/records.ts'
import { excessOf, type ExcessDependencies } from './excess.ts'
import type { UploadService } from '../uploads/service.ts'
import type { Upload } from '../uploads/upload.ts'

/** Rows or objects of one step. */
const stepSize = 500
/** Findings that are told one by one: of a folder that is not mounted every object is missing. */
const toldFindings = 1_000
/** Upload numbers that are compared with one listing of the store, one bit of memory for each: those above have another. */
const uploadsOfOneListing = 128 * 1024 * 1024
/** Objects without a record that are removed without a question … */
const undoubtedOrphans = 100
/** … and the share of all objects that is, where it is more. */
const undoubtedShare = 1 / 10
/** Milliseconds for which single ledger rows are kept. */
const ledgerMs = 30 * 86_400_000
/** Milliseconds between two comparisons of the records with the store. */
const reconcileEveryMs = 6 * 3_600_000

export interface SweepDependencies extends ExcessDependencies {
  /** Upload numbers that are compared with one listing. @default 128 Mi */
  readonly uploadsOfOneListing?: number
}

export interface Reconciled {
  /** What is wrong, in sentences. */
  readonly findings: readonly Finding[]
  readonly objects: number
  readonly uploads: number
  /** Objects without a record: keys of the first of them. */
  readonly orphans: readonly string[]
  /** Objects that were given to the job that removes them. */
  readonly removed: number
  /** Objects without a record that stay, as they are too many to be left over: an operator has to confirm. */
  readonly kept: number
}

export interface ReconcileOptions {
  readonly dryRun: boolean
  /** An operator has confirmed that objects without a record go, however many they are. */
  readonly removeOrphans?: boolean
  readonly signal?: AbortSignal
}

/**
 * Compares records and store both ways. Objects, finished or only begun, that no record, intent or job knows of, and that are older
 * than the grace period, go (unless `dryRun`); uploads whose object is missing can only be reported. Where very many objects have no
 * record, it is rather the records that are missing: then nothing goes before an operator says so.
 */
export async function reconcile(deps: SweepDependencies, options: ReconcileOptions): Promise<Reconciled> {
  const { records, store } = deps
  const { signal } = options
  const findings: Finding[] = []
  const orphans: string[] = []
  let untold = 0
  let orphanCount = 0
  let begunCount = 0
  let objects = 0
  let uploads = 0

  function tell(finding: Finding): void {
    if (findings.length < toldFindings) findings.push(finding)
    else untold++
  }

  function countOrphan(key: string, finding: Finding): void {
    orphanCount++
    if (orphans.length < toldFindings) orphans.push(key)
    if (options.dryRun) tell(finding)
  }

  /** Objects of a page that nobody knows, and that may go. */
  async function unknownOf(page: readonly StoredObject[]): Promise<string[]> {
    const old = page.filter((object) => object.modifiedAt <= Date.now() - deps.orphanGraceMs)
    const unknown: string[] = []
    // One may have been deleted since it was listed.
    for (const key of await records.unknownKeys(old.map((object) => object.key)))
      if (await store.stat(key)) unknown.push(key)
    return unknown
  }

  /** Notes the uploads of the page whose object has the right size: for the others each is asked for. */
  async function noteSound(page: readonly StoredObject[], sound: NumberRange): Promise<void> {
    const sizes = new Map(page.map((object) => [object.key, object.size]))
    for (const upload of await records.storedUnder([...sizes.keys()]))
      if (sizes.get(upload.key) === upload.size) sound.add(upload.number)
  }

  async function* unfinished(): AsyncGenerator<UnfinishedObject> {
    for await (const begun of store.unfinished?.(signal) ?? []) if (!isTrial(begun.key, begun.startedAt)) yield begun
  }

  const isOld = ({ startedAt }: UnfinishedObject): boolean => startedAt <= Date.now() - deps.orphanGraceMs

  const isAbandoned = async (begun: UnfinishedObject): Promise<boolean> =>
    isOld(begun) && !(await records.staged(begun.key))

  async function checkUploads(sound: NumberRange): Promise<boolean> {
    for (let after = sound.start; ;) {
      if (signal?.aborted) return false
      const stored = await records.storedUploads(after, stepSize)
      for (const upload of stored) {
        if (upload.number > sound.end) return true
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
      if (stored.length < stepSize) return false
    }
  }

  /** Looks for them again: keys of very many would not fit into memory. */
  async function removeOrphans(): Promise<number> {
    let removed = 0
    for await (const page of pagesOf(store, signal))
      for (const key of await unknownOf(page)) {
        await records.abandon(key)
        removed++
      }
    for await (const begun of unfinished()) {
      if (!(await isAbandoned(begun))) continue
      await store.endUnfinished?.(begun)
      removed++
    }
    return removed
  }

  const first = numberRange(0, deps.uploadsOfOneListing)
  for await (const page of pagesOf(store, signal)) {
    objects += page.length
    await noteSound(page, first)
    for (const key of await unknownOf(page)) countOrphan(key, `Object ${key} belongs to no upload.`)
  }
  for await (const begun of unfinished()) {
    begunCount++
    if (!isOld(begun)) continue
    if (await isAbandoned(begun)) countOrphan(begun.key, `Object ${begun.key} was begun, and nobody is writing it.`)
    else {
      const excess = await excessOf(deps, begun.key, options.dryRun)
      if (excess > 0) tell(`Object ${begun.key} has ${excess} bytes that do not count.`)
    }
  }

  const tooMany = orphanCount > undoubtedOrphans && orphanCount > (objects + begunCount) * undoubtedShare
  const kept = tooMany && options.removeOrphans !== true ? orphanCount : 0
  if (kept > 0)
    findings.push(
      `${kept} of ${objects + begunCount} objects in the store have no record: nothing is removed, as it may be the records that are missing. ` +
        'Restore the database, or, where these objects may go, run "fairlead doctor --remove-orphans".',
    )
  const removed = options.dryRun || kept > 0 || orphanCount === 0 ? 0 : await removeOrphans()

  for (let range = first; await checkUploads(range);) {
    range = numberRange(range.end, deps.uploadsOfOneListing)
    for await (const page of pagesOf(store, signal)) await noteSound(page, range)
  }
  if (untold > 0) findings.push(`${untold} more findings of this kind are not told one by one.`)
  return { findings, objects, uploads, orphans, removed, kept }
}

async function* pagesOf(store: ObjectStore, signal: AbortSignal | undefined): AsyncGenerator<StoredObject[]> {
  let page: StoredObject[] = []
  for await (const object of store.list(signal)) {
    if (isTrial(object.key, object.modifiedAt)) continue
    page.push(object)
    if (page.length >= stepSize) yield page.splice(0)
  }
  if (page.length > 0) yield page
}

/** Some of the numbers above `start`, up to and with `end`: one bit for each, however many there are. */
interface NumberRange {
  readonly start: number
  readonly end: number
  add(number: number): void
  has(number: number): boolean
}

function numberRange(start: number, length = uploadsOfOneListing): NumberRange {
  const end = start + length
  const bits = new Uint8Array(Math.ceil(length / 8))
  return {
    start,
    end,
    add(number) {
      if (number <= start || number > end) return
      const at = number - start - 1
      bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7))
    },
    has(number) {
      const at = number - start - 1
      return ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0
    },
  }
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
    /** Hears after each comparison how many objects without a record stay until an operator confirms. */
    readonly onCompared?: ((keptOrphans: number) => void) | undefined
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
    const { findings, removed, kept } = await reconcile({ ...deps, trim }, { dryRun: false, signal: stopped.signal })
    for (const finding of findings) log.error({}, finding)
    deps.onCompared?.(kept)
    if (removed > 0) log.warn({ orphans: removed }, 'objects without a record were removed')
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
