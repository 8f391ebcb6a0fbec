import type { Kysely } from 'kysely'
import { notFound, UploadError } from '../errors.ts'
import type { Batch, BatchEnd, NewBatch, RemoveOptions } from '../uploads/records.ts'
import { first, type Operation, query, rows } from './query.ts'
import { idText, toUpload } from './rows.ts'
import type { Schema } from './schema.ts'
import type { uploadOperations } from './uploads.ts'

/** Uploads that came in one request, and stand or fall with it until all have come. */
export function batchOperations(
  db: Kysely<Schema>,
  uploads: Pick<ReturnType<typeof uploadOperations>, 'holdProject' | 'transition' | 'remove'>,
  now: () => number,
) {
  const texts = batchQueries(db)

  function* batch(id: string, workspaceId?: string): Operation<Batch | undefined> {
    const row = yield* first(texts.get, { id })
    if (workspaceId !== undefined && row?.workspace_id !== workspaceId) return undefined
    const files = row && (yield* rows(texts.uploads, { id })).map(toUpload)
    if (!row || !files?.length) return undefined
    return {
      id: row.id,
      workspaceId: row.workspace_id,
      projectId: row.project_id,
      name: row.name,
      meta: JSON.parse(row.meta),
      createdAt: row.created_at,
      uploads: files,
    }
  }

  return {
    batch,

    *openBatch({ id, workspaceId, projectId, projectMode, createdAt }: NewBatch): Operation<void> {
      yield* rows(texts.insertWorkspace, { id: workspaceId, at: now() })
      if (projectId !== null) yield* uploads.holdProject(workspaceId, projectId, projectMode)
      yield* rows(texts.insert, { id, workspace: workspaceId, project: projectId, at: createdAt })
    },

    *finishBatch(id: string, end: BatchEnd): Operation<Batch> {
      const { name, projectId, projectMode } = end
      const values = { id, name, meta: JSON.stringify(end.meta), project: projectId, at: now() }
      const row = yield* first(texts.finish, values)
      if (!row) throw notFound()
      yield* uploads.holdProject(row.workspace_id, projectId, projectMode)
      for (const { id: upload } of yield* rows(texts.assign, { id, project: projectId }))
        yield* rows(texts.bind, { workspace: row.workspace_id, project: projectId, upload })
      for (const { id: upload } of yield* rows(texts.receiving, { id })) {
        const uploadId = idText(upload)
        const jobs = end.jobs(uploadId)
        yield* uploads.transition(uploadId, { from: ['receiving'], to: 'processing', expiresAt: null, jobs })
      }
      const finished = yield* batch(id)
      if (!finished) throw new UploadError('not_found', 'The files of this request were deleted.')
      return finished
    },

    *removeBatch(id: string, how: RemoveOptions): Operation<void> {
      if (!(yield* first(texts.exists, { id }))) throw notFound()
      for (const row of yield* rows(texts.uploads, { id })) yield* uploads.remove(idText(row.id), how)
      yield* rows(texts.delete, { id })
    },

    /** Requests that were bringing their files. */
    *unfinishedBatches(): Operation<readonly string[]> {
      return (yield* rows(texts.unfinished, {})).map((row) => row.id)
    },

    /** A batch goes with the last of its uploads. */
    *forgetEmptyBatch(id: string | null): Operation<void> {
      if (id !== null) yield* rows(texts.deleteEmpty, { id })
    },
  }
}

function batchQueries(db: Kysely<Schema>) {
  const one = (id: string) => db.selectFrom('batch').where('id', '=', id)
  return {
    get: query<{ id: string }>()((p) => one(p.id).selectAll().where('finished_at', 'is not', null)),
    exists: query<{ id: string }>()((p) => one(p.id).select('id')),
    unfinished: query<object>()(() => db.selectFrom('batch').select('id').where('finished_at', 'is', null)),
    uploads: query<{ id: string }>()((p) =>
      db.selectFrom('upload').selectAll().where('batch_id', '=', p.id).orderBy('number'),
    ),
    receiving: query<{ id: string }>()((p) =>
      db
        .selectFrom('upload')
        .select('id')
        .where('batch_id', '=', p.id)
        .where('state', '=', 'receiving')
        .orderBy('number'),
    ),
    insertWorkspace: query<{ id: string; at: number }>()((p) =>
      db
        .insertInto('workspace')
        .values({ id: p.id, quota: null, created_at: p.at })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    insert: query<{ id: string; workspace: string; project: string | null; at: number }>()((p) =>
      db.insertInto('batch').values({
        id: p.id,
        workspace_id: p.workspace,
        project_id: p.project,
        name: '',
        meta: '[]',
        created_at: p.at,
        finished_at: null,
      }),
    ),
    finish: query<{ id: string; name: string; meta: string; project: string; at: number }>()((p) =>
      db
        .updateTable('batch')
        .set({ name: p.name, meta: p.meta, project_id: p.project, finished_at: p.at })
        .where('id', '=', p.id)
        .where('finished_at', 'is', null)
        .returning('workspace_id'),
    ),
    assign: query<{ id: string; project: string }>()((p) =>
      db
        .updateTable('upload')
        .set({ project_id: p.project })
        .where('batch_id', '=', p.id)
        .where('project_id', 'is', null)
        .returning('id'),
    ),
    bind: query<{ workspace: string; project: string; upload: Uint8Array }>()((p) =>
      db
        .insertInto('binding')
        .values({ workspace_id: p.workspace, project_id: p.project, upload_id: p.upload, held: 0 })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    delete: query<{ id: string }>()((p) => db.deleteFrom('batch').where('id', '=', p.id)),
    deleteEmpty: query<{ id: string }>()((p) =>
      db
        .deleteFrom('batch')
        .where('id', '=', p.id)
        .where('finished_at', 'is not', null)
        .where((eb) => eb.not(eb.exists(db.selectFrom('upload').select('id').where('batch_id', '=', p.id)))),
    ),
  }
}
