import { notFound, UploadError } from '../errors.ts'
import type { ObjectStore } from './object-store.ts'
import { isUuid } from './principal.ts'
import type { Records } from './records.ts'
import type { Tokens } from './tokens.ts'
import type { Upload } from './upload.ts'

/** The path of upload URLs, where the gateway takes the bytes itself. */
export const uploadUrlPath = '/presigned/upload'

export interface PutRequest {
  readonly id: string
  /** As the URL has them. */
  readonly expires: string
  readonly signature: string
  readonly contentType: string | null
}

export interface UploadUrlDependencies {
  readonly records: Records
  readonly store: Pick<ObjectStore, 'direct'>
  readonly tokens: Tokens
  /** Milliseconds. */
  readonly ttlMs: number
}

/** Upload URLs: whoever has one may bring exactly what was declared, until it expires or the upload is confirmed. */
export function uploadUrls({ records, store, tokens, ttlMs }: UploadUrlDependencies) {
  return {
    /**
     * The URL, and the headers that the PUT must carry. It leads to the store where clients reach that by themselves.
     *
     * @param base address of the gateway
     */
    async make(
      upload: Upload,
      base: string,
    ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }> {
      const until = upload.createdAt + ttlMs
      const putKey = store.direct && (await records.putKey(upload.id))
      if (store.direct && putKey !== undefined) {
        const { declaredSize: size, declaredType: contentType, declaredChecksum: checksum } = upload
        return store.direct.putUrl(putKey, { size, contentType, checksum, until })
      }
      const expires = Math.ceil(until / 1_000) // whole seconds, and never less than promised
      const query = new URLSearchParams({
        expires: String(expires),
        signature: tokens.sign('put', parts(upload, expires)),
      })
      const headers = upload.declaredType === null ? {} : { 'Content-Type': upload.declaredType }
      return { url: `${base}${uploadUrlPath}/${upload.id}?${query.toString()}`, headers }
    },

    /**
     * The upload to which this request may bring its bytes.
     *
     * @throws {UploadError} `not_found`, `signature_invalid`, `upload_expired`, `upload_state_conflict`
     */
    async verify(request: PutRequest): Promise<Upload> {
      const upload = isUuid(request.id) ? await records.get(request.id) : undefined
      const expires = /^\d{1,12}$/.test(request.expires) ? Number(request.expires) : 0
      // Without an upload the same work is done, and an unknown id answers as a wrong signature would: ids cannot be tried out.
      const signed = tokens.verify(
        'put',
        upload ? parts(upload, expires) : ['PUT', request.id, expires],
        request.signature,
      )
      if (!upload && signed) throw notFound()
      if (!upload || !signed) throw new UploadError('signature_invalid', 'The upload URL was changed or is not ours.')
      if (upload.state === 'expired' || expires * 1_000 <= Date.now())
        throw new UploadError('upload_expired', 'The upload URL has expired: create the upload again.')
      if (upload.state !== 'pending' && upload.state !== 'receiving')
        throw new UploadError('upload_state_conflict', `The upload is ${upload.state}: its bytes can no longer change.`)
      if (upload.declaredType !== null && !sameType(upload.declaredType, request.contentType))
        throw new UploadError('signature_invalid', 'The Content-Type is another than was declared at the creation.')
      return upload
    },
  }
}

/** What is signed: a URL is good for exactly what was declared. */
const parts = (upload: Upload, expires: number) => [
  'PUT',
  upload.id,
  expires,
  upload.declaredSize,
  upload.declaredType,
  upload.declaredChecksum === null ? null : `${upload.declaredChecksum.algorithm}:${upload.declaredChecksum.digest}`,
]

export type UploadUrls = ReturnType<typeof uploadUrls>

const sameType = (declared: string, given: string | null): boolean =>
  given !== null && given.trim().toLowerCase() === declared.trim().toLowerCase()
