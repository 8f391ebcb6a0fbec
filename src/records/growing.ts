import { type Kysely, sql } from 'kysely'
import { UploadError } from '../errors.ts'
import type { ByteRange, Growth, Piece } from '../uploads/object-store.ts'
import type { Grown } from '../uploads/records.ts'
import type { Resumable, Upload } from '../uploads/upload.ts'
import { isCounted } from './holdings.ts'
import { first, type Operation, query, rows } from './query.ts'
import { idBytes, idText, toUpload } from './rows.ts'
import type { Schema } from './schema.ts'
import { givenUp, type uploadOperations, wrongState } from './uploads.ts'

/** Uploads whose objects grow over several requests. */
export function growingOperations(
  db: Kysely<Schema>,
  core: ReturnType<typeof uploadOperations>['core'],
  now: () => number,
) {
  const { texts: base, count, addJobs, replaceVerdicts, load, write } = core
  const texts = growingQueries(db)

  return {
    *growth(id: string): Operation<({ readonly key: string } & Growth) | undefined> {
      const row = yield* first(texts.growing, { id: idBytes(id) })
      if (!row) return undefined
      const pieces: readonly Piece[] = yield* rows(texts.pieces, { key: row.key })
      return { key: row.key, note: row.note, bytes: row.bytes, pieces }
    },

    *growingUnder(key: string): Operation<string | undefined> {
      const row = yield* first(texts.growingUnder, { key })
      return row && idText(row.id)
    },

    *grow(id: string, { key, bytes, pieces, expiresAt, holdsUntil, jobs }: Grown): Operation<Upload> {
      const row = yield* load(id, ['pending', 'receiving'])
      if ((yield* first(texts.growing, { id: row.id }))?.key !== key) throw givenUp()
      if (bytes < row.received) throw wrongState(row.state)
      // What was declared is held already; of the rest at least what counts is, where the quota is asked at all.
      const held = isCounted(row) ? Math.max(row.reserved, bytes) : 0
      yield* count(row, 'reservation', 0, held - row.reserved, true)
      const [newest] = pieces
      if (newest) yield* rows(texts.replacePieces, { key, start: newest.start })
      for (const { start, size, ref, bytes: kept } of pieces)
        yield* rows(texts.insertPiece, { key, start, size, ref, bytes: kept })
      yield* replaceVerdicts(row, jobs)
      return yield* write(row, {
        state: 'receiving',
        received: bytes,
        reserved: held,
        holds_until: held > bytes ? holdsUntil : null,
        creation: null,
        expires_at: expiresAt,
      })
    },

    *keptBytes(key: string, { start, end }: ByteRange): Operation<Uint8Array> {
      const found = yield* rows(texts.keptBytes, { key, start, end })
      const [from = start] = found.map((piece) => piece.start)
      const bytes = Buffer.concat(found.flatMap((piece) => piece.bytes ?? [])).subarray(start - from, end - from)
      if (bytes.length !== end - start)
        throw new UploadError('internal', 'Bytes that should be on record are not there.')
      return bytes
    },

    *renewKey(id: string, from: string, to: string): Operation<void> {
      const moved = yield* first(texts.renewIntent, { id: idBytes(id), from, to, at: now() })
      if (!moved) throw givenUp()
      yield* rows(texts.renewPieces, { from, to })
      yield* addJobs([{ kind: 'clear-object', key: from, note: null, until: null }])
    },

    *unnoted(): Operation<readonly { id: string; key: string }[]> {
      return (yield* rows(texts.unnoted, {})).map(({ id, key }) => ({ id: idText(id), key }))
    },

    *setLength(id: string, bytes: number, reserve: number): Operation<Upload> {
      const row = yield* load(id, ['pending', 'receiving'])
      if (row.declared_size !== null && row.declared_size !== bytes)
        throw new UploadError('upload_state_conflict', 'The length of the upload was given before, and was another.')
      const held = reserve === 0 ? row.reserved : Math.max(reserve, row.received)
      yield* count(row, 'reservation', 0, held - row.reserved, true)
      return yield* write(row, { declared_size: bytes, reserved: held })
    },

    *answeredEarly(id: string): Operation<void> {
      const row = yield* first(base.get, { id: idBytes(id) })
      if (!row || row.resumable === null) return
      const resumable: Resumable = { ...JSON.parse(row.resumable), answered: true }
      yield* write(row, { resumable: JSON.stringify(resumable) })
    },

    *joined(digest: Uint8Array): Operation<Upload | undefined> {
      const row = yield* first(base.joined, { digest })
      return row && toUpload(row)
    },
  }
}

function growingQueries(db: Kysely<Schema>) {
  return {
    growing: query<{ id: Uint8Array }>()((p) =>
      db
        .selectFrom('object_intent')
        .innerJoin('upload', 'upload.id', 'object_intent.upload_id')
        .select(['object_intent.object_key as key', 'object_intent.note as note', 'upload.received as bytes'])
        .where('object_intent.upload_id', '=', p.id)
        .where('object_intent.grows', '=', 1),
    ),
    growingUnder: query<{ key: string }>()((p) =>
      db.selectFrom('object_intent').select('upload_id as id').where('object_key', '=', p.key).where('grows', '=', 1),
    ),
    pieces: query<{ key: string }>()((p) =>
      db.selectFrom('object_piece').select(['start', 'size', 'ref']).where('object_key', '=', p.key).orderBy('start'),
    ),
    replacePieces: query<{ key: string; start: number }>()((p) =>
      db.deleteFrom('object_piece').where('object_key', '=', p.key).where('start', '>=', p.start),
    ),
    insertPiece: query<{ key: string; start: number; size: number; ref: string | null; bytes: Uint8Array | null }>()(
      (p) =>
        db
          .insertInto('object_piece')
          .values({ object_key: p.key, start: p.start, size: p.size, ref: p.ref, bytes: p.bytes }),
    ),
    keptBytes: query<{ key: string; start: number; end: number }>()((p) =>
      db
        .selectFrom('object_piece')
        .select(['start', 'bytes'])
        .where('object_key', '=', p.key)
        .where('start', '<', p.end)
        .where(sql<boolean>`start + size > ${p.start}`)
        .where('ref', 'is', null)
        .orderBy('start'),
    ),
    renewIntent: query<{ id: Uint8Array; from: string; to: string; at: number }>()((p) =>
      db
        .updateTable('object_intent')
        .set({ object_key: p.to, at: p.at })
        .where('upload_id', '=', p.id)
        .where('object_key', '=', p.from)
        .where('grows', '=', 1)
        .returning('object_key'),
    ),
    renewPieces: query<{ from: string; to: string }>()((p) =>
      db.updateTable('object_piece').set({ object_key: p.to }).where('object_key', '=', p.from),
    ),
    unnoted: query<object>()(() =>
      db
        .selectFrom('object_intent')
        .select(['upload_id as id', 'object_key as key'])
        .where('grows', '=', 1)
        .where('note', 'is', null),
    ),
  }
}
