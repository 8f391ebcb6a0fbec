import { type Kysely, sql } from 'kysely'
import { notFound, UploadError } from '../errors.ts'
import type { ApiKey, Usage, Workspace } from '../uploads/records.ts'
import type { UploadState } from '../uploads/upload.ts'
import { first, type Operation, query, rows } from './query.ts'
import { firstId, toApiKey, toWorkspace } from './rows.ts'
import type { Schema } from './schema.ts'

/** Uploads that are counted at a time, so that no workspace holds the event loop for long. */
const countedAtOnce = 10_000

/** Uploads by state, as far as they were counted: after them comes `after`, if anything does. */
export interface Counted {
  readonly counts: Usage['counts']
  readonly after: { readonly state: string; readonly id: Uint8Array } | null
}

const uncounted: Counted = {
  counts: { pending: 0, receiving: 0, processing: 0, ready: 0, rejected: 0, expired: 0 },
  after: { state: '', id: firstId },
}

/** Workspaces, their quotas and usage, and API keys. */
export function accountOperations(db: Kysely<Schema>, defaultQuota: number | null, now: () => number) {
  const texts = accountQueries(db)

  function* ensureWorkspace(id: string): Operation<Workspace> {
    yield* rows(texts.insertWorkspace, { id, at: now() })
    const row = yield* first(texts.workspace, { id })
    if (!row) throw new UploadError('internal', 'The workspace could not be written.')
    return toWorkspace(row, defaultQuota)
  }

  /** Counts on. */
  function* count(workspaceId: string, { counts, after }: Counted): Operation<Counted> {
    if (after === null) return { counts, after }
    const window = yield* rows(texts.counts, { workspace: workspaceId, ...after, limit: countedAtOnce })
    const sums: Record<UploadState, number> = { ...counts }
    let seen = 0
    for (const { state, uploads } of window) {
      sums[state] += uploads
      seen += uploads
    }
    const last = window.at(-1)
    return { counts: sums, after: last && seen === countedAtOnce ? { state: last.state, id: last.id } : null }
  }

  return {
    ensureWorkspace,
    count,

    *workspace(id: string): Operation<Workspace | undefined> {
      const row = yield* first(texts.workspace, { id })
      return row && toWorkspace(row, defaultQuota)
    },

    *installation(): Operation<string> {
      const row = yield* first(texts.installation, {})
      if (!row) throw new UploadError('internal', 'The database has lost its installation.')
      return row.id
    },

    *workspaces(): Operation<readonly Workspace[]> {
      return (yield* rows(texts.workspaces, {})).map((row) => toWorkspace(row, defaultQuota))
    },

    *setQuota(id: string, bytes: number | null): Operation<Workspace> {
      const row = yield* first(texts.setQuota, { id, bytes })
      if (!row) throw notFound(`workspace "${id}"`)
      return toWorkspace(row, defaultQuota)
    },

    *ensureProject(workspaceId: string, projectId: string): Operation<void> {
      yield* ensureWorkspace(workspaceId)
      yield* rows(texts.insertProject, { workspace: workspaceId, id: projectId, at: now() })
    },

    *projects(workspaceId: string): Operation<readonly string[]> {
      return (yield* rows(texts.projects, { workspace: workspaceId })).map((row) => row.id)
    },

    *createKey(key: Omit<ApiKey, 'revokedAt'>, digest: Uint8Array): Operation<ApiKey> {
      yield* ensureWorkspace(key.workspaceId)
      const row = yield* first(texts.insertKey, {
        ...key,
        scopes: JSON.stringify(key.scopes),
        projects: key.projects === null ? null : JSON.stringify(key.projects),
        digest,
      })
      if (!row) throw new UploadError('internal', 'The key could not be written.')
      return toApiKey(row)
    },

    *keyByDigest(digest: Uint8Array): Operation<ApiKey | undefined> {
      const row = yield* first(texts.keyByDigest, { digest })
      return row && toApiKey(row)
    },

    *keys(): Operation<readonly ApiKey[]> {
      return (yield* rows(texts.keys, {})).map(toApiKey)
    },

    *revokeKey(id: string): Operation<ApiKey> {
      const row = yield* first(texts.revokeKey, { id, at: now() })
      if (!row) throw notFound(`key "${id}"`)
      return toApiKey(row)
    },

    *forgetKey(id: string): Operation<void> {
      yield* rows(texts.deleteKey, { id })
    },

    /** Of few uploads all is counted in this step. */
    *usage(workspaceId: string, fromDay: string): Operation<Omit<Usage, 'counts'> & { readonly counted: Counted }> {
      const row = (yield* first(texts.workspace, { id: workspaceId })) ?? emptyWorkspace(workspaceId, now())
      const counted = yield* count(workspaceId, uncounted)
      const days = yield* rows(texts.days, { id: workspaceId, from: fromDay })
      return { workspace: toWorkspace(row, defaultQuota), counted, days }
    },
  }
}

/** A workspace into which nothing was uploaded yet. */
const emptyWorkspace = (id: string, at: number) => ({
  id,
  quota: null,
  used: 0,
  reserved: 0,
  open: 0,
  bare: 0,
  created_at: at,
})

function accountQueries(db: Kysely<Schema>) {
  type KeyValues = Omit<ApiKey, 'revokedAt' | 'scopes' | 'projects'> & {
    scopes: string
    projects: string | null
    digest: Uint8Array
  }
  return {
    installation: query<object>()(() => db.selectFrom('installation').select('id')),
    insertWorkspace: query<{ id: string; at: number }>()((p) =>
      db
        .insertInto('workspace')
        .values({ id: p.id, quota: null, created_at: p.at })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    workspace: query<{ id: string }>()((p) => db.selectFrom('workspace').selectAll().where('id', '=', p.id)),
    workspaces: query<object>()(() => db.selectFrom('workspace').selectAll().orderBy('id')),
    setQuota: query<{ id: string; bytes: number | null }>()((p) =>
      db.updateTable('workspace').set({ quota: p.bytes }).where('id', '=', p.id).returningAll(),
    ),
    insertProject: query<{ workspace: string; id: string; at: number }>()((p) =>
      db
        .insertInto('project')
        .values({ workspace_id: p.workspace, id: p.id, created_at: p.at })
        .onConflict((conflict) => conflict.doNothing()),
    ),
    projects: query<{ workspace: string }>()((p) =>
      db.selectFrom('project').select('id').where('workspace_id', '=', p.workspace).orderBy('id'),
    ),
    insertKey: query<KeyValues>()((p) =>
      db
        .insertInto('api_key')
        .values({
          id: p.id,
          workspace_id: p.workspaceId,
          user_id: p.userId,
          name: p.name,
          digest: p.digest,
          scopes: p.scopes,
          projects: p.projects,
          created_at: p.createdAt,
          expires_at: p.expiresAt,
          revoked_at: null,
        })
        .returningAll(),
    ),
    keyByDigest: query<{ digest: Uint8Array }>()((p) =>
      db.selectFrom('api_key').selectAll().where('digest', '=', p.digest),
    ),
    keys: query<object>()(() => db.selectFrom('api_key').selectAll().orderBy('created_at')),
    revokeKey: query<{ id: string; at: number }>()((p) =>
      db
        .updateTable('api_key')
        .set((eb) => ({ revoked_at: eb.fn.coalesce('revoked_at', eb.val(p.at)) }))
        .where('id', '=', p.id)
        .returningAll(),
    ),
    deleteKey: query<{ id: string }>()((p) => db.deleteFrom('api_key').where('id', '=', p.id)),
    counts: query<{ workspace: string; state: string; id: Uint8Array; limit: number }>()((p) =>
      db
        .selectFrom(
          db
            .selectFrom('upload')
            .select(['state', 'id'])
            .where('workspace_id', '=', p.workspace)
            .where(sql<boolean>`(state, id) > (${p.state}, ${p.id})`)
            .orderBy('state')
            .orderBy('id')
            .limit(p.limit)
            .as('some'),
        )
        .select(['state', (eb) => eb.fn.countAll<number>().as('uploads'), (eb) => eb.fn.max('id').as('id')])
        .groupBy('state')
        .orderBy('state'),
    ),
    days: query<{ id: string; from: string }>()((p) =>
      db
        .selectFrom('usage_day')
        .select(['day', 'uploads', 'bytes'])
        .where('workspace_id', '=', p.id)
        .where('day', '>=', p.from)
        .orderBy('day'),
    ),
  }
}
