import { UploadError } from '../errors.ts'
import { checkOf, type ExpectedDigest, mismatch } from './digests.ts'
import { type Body, ClientGone, type IngestDependencies, intakeOptions } from './ingest.ts'
import { objectKey } from './object-key.ts'
import type { Growth } from './object-store.ts'
import { onlooker, type OnlookerDependencies, type Onlookers } from './onlooker.ts'
import type { Reserve } from './pipeline.ts'
import { sizeLimit } from './policy.ts'
import { intake } from './receive.ts'
import type { NewJob, Records } from './records.ts'
import type { Session } from './session.ts'
import type { Upload } from './upload.ts'

export interface AppendDependencies extends IngestDependencies, OnlookerDependencies {
  readonly records: Records
  readonly onlookers: Onlookers
  /** Milliseconds for which an unfinished upload is kept after something has come for it. */
  readonly expiryMs: number
  /** Milliseconds for which an upload to which nobody comes back holds what it has declared. */
  readonly holdMs: number
  readonly reserveFor: (id: string) => Reserve
  readonly verdictJob: (id: string) => NewJob
}

/** An upload that bytes are about to come for. */
export interface Target {
  readonly id: string
  readonly key: string
  readonly growth: Growth
  /** Bytes that the upload will have; `null`: not known. */
  readonly length: number | null
  readonly category: string | null
  readonly partial: boolean
  /** Whether what comes counts against the quota. */
  readonly counted: boolean
  /** Resolves when its record is written. */
  readonly upload: Promise<Upload>
}

/** One body that goes on with an upload. */
export interface Append {
  readonly body: Body
  /** What the protocol's own header says of the body. */
  readonly sum: ExpectedDigest | null
  readonly signal: AbortSignal
  readonly session: Session
}

/**
 * Takes one body, and keeps what has come of it, however it ends; of a body with a checksum all or nothing. With the last byte the upload
 * is `processing`, or a part that is complete.
 *
 * @throws {UploadError} what is wrong with the bytes · {ClientGone}
 */
export async function append(
  deps: AppendDependencies,
  target: Target,
  { body, sum: ownSum, signal, session }: Append,
): Promise<Upload> {
  const { onlookers } = deps
  const { id, length, growth } = target
  const most = length ?? sizeLimit(deps.policy, target.category)
  const room = most - growth.bytes
  if (body.length !== null && body.length > room) throw tooMuch(length, most)
  // A client that waits for "100 Continue" is told to go on only when its upload has been accepted.
  if (body.waits) {
    await target.upload
    body.accept()
  }
  const sum = checkOf([...(ownSum ? [ownSum] : []), ...(body.digests ?? [])])
  const source = intake(body.stream, { ...intakeOptions(deps, body), limit: room, signal })
  const growing = grow(deps, target, {
    coming: body.length ?? (length === null ? null : room),
    hold: sum !== undefined,
  })
  const { writer } = growing
  const reserve = deps.reserveFor(id)
  let at = growth.bytes
  let seen = target.partial ? undefined : onlookers.take(id, at)
  /** Bytes with a checksum may be refused only when they are the right ones. */
  let refusal: unknown
  try {
    const upload = await target.upload
    if (!seen && at === 0 && !target.partial) seen = onlooker(deps, upload, { reserve })
    session.open(source, () => writer.bytes)
    const { end } = await source.drain(async (chunks, bytes) => {
      if (bytes > 0) {
        at += bytes
        // Not a byte is written for which there is no room, be it the right one or not.
        if (length === null && target.counted) await reserve(at)
        await watch(() => seen?.before(chunks, at === length))
        const written = writer.write(chunks)
        // Should a tap fail first, the write's own failure must not go unheard.
        written.catch(() => {})
        if (sum) for (const chunk of chunks) sum.update(chunk)
        await watch(() => seen?.pass(chunks))
        await written
      }
      await session.keepIfAsked(async () => {
        if (sum) await deps.records.hold(id, holdFrom(deps))
        else await writer.save()
      })
    })
    if (end === 'overflow') throw tooMuch(length, most)
    const cut = end === 'whole' ? undefined : (reasonOf(signal) ?? gone())
    if (sum && cut) throw cut
    const wrong = await sum?.wrong()
    if (wrong)
      throw new UploadError(wrong === ownSum ? 'chunk_checksum_mismatch' : 'checksum_mismatch', mismatch(wrong))
    if (refusal !== undefined) throw refusal
    if (at === length) return await growing.finish(seen)
    await writer.save()
    await writer.abort()
    // Of a length that is not known only what has come is held between requests.
    if (length === null) await deps.records.unreserve(id)
    if (seen) onlookers.keep(id, seen)
    seen = undefined
    if (cut) throw cut
    return growing.newest() ?? upload
  } catch (error) {
    source.stop()
    seen?.drop()
    await growing.abort().catch(() => {})
    if (length === null) await deps.records.unreserve(id).catch(() => {})
    if (error instanceof UploadError && error.code === 'storage_failed') await growing.renew()
    throw error
  }

  async function watch(look: () => Promise<void> | undefined): Promise<void> {
    try {
      await look()
    } catch (error) {
      if (!sum) throw error
      refusal = error
      seen?.drop()
      seen = undefined
    }
  }
}

/** Makes an upload whole of which all bytes count: the process that should have done it has died, or its store was away. */
export async function complete(deps: AppendDependencies, target: Target): Promise<Upload> {
  const growing = grow(deps, target, { coming: 0, hold: false })
  const { id, growth } = target
  const seen = target.partial ? undefined : deps.onlookers.take(id, growth.bytes)
  try {
    return await growing.finish(seen)
  } catch (error) {
    seen?.drop()
    await growing.abort().catch(() => {})
    throw error
  }
}

/** The object of the upload, with what goes on record about it. */
function grow(
  { records, store, verdictJob, expiryMs, holdMs }: AppendDependencies,
  { id, key, growth, length, partial, upload }: Target,
  how: { readonly coming: number | null; readonly hold: boolean },
) {
  let newest: Upload | undefined
  const writer = store.grow(key, {
    ...how,
    growth,
    length,
    note: (text) => records.note(key, text),
    async keep(bytes, pieces) {
      await upload
      const jobs = bytes === length ? [verdictJob(id)] : []
      const now = Date.now()
      const times = { expiresAt: now + expiryMs, holdsUntil: now + holdMs }
      newest = await records.grow(id, { key, bytes, pieces, ...times, jobs })
    },
    kept: (range) => records.keptBytes(key, range),
  })

  return {
    writer,
    newest: () => newest,
    renew,
    /** After a failure. */
    async abort(): Promise<void> {
      await writer.abort().catch(() => {})
      const made = await upload.catch(() => undefined)
      const now = made && (await records.get(id))
      // It has ended meanwhile: its object may have been cleared before this writer began it.
      if (made && (!now || now.state === 'rejected' || now.state === 'expired')) await records.abandon(key)
    },
    /** @param seen what has seen all bytes of it; without, they are looked at when they are stored */
    async finish(seen: ReturnType<Onlookers['take']>): Promise<Upload> {
      const size = length ?? growth.bytes
      const facts = seen ? await seen.end() : { patch: {}, sha256: null }
      await upload
      await writer.finish().catch(async (error: unknown) => {
        await renew()
        throw error
      })
      if (partial)
        return records.stored(id, { key, size, ...facts, to: 'receiving', expiresAt: Date.now() + expiryMs, jobs: [] })
      const jobs = [verdictJob(id)]
      return records.stored(id, { key, size, ...facts, to: 'processing', expiresAt: null, jobs })
    },
  }

  /** What the store was last asked for may come after all: nothing else may come under that key then. */
  async function renew(): Promise<void> {
    const now = store.settledMs === undefined ? undefined : await records.growth(id)
    if (now?.key === key && now.note === null) await records.renewKey(id, key, objectKey(id))
  }
}

/** What an upload holds from now on to which somebody has come back. */
export const holdFrom = ({ holdMs, expiryMs }: Pick<AppendDependencies, 'holdMs' | 'expiryMs'>) => ({
  until: Date.now() + holdMs,
  expiresAt: Date.now() + expiryMs,
})

const gone = (): ClientGone => new ClientGone('The client closed the connection before the end of the body.')

const reasonOf = (signal: AbortSignal): Error | undefined =>
  signal.aborted && signal.reason instanceof Error ? signal.reason : undefined

const tooMuch = (length: number | null, limit: number): UploadError =>
  length === null
    ? new UploadError('file_too_large', `The file has more than the ${limit} bytes that are allowed.`)
    : new UploadError('file_too_large', `The upload has ${length} bytes, and the body goes beyond them.`)
