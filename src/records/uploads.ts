import type { Kysely, Selectable } from 'kysely'
import { notFound, UploadError } from '../errors.ts'
import type { NewJob, NewRecord, RemoveOptions, StoredBytes, Transition } from '../uploads/records.ts'
import type { Patch, Upload, UploadState } from '../uploads/upload.ts'
import { first, type Operation, rows } from './query.ts'
import { idBytes, jobColumns, toUpload } from './rows.ts'
import { type Caps, holdingSteps } from './holdings.ts'
import type { LedgerKind, Schema, UploadTable } from './schema.ts'
import { uploadColumns, uploadQueries } from './upload-queries.ts'

type Row = Selectable<UploadTable>
const unfinished: readonly UploadState[] = ['pending', 'receiving', 'processing']

/** The states that may follow each state. Nobody can ask for another, or counters and rows would part. */
const following: Readonly<Record<UploadState, readonly UploadState[]>> = {
  pending: ['receiving', 'expired'],
  receiving: ['processing', 'rejected', 'expired'],
  processing: ['ready', 'rejected'],
  ready: [],
  rejected: [],
  expired: [],
}

/**
 * What happens to one upload. Every change of `workspace.used` or `workspace.reserved` goes through `count`, which writes the
 * ledger beside it: counters, rows and ledger cannot part.
 */
export function uploadOperations(
  db: Kysely<Schema>,
  { defaultQuota, ...caps }: Caps & { readonly defaultQuota: number | null },
  now: () => number,
) {
  const texts = uploadQueries(db)
  const holdings = holdingSteps(db, count, caps, now)

  function* count(row: Row, kind: LedgerKind, used: number, reserved: number, guarded: boolean): Operation<void> {
    if (used === 0 && reserved === 0) return
    const values = { id: row.workspace_id, used, reserved, noLimit: Number.MAX_SAFE_INTEGER, limit: defaultQuota }
    const grown = yield* first(guarded ? texts.countWithinQuota : texts.count, values)
    if (!grown) {
      const workspace = yield* first(texts.workspace, { id: row.workspace_id })
      const limit = workspace?.quota ?? defaultQuota ?? Number.MAX_SAFE_INTEGER
      const left = Math.max(0, limit - (workspace?.used ?? 0) - (workspace?.reserved ?? 0))
      throw new UploadError('quota_exceeded', `The workspace's storage quota has ${left} bytes left.`, {
        facts: { bytes_left: left },
      })
    }
    yield* rows(texts.insertLedger, { workspace: row.workspace_id, upload: row.id, kind, used, reserved, at: now() })
  }

  function* addJobs(jobs: readonly NewJob[]): Operation<void> {
    for (const job of jobs) yield* rows(texts.insertJob, jobColumns(job, now()))
  }

  /** There is at most one job that looks after an upload's verdict. */
  function* replaceVerdicts(row: Row, jobs: readonly NewJob[]): Operation<void> {
    if (row.resumable !== null && jobs.length > 0) yield* rows(texts.deleteVerdicts, { id: row.id })
    yield* addJobs(jobs)
  }

  function* load(id: string, from?: readonly UploadState[]): Operation<Row> {
    const row = yield* first(texts.get, { id: idBytes(id) })
    if (!row) throw notFound()
    if (from && !from.includes(row.state)) throw wrongState(row.state)
    return row
  }

  function* holdProject(workspaceId: string, projectId: string, mode: 'open' | 'registered'): Operation<void> {
    if (mode === 'open') yield* rows(texts.insertProject, { workspace: workspaceId, id: projectId, at: now() })
    else if (!(yield* first(texts.project, { workspace: workspaceId, id: projectId })))
      throw new UploadError('project_forbidden', 'There is no such project in this workspace.')
  }

  function* abandon(key: string, note: string | null = null): Operation<void> {
    const intent = yield* first(texts.deleteIntent, { key })
    yield* rows(texts.deletePieces, { key })
    yield* addJobs([{ kind: 'clear-object', key, note: intent?.note ?? note, until: intent?.until ?? null }])
  }

  /** What is under the keys of the upload's URLs, or grows, is not wanted any more, nor what may still come there. */
  function* endKeys(row: Row): Operation<void> {
    for (const { object_key: key } of yield* rows(texts.lastingKeys, { upload: row.id })) yield* abandon(key)
  }

  return {
    /** For operations on uploads in other files. */
    core: { texts, count, addJobs, replaceVerdicts, load, write },
    holdings,
    holdProject,

    *create(record: NewRecord): Operation<Upload> {
      yield* rows(texts.insertWorkspace, { id: record.workspaceId, at: now() })
      if (record.projectId !== null) yield* holdProject(record.workspaceId, record.projectId, record.projectMode)
      if (record.joined && (yield* first(texts.joined, { digest: record.joined })))
        throw new UploadError('upload_state_conflict', 'There is such an upload already.')
      yield* holdings.takeOver(record)
      const row = yield* first(texts.insertUpload, uploadColumns(record))
      if (!row) throw new UploadError('internal', 'The record could not be written.')
      const parts = record.resumable?.parts
      if (parts) yield* holdings.takeParts(row, parts, record.reserve)
      else yield* count(row, 'reservation', 0, record.reserve, true)
      if (record.projectId !== null)
        yield* rows(texts.bind, {
          workspace: row.workspace_id,
          project: record.projectId,
          upload: row.id,
          held: record.dialect === 'raw' ? 1 : 0,
        })
      const intent = { upload: row.id, at: now(), grows: 0 }
      const grows = record.resumable != null && record.resumable.parts === null ? 1 : 0
      if (record.stagedKey !== null)
        yield* rows(texts.insertIntent, { ...intent, key: record.stagedKey, until: null, grows })
      if (record.put !== null) yield* rows(texts.insertIntent, { ...intent, ...record.put })
      yield* addJobs(record.jobs ?? [])
      return toUpload(row)
    },

    *reserve(id: string, bytes: number): Operation<void> {
      const row = yield* load(id, unfinished)
      if (bytes <= row.reserved) return
      yield* count(row, 'reservation', 0, bytes - row.reserved, true)
      yield* rows(texts.setReserved, { id: row.id, reserved: bytes })
    },

    *unreserve(id: string): Operation<void> {
      const row = yield* first(texts.get, { id: idBytes(id) })
      if (!row || !unfinished.includes(row.state)) return
      const wanted = Math.min(row.reserved, Math.max(row.declared_size ?? 0, row.received))
      yield* count(row, 'reservation', 0, wanted - row.reserved, false)
      yield* rows(texts.setReserved, { id: row.id, reserved: wanted })
    },

    *stage(id: string, key: string): Operation<Upload> {
      const row = yield* load(id, ['pending', 'receiving'])
      yield* rows(texts.insertIntent, { key, upload: row.id, at: now(), until: null, grows: 0 })
      return toUpload(row)
    },

    *stored(id: string, bytes: StoredBytes): Operation<Upload> {
      const row = yield* load(id, ['pending', 'receiving'])
      // A key that was given up meanwhile has a job that removes what is under it.
      if (!(yield* first(texts.takeIntent, { key: bytes.key, upload: row.id }))) throw givenUp()
      yield* rows(texts.deletePieces, { key: bytes.key })
      if (row.object_key !== null) yield* addJobs([{ kind: 'delete-object', key: row.object_key }])
      yield* endKeys(row)
      // Without the quota plugin nothing is held, and nothing may be asked of the quota here either.
      const held = row.reserved === 0 ? 0 : bytes.size
      yield* count(row, 'reservation', 0, held - row.reserved, true)
      yield* replaceVerdicts(row, bytes.jobs)
      return yield* write(row, {
        state: bytes.to,
        reserved: held,
        object_key: bytes.key,
        size: bytes.size,
        received: bytes.size,
        sha256: digestOf(bytes.sha256),
        holds_until: null,
        creation: null,
        expires_at: bytes.expiresAt,
        ...(bytes.context ? { context: JSON.stringify(bytes.context) } : {}),
        ...patched(row, bytes.patch),
      })
    },

    *note(key: string, note: string): Operation<void> {
      if (!(yield* first(texts.note, { key, note }))) throw givenUp()
    },

    abandon,

    *staged(key: string): Operation<boolean> {
      return (yield* first(texts.staged, { key })) !== undefined
    },

    *putKey(id: string): Operation<string | undefined> {
      return (yield* first(texts.putKeys, { upload: idBytes(id) }))?.object_key
    },

    *transition(id: string, change: Transition): Operation<Upload> {
      const row = yield* load(id, change.from)
      if (!following[row.state].includes(change.to)) throw wrongState(row.state)
      if (change.to === 'processing' && row.object_key === null)
        throw new UploadError('upload_not_received', 'The bytes have not arrived.')
      const next: Partial<Row> = { state: change.to, ...patched(row, change.patch ?? {}) }
      if (change.context) next.context = JSON.stringify(change.context)
      if (change.expiresAt !== undefined) next.expires_at = change.expiresAt
      if (change.received !== undefined) next.received = change.received
      if (change.sha256 !== undefined) next.sha256 = digestOf(change.sha256)
      if (change.to === 'ready') {
        yield* count(row, 'storage_charge', row.size ?? 0, -row.reserved, false)
        const day = new Date(now()).toISOString().slice(0, 10)
        yield* rows(texts.addDay, { workspace: row.workspace_id, day, bytes: row.size ?? 0 })
        yield* holdings.usedParts(row)
        Object.assign(next, { reserved: 0, expires_at: null })
      }
      if (change.to === 'rejected' || change.to === 'expired') {
        yield* count(row, 'reservation', 0, -row.reserved, false)
        if (row.object_key !== null) yield* addJobs([{ kind: 'delete-object', key: row.object_key }])
        yield* endKeys(row)
        yield* holdings.returnParts(row)
        const ended = { reserved: 0, object_key: null, expires_at: null, holds_until: null, creation: null }
        Object.assign(next, ended)
        if (change.rejection)
          next.rejection = JSON.stringify({ code: change.rejection.code, message: change.rejection.message })
      }
      if (row.state === 'processing') yield* rows(texts.deleteVerdicts, { id: row.id })
      const changed = yield* write(row, next)
      const { jobs = [] } = change
      yield* addJobs(typeof jobs === 'function' ? jobs(changed) : jobs)
      return changed
    },

    /** Returns the batch that it was in. */
    *remove(id: string, options: RemoveOptions): Operation<string | null> {
      const row = yield* load(id)
      if (!options.force && (yield* first(texts.heldBy, { id: row.id })))
        throw new UploadError('asset_referenced', 'A project still holds this asset: unbind it there first.')
      const charged = row.state === 'ready' ? (row.size ?? 0) : 0
      yield* count(row, charged > 0 ? 'storage_release' : 'reservation', -charged, -row.reserved, false)
      if (row.state !== 'ready') yield* holdings.returnParts(row)
      yield* rows(texts.deleteJobs, { id: row.id })
      yield* rows(texts.deleteUpload, { id: row.id })
      if (row.object_key !== null) yield* addJobs([{ kind: 'delete-object', key: row.object_key }])
      yield* endKeys(row)
      yield* addJobs(options.jobs(toUpload(row)))
      return row.batch_id
    },

    *get(id: string, workspaceId?: string): Operation<Upload | undefined> {
      const row =
        workspaceId === undefined
          ? yield* first(texts.get, { id: idBytes(id) })
          : yield* first(texts.getWithin, { id: idBytes(id), workspace: workspaceId })
      return row && toUpload(row)
    },

    *sameBytes(workspace: string, sha256: string, size: number): Operation<readonly Upload[]> {
      return (yield* rows(texts.sameBytes, { workspace, sha256: Buffer.from(sha256, 'hex'), size })).map(toUpload)
    },

    *bind(upload: Upload, projectId: string, mode: 'open' | 'registered'): Operation<void> {
      const row = yield* load(upload.id)
      yield* holdProject(row.workspace_id, projectId, mode)
      yield* rows(texts.bind, { workspace: row.workspace_id, project: projectId, upload: row.id, held: 1 })
    },

    *unbind(upload: Upload, projectId: string): Operation<boolean> {
      const values = { workspace: upload.workspaceId, project: projectId, upload: idBytes(upload.id) }
      return (yield* first(texts.unbind, values)) !== undefined
    },

    *projectsOf(uploadId: string): Operation<readonly string[]> {
      return (yield* rows(texts.projectsOf, { id: idBytes(uploadId) })).map((row) => row.project_id)
    },
  }

  function* write(row: Row, change: Partial<Row>): Operation<Upload> {
    const next = { ...row, ...change, updated_at: now() }
    yield* rows(texts.update, next)
    return toUpload(next)
  }
}

const digestOf = (sha256: string | null): Buffer | null => (sha256 === null ? null : Buffer.from(sha256, 'hex'))

export const givenUp = (): UploadError =>
  new UploadError('upload_state_conflict', 'The bytes have come under a key that was given up.')

export const wrongState = (state: string): UploadError =>
  new UploadError('upload_state_conflict', `The upload is ${state}: this cannot be done now.`)

/** Merges what plugins found; `content_type` has a column of its own because lists filter by it. */
function patched(row: Row, patch: Patch): Partial<Row> {
  const properties = { ...JSON.parse(row.properties), ...patch.properties }
  const extra = { ...JSON.parse(row.extra), ...patch.extra }
  return {
    content_type: properties.contentType,
    properties: JSON.stringify(properties),
    extra: JSON.stringify(extra),
  }
}
