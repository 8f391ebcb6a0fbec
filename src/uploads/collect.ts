import { Rejection, UploadError } from '../errors.ts'
import type { ArrivedObject, ObjectStore } from './object-store.ts'
import { checkArrived, type Policy, refuseForm } from './policy.ts'
import type { NewJob, Records } from './records.ts'
import type { Upload, UploadContextRef } from './upload.ts'

export interface CollectDependencies {
  readonly records: Records
  readonly store: ObjectStore
  readonly policy: Policy
  /** Milliseconds for which bytes that nobody confirms are kept. */
  readonly confirmWithinMs: number
}

export interface CollectOptions {
  /** The key that no URL leads to. */
  readonly key: string
  readonly context: UploadContextRef | null
  readonly jobs: readonly NewJob[]
  readonly signal: AbortSignal
}

/** Takes what clients have brought to the store by themselves, by an upload URL. */
export function collector({ records, store, policy, confirmWithinMs }: CollectDependencies) {
  async function arrivedOf(upload: Upload): Promise<ArrivedObject | undefined> {
    const key = store.direct && (await records.putKey(upload.id))
    return key === undefined ? undefined : store.direct?.arrived(key)
  }

  const noteArrival = async (upload: Upload, { size: received }: ArrivedObject): Promise<Upload> =>
    upload.state === 'pending'
      ? records.transition(upload.id, {
          from: ['pending'],
          to: 'receiving',
          received,
          expiresAt: Date.now() + confirmWithinMs,
        })
      : upload

  return {
    /** Whether bytes have come that nobody has confirmed; they are kept for a while then. */
    async keep(upload: Upload): Promise<boolean> {
      const arrived = upload.state === 'pending' ? await arrivedOf(upload) : undefined
      if (arrived) await noteArrival(upload, arrived)
      return arrived !== undefined
    },

    /**
     * Copies the bytes out of every URL's reach and makes the upload `processing`. Each step is on record before it is taken: after a
     * crash in between the bytes are still where they came, and the copy is cleared.
     *
     * @throws {UploadError} `upload_not_received`, `unsupported_media_type` · {Rejection} when they are not what was declared, or too many
     */
    async collect(found: Upload, { key, context, jobs, signal }: CollectOptions): Promise<Upload> {
      const arrived = await arrivedOf(found)
      if (!arrived || !store.direct)
        throw new UploadError('upload_not_received', 'The bytes have not arrived: PUT them to the upload URL first.')
      const upload = await noteArrival(found, arrived)
      const { size, contentType } = arrived
      // Another PUT may bring the file itself, as long as the URL is good.
      if (upload.declaredType === null && contentType !== null) refuseForm(contentType)
      if (upload.declaredSize !== null && upload.declaredSize !== size)
        throw new Rejection('size_mismatch', `${upload.declaredSize} bytes were declared, and ${size} have come.`)
      checkArrived(policy, upload, size)
      await records.stage(upload.id, key)
      try {
        await store.direct.copy(arrived, key, { signal, note: (text) => records.note(key, text) })
        const stored = { key, size, sha256: null, patch: {}, to: 'processing', context, expiresAt: null, jobs } as const
        return await records.stored(upload.id, stored)
      } catch (error) {
        await records.abandon(key)
        throw error
      }
    },
  }
}
