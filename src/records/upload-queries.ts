import { type Kysely, type Selectable, sql } from 'kysely'
import type { NewRecord } from '../uploads/records.ts'
import { query } from './query.ts'
import { idBytes, type jobColumns } from './rows.ts'
import type { LedgerKind, Schema, UploadTable } from './schema.ts'

type Row = Selectable<UploadTable>

/** Uploads with the same bytes that are looked at. */
const sameBytesLimit = 20

/** A new record's columns; those of bytes that have not come are filled in by the text. */
export function uploadColumns(record: NewRecord) {
  return {
    id: idBytes(record.id),
    workspace_id: record.workspaceId,
    project_id: record.projectId,
    user_id: record.userId,
    batch_id: record.batchId ?? null,
    dialect: record.dialect,
    state: record.state,
    category: record.category,
    filename: record.filename,
    declared_type: record.declaredType,
    declared_size: record.declaredSize,
    resumable: record.resumable ? JSON.stringify(record.resumable) : null,
    joined: record.joined ?? null,
    holds_until: record.holdsUntil ?? null,
    creation: record.creation ?? null,
    partial: record.resumable?.partial ? 1 : 0,
    declared_checksum: record.declaredChecksum === null ? null : JSON.stringify(record.declaredChecksum),
    content_type: record.properties.contentType,
    reserved: record.reserve,
    context: record.context === null ? null : JSON.stringify(record.context),
    metadata: JSON.stringify(record.metadata),
    properties: JSON.stringify(record.properties),
    extra: JSON.stringify(record.extra),
    created_at: record.createdAt,
    updated_at: record.createdAt,
    expires_at: record.expiresAt,
  }
}

export const insertJob = (db: Kysely<Schema>) =>
  query<ReturnType<typeof jobColumns>>()((p) =>
    db.insertInto('job').values({
      kind: p.kind,
      upload_id: p.uploadId,
      object_key: p.objectKey,
      payload: p.payload,
      due: p.due,
      error: null,
      failed_at: null,
    }),
  )

/** The texts of the operations in `uploads.ts`. */
export function uploadQueries(db: Kysely<Schema>) {
  type Change = { id: string; used: number; reserved: number; noLimit: number; limit: number | null }
  const countBy = (p: Change) =>
    db
      .updateTable('workspace')
      .set((eb) => ({ used: eb('used', '+', p.used), reserved: eb('reserved', '+', p.reserved) }))
      .where('id', '=', p.id)
      .returning('id')
  return {
    count: query<Change>()(countBy),
    countWithinQuota: query<Change>()((p) =>
      countBy(p).where(
        sql<boolean>`(${p.reserved} <= 0 or used + reserved + ${p.reserved} <= coalesce(quota, ${p.limit}, ${p.noLimit}))`,
      ),
    ),
    // The workspace of a user comes to be by the first upload.
    insertWorkspace: query<{ id: string; at: number }>()((p) =>
      db
        .insertInto('workspace')
        .values({ id: p.id, quota: null, created_at: p.at })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    workspace: query<{ id: string }>()((p) => db.selectFrom('workspace').selectAll().where('id', '=', p.id)),
    insertLedger: query<{
      workspace: string
      upload: Uint8Array
      kind: LedgerKind
      used: number
      reserved: number
      at: number
    }>()((p) =>
      db.insertInto('ledger').values({
        workspace_id: p.workspace,
        upload_id: p.upload,
        kind: p.kind,
        used: p.used,
        reserved: p.reserved,
        at: p.at,
      }),
    ),
    addDay: query<{ workspace: string; day: string; bytes: number }>()((p) =>
      db
        .insertInto('usage_day')
        .values({ workspace_id: p.workspace, day: p.day, uploads: 1, bytes: p.bytes })
        .onConflict((conflict) =>
          conflict.columns(['workspace_id', 'day']).doUpdateSet((eb) => ({
            uploads: eb('usage_day.uploads', '+', 1),
            bytes: eb('usage_day.bytes', '+', eb.ref('excluded.bytes')),
          })),
        ),
    ),
    insertJob: insertJob(db),
    deleteVerdicts: query<{ id: Uint8Array }>()((p) =>
      db.deleteFrom('job').where('upload_id', '=', p.id).where('kind', '=', 'verdict'),
    ),
    deleteJobs: query<{ id: Uint8Array }>()((p) => db.deleteFrom('job').where('upload_id', '=', p.id)),
    get: query<{ id: Uint8Array }>()((p) => db.selectFrom('upload').selectAll().where('id', '=', p.id)),
    getWithin: query<{ id: Uint8Array; workspace: string }>()((p) =>
      db.selectFrom('upload').selectAll().where('id', '=', p.id).where('workspace_id', '=', p.workspace),
    ),
    sameBytes: query<{ workspace: string; sha256: Uint8Array; size: number }>()((p) =>
      db
        .selectFrom('upload')
        .selectAll()
        .where('workspace_id', '=', p.workspace)
        .where('sha256', '=', p.sha256)
        .where('size', '=', p.size)
        .where('state', '=', 'ready')
        .orderBy('number')
        .limit(sameBytesLimit),
    ),
    joined: query<{ digest: Uint8Array }>()((p) => db.selectFrom('upload').selectAll().where('joined', '=', p.digest)),
    insertUpload: query<ReturnType<typeof uploadColumns>>()((p) =>
      db
        .insertInto('upload')
        .values({
          id: p.id,
          workspace_id: p.workspace_id,
          project_id: p.project_id,
          user_id: p.user_id,
          batch_id: p.batch_id,
          dialect: p.dialect,
          state: p.state,
          category: p.category,
          filename: p.filename,
          declared_type: p.declared_type,
          declared_size: p.declared_size,
          declared_checksum: p.declared_checksum,
          content_type: p.content_type,
          size: null,
          received: 0,
          reserved: p.reserved,
          object_key: null,
          sha256: null,
          context: p.context,
          metadata: p.metadata,
          properties: p.properties,
          extra: p.extra,
          rejection: null,
          resumable: p.resumable,
          joined: p.joined,
          holds_until: p.holds_until,
          creation: p.creation,
          partial: p.partial,
          counts_in: null,
          created_at: p.created_at,
          updated_at: p.updated_at,
          expires_at: p.expires_at,
        })
        .returningAll(),
    ),
    update: query<Row>()((p) =>
      db
        .updateTable('upload')
        .set({
          state: p.state,
          content_type: p.content_type,
          declared_size: p.declared_size,
          resumable: p.resumable,
          size: p.size,
          received: p.received,
          reserved: p.reserved,
          object_key: p.object_key,
          sha256: p.sha256,
          context: p.context,
          properties: p.properties,
          extra: p.extra,
          rejection: p.rejection,
          holds_until: p.holds_until,
          creation: p.creation,
          updated_at: p.updated_at,
          expires_at: p.expires_at,
        })
        .where('id', '=', p.id),
    ),
    setReserved: query<{ id: Uint8Array; reserved: number }>()((p) =>
      db.updateTable('upload').set({ reserved: p.reserved }).where('id', '=', p.id),
    ),
    deleteUpload: query<{ id: Uint8Array }>()((p) => db.deleteFrom('upload').where('id', '=', p.id)),
    insertIntent: query<{ key: string; upload: Uint8Array; at: number; until: number | null; grows: number }>()((p) =>
      db
        .insertInto('object_intent')
        .values({ object_key: p.key, upload_id: p.upload, at: p.at, until: p.until, note: null, grows: p.grows }),
    ),
    takeIntent: query<{ key: string; upload: Uint8Array }>()((p) =>
      db
        .deleteFrom('object_intent')
        .where('object_key', '=', p.key)
        .where('upload_id', '=', p.upload)
        .returning('object_key'),
    ),
    deleteIntent: query<{ key: string }>()((p) =>
      db.deleteFrom('object_intent').where('object_key', '=', p.key).returning(['note', 'until']),
    ),
    note: query<{ key: string; note: string }>()((p) =>
      db
        .updateTable('object_intent')
        .set({ note: p.note })
        .where('object_key', '=', p.key)
        .where('until', 'is', null)
        .returning('object_key'),
    ),
    staged: query<{ key: string }>()((p) =>
      db
        .selectFrom('object_intent')
        .select('object_key')
        .where('object_key', '=', p.key)
        .where('until', 'is', null)
        .union(
          db
            .selectFrom('job')
            .select(sql<string>`object_key`.as('object_key'))
            .where('object_key', '=', p.key),
        ),
    ),
    deletePieces: query<{ key: string }>()((p) => db.deleteFrom('object_piece').where('object_key', '=', p.key)),
    lastingKeys: query<{ upload: Uint8Array }>()((p) =>
      db
        .selectFrom('object_intent')
        .select('object_key')
        .where('upload_id', '=', p.upload)
        .where((eb) => eb.or([eb('until', 'is not', null), eb('grows', '=', 1)])),
    ),
    putKeys: query<{ upload: Uint8Array }>()((p) =>
      db
        .selectFrom('object_intent')
        .select('object_key')
        .where('upload_id', '=', p.upload)
        .where('until', 'is not', null),
    ),
    project: query<{ workspace: string; id: string }>()((p) =>
      db.selectFrom('project').select('id').where('workspace_id', '=', p.workspace).where('id', '=', p.id),
    ),
    insertProject: query<{ workspace: string; id: string; at: number }>()((p) =>
      db
        .insertInto('project')
        .values({ workspace_id: p.workspace, id: p.id, created_at: p.at })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    bind: query<{ workspace: string; project: string; upload: Uint8Array; held: number }>()((p) =>
      db
        .insertInto('binding')
        .values({ workspace_id: p.workspace, project_id: p.project, upload_id: p.upload, held: p.held })
        .onConflict((conflict) =>
          conflict.columns(['workspace_id', 'project_id', 'upload_id']).doUpdateSet({ held: 1 }),
        ),
    ),
    unbind: query<{ workspace: string; project: string; upload: Uint8Array }>()((p) =>
      db
        .deleteFrom('binding')
        .where('workspace_id', '=', p.workspace)
        .where('project_id', '=', p.project)
        .where('upload_id', '=', p.upload)
        .returning('upload_id'),
    ),
    heldBy: query<{ id: Uint8Array }>()((p) =>
      db.selectFrom('binding').select('project_id').where('upload_id', '=', p.id).where('held', '=', 1).limit(1),
    ),
    projectsOf: query<{ id: Uint8Array }>()((p) =>
      db.selectFrom('binding').select('project_id').where('upload_id', '=', p.id),
    ),
  }
}
