import {
  CopyObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { UploadError } from '../../errors.ts'
import type { ArrivedObject, DirectAccess, PutTerms } from '../../uploads/object-store.ts'
import { expectObject, namedPart, sameETag } from './acknowledged.ts'
import { eachAtOnce } from './at-once.ts'
import { beginMultipart, completeMultipart, objectType, type SentPart, type Target } from './multipart.ts'
import { ignoring, innerMs, request } from './requests.ts'

/** Bytes of one PutObject or CopyObject at most: 5 GB, in whichever way the server counts them. */
const largestSingle = 5_000_000_000
/** Bytes of one part of a larger copy. */
export const copyPart = 1024 * 1024 * 1024
export const copiesInFlight = 4
const secondMs = 1_000
/** Seconds: SigV4 URLs are good for a week at most. */
const longestUrl = 7 * 24 * 3_600

export interface DirectOptions {
  readonly client: S3Client
  /** Signs URLs for the address that browsers reach. */
  readonly signer: S3Client
  readonly at: (key: string) => Target
  readonly copyIfMatch: boolean
  /** @default 5 GB */
  readonly largestCopy?: number
}

const gone = (): UploadError => new UploadError('upload_not_received', 'The bytes are not there, or have just changed.')

/** Presigned URLs, and bringing what came by them out of their reach. */
export function directAccess(options: DirectOptions): DirectAccess {
  const { client, signer, at, largestCopy = largestSingle } = options

  async function putUrl(key: string, terms: PutTerms) {
    const { contentType, checksum, size, disposition = null } = terms
    const command = new PutObjectCommand({
      ...at(key),
      ...(contentType === null ? {} : { ContentType: contentType }),
      ...(disposition === null ? {} : { ContentDisposition: disposition }),
      ...(size === null ? {} : { ContentLength: size }),
      ...(checksum?.algorithm === 'md5' ? { ContentMD5: checksum.digest } : {}),
      ...(checksum?.algorithm === 'sha256' ? { ChecksumSHA256: checksum.digest } : {}),
    })
    const url = await getSignedUrl(signer, command, {
      ...lifetime(terms.until),
      signableHeaders: new Set([
        'host',
        // The SDK names a type where none was given.
        ...(contentType === null ? [] : ['content-type']),
        'content-disposition',
        'content-length',
        'content-md5',
        'x-amz-checksum-sha256',
      ]),
      // In the query they would bind nobody to send them.
      unhoistableHeaders: new Set(['content-md5', 'x-amz-checksum-sha256']),
    })
    const headers: Record<string, string> = {}
    if (contentType !== null) headers['Content-Type'] = contentType
    if (checksum?.algorithm === 'md5') headers['Content-MD5'] = checksum.digest
    if (checksum?.algorithm === 'sha256') headers['x-amz-checksum-sha256'] = checksum.digest
    if (disposition !== null) headers['Content-Disposition'] = disposition
    return { url, headers }
  }

  async function arrived(key: string): Promise<ArrivedObject | undefined> {
    const found = await request('The object could not be looked up.', (abortSignal) =>
      client.send(new HeadObjectCommand({ ...at(key), ChecksumMode: 'ENABLED' }), { abortSignal }).catch(ignoring(404)),
    )
    if (!found) return undefined
    const tag = found.ETag ?? ''
    const sha256 = found.ChecksumType === 'COMPOSITE' ? undefined : found.ChecksumSHA256
    return {
      key,
      size: found.ContentLength ?? 0,
      modifiedAt: found.LastModified?.getTime() ?? 0,
      version: tag,
      // It is the MD5 of what came in one PUT, on most servers and without encryption.
      md5: /^"([0-9a-f]{32})"$/.exec(tag)?.[1] ?? null,
      sha256: sha256 === undefined ? null : Buffer.from(sha256, 'base64').toString('hex'),
      contentType: found.ContentType ?? null,
    }
  }

  /** The copy's own description, where the server does not obey the condition: other bytes may have been copied than we looked at. */
  async function copied(from: ArrivedObject, key: string): Promise<ArrivedObject> {
    if (options.copyIfMatch) return { ...from, key }
    const found = await arrived(key)
    if (found?.size !== from.size) throw gone()
    // Of something larger the parts would be its beginning.
    if (from.size > largestCopy && (await arrived(from.key))?.size !== from.size) throw gone()
    return found
  }

  async function copyWhole(from: ArrivedObject, key: string, signal: AbortSignal | undefined): Promise<void> {
    const command = new CopyObjectCommand({
      ...at(key),
      ...sourceOf(from),
      // Nothing that the client wrote beside the bytes comes along.
      MetadataDirective: 'REPLACE',
      ContentType: objectType,
    })
    const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal })
    const message = 'The object could not be copied.'
    const { CopyObjectResult } = await request(message, send, { signal, deadlineMs: innerMs(from.size) })
    // Of an object that was joined of parts the copy has another ETag.
    if (sameETag(CopyObjectResult?.ETag, from.version)) return
    await expectObject(client, at(key), { size: from.size, ETag: CopyObjectResult?.ETag }, { message, signal })
  }

  const sourceOf = ({ key, version }: ArrivedObject) => ({
    CopySource: `${at(key).Bucket}/${at(key).Key}`, // of letters that need no escape
    ...(options.copyIfMatch ? { CopySourceIfMatch: version } : {}),
  })

  async function copyParts(
    from: ArrivedObject,
    key: string,
    note: (text: string) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const target = at(key)
    const message = 'The object could not be copied.'
    const UploadId = await beginMultipart(client, target, note, { message, signal })
    const size = Math.min(copyPart, largestCopy)
    const starts = Array.from({ length: Math.ceil(from.size / size) }, (_, i) => i * size)
    const parts: SentPart[] = []
    await eachAtOnce(starts.entries(), copiesInFlight, signal, async ([i, start], abort) => {
      const command = new UploadPartCopyCommand({
        ...target,
        ...sourceOf(from),
        UploadId,
        PartNumber: i + 1,
        CopySourceRange: `bytes=${start}-${Math.min(start + size, from.size) - 1}`,
      })
      const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal })
      const { CopyPartResult } = await request(message, send, { signal: abort, deadlineMs: innerMs(size) })
      parts.push({ PartNumber: i + 1, ETag: namedPart(CopyPartResult, message) })
    })
    await completeMultipart(client, target, UploadId, { parts, size: from.size }, { message, signal })
  }

  return {
    largestPut: largestSingle,
    putUrl,
    arrived,
    getUrl: (key, terms) =>
      getSignedUrl(
        signer,
        new GetObjectCommand({
          ...at(key),
          ResponseContentType: terms.contentType,
          ResponseContentDisposition: terms.disposition,
        }),
        lifetime(Date.now() + terms.seconds * secondMs),
      ),
    async copy(from, key, { signal, note = async () => {} }) {
      try {
        if (from.size <= largestCopy) await copyWhole(from, key, signal)
        else await copyParts(from, key, note, signal)
        return await copied(from, key)
      } catch (error) {
        signal?.throwIfAborted()
        const away = error instanceof UploadError && error.retryAfter !== undefined
        // Servers say in many ways that what was to be copied is not as it was: we look ourselves.
        if (!away && (await arrived(from.key))?.version !== from.version) throw gone()
        throw error
      }
    },
  }
}

/** From now until then: signatures name the second that has begun, and a URL is never good for less than promised. */
function lifetime(until: number): { readonly signingDate: Date; readonly expiresIn: number } {
  const second = Math.floor(Date.now() / secondMs)
  const seconds = Math.ceil(until / secondMs) - second
  return { signingDate: new Date(second * secondMs), expiresIn: Math.min(longestUrl, Math.max(1, seconds)) }
}
