import { type Kysely, type Selectable, sql } from 'kysely'
import { notFound, UploadError } from '../errors.ts'
import type { Hold, NewRecord } from '../uploads/records.ts'
import type { Upload, UploadState } from '../uploads/upload.ts'
import { first, type Operation, query, rows } from './query.ts'
import { idBytes, toUpload } from './rows.ts'
import type { LedgerKind, Schema, UploadTable } from './schema.ts'

type Row = Selectable<UploadTable>
type Count = (row: Row, kind: LedgerKind, used: number, reserved: number, guarded: boolean) => Operation<void>

/** Milliseconds for which the parts of a final upload stay when it is ready, for a client that asks for them again. */
const usedPartsMs = 60_000
/** Milliseconds before its end from which on a holding is made to last before somebody relies on it. */
const marginMs = 10_000
/** Ended records that one creation may push out. */
const pushedOut = 2
/** Seconds after which a workspace with too many records is worth another try. */
const retrySeconds = 60

export interface Caps {
  /** Unfinished uploads of one workspace. @default no limit */
  readonly openUploads?: number | undefined
  /** Records of one workspace that hold no bytes. @default no limit */
  readonly bareRecords?: number | undefined
}

/** What unfinished uploads hold of the quota, for how long, and in whose name. */
export function holdingSteps(db: Kysely<Schema>, count: Count, caps: Caps, now: () => number) {
  const texts = holdingQueries(db)

  function* change(row: Row, reserved: number, guarded = false): Operation<void> {
    yield* count(row, 'reservation', 0, reserved - row.reserved, guarded)
  }

  return {
    /** Refuses one record too many. Of those that have ended the oldest make room; returns the batches that they were in. */
    *admit(workspaceId: string): Operation<readonly (string | null)[]> {
      const { open = 0, bare = 0 } = (yield* first(texts.counters, { id: workspaceId })) ?? {}
      if (caps.openUploads !== undefined && open >= caps.openUploads)
        throw tooMany(`${open} unfinished uploads, and may not have more: finish or delete some`)
      if (caps.bareRecords === undefined || bare < caps.bareRecords) return []
      const gone: (string | null)[] = []
      for (const state of ['rejected', 'expired'] as const)
        for (const row of yield* rows(texts.pushOut, { workspace: workspaceId, state, limit: pushedOut }))
          gone.push(row.batch_id)
      if (gone.length === 0) throw tooMany(`${bare} records without bytes, and may not have more: delete some`)
      return gone
    },

    /** A new upload takes over what its earlier twin holds into which nothing has come. */
    *takeOver({ creation }: NewRecord): Operation<void> {
      const twin = creation && (yield* first(texts.twin, { creation }))
      if (!twin) return
      yield* change(twin, 0)
      yield* rows(texts.letGo, { id: twin.id })
    },

    /** The bytes of its parts count towards a final upload, and need no room of their own. */
    *takeParts(final: Row, ids: readonly string[], reserve: number): Operation<void> {
      let moved = 0
      for (const id of new Set(ids)) {
        const part = reserve > 0 ? yield* first(texts.free, { id: idBytes(id) }) : undefined
        if (!part) continue
        moved += part.reserved
        yield* change(part, 0)
        yield* rows(texts.lend, { id: part.id, final: final.id })
      }
      yield* count(final, 'reservation', 0, Math.max(reserve, moved), true)
    },

    /** A final upload has come to nothing: its parts hold their bytes themselves again. */
    *returnParts(final: Row): Operation<void> {
      for (const part of yield* rows(texts.lent, { final: final.id })) {
        yield* change(part, part.size ?? 0)
        yield* rows(texts.takeBack, { id: part.id, reserved: part.size ?? 0 })
      }
    },

    /** A final upload has the bytes of its parts: they are not needed any more. */
    *usedParts(final: Row): Operation<void> {
      yield* rows(texts.used, { final: final.id, end: now() + usedPartsMs })
    },

    /** Somebody has come back to the upload: it holds all that it has declared, at least until then. */
    *hold(id: string, { until, expiresAt }: Hold): Operation<Upload> {
      const row = yield* first(texts.get, { id: idBytes(id) })
      if (!row) throw notFound()
      if (!isOpen(row.state)) return toUpload(row)
      const reserved = isCounted(row) ? Math.max(row.reserved, row.declared_size ?? row.received) : row.reserved
      yield* change(row, reserved, true)
      yield* rows(texts.held, { id: row.id, reserved, until: reserved > row.received ? until : null })
      yield* rows(texts.kept, { id: row.id, expiresAt })
      return toUpload({ ...row, reserved, expires_at: expiresAt })
    },

    /** Whether the upload holds all that it has declared, and will for a while. */
    *isHeld(id: string): Operation<boolean> {
      const row = yield* first(texts.get, { id: idBytes(id) })
      if (!row) return false
      const { creation, holds_until: until, declared_size: declared, reserved } = row
      if (creation !== null || (until !== null && until <= now() + marginMs)) return false
      return declared === null || reserved >= declared || !isCounted(row)
    },

    /** Nobody has come back to the upload in time: it holds what it has. */
    *lapse(id: string): Operation<void> {
      const row = yield* first(texts.get, { id: idBytes(id) })
      if (!row || row.holds_until === null || row.holds_until > now()) return
      const reserved = isOpen(row.state) ? Math.min(row.reserved, row.received) : row.reserved
      yield* change(row, reserved)
      yield* rows(texts.held, { id: row.id, reserved, until: null })
    },

    /** Uploads whose time to hold what they have not is over. */
    *lapsing(limit: number): Operation<readonly string[]> {
      return (yield* rows(texts.lapsing, { now: now(), limit })).map((row) => toUpload(row).id)
    },

    /** When the last of the parts ends that belong together with one that is complete; `null`: there is none. */
    *siblingsEnd(id: string, withinMs: number): Operation<number | null> {
      const row = yield* first(texts.get, { id: idBytes(id) })
      if (row?.partial !== 1) return null
      const before = row.created_at + withinMs
      const values = { workspace: row.workspace_id, user: row.user_id, before, now: now(), limit: lookedAt }
      return (yield* first(texts.siblings, values))?.expires_at ?? null
    },
  }
}

/** Parts of one user that are looked at. */
const lookedAt = 1_000

const isOpen = (state: UploadState): boolean => state === 'pending' || state === 'receiving'

/** Whether the quota is asked for what comes. */
export const isCounted = ({ reserved, resumable }: Pick<Row, 'reserved' | 'resumable'>): boolean =>
  reserved > 0 || (resumable !== null && JSON.parse(resumable).counted === true)

const tooMany = (what: string): UploadError =>
  new UploadError('rate_limited', `The workspace has ${what}, or wait until they expire.`, { retryAfter: retrySeconds })

function holdingQueries(db: Kysely<Schema>) {
  const one = (id: Uint8Array) => db.selectFrom('upload').selectAll().where('id', '=', id)
  const set = (id: Uint8Array) => db.updateTable('upload').where('id', '=', id)
  return {
    counters: query<{ id: string }>()((p) =>
      db.selectFrom('workspace').select(['open', 'bare']).where('id', '=', p.id),
    ),
    pushOut: query<{ workspace: string; state: UploadState; limit: number }>()((p) =>
      db
        .deleteFrom('upload')
        .where(
          'number',
          'in',
          db
            .selectFrom('upload')
            .select('number')
            .where('workspace_id', '=', p.workspace)
            .where('state', '=', p.state)
            .orderBy('id')
            .limit(p.limit),
        )
        .returning('batch_id'),
    ),
    get: query<{ id: Uint8Array }>()((p) => one(p.id)),
    twin: query<{ creation: Uint8Array }>()((p) =>
      db.selectFrom('upload').selectAll().where('creation', '=', p.creation),
    ),
    letGo: query<{ id: Uint8Array }>()((p) => set(p.id).set({ reserved: 0, creation: null, holds_until: null })),
    free: query<{ id: Uint8Array }>()((p) => one(p.id).where('partial', '=', 1).where('counts_in', 'is', null)),
    lend: query<{ id: Uint8Array; final: Uint8Array }>()((p) =>
      set(p.id).set({ reserved: 0, counts_in: p.final, holds_until: null }),
    ),
    lent: query<{ final: Uint8Array }>()((p) => db.selectFrom('upload').selectAll().where('counts_in', '=', p.final)),
    takeBack: query<{ id: Uint8Array; reserved: number }>()((p) =>
      set(p.id).set({ reserved: p.reserved, counts_in: null }),
    ),
    used: query<{ final: Uint8Array; end: number }>()((p) =>
      db
        .updateTable('upload')
        .set({ counts_in: null, partial: 0, expires_at: sql<number>`min(expires_at, ${p.end})` })
        .where('counts_in', '=', p.final),
    ),
    held: query<{ id: Uint8Array; reserved: number; until: number | null }>()((p) =>
      set(p.id).set({ reserved: p.reserved, holds_until: p.until, creation: null }),
    ),
    kept: query<{ id: Uint8Array; expiresAt: number }>()((p) => set(p.id).set({ expires_at: p.expiresAt })),
    lapsing: query<{ now: number; limit: number }>()((p) =>
      db.selectFrom('upload').selectAll().where('holds_until', '<=', p.now).orderBy('holds_until').limit(p.limit),
    ),
    siblings: query<{ workspace: string; user: string; before: number; now: number; limit: number }>()((p) =>
      db
        .selectFrom(
          db
            .selectFrom('upload')
            .select(['created_at', 'expires_at'])
            .where(sql<boolean>`partial = 1`) // as its index has it
            .where('workspace_id', '=', p.workspace)
            .where('user_id', '=', p.user)
            .where('expires_at', '>', p.now)
            .orderBy('expires_at', 'desc')
            .limit(p.limit)
            .as('some'),
        )
        .select('expires_at')
        .where('created_at', '<=', p.before)
        .orderBy('expires_at', 'desc')
        .limit(1),
    ),
  }
}
