import { notFound, UploadError } from '../errors.ts'
import type { ObjectStore } from './object-store.ts'
import { refuseForm } from './policy.ts'
import { isUuid } from './principal.ts'
import type { Records } from './records.ts'
import type { Tokens } from './tokens.ts'
import type { Finish, Upload } from './upload.ts'

/** The path of upload URLs, where the gateway takes the bytes itself. */
export const uploadUrlPath = '/presigned/upload'

/**
 * Milliseconds that a body may go on to come after the end of its URL, when it began in time: a large file over an honest slow line takes
 * longer than most URLs are good for. Meanwhile it keeps the lowest pace like every body.
 */
const lastBodyMs = 4 * 3_600_000

export interface PutRequest {
  readonly id: string
  /** As the URL has them. */
  readonly expires: string
  readonly signature: string
  readonly finish: string
  /** A header's value; empty when it was not sent. */
  header(name: string): string
}

/** For bytes that nobody confirms. */
export interface ArrivalTerms {
  /** Content-Disposition that the PUT must carry: printable ASCII. */
  readonly disposition: string
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
     * @param arrival when the upload is finished by the bytes' arrival: the PUT must then carry every header that is returned
     */
    async make(
      upload: Upload,
      base: string,
      arrival?: ArrivalTerms,
    ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }> {
      const until = upload.createdAt + ttlMs
      const putKey = store.direct && (await records.putKey(upload.id))
      if (store.direct && putKey !== undefined) {
        const { declaredSize: size, declaredType: contentType, declaredChecksum: checksum } = upload
        const disposition = arrival?.disposition ?? null
        return store.direct.putUrl(putKey, { size, contentType, checksum, disposition, until })
      }
      const expires = Math.ceil(until / 1_000) // whole seconds, and never less than promised
      const query = new URLSearchParams({
        expires: String(expires),
        ...(arrival ? { finish: 'arrival' } : {}),
        signature: tokens.sign('put', parts(upload, expires, arrival)),
      })
      const headers: Record<string, string> = {}
      if (upload.declaredType !== null) headers['Content-Type'] = upload.declaredType
      if (arrival) {
        // Clients may count on this one, and nobody knows the MD5 of bytes whose SHA-256 was declared: it says nothing.
        headers['Content-MD5'] = ''
        Object.assign(headers, integrityHeader(upload), { 'Content-Disposition': arrival.disposition })
      }
      return { url: `${base}${uploadUrlPath}/${upload.id}?${query.toString()}`, headers }
    },

    /**
     * The upload to which this request may bring its bytes.
     *
     * @throws {UploadError} `not_found`, `signature_invalid`, `upload_expired`, `upload_state_conflict`, `unsupported_media_type`
     */
    async verify(
      request: PutRequest,
    ): Promise<{ readonly upload: Upload; readonly finish: Finish; readonly endsAt: number }> {
      const upload = isUuid(request.id) ? await records.get(request.id) : undefined
      const expires = /^\d{1,12}$/.test(request.expires) ? Number(request.expires) : 0
      // What stands in the header is signed, as it is where the store takes the bytes.
      const disposition = request.header('content-disposition')
      const arrival = request.finish === 'arrival' ? { disposition } : undefined
      // Without an upload the same work is done, and an unknown id answers as a wrong signature would: ids cannot be tried out.
      const signed = tokens.verify(
        'put',
        upload ? parts(upload, expires, arrival) : ['PUT', request.id, expires],
        request.signature,
      )
      if (!upload && signed) throw notFound()
      if (!upload || !signed)
        throw new UploadError('signature_invalid', 'The upload URL or a header that goes with it was changed.')
      if (upload.state === 'expired' || expires * 1_000 <= Date.now())
        throw new UploadError('upload_expired', 'The upload URL has expired: create the upload again.')
      if (upload.state !== 'pending' && upload.state !== 'receiving')
        throw new UploadError('upload_state_conflict', `The upload is ${upload.state}: its bytes can no longer change.`)
      if (upload.declaredType !== null && !sameType(upload.declaredType, request.header('content-type')))
        throw new UploadError('signature_invalid', 'The Content-Type is another than was declared at the creation.')
      if (upload.declaredType === null) refuseForm(request.header('content-type'))
      for (const [name, value] of Object.entries(arrival ? integrityHeader(upload) : {}))
        if (request.header(name).trim() !== value)
          throw new UploadError('signature_invalid', `The ${name} is another than was declared at the creation.`)
      return { upload, finish: arrival ? 'arrival' : 'confirm', endsAt: expires * 1_000 + lastBodyMs }
    },
  }
}

/** What is signed: a URL is good for exactly what was declared. */
const parts = (upload: Upload, expires: number, arrival?: ArrivalTerms) => [
  'PUT',
  upload.id,
  expires,
  upload.declaredSize,
  upload.declaredType,
  upload.declaredChecksum === null ? null : `${upload.declaredChecksum.algorithm}:${upload.declaredChecksum.digest}`,
  ...(arrival ? ['arrival', arrival.disposition] : []),
]

/** The file is welcome, and no URL can take it: other ways in can. */
export const tooLargeForPut = (largestPut: number): UploadError =>
  new UploadError('file_too_large', `One PUT brings at most ${largestPut} bytes to this store: send it by tus.`, {
    facts: { largest_put: largestPut },
  })

export type UploadUrls = ReturnType<typeof uploadUrls>

/** As S3 calls it. */
function integrityHeader({ declaredChecksum: checksum }: Upload): Record<string, string> {
  if (checksum === null) return {}
  return { [checksum.algorithm === 'md5' ? 'Content-MD5' : 'x-amz-checksum-sha256']: checksum.digest }
}

const sameType = (declared: string, given: string): boolean => comparableType(declared) === comparableType(given)

/** Blanks around what is between its semicolons say nothing, nor do capitals, nor quotes around what needs none: RFC 9110, section 8.3. */
const comparableType = (type: string): string =>
  type
    .split(';')
    .map((one) => one.trim().replace(/="([\w!#$&^.+-]+)"$/, '=$1'))
    .join(';')
    .toLowerCase()
