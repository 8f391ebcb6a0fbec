import Database from 'better-sqlite3'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { UploadError } from '../src/errors.ts'
import type { Records } from '../src/uploads/records.ts'
import type { UploadState } from '../src/uploads/upload.ts'
import { idAt, newKey, newRecord, type SqliteBackend, sqliteBackend, storedBytes } from './support/records.ts'

const budgetMs = 6_000
const clock = Date.UTC(2026, 10, 21, 12)
const workspaces = ['a', 'b'] as const

interface ModelUpload {
  readonly id: string
  readonly workspace: ModelWorkspace
  readonly declared: number | null
  state: UploadState
  reserved: number
  size: number | null
  key: string | null
}

interface ModelWorkspace {
  readonly id: string
  quota: number | null
}

/** What the records should hold. */
interface Model {
  readonly workspaces: readonly ModelWorkspace[]
  uploads: ModelUpload[]
  /** Of every upload that there is or was. */
  readonly ids: string[]
  /** Staged keys, and whose they are. */
  readonly staged: Map<string, string>
  readonly keys: string[]
}

const newModel = (): Model => ({
  workspaces: workspaces.map((id) => ({ id, quota: id === 'a' ? 100 : null })),
  uploads: [],
  ids: [],
  staged: new Map(),
  keys: [],
})

function sumsOf(model: Model, workspace: ModelWorkspace) {
  const own = model.uploads.filter((upload) => upload.workspace === workspace)
  const used = own.filter((one) => one.state === 'ready').reduce((sum, one) => sum + (one.size ?? 0), 0)
  return { used, reserved: own.reduce((sum, one) => sum + one.reserved, 0) }
}

function fits(model: Model, workspace: ModelWorkspace, more: number): boolean {
  const { used, reserved } = sumsOf(model, workspace)
  return more <= 0 || used + reserved + more <= (workspace.quota ?? Infinity)
}

const find = (model: Model, id: string) => model.uploads.find((upload) => upload.id === id)
const pick = <T>(from: readonly T[], index: number): T | undefined => from[index % Math.max(1, from.length)]

/** One operation, which was done to the model: what the records should answer, and how they are asked for the same. */
interface Step {
  readonly expected: string
  readonly ask: (records: Records) => Promise<unknown>
}

type Plan = (model: Model) => Step

const refused = (code: string, ask: Step['ask']): Step => ({ expected: code, ask })
const done = (ask: Step['ask']): Step => ({ expected: 'done', ask })

/** An operation on one of the uploads that there are or were. */
const onUpload =
  (which: number, states: readonly UploadState[], act: (model: Model, upload: ModelUpload) => Step): Plan =>
  (model) => {
    const id = pick(model.ids, which) ?? idAt(clock, 1_000_000)
    const upload = find(model, id)
    if (upload && states.includes(upload.state)) return act(model, upload)
    // The records are asked all the same; what the operation does to a model is done to none that counts.
    const [workspace = { id: 'a', quota: null }] = model.workspaces
    const nobody = { id, workspace, declared: null, state: 'ready', reserved: 0, size: 0, key: null } as const
    const { ask } = act(newModel(), { ...(upload ?? nobody) })
    return refused(upload ? 'upload_state_conflict' : 'not_found', ask)
  }

const unfinished: readonly UploadState[] = ['pending', 'receiving', 'processing']

const create =
  (where: number, size: number | null, asks: boolean, oneRequest: boolean): Plan =>
  (model) => {
    const workspace = pick(model.workspaces, where)
    if (!workspace) throw new Error('There is always one.')
    const id = idAt(clock, model.ids.length)
    const reserve = asks ? (size ?? 0) : 0
    const stagedKey = oneRequest ? newKey() : null
    const record = newRecord({
      id,
      workspaceId: workspace.id,
      declaredSize: size,
      reserve,
      stagedKey,
      state: oneRequest ? 'receiving' : 'pending',
    })
    const ask: Step['ask'] = (records) => records.create(record)
    if (!fits(model, workspace, reserve)) return refused('quota_exceeded', ask)
    model.ids.push(id)
    model.uploads.push({ id, workspace, declared: size, state: record.state, reserved: reserve, size: null, key: null })
    if (stagedKey !== null) {
      model.staged.set(stagedKey, id)
      model.keys.push(stagedKey)
    }
    return done(ask)
  }

const reserve = (which: number, bytes: number): Plan =>
  onUpload(which, unfinished, (model, upload) => {
    const ask: Step['ask'] = (records) => records.reserve(upload.id, bytes)
    if (!fits(model, upload.workspace, bytes - upload.reserved)) return refused('quota_exceeded', ask)
    upload.reserved = Math.max(upload.reserved, bytes)
    return done(ask)
  })

const unreserve =
  (which: number): Plan =>
  (model) => {
    const upload = find(model, pick(model.ids, which) ?? '')
    if (upload && unfinished.includes(upload.state))
      upload.reserved = Math.min(upload.reserved, Math.max(upload.declared ?? 0, upload.size ?? 0))
    const id = upload?.id ?? idAt(clock, 1_000_001)
    return done((records) => records.unreserve(id))
  }

const stage = (which: number): Plan =>
  onUpload(which, ['pending', 'receiving'], (model, upload) => {
    const key = newKey()
    model.staged.set(key, upload.id)
    model.keys.push(key)
    return done((records) => records.stage(upload.id, key))
  })

const stored = (which: number, size: number, to: 'receiving' | 'processing'): Plan =>
  onUpload(which, ['pending', 'receiving'], (model, upload) => {
    const key = [...model.staged].findLast(([, id]) => id === upload.id)?.[0]
    const jobs = to === 'processing' ? [{ kind: 'verdict', uploadId: upload.id, due: 0 } as const] : []
    const bytes = storedBytes({ key: key ?? newKey(), size, to, jobs })
    const ask: Step['ask'] = (records) => records.stored(upload.id, bytes)
    if (key === undefined) return refused('upload_state_conflict', ask)
    const held = upload.reserved === 0 ? 0 : size
    if (!fits(model, upload.workspace, held - upload.reserved)) return refused('quota_exceeded', ask)
    model.staged.delete(key)
    Object.assign(upload, { state: to, size, reserved: held, key })
    return done(ask)
  })

const abandon =
  (which: number): Plan =>
  (model) => {
    const key = pick([...model.staged.keys()], which) ?? newKey()
    model.staged.delete(key)
    return done((records) => records.abandon(key))
  }

const confirm = (which: number): Plan =>
  onUpload(which, ['receiving'], (_model, upload) => {
    const jobs = [{ kind: 'verdict', uploadId: upload.id, due: 0 }] as const
    const ask: Step['ask'] = (records) => records.transition(upload.id, { from: ['receiving'], to: 'processing', jobs })
    if (upload.key === null) return refused('upload_not_received', ask)
    upload.state = 'processing'
    return done(ask)
  })

const settle = (which: number, from: readonly UploadState[], to: 'ready' | 'rejected' | 'expired'): Plan =>
  onUpload(which, from, (_model, upload) => {
    const { id } = upload
    Object.assign(upload, { state: to, reserved: 0 }, to === 'ready' ? {} : { key: null })
    return done((records) => records.transition(id, { from, to }))
  })

const remove = (which: number): Plan =>
  onUpload(which, ['pending', 'receiving', 'processing', 'ready', 'rejected', 'expired'], (model, upload) => {
    model.uploads = model.uploads.filter((one) => one !== upload)
    return done((records) => records.remove(upload.id, { jobs: () => [] }))
  })

const setQuota =
  (where: number, bytes: number | null): Plan =>
  (model) => {
    const workspace = pick(model.workspaces, where)
    if (workspace) workspace.quota = bytes
    return done((records) => records.setQuota(workspace?.id ?? '', bytes))
  }

const forget = (): Plan => (model) => {
  model.uploads = model.uploads.filter((upload) => upload.state !== 'rejected' && upload.state !== 'expired')
  return done((records) => records.forget(clock + 1, 1_000))
}

const fold =
  (limit: number): Plan =>
  () =>
    done((records) => records.foldLedger(clock + 1, limit))

const recover = (): Plan => (model) => {
  for (const id of model.staged.values()) {
    const upload = find(model, id)
    if (upload?.state === 'receiving' && upload.key === null) Object.assign(upload, { state: 'expired', reserved: 0 })
  }
  model.staged.clear()
  return done((records) => records.recover(() => []))
}

const which = fc.nat({ max: 1_000 })
const size = fc.integer({ min: 0, max: 60 })
const anySize = fc.option(size, { freq: 3 })
const bringing = fc.constantFrom('receiving', 'processing')
const settled = (from: readonly UploadState[], to: 'ready' | 'rejected' | 'expired') =>
  function settling(one: number) {
    return settle(one, from, to)
  }

/** An operation with random arguments; fast-check shows it by its name. */
function op<A extends unknown[]>(
  weight: number,
  make: (...args: A) => Plan,
  ...args: { [K in keyof A]: fc.Arbitrary<A[K]> }
) {
  const arbitrary = fc.tuple<A>(...args).map((values) => ({
    run: make(...values),
    [fc.toStringMethod]: () => `${make.name}(${values.join(', ')})`,
  }))
  return { weight, arbitrary }
}

const plan = fc.oneof(
  op(6, create, which, anySize, fc.boolean(), fc.boolean()),
  op(3, reserve, which, fc.integer({ min: 0, max: 120 })),
  op(1, unreserve, which),
  op(4, stage, which),
  op(6, stored, which, size, bringing),
  op(1, abandon, which),
  op(3, confirm, which),
  op(4, settled(['processing'], 'ready'), which),
  op(2, settled(['receiving', 'processing'], 'rejected'), which),
  op(1, settled(['pending', 'receiving'], 'expired'), which),
  op(2, remove, which),
  op(2, setQuota, which, fc.option(fc.nat({ max: 150 }), { freq: 4 })),
  op(1, forget),
  op(1, fold, fc.integer({ min: 1, max: 8 })),
  op(1, recover),
)

/** What is asked at once; then perhaps the process is killed, in the middle of one more operation. */
const round = fc.record({
  together: fc.array(plan, { minLength: 1, maxLength: 5 }),
  lost: fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: plan }),
})

type Round = typeof round extends fc.Arbitrary<infer T> ? T : never

const codeOf = (error: unknown): string => (error instanceof UploadError ? error.code : String(error))

/** Sums over rows and ledger beside the counters, and the staged keys, through a connection that the records know nothing of. */
function seenFrom(path: string) {
  const db = new Database(path, { readonly: true })
  try {
    const sums = workspaces.map((id) => {
      const one = (sql: string) => db.prepare<string[], Record<string, number>>(sql).get(id)
      return {
        counters: one('select used, reserved from workspace where id = ?'),
        rows: one(
          "select total(iif(state = 'ready', size, 0)) as used, total(reserved) as reserved from upload where workspace_id = ?",
        ),
        ledger: one('select total(used) as used, total(reserved) as reserved from ledger where workspace_id = ?'),
      }
    })
    return { sums, staged: new Set(db.prepare('select object_key from object_intent').pluck().all()) }
  } finally {
    db.close()
  }
}

async function expectAgreement(backend: SqliteBackend, model: Model): Promise<void> {
  const { records } = backend
  expect(await records.audit()).toEqual([])
  const sums = model.workspaces.map((workspace) => sumsOf(model, workspace))
  expect(seenFrom(backend.path)).toEqual({
    sums: sums.map((sum) => ({ counters: sum, rows: sum, ledger: sum })),
    staged: new Set(model.staged.keys()),
  })
  for (const id of model.ids) {
    const upload = find(model, id)
    const found = await records.get(id)
    expect(found && { state: found.state, reserved: found.reserved, size: found.size, key: found.objectKey }).toEqual(
      upload && { state: upload.state, reserved: upload.reserved, size: upload.size, key: upload.key },
    )
  }
  // No job is ever run here, so no key may be forgotten.
  expect(await records.unknownKeys(model.keys)).toEqual([])
}

it('counters, rows and ledger agree whatever happens, and nothing acknowledged is lost', async () => {
  const counts = { rounds: 0, steps: 0, refusals: 0, crashes: 0 }
  const play = async (rounds: readonly Round[]) => {
    const backend = await sqliteBackend({ now: () => clock })
    const model = newModel()
    try {
      for (const { id, quota } of model.workspaces) {
        await backend.records.ensureWorkspace(id)
        await backend.records.setQuota(id, quota)
      }
      for (const { together, lost } of rounds) {
        const steps = together.map((one) => one.run(model))
        const answers = steps.map((step) => step.ask(backend.records).then(() => 'done', codeOf))
        expect(await Promise.all(answers)).toEqual(steps.map((step) => step.expected))
        counts.rounds++
        counts.steps += steps.length
        counts.refusals += steps.filter((step) => step.expected !== 'done').length
        if (lost) {
          // Asked, but not yet acknowledged when the process dies: as if it had never been.
          const asked = lost.run(structuredClone(model)).ask(backend.records).catch(codeOf)
          await backend.crash()
          await asked
          counts.crashes++
        }
        await expectAgreement(backend, model)
      }
    } finally {
      await backend.close()
    }
  }
  let running = Promise.resolve()
  const property = fc.asyncProperty(
    fc.array(round, { minLength: 8, maxLength: 30 }),
    (rounds) => (running = play(rounds)),
  )
  await fc.assert(property, { numRuns: 200, interruptAfterTimeLimit: budgetMs, markInterruptAsFailure: false })
  // The last one may have been left when the time was over.
  await running
  expect(counts.steps).toBeGreaterThan(100)
  expect(counts.refusals).toBeGreaterThan(20)
  expect(counts.crashes).toBeGreaterThan(5)
}, 60_000)
