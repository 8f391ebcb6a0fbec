import { z } from 'zod'
import { UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import { textOf, validate } from '../http/request.ts'
import { digestBytes, type ExpectedDigest } from '../uploads/digests.ts'
import { cleanedName, maxFilenameLength } from '../uploads/policy.ts'
import type { NewUpload } from '../uploads/upload.ts'
import { isContentType } from './dialect.ts'
import { projectId } from './form-api.ts'
import { maxMetadataBytes } from './presigned-schemas.ts'

export const tusVersion = '1.0.0'
export const chunkType = 'application/offset+octet-stream'
/** Algorithms of `Upload-Checksum`. */
export const checksumAlgorithms = ['sha1', 'sha256', 'md5'] as const
export const extensions = [
  'creation',
  'creation-with-upload',
  'creation-defer-length',
  'expiration',
  'checksum',
  'termination',
  'concatenation',
] as const
/** What a file is called whose client does not say. */
const nameless = 'upload'

/** Printable ASCII without spaces and commas. */
export const isMetadataKey = (text: string): boolean => /^[!-+\--~]+$/.test(text)
export const isBase64 = (text: string): boolean =>
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)

const bad = (message: string): UploadError => new UploadError('validation_failed', message)

/** A header whose value is a number of bytes; `null`: it is not there. A header that comes twice is joined by a comma, and is no number. */
export function bytesHeader(ctx: Ctx, name: string): number | null {
  const text = ctx.req.headers[name]
  if (text === undefined) return null
  const bytes = typeof text === 'string' && /^(0|[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN
  if (Number.isSafeInteger(bytes)) return bytes
  throw bad(`${name} must be a number of bytes: digits without a sign or leading zeros.`)
}

/** Whether the length of the upload is to be told later. */
export function defersLength(ctx: Ctx): boolean {
  const text = ctx.req.headers['upload-defer-length']
  if (text !== undefined && text !== '1') throw bad('Upload-Defer-Length must be 1.')
  return text !== undefined
}

export const isChunk = (ctx: Ctx): boolean =>
  ctx.get('content-type').split(';', 1)[0]?.trim().toLowerCase() === chunkType

/** What `Upload-Checksum` demands of the body; `null`: nothing. */
export function checksumHeader(ctx: Ctx): ExpectedDigest | null {
  const text = ctx.req.headers['upload-checksum']
  if (text === undefined) return null
  const [, name = '', digest = ''] = /^(\S+) (\S+)$/.exec(String(text)) ?? []
  const algorithm = checksumAlgorithms.find((one) => one === name)
  if (algorithm === undefined)
    throw bad(`Upload-Checksum must be one of ${checksumAlgorithms.join(', ')}, a space and the base64 digest.`)
  const bytes = digestBytes[algorithm]
  const wanted = Buffer.from(digest, 'base64')
  if (!isBase64(digest) || wanted.length !== bytes)
    throw bad(`The digest in Upload-Checksum is no base64 of ${bytes} bytes.`)
  return { algorithm, digest: wanted.toString('base64'), header: 'Upload-Checksum' }
}

export type Concat = { readonly kind: 'partial' } | { readonly kind: 'final'; readonly ids: readonly string[] }

/** `Upload-Concat`: a part, or what is made of parts, named by their URLs; only the end of a URL's path is looked at. */
export function concatHeader(ctx: Ctx): Concat | null {
  const text = ctx.req.headers['upload-concat']
  if (text === undefined) return null
  if (text === 'partial') return { kind: 'partial' }
  const [, list] = /^final;\s*(\S.*)$/.exec(String(text)) ?? []
  if (list === undefined) throw bad('Upload-Concat must be "partial", or "final;" and the URLs of partial uploads.')
  // As many as a header may hold.
  return { kind: 'final', ids: list.trim().split(/ +/).map(idOf) }
}

function idOf(url: string): string {
  const path = URL.parse(url, 'http://localhost')?.pathname ?? ''
  const id = /^\/(?:.*\/)?files\/([^/]+)$/.exec(path)?.[1]
  if (id === undefined) throw bad('Upload-Concat names a URL that is none of an upload here.')
  return id.toLowerCase()
}

const fields = z
  .object({
    category: z.string().min(1).max(64).optional(),
    project_id: projectId.optional(),
    context_type: z.string().min(1).max(255).optional(),
    context_id: z.string().min(1).max(255).optional(),
  })
  .refine((one) => (one.context_type === undefined) === (one.context_id === undefined), {
    message: 'context_type and context_id go together.',
    path: ['context_id'],
  })

const fieldNames = Object.keys(fields.shape)
/** What clients call it, in small letters; the first that says something counts. */
const nameKeys = ['filename', 'name']
const typeKeys = ['filetype', 'type', 'mimetype', 'contenttype']
const known: ReadonlySet<string> = new Set([...fieldNames, ...nameKeys, ...typeKeys])

/**
 * What `Upload-Metadata` says of the file. Keys that have no meaning here are kept as the client's own metadata. Nothing that a device
 * writes by itself, a name or a type, is a reason to refuse a file.
 */
export function metadataHeader(ctx: Ctx): Omit<NewUpload, 'dialect' | 'declaredSize' | 'declaredChecksum'> {
  const said = new Map<string, string>()
  const rest: [string, string][] = []
  for (const [key, bytes] of pairsOf(String(ctx.req.headers['upload-metadata'] ?? ''))) {
    const name = key.toLowerCase()
    const text = textOf(bytes)
    if (!known.has(name)) rest.push([key, text])
    // Clients send keys with nothing in them for what they do not know.
    else if (text.trim() !== '' && !said.has(name)) said.set(name, text)
  }
  const found = validate(fields, Object.fromEntries(said), 'header')
  const metadata = Object.fromEntries(rest)
  if (Buffer.byteLength(JSON.stringify(metadata)) > maxMetadataBytes)
    throw bad(`The metadata has more than ${maxMetadataBytes} bytes as JSON.`)
  const names = nameKeys.map((key) => cleanedName(said.get(key) ?? '', maxFilenameLength))
  return {
    filename: names.find((name) => name !== undefined) ?? nameless,
    declaredType: typeKeys.map((key) => said.get(key)?.trim() ?? '').find(isContentType) ?? null,
    category: found.category ?? null,
    projectId: found.project_id ?? null,
    context: found.context_type && found.context_id ? { type: found.context_type, id: found.context_id } : null,
    metadata,
  }
}

/** The pairs of `Upload-Metadata`, each key once. */
function pairsOf(header: string): ReadonlyMap<string, Buffer> {
  const pairs = new Map<string, Buffer>()
  if (header.trim() === '') return pairs
  for (const pair of header.split(',')) {
    const [key = '', value = '', ...more] = pair.trim().split(' ')
    if (!isMetadataKey(key) || more.length > 0 || !isBase64(value))
      throw bad('Upload-Metadata must be pairs of a key and a base64 value, joined by commas.')
    if (pairs.has(key)) throw bad('Upload-Metadata has the same key twice.')
    pairs.set(key, Buffer.from(value, 'base64'))
  }
  return pairs
}
