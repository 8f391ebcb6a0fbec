import { type Kysely, sql } from 'kysely'
import type { Finding } from '../uploads/records.ts'
import { type Operation, query, rows } from './query.ts'
import type { Schema } from './schema.ts'

/** The invariant: for each workspace, counters = sums over its uploads = sums over its ledger. */
export function auditOperations(db: Kysely<Schema>, now: () => number) {
  const texts = auditQueries(db)
  return {
    *audit(): Operation<readonly Finding[]> {
      const findings: Finding[] = []
      const uploads = new Map((yield* rows(texts.uploads, {})).map((row) => [row.workspace_id, row]))
      const ledger = new Map((yield* rows(texts.ledger, {})).map((row) => [row.workspace_id, row]))
      const workspaces = yield* rows(texts.workspaces, {})
      for (const workspace of workspaces)
        for (const counter of ['used', 'reserved'] as const) {
          const counted = workspace[counter]
          const summed = uploads.get(workspace.id)?.[counter] ?? 0
          const booked = ledger.get(workspace.id)?.[counter] ?? 0
          if (counted !== summed || counted !== booked)
            findings.push(
              `Workspace ${workspace.id}: ${counter} is ${counted} bytes by its counter, ${summed} by its uploads and ${booked} by its ledger.`,
            )
        }
      for (const workspace of workspaces)
        for (const [counter, of] of [
          ['open', 'unfinished uploads'],
          ['bare', 'records without bytes'],
        ] as const) {
          const counted = uploads.get(workspace.id)?.[counter] ?? 0
          if (workspace[counter] !== counted)
            findings.push(
              `Workspace ${workspace.id}: its counter says ${workspace[counter]} ${of}, and there are ${counted}.`,
            )
        }
      const known = new Set(workspaces.map((workspace) => workspace.id))
      for (const id of ledger.keys())
        if (!known.has(id)) findings.push(`The ledger has rows of workspace ${id}, which does not exist.`)
      for (const row of yield* rows(texts.incomplete, {}))
        findings.push(`Upload number ${row.number} is ${row.state} but has no object or no size.`)
      for (const row of yield* rows(texts.stuck, {}))
        findings.push(`Upload number ${row.number} is processing, but no job will finish it.`)
      return findings
    },

    /** Keeps the ledger from growing for ever: the oldest rows become one row with their sums. */
    *foldLedger(before: number, limit: number): Operation<number> {
      const old = yield* rows(texts.takeOld, { before, limit })
      const sums = new Map<string, { used: number; reserved: number }>()
      for (const row of old) {
        const sum = sums.get(row.workspace_id) ?? { used: 0, reserved: 0 }
        sums.set(row.workspace_id, { used: sum.used + row.used, reserved: sum.reserved + row.reserved })
      }
      for (const [workspace, sum] of sums)
        if (sum.used !== 0 || sum.reserved !== 0) yield* rows(texts.insertFolded, { workspace, ...sum, at: now() })
      return old.length
    },
  }
}

function auditQueries(db: Kysely<Schema>) {
  return {
    workspaces: query<object>()(() =>
      db.selectFrom('workspace').select(['id', 'used', 'reserved', 'open', 'bare']).orderBy('id'),
    ),
    uploads: query<object>()(() =>
      db
        .selectFrom('upload')
        .select([
          'workspace_id',
          sql<number>`sum(case when state = 'ready' then size else 0 end)`.as('used'),
          (eb) => eb.fn.sum<number>('reserved').as('reserved'),
          sql<number>`sum(state in ('pending', 'receiving'))`.as('open'),
          sql<number>`sum(object_key is null or size is 0)`.as('bare'),
        ])
        .groupBy('workspace_id'),
    ),
    ledger: query<object>()(() =>
      db
        .selectFrom('ledger')
        .select([
          'workspace_id',
          (eb) => eb.fn.sum<number>('used').as('used'),
          (eb) => eb.fn.sum<number>('reserved').as('reserved'),
        ])
        .groupBy('workspace_id'),
    ),
    incomplete: query<object>()(() =>
      db
        .selectFrom('upload')
        .select(['number', 'state'])
        .where('state', 'in', ['processing', 'ready'])
        .where((eb) => eb.or([eb('object_key', 'is', null), eb('size', 'is', null)])),
    ),
    stuck: query<object>()(() =>
      db
        .selectFrom('upload')
        .select('number')
        .where('state', '=', 'processing')
        .where(sql<boolean>`not exists (select 1 from job where upload_id = upload.id and kind = 'verdict')`),
    ),
    takeOld: query<{ before: number; limit: number }>()((p) =>
      db
        .deleteFrom('ledger')
        .where('number', 'in', db.selectFrom('ledger').select('number').orderBy('number').limit(p.limit))
        .where('at', '<', p.before)
        .returning(['workspace_id', 'used', 'reserved']),
    ),
    insertFolded: query<{ workspace: string; used: number; reserved: number; at: number }>()((p) =>
      db.insertInto('ledger').values({
        workspace_id: p.workspace,
        upload_id: null,
        kind: 'folded',
        used: p.used,
        reserved: p.reserved,
        at: p.at,
      }),
    ),
  }
}
