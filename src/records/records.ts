import type { Kysely } from 'kysely'
import type { ListFilter, Page, Records, Usage } from '../uploads/records.ts'
import type { Upload } from '../uploads/upload.ts'
import { accountOperations } from './accounts.ts'
import { auditOperations } from './audit.ts'
import { batchOperations } from './batches.ts'
import { claimOperations } from './idempotency.ts'
import { growingOperations } from './growing.ts'
import type { Caps } from './holdings.ts'
import { jobOperations } from './jobs.ts'
import { listOperations } from './lists.ts'
import type { Operation } from './query.ts'
import type { Schema } from './schema.ts'
import { uploadOperations } from './uploads.ts'

/** What a database must do for the operations of this folder. */
export interface Driver {
  /** Runs the operation in a transaction; resolves when it survives a power loss. */
  readonly submit: <T>(operation: () => Operation<T>) => Promise<T>
  /** Runs an operation that only reads; each of its queries may see what others have written meanwhile. */
  readonly read: <T>(operation: () => Operation<T>) => Promise<T>
  /** Runs an operation that only reads, all of it at one moment. */
  readonly readAtOnce: <T>(operation: () => Operation<T>) => Promise<T>
  check(): Promise<readonly string[]>
  /** @throws when damage was met since the start. */
  assertSound(): Promise<void>
  close(): Promise<void>
}

export interface RecordsOptions extends Caps {
  /** Bytes that a workspace without a quota of its own may use; `null`: no limit. */
  readonly defaultQuota: number | null
  readonly now?: () => number
}

/** Records on any database that Kysely writes for: the same operations, the same texts. */
export function recordsOn(db: Kysely<Schema>, driver: Driver, options: RecordsOptions): Records {
  const now = options.now ?? Date.now
  const accounts = accountOperations(db, options.defaultQuota, now)
  const uploads = uploadOperations(db, options, now)
  const { holdings } = uploads
  const growing = growingOperations(db, uploads.core, now)
  const batches = batchOperations(db, uploads, now)
  const lists = listOperations(db)
  const claims = claimOperations(db, now)
  const jobs = jobOperations(db, now)
  const audits = auditOperations(db, now)
  const { submit, read, readAtOnce } = driver

  async function list(filter: ListFilter): Promise<Page> {
    const found: Upload[] = []
    let next: string | null = filter.before ?? null
    for (let windows = 0; windows < lists.windowsPerPage; windows++) {
      const rest = { ...filter, limit: filter.limit - found.length }
      const before = next ?? undefined
      const page = await read(() => lists.step(rest, before))
      found.push(...page.uploads)
      next = page.next
      if (next === null || found.length >= filter.limit) break
      await new Promise(setImmediate)
    }
    return { uploads: found, next }
  }

  async function usage(workspaceId: string, fromDay: string): Promise<Usage> {
    const { counted, ...rest } = await readAtOnce(() => accounts.usage(workspaceId, fromDay))
    let sums = counted
    while (sums.after) {
      await new Promise(setImmediate)
      const before = sums
      sums = await read(() => accounts.count(workspaceId, before))
    }
    return { ...rest, counts: sums.counts }
  }

  return {
    ensureWorkspace: (id) => submit(() => accounts.ensureWorkspace(id)),
    workspace: (id) => read(() => accounts.workspace(id)),
    workspaces: () => read(() => accounts.workspaces()),
    setQuota: (id, bytes) => submit(() => accounts.setQuota(id, bytes)),
    installation: () => read(() => accounts.installation()),
    ensureProject: (workspace, project) => submit(() => accounts.ensureProject(workspace, project)),
    projects: (workspace) => read(() => accounts.projects(workspace)),
    createKey: (key, digest) => submit(() => accounts.createKey(key, digest)),
    keyByDigest: (digest) => read(() => accounts.keyByDigest(digest)),
    keys: () => read(() => accounts.keys()),
    revokeKey: (id) => submit(() => accounts.revokeKey(id)),
    forgetKey: (id) => submit(() => accounts.forgetKey(id)),

    create: (record) =>
      submit(function* () {
        if (record.claim) yield* claims.note(record.claim, record.id)
        for (const batch of yield* holdings.admit(record.workspaceId)) yield* batches.forgetEmptyBatch(batch)
        return yield* uploads.create(record)
      }),
    reserve: (id, bytes) => submit(() => uploads.reserve(id, bytes)),
    hold: (id, how) => submit(() => holdings.hold(id, how)),
    isHeld: (id) => read(() => holdings.isHeld(id)),
    lapse: (id) => submit(() => holdings.lapse(id)),
    lapsing: (limit) => read(() => holdings.lapsing(limit)),
    siblingsEnd: (id, withinMs) => read(() => holdings.siblingsEnd(id, withinMs)),
    unreserve: (id) => submit(() => uploads.unreserve(id)),
    stage: (id, key) => submit(() => uploads.stage(id, key)),
    stored: (id, bytes) => submit(() => uploads.stored(id, bytes)),
    note: (key, text) => submit(() => uploads.note(key, text)),
    abandon: (key, note) => submit(() => uploads.abandon(key, note)),
    staged: (key) => read(() => uploads.staged(key)),
    putKey: (id) => read(() => uploads.putKey(id)),
    transition: (id, change) => submit(() => uploads.transition(id, change)),
    growth: (id) => read(() => growing.growth(id)),
    grow: (id, grown) => submit(() => growing.grow(id, grown)),
    growingUnder: (key) => read(() => growing.growingUnder(key)),
    keptBytes: (key, range) => read(() => growing.keptBytes(key, range)),
    renewKey: (id, from, to) => submit(() => growing.renewKey(id, from, to)),
    unnoted: () => read(() => growing.unnoted()),
    setLength: (id, bytes, reserve) => submit(() => growing.setLength(id, bytes, reserve)),
    answeredEarly: (id) => submit(() => growing.answeredEarly(id)),
    joined: (digest) => read(() => growing.joined(digest)),
    remove: (id, how) =>
      submit(function* () {
        yield* batches.forgetEmptyBatch(yield* uploads.remove(id, how))
      }),
    get: (id, workspaceId) => read(() => uploads.get(id, workspaceId)),
    sameBytes: (workspace, sha256, size) => read(() => uploads.sameBytes(workspace, sha256, size)),
    list,
    usage,

    bind: (upload, project, mode) => submit(() => uploads.bind(upload, project, mode)),
    unbind: (upload, project) => submit(() => uploads.unbind(upload, project)),
    projectsOf: (id) => read(() => uploads.projectsOf(id)),

    openBatch: (batch) =>
      submit(function* () {
        if (batch.claim) yield* claims.note(batch.claim, batch.id)
        yield* batches.openBatch(batch)
      }),
    finishBatch: (id, end) => submit(() => batches.finishBatch(id, end)),
    batch: (id, workspaceId) => readAtOnce(() => batches.batch(id, workspaceId)),
    removeBatch: (id, how) => submit(() => batches.removeBatch(id, how)),

    claimed: (claim) => read(() => claims.claimed(claim)),
    answered: (claim, answer) => submit(() => claims.answered(claim, answer)),
    release: (claim, made) => submit(() => claims.release(claim, made)),
    forgetClaims: (limit) => submit(() => claims.forgetClaims(limit)),

    claim: (limit, leaseMs) => submit(() => jobs.claim(limit, leaseMs)),
    done: (job, next) => submit(() => jobs.done(job, next)),
    failed: (job, error, due) => submit(() => jobs.failed(job, error, due)),
    jobs: () => read(() => jobs.jobs()),
    queueDepth: () => read(() => jobs.queueDepth()),
    retryJobs: (job) => submit(() => jobs.retryJobs(job)),

    overdue: (limit, after) => read(() => jobs.overdue(limit, after)),
    forget: (before, limit) =>
      submit(function* () {
        const gone = yield* jobs.forget(before, limit)
        for (const batch of new Set(gone)) yield* batches.forgetEmptyBatch(batch)
        return gone.length
      }),
    recover: (jobsOf) =>
      submit(function* () {
        for (const batch of yield* batches.unfinishedBatches())
          yield* batches.removeBatch(batch, { jobs: jobsOf, force: true })
        for (const upload of yield* jobs.interrupted())
          yield* uploads.transition(upload.id, { from: ['receiving'], to: 'expired', jobs: jobsOf })
        for (const key of yield* jobs.intents()) yield* uploads.abandon(key)
        yield* jobs.allDue()
      }),
    unknownKeys: (keys) => read(() => jobs.unknownKeys(keys)),
    storedUnder: (keys) => read(() => jobs.storedUnder(keys)),
    storedUploads: (after, limit) => read(() => jobs.storedUploads(after, limit)),
    foldLedger: (before, limit) => submit(() => audits.foldLedger(before, limit)),
    async audit() {
      const damage = await driver.check()
      const breaches = await readAtOnce(() => audits.audit()).catch((error: unknown) => {
        // What is damaged cannot always be read.
        if (damage.length === 0) throw error
        return []
      })
      return [...damage, ...breaches]
    },
    async check() {
      await driver.assertSound()
      await read(() => accounts.workspace(''))
    },
    close: () => driver.close(),
  }
}
