import { notFound, Rejection, UploadError } from '../errors.ts'
import { aloneWith, locked } from './alone.ts'
import { append, type AppendDependencies, complete, holdFrom, type Target } from './append.ts'
import type { ExpectedDigest } from './digests.ts'
import { finalUploads } from './final.ts'
import { type Body, ClientGone } from './ingest.ts'
import type { Locker } from './locker.ts'
import { creationDigest, newRecord } from './new-record.ts'
import { objectKey } from './object-key.ts'
import { onlookers as makeOnlookers } from './onlooker.ts'
import { checkDraft } from './policy.ts'
import { owned, type Principal } from './principal.ts'
import type { Claim } from './records.ts'
import { newSession, type Session } from './session.ts'
import { cutTail, cutTails } from './tails.ts'
import type { NewUpload, Resumable, Upload } from './upload.ts'
import type { VerdictWaits } from './verdicts.ts'

/** Milliseconds that somebody who only asks waits for what is going on with the upload. */
const askMs = 1_000

export interface ResumableDependencies extends Omit<AppendDependencies, 'onlookers' | 'verdictJob'> {
  /** Parts that a final upload may name, and how often the same one. */
  readonly partsPerUpload: number
  readonly timesPerPart: number
  readonly locker: Locker
  readonly verdicts: VerdictWaits
  /** Work that ends, with the reason, when somebody ends the upload. */
  readonly stoppable: (
    id: string,
    work: (signal: AbortSignal) => Promise<Upload>,
    stopped?: AbortController,
  ) => Promise<Upload>
  /** Removes all that is left of the upload. */
  discard(id: string): Promise<void>
  /** Ends an upload whose bytes are refused. */
  reject(id: string, rejection: Rejection): Promise<void>
}

/** What a client sends in one request. */
export interface Sent {
  readonly body: Body
  readonly sum: ExpectedDigest | null
}

export interface Continued extends Sent {
  /** Bytes that the client takes for received. */
  readonly offset: number
  /** Bytes that the upload has in all, when the client tells that only now. */
  readonly length: number | null
}

/** Uploads that come in one request or in many: the offset on record is the truth, and nothing behind it counts. */
export function resumables(given: ResumableDependencies) {
  const { records, store, verdicts, expiryMs } = given
  const onlookers = makeOnlookers()
  const deps: AppendDependencies = { ...given, onlookers, verdictJob: verdicts.job }
  const finals = finalUploads(given)
  const newestAlone = aloneWith(given)
  const sessions = new Map<string, Session>()
  const finishings = new Map<string, Promise<Upload>>()

  /**
   * Makes an upload, with its first bytes when they come along.
   *
   * @param sent `null`: no bytes
   */
  async function begin(
    principal: Principal,
    draft: NewUpload,
    resumable: Pick<Resumable, 'metadata' | 'concat' | 'partial'>,
    sent: Sent | null,
    claim: Claim | null,
  ): Promise<Upload> {
    const record = await newRecord(given, principal, draft, claim)
    const { id } = record
    const key = objectKey(id)
    const { declaredSize: length } = draft
    const counted = record.reserve > 0 || (await isCounted(principal, draft))
    const upload = records.create({
      ...record,
      state: 'pending',
      stagedKey: key,
      put: null,
      resumable: { ...resumable, parts: null, answered: false, counted },
      // Parts of one file are equal by intent.
      creation:
        counted && length !== null && !sent && !resumable.partial ? creationDigest(principal, draft, resumable) : null,
      holdsUntil: record.reserve > 0 ? record.createdAt + given.holdMs : null,
      expiresAt: record.createdAt + expiryMs,
    })
    if (!sent && length !== 0) return upload
    const growth = { bytes: 0, note: null, pieces: [] }
    const { partial } = resumable
    const target = { id, key, growth, length, category: draft.category, partial, counted, upload }
    try {
      return await answer(
        await alone(id, (signal, session) =>
          sent ? append(deps, target, { ...sent, signal, session }) : complete(deps, target),
        ),
      )
    } catch (error) {
      await upload.catch(() => {})
      if (isRefusal(error)) await given.reject(id, error)
      // A client that does not know its address cannot go on with it; but what has come of a body that broke off is kept.
      else if (!isInterruption(error)) await given.discard(id)
      throw error
    }
  }

  /** Whether somebody would hold quota for the bytes, of whose number nothing is known. */
  async function isCounted(principal: Principal, draft: NewUpload): Promise<boolean> {
    if (draft.declaredSize !== null) return false
    const { reserve } = await given.pipeline.beforeCreate({ ...draft, declaredSize: 1 }, principal.workspaceId)
    return reserve > 0
  }

  /** Goes on with an upload. @throws {UploadError} `upload_state_conflict` when its offset is another */
  async function proceed(principal: Principal, id: string, sent: Continued): Promise<Upload> {
    const upload = await owned(records, principal, id, 'uploads:write')
    throwIfEnded(upload)
    if (upload.resumable?.parts) throw new UploadError('upload_final', 'This upload takes its bytes from its parts.')
    if (isWhole(upload)) return again(upload, sent)
    const brought = await alone(upload.id, async (signal, session) => {
      try {
        return await goOn(upload.id, sent, signal, session)
      } catch (error) {
        // Before the next request has its turn: it must not go on with what is about to be removed.
        if (isRefusal(error)) await given.reject(upload.id, error)
        throw error
      }
    })
    return answer(brought)
  }

  async function goOn(id: string, sent: Continued, signal: AbortSignal, session: Session): Promise<Upload> {
    // While it waited for its turn the one before has gone on.
    const now = await records.get(id)
    const growth = await records.growth(id)
    if (now) throwIfEnded(now)
    if (!now || !growth || now.received !== sent.offset) throw wrongOffset(now)
    const length = sent.length === null ? now.declaredSize : await learnLength(now, sent.length)
    // It moves on while bytes come, and what comes has room.
    if (!(await records.isHeld(id)) || sent.length !== null || (now.expiresAt ?? 0) < Date.now() + expiryMs / 2)
      await records.hold(id, holdFrom(given))
    const target = targetOf({ ...now, declaredSize: length }, growth)
    // Nothing was missing but that its length was told.
    if (length === now.received && sent.body.length === 0) return complete(deps, target)
    return append(deps, target, { ...sent, signal, session })
  }

  async function learnLength(upload: Upload, length: number): Promise<number> {
    if (upload.declaredSize !== null && upload.declaredSize !== length)
      throw new UploadError('validation_failed', 'The length of the upload was given before, and was another.')
    if (length < upload.received)
      throw new UploadError('validation_failed', `The upload has ${upload.received} bytes already.`)
    if (upload.declaredSize !== null) return length
    const draft = { ...upload, declaredSize: length }
    checkDraft(given.policy, draft)
    const { reserve } = await given.pipeline.beforeCreate(draft, upload.workspaceId)
    await records.setLength(upload.id, length, reserve)
    return length
  }

  /** A request for an upload that has all its bytes. */
  async function again(upload: Upload, { offset, body }: Continued): Promise<Upload> {
    const size = upload.size ?? upload.declaredSize ?? upload.received
    if (offset !== size) throw wrongOffset(upload)
    if (body.length !== 0) throw new UploadError('file_too_large', `The upload has all of its ${size} bytes.`)
    return answer(isUnfinished(upload) ? await finish(upload) : upload)
  }

  /** With the verdict, as long as a request may wait for it. */
  async function answer(upload: Upload): Promise<Upload> {
    if (upload.state !== 'processing') return upload
    const decided = await verdicts.wait(upload)
    if (decided.state === 'processing') await records.answeredEarly(upload.id)
    return decided
  }

  /** Where an upload is. A request that brings bytes meanwhile goes on. @throws {UploadError} `upload_locked`, why it ended */
  async function look(principal: Principal, id: string): Promise<Upload> {
    const known = await owned(records, principal, id, 'uploads:write')
    await sessions.get(known.id)?.settle()
    const upload = (await records.get(known.id)) ?? known
    throwIfEnded(upload)
    return seen(isUnfinished(upload) ? await within(finish(upload)) : upload)
  }

  /** Nobody hears that all bytes are there before there is a verdict on them. */
  async function seen(upload: Upload): Promise<Upload> {
    if (upload.state !== 'processing' || upload.resumable?.answered) return upload
    return within(verdicts.decide(upload)).catch((error: unknown) => {
      throw error instanceof Rejection ? endedBy(error) : error
    })
  }

  /** Makes an upload whole of which all bytes are there, once for all who ask. */
  function finish(upload: Upload): Promise<Upload> {
    const { id } = upload
    let finishing = finishings.get(id)
    if (!finishing) {
      const work = upload.resumable?.parts
        ? given.stoppable(id, (signal) => finals.assemble(upload, signal))
        : alone(id, async () => {
            const [now, growth] = [await records.get(id), await records.growth(id)]
            return now && growth ? complete(deps, targetOf(now, growth)) : (now ?? upload)
          })
      finishing = work.finally(() => finishings.delete(id))
      finishings.set(id, finishing)
      // Whoever asked may have gone.
      finishing.catch(() => {})
    }
    return finishing
  }

  /** Makes one upload of others. @param ids in the order of their bytes */
  async function join(...asked: Parameters<typeof finals.create>): Promise<Upload> {
    const upload = await finals.create(...asked)
    throwIfEnded(upload)
    return answer(isUnfinished(upload) ? await finish(upload) : upload)
  }

  function alone(id: string, work: (signal: AbortSignal, session: Session) => Promise<Upload>): Promise<Upload> {
    return newestAlone(id, async (signal) => {
      const session = newSession(expiryMs / 2)
      sessions.set(id, session)
      try {
        return await work(signal, session)
      } finally {
        sessions.delete(id)
        session.close()
      }
    })
  }

  return {
    begin,
    proceed,
    join,
    look,

    /** The upload as it is on record. */
    async get(principal: Principal, id: string): Promise<Upload> {
      const upload = await owned(records, principal, id, 'uploads:write')
      if (upload.resumable === null) throw notFound()
      return upload
    },

    /** What a request has made whose answer was lost. */
    async recall(id: string): Promise<Upload | undefined> {
      const upload = await records.get(id)
      if (!upload || upload.state === 'rejected' || upload.state === 'expired') return undefined
      return answer(isUnfinished(upload) ? await finish(upload) : upload)
    },

    /** As the job of an upload whose bytes are all there. */
    async resume(id: string): Promise<void> {
      const upload = await records.get(id)
      if (upload && isUnfinished(upload)) await finish(upload)
    },

    /** Cuts off what the object of an upload has beyond what counts, and had before that time; a running request does so by itself. */
    async trim(id: string, before: number): Promise<void> {
      const upload = await records.get(id)
      if (upload && !sessions.has(id)) await alone(id, async () => (await cutTail(given, id, before), upload))
    },

    /** At the start: what was asked of the store before may come after all, and nothing else may come under those keys then. */
    async recover(): Promise<void> {
      if (store.settledMs === undefined) return cutTails(given)
      for (const { id, key } of await records.unnoted()) await records.renewKey(id, key, objectKey(id))
    },
  }
}

export type ResumableUploads = ReturnType<typeof resumables>

const targetOf = (upload: Upload, { key, ...growth }: { readonly key: string } & Target['growth']): Target => ({
  id: upload.id,
  key,
  growth,
  length: upload.declaredSize,
  category: upload.category,
  partial: upload.resumable?.partial ?? false,
  counted: upload.resumable?.counted === true || upload.reserved > 0,
  upload: Promise.resolve(upload),
})

/** All bytes are there, whatever is still to be done with them. */
const isWhole = (upload: Upload): boolean =>
  upload.objectKey !== null || (upload.declaredSize !== null && upload.received === upload.declaredSize)

/** All bytes are there, and the object is not whole yet. */
const isUnfinished = (upload: Upload): boolean =>
  upload.resumable !== null &&
  upload.objectKey === null &&
  (upload.state === 'pending' || upload.state === 'receiving') &&
  (upload.resumable.parts !== null || isWhole(upload))

/** What is wrong with the file for good. Where there is no room for it now, there may be later. */
const isRefusal = (error: unknown): error is Rejection => error instanceof Rejection && error.code !== 'quota_exceeded'

/** The client has gone, or a newer request goes on where this one was. */
const isInterruption = (error: unknown): boolean =>
  error instanceof ClientGone || (error instanceof UploadError && error.code === 'upload_locked')

/** Says where the upload is, unless that would be to say that all bytes are there before there is a verdict on them. */
function wrongOffset(now?: Upload): UploadError {
  const judged = now?.state !== 'processing' || now.resumable?.answered
  const known = now !== undefined && judged && !isUnfinished(now)
  return new UploadError('upload_state_conflict', 'The offset is not where the upload is: ask for it with HEAD.', {
    facts: known ? { upload_offset: now.received } : {},
  })
}

const endedBy = ({ code, message }: Pick<UploadError, 'code' | 'message'>): UploadError =>
  new UploadError(code, message, { ended: true })

/** @throws {UploadError} why the upload takes no more bytes and never will */
function throwIfEnded(upload: Upload): void {
  if (upload.resumable === null) throw notFound()
  if (upload.state === 'expired') throw new UploadError('upload_expired', 'The upload was not finished in time.')
  if (upload.state !== 'rejected') return
  throw endedBy(upload.rejection ?? { code: 'file_type_not_allowed', message: 'The file was refused.' })
}

/** The same promise, as long as somebody who only asks may wait. */
async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(locked('The upload is being checked.')), askMs)
  })
  promise.catch(() => {})
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
