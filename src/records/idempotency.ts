import type { Kysely } from 'kysely'
import { stillRunning } from '../errors.ts'
import type { Claim, Claimed, StoredAnswer } from '../uploads/records.ts'
import { first, type Operation, query, rows } from './query.ts'
import type { Schema } from './schema.ts'

/** Milliseconds for which a key stands for its first request. */
const keptMs = 24 * 3_600_000

/**
 * Requests that make something once. A row is written by the transaction that makes the thing, so that neither is there without the
 * other: as long as `status` is null, `answer` is the id of what was made. A row past its time counts as absent.
 */
export function claimOperations(db: Kysely<Schema>, now: () => number) {
  const texts = claimQueries(db)
  return {
    /** As a part of the operation that makes `id`. */
    *note(claim: Claim, id: string): Operation<void> {
      const values = { ...claim, id, now: now(), expiresAt: now() + keptMs }
      if (!(yield* first(texts.insert, values))) throw stillRunning()
    },
    *claimed(claim: Claim): Operation<Claimed | undefined> {
      const row = yield* first(texts.get, { ...claim, now: now() })
      if (!row) return undefined
      const { fingerprint, status, answer } = row
      return status === null
        ? { fingerprint, made: answer, answer: null }
        : { fingerprint, made: null, answer: { status, ...JSON.parse(answer) } }
    },
    *answered(claim: Claim, { status, ...answer }: StoredAnswer): Operation<void> {
      yield* rows(texts.answer, {
        ...claim,
        status,
        answer: JSON.stringify(answer),
        now: now(),
        expiresAt: now() + keptMs,
      })
    },
    *release(claim: Claim, id: string): Operation<void> {
      yield* rows(texts.release, { ...claim, id })
    },
    *forgetClaims(limit: number): Operation<number> {
      return (yield* rows(texts.forget, { now: now(), limit })).length
    },
  }
}

function claimQueries(db: Kysely<Schema>) {
  return {
    insert: query<Claim & { id: string; now: number; expiresAt: number }>()((p) =>
      db
        .insertInto('idempotency')
        .values({
          principal: p.principal,
          key: p.key,
          fingerprint: p.fingerprint,
          status: null,
          answer: p.id,
          expires_at: p.expiresAt,
        })
        .onConflict((conflict) =>
          conflict
            .columns(['principal', 'key'])
            .doUpdateSet({ fingerprint: p.fingerprint, status: null, answer: p.id, expires_at: p.expiresAt })
            .where('idempotency.expires_at', '<=', p.now),
        )
        .returning('key'),
    ),
    get: query<Claim & { now: number }>()((p) =>
      db
        .selectFrom('idempotency')
        .select(['fingerprint', 'status', 'answer'])
        .where('principal', '=', p.principal)
        .where('key', '=', p.key)
        .where('expires_at', '>', p.now),
    ),
    // A request that found what it wanted has made nothing, and has no row yet.
    answer: query<Claim & { status: number; answer: string; now: number; expiresAt: number }>()((p) =>
      db
        .insertInto('idempotency')
        .values({
          principal: p.principal,
          key: p.key,
          fingerprint: p.fingerprint,
          status: p.status,
          answer: p.answer,
          expires_at: p.expiresAt,
        })
        .onConflict((conflict) =>
          conflict
            .columns(['principal', 'key'])
            .doUpdateSet({ fingerprint: p.fingerprint, status: p.status, answer: p.answer, expires_at: p.expiresAt })
            .where((eb) =>
              eb.or([
                eb.and([eb('idempotency.fingerprint', '=', p.fingerprint), eb('idempotency.status', 'is', null)]),
                eb('idempotency.expires_at', '<=', p.now),
              ]),
            ),
        ),
    ),
    release: query<Claim & { id: string }>()((p) =>
      db
        .deleteFrom('idempotency')
        .where('principal', '=', p.principal)
        .where('key', '=', p.key)
        .where('status', 'is', null)
        .where('answer', '=', p.id),
    ),
    forget: query<{ now: number; limit: number }>()((p) =>
      db
        .deleteFrom('idempotency')
        .where((eb) =>
          eb(
            eb.refTuple('principal', 'key'),
            'in',
            db
              .selectFrom('idempotency')
              .select(['principal', 'key'])
              .where('expires_at', '<=', p.now)
              .limit(p.limit)
              .$asTuple('principal', 'key'),
          ),
        )
        .returning('key'),
    ),
  }
}
