import { type Kysely, sql } from 'kysely'
import type { Job, NewJob } from '../uploads/records.ts'
import type { Upload } from '../uploads/upload.ts'
import { first, type Operation, query, rows } from './query.ts'
import { jobColumns, toJob, toUpload } from './rows.ts'
import type { Schema } from './schema.ts'
import { insertJob } from './upload-queries.ts'

/** Characters of a failure's message that are kept. */
const errorLength = 500
/** Jobs that are counted; a queue that is longer is long enough to know. */
const countedJobs = 100_000

/** The outbox, and what the sweep looks for. */
export function jobOperations(db: Kysely<Schema>, now: () => number) {
  const texts = jobQueries(db)
  return {
    /** A claim moves `due` to the lease's end, so that the jobs of a dead worker come again by themselves. */
    *claim(limit: number, leaseMs: number): Operation<readonly Job[]> {
      const claimed = yield* rows(texts.claim, { now: now(), limit, lease: now() + leaseMs })
      return claimed.map(toJob)
    },
    *done(number: number, next: readonly NewJob[] = []): Operation<void> {
      yield* rows(texts.done, { number })
      for (const job of next) yield* rows(texts.insert, jobColumns(job, now()))
    },
    *failed(number: number, error: string, due: number | null): Operation<void> {
      yield* rows(texts.failed, {
        number,
        error: error.slice(0, errorLength),
        due: due ?? now(),
        failedAt: due === null ? now() : null,
      })
    },
    *jobs(): Operation<{ waiting: number; failed: readonly Job[] }> {
      const waiting = yield* first(texts.waiting, {})
      return { waiting: waiting?.jobs ?? 0, failed: (yield* rows(texts.givenUp, {})).map(toJob) }
    },
    *queueDepth(): Operation<{ waiting: number; failed: number }> {
      const waiting = yield* first(texts.countWaiting, { limit: countedJobs })
      const failed = yield* first(texts.countFailed, { limit: countedJobs })
      return { waiting: waiting?.jobs ?? 0, failed: failed?.jobs ?? 0 }
    },
    *retryJobs(job: number | 'all'): Operation<number> {
      const values = { due: now(), number: job === 'all' ? -1 : job }
      return (yield* rows(job === 'all' ? texts.retryAll : texts.retry, values)).length
    },
    *overdue(limit: number, after?: Pick<Upload, 'expiresAt' | 'number'>): Operation<readonly Upload[]> {
      const values = { now: now(), limit, expiresAt: after?.expiresAt ?? 0, number: after?.number ?? 0 }
      return (yield* rows(texts.overdue, values)).map(toUpload)
    },
    /** Returns, for every record that went, the batch that it was in. */
    *forget(before: number, limit: number): Operation<readonly (string | null)[]> {
      return (yield* rows(texts.forget, { before, limit })).map((row) => row.batch_id)
    },
    *unknownKeys(keys: readonly string[]): Operation<readonly string[]> {
      return (yield* rows(texts.unknownKeys, { keys: JSON.stringify(keys) })).map((row) => row.key)
    },
    *storedUnder(keys: readonly string[]): Operation<readonly { number: number; key: string; size: number | null }[]> {
      return yield* rows(texts.storedUnder, { keys: JSON.stringify(keys) })
    },
    *storedUploads(after: number, limit: number): Operation<readonly Upload[]> {
      return (yield* rows(texts.storedUploads, { after, limit })).map(toUpload)
    },
    /** Uploads that were on their way in their only request, which has gone: nobody can bring the rest. */
    *interrupted(): Operation<readonly Upload[]> {
      return (yield* rows(texts.interrupted, {})).map(toUpload)
    },
    *intents(): Operation<readonly string[]> {
      return (yield* rows(texts.intents, {})).map((row) => row.object_key)
    },
    *allDue(): Operation<void> {
      yield* rows(texts.allDue, { due: now() })
    },
  }
}

function jobQueries(db: Kysely<Schema>) {
  const counted = (limit: number, failed: 'is' | 'is not') =>
    db
      .selectFrom(db.selectFrom('job').select('number').where('failed_at', failed, null).limit(limit).as('some'))
      .select((eb) => eb.fn.countAll<number>().as('jobs'))
  return {
    claim: query<{ now: number; limit: number; lease: number }>()((p) =>
      db
        .updateTable('job')
        .set({ due: p.lease })
        .where(
          'number',
          'in',
          db
            .selectFrom('job')
            .select('number')
            .where('failed_at', 'is', null)
            .where('due', '<=', p.now)
            .orderBy('due')
            .limit(p.limit),
        )
        .returningAll(),
    ),
    insert: insertJob(db),
    done: query<{ number: number }>()((p) => db.deleteFrom('job').where('number', '=', p.number)),
    failed: query<{ number: number; error: string; due: number; failedAt: number | null }>()((p) =>
      db
        .updateTable('job')
        .set((eb) => ({ tries: eb('tries', '+', 1), error: p.error, due: p.due, failed_at: p.failedAt }))
        .where('number', '=', p.number),
    ),
    waiting: query<object>()(() =>
      db
        .selectFrom('job')
        .select((eb) => eb.fn.countAll<number>().as('jobs'))
        .where('failed_at', 'is', null),
    ),
    countWaiting: query<{ limit: number }>()((p) => counted(p.limit, 'is')),
    countFailed: query<{ limit: number }>()((p) => counted(p.limit, 'is not')),
    givenUp: query<object>()(() =>
      db.selectFrom('job').selectAll().where('failed_at', 'is not', null).orderBy('number'),
    ),
    retry: query<{ number: number; due: number }>()((p) =>
      db
        .updateTable('job')
        .set({ due: p.due, failed_at: null, tries: 0 })
        .where('failed_at', 'is not', null)
        .where('number', '=', p.number)
        .returning('number'),
    ),
    retryAll: query<{ due: number }>()((p) =>
      db
        .updateTable('job')
        .set({ due: p.due, failed_at: null, tries: 0 })
        .where('failed_at', 'is not', null)
        .returning('number'),
    ),
    overdue: query<{ now: number; limit: number; expiresAt: number; number: number }>()((p) =>
      db
        .selectFrom('upload')
        .selectAll()
        .where('expires_at', '<=', p.now)
        .where(sql<boolean>`(expires_at, number) > (${p.expiresAt}, ${p.number})`)
        .where('state', 'in', ['pending', 'receiving'])
        .where(
          sql<boolean>`not exists (select 1 from object_intent i where i.upload_id = upload.id and i.until is null and i.grows = 0)`,
        )
        .orderBy('expires_at')
        .orderBy('number')
        .limit(p.limit),
    ),
    forget: query<{ before: number; limit: number }>()((p) =>
      db
        .deleteFrom('upload')
        .where(
          'number',
          'in',
          db
            .selectFrom('upload')
            .select('number')
            .where(sql<boolean>`state in ('rejected', 'expired')`) // as its index has it
            .where('updated_at', '<', p.before)
            .limit(p.limit),
        )
        .returning('batch_id'),
    ),
    unknownKeys: query<{ keys: string }>()((p) =>
      db
        .selectFrom(sql<{ value: string }>`json_each(${p.keys})`.as('k'))
        .select('k.value as key')
        .where(
          sql<boolean>`not exists (select 1 from upload where object_key = k.value)
            and not exists (select 1 from object_intent where object_key = k.value)
            and not exists (select 1 from job where object_key = k.value)`,
        ),
    ),
    storedUnder: query<{ keys: string }>()((p) =>
      db
        .selectFrom('upload')
        .select(['number', 'size', sql<string>`object_key`.as('key')])
        .where(sql<boolean>`object_key in (select value from json_each(${p.keys}))`),
    ),
    storedUploads: query<{ after: number; limit: number }>()((p) =>
      db
        .selectFrom('upload')
        .selectAll()
        .where('number', '>', p.after)
        .where('object_key', 'is not', null)
        .orderBy('number')
        .limit(p.limit),
    ),
    interrupted: query<object>()(() =>
      db
        .selectFrom('upload')
        .selectAll()
        .where('state', '=', 'receiving')
        .where('object_key', 'is', null)
        .where('resumable', 'is', null)
        .where(
          // Few are on their way, whereas there may be very many uploads.
          sql<boolean>`id in (select i.upload_id from object_intent i where i.until is null and i.grows = 0)
            and not exists (select 1 from object_intent i where i.upload_id = upload.id and i.until is not null)`,
        ),
    ),
    intents: query<object>()(() =>
      db.selectFrom('object_intent').select('object_key').where('until', 'is', null).where('grows', '=', 0),
    ),
    allDue: query<{ due: number }>()((p) =>
      db
        .updateTable('job')
        .set({ due: p.due })
        .where('failed_at', 'is', null)
        .where('due', '>', p.due)
        // Too early it would be no second look; one that was under way comes back at once.
        .where(sql<boolean>`(kind <> 'look-again' or json_extract(payload, '$.due') <= ${p.due})`),
    ),
  }
}
