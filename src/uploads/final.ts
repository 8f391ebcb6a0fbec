import { createHash } from 'node:crypto'
import { Rejection, UploadError } from '../errors.ts'
import { newRecord } from './new-record.ts'
import { objectKey } from './object-key.ts'
import { isUuid, owned, type Principal } from './principal.ts'
import type { Claim } from './records.ts'
import type { ResumableDependencies } from './resumable.ts'
import type { NewUpload, Resumable, Upload } from './upload.ts'

/** Uploads whose bytes are those of partial uploads, one after another. The row with its parts is the job: a crash starts it again. */
export function finalUploads(given: Omit<ResumableDependencies, 'locker' | 'stoppable' | 'discard'>) {
  const { records, store, verdicts, expiryMs } = given

  /** Makes the record of an upload of others, or finds it. @param ids in the order of their bytes */
  async function create(
    principal: Principal,
    draft: NewUpload,
    resumable: Pick<Resumable, 'metadata' | 'concat'>,
    ids: readonly string[],
    claim: Claim | null,
  ): Promise<Upload> {
    const joined = createHash('sha256')
      .update(JSON.stringify([principal.workspaceId, ids, resumable.metadata]))
      .digest()
    // Also when the parts have gone meanwhile.
    const made = await records.joined(joined)
    if (made) return owned(records, principal, made.id, 'uploads:write')
    checkNamed(ids)
    const parts = new Map<string, Upload>()
    for (const id of new Set(ids)) parts.set(id, await part(principal, id))
    const declaredSize = ids.reduce((sum, id) => sum + (parts.get(id)?.size ?? 0), 0)
    const record = await newRecord(given, principal, { ...draft, declaredSize }, claim)
    return records
      .create({
        ...record,
        state: 'receiving',
        stagedKey: null,
        put: null,
        joined,
        resumable: { ...resumable, partial: false, parts: ids, answered: false, counted: false },
        expiresAt: record.createdAt + expiryMs,
        jobs: [verdicts.job(record.id)],
      })
      .catch(async (error: unknown) => {
        // Another request for the same has come first.
        const twin = await records.joined(joined)
        if (twin) return owned(records, principal, twin.id, 'uploads:write')
        throw error
      })
  }

  function checkNamed(ids: readonly string[]): void {
    if (ids.length > given.partsPerUpload)
      throw new UploadError('validation_failed', `A final upload names at most ${given.partsPerUpload} parts.`)
    const times = new Map<string, number>()
    for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1)
    if (Math.max(...times.values()) > given.timesPerPart)
      throw new UploadError(
        'validation_failed',
        `A final upload names the same part at most ${given.timesPerPart} times: send its bytes again as another part.`,
      )
  }

  async function part(principal: Principal, id: string): Promise<Upload> {
    const upload = isUuid(id) ? await owned(records, principal, id, 'uploads:write') : undefined
    if (!upload?.resumable?.partial || upload.state === 'expired' || upload.state === 'rejected')
      throw new UploadError('validation_failed', 'A final upload is made of partial uploads, and one of these is none.')
    if (upload.objectKey === null)
      throw new UploadError('upload_not_received', 'One of the partial uploads has not got all its bytes yet.')
    return upload
  }

  /** Puts its bytes together, and makes it `processing`. */
  async function assemble({ id, resumable }: Upload, signal: AbortSignal): Promise<Upload> {
    const key = objectKey(id)
    await records.stage(id, key)
    const ids = resumable?.parts ?? []
    try {
      const sources = await sourcesOf(ids)
      await store
        .concat(sources, key, { signal, note: (text) => records.note(key, text) })
        .catch(async (error: unknown) => {
          // A source that was deleted meanwhile is no failure of the store.
          await sourcesOf(ids)
          throw error
        })
      const size = sources.reduce((sum, source) => sum + source.size, 0)
      return await records.stored(id, {
        key,
        size,
        sha256: null,
        patch: {},
        to: 'processing',
        expiresAt: null,
        jobs: [verdicts.job(id)],
      })
    } catch (error) {
      await records.abandon(key)
      if (error instanceof Rejection) await given.reject(id, error)
      throw error
    }
  }

  /** @throws {Rejection} when one of them was deleted */
  async function sourcesOf(
    ids: readonly string[],
  ): Promise<readonly { readonly key: string; readonly size: number }[]> {
    const parts = await Promise.all(ids.map((id) => records.get(id)))
    return parts.map((one) => {
      if (!one?.objectKey) throw new Rejection('validation_failed', 'One of the partial uploads is gone.')
      return { key: one.objectKey, size: one.size ?? 0 }
    })
  }

  return { create, assemble }
}
