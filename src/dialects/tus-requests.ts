import { UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import { bodyOf } from '../http/request.ts'
import type { Sent } from '../uploads/resumable.ts'
import type { NewUpload, Upload } from '../uploads/upload.ts'
import { type DialectDependencies, isOpen, param } from './dialect.ts'
import {
  bytesHeader,
  checksumHeader,
  chunkType,
  concatHeader,
  defersLength,
  isChunk,
  metadataHeader,
} from './tus-headers.ts'
import { tusPath } from './tus-offer.ts'

/** Bytes of a client's own headers that are given back: proxies answer 502 in place of an answer with long headers. */
const maxEchoBytes = 4_096

/** The requests of the protocol: each is read from top to bottom. */
export function tusRequests({ service, authenticate, once, relativeLocation }: DialectDependencies) {
  const { resumable } = service

  async function create(ctx: Ctx): Promise<void> {
    const principal = await authenticate(ctx)
    const concat = concatHeader(ctx)
    const draft: NewUpload = {
      ...metadataHeader(ctx),
      dialect: 'tus',
      declaredSize: concat?.kind === 'final' ? null : lengthOf(ctx),
      declaredChecksum: null,
    }
    // As they came: nothing that is sent back may be anything else.
    const asSent = { metadata: header(ctx, 'upload-metadata'), concat: header(ctx, 'upload-concat') }
    const sent = sentWith(ctx)
    await once(ctx, principal, {
      asked: { ...draft, ...asSent, bytes: sent?.body.length ?? null },
      make: (claim) =>
        concat?.kind === 'final'
          ? resumable.join(principal, draft, asSent, concat.ids, claim)
          : resumable.begin(principal, draft, { ...asSent, partial: concat !== null }, sent, claim),
      recall: (id) => resumable.recall(id),
      answer: (upload) => ({
        status: 201,
        headers: {
          Location: `${relativeLocation ? ctx.state.origin.path : ctx.state.origin.url}${tusPath}/${upload.id}`,
          'Upload-Record': recordUrl(ctx, upload),
          ...expires(upload),
          ...(isChunk(ctx) ? { 'Upload-Offset': String(upload.received) } : {}),
        },
      }),
    })
  }

  async function append(ctx: Ctx): Promise<void> {
    const principal = await authenticate(ctx, null, 'continuations')
    const id = param(ctx, 'id')
    // Also what is refused says how long the upload is kept.
    ctx.set(expires(await resumable.get(principal, id)))
    if (!isChunk(ctx)) throw new UploadError('unsupported_media_type', `The Content-Type must be ${chunkType}.`)
    const offset = bytesHeader(ctx, 'upload-offset')
    if (offset === null) throw new UploadError('validation_failed', 'Upload-Offset is missing.')
    const length = bytesHeader(ctx, 'upload-length')
    const upload = await resumable.proceed(principal, id, {
      offset,
      length,
      body: bodyOf(ctx),
      sum: checksumHeader(ctx),
    })
    ctx.remove('Upload-Expires')
    ctx.set({ 'Upload-Offset': String(upload.received), 'Upload-Record': recordUrl(ctx, upload), ...expires(upload) })
    ctx.status = 204
  }

  async function look(ctx: Ctx): Promise<void> {
    const upload = await resumable.look(await authenticate(ctx, null, 'continuations'), param(ctx, 'id'))
    const length = upload.size ?? upload.declaredSize
    ctx.set({
      'Upload-Offset': String(upload.received),
      ...(length === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }),
      ...echo(upload),
      'Upload-Record': recordUrl(ctx, upload),
      ...expires(upload),
    })
    ctx.status = 200
    ctx.body = ''
  }

  async function remove(ctx: Ctx): Promise<void> {
    const principal = await authenticate(ctx)
    const { id } = await resumable.get(principal, param(ctx, 'id'))
    await service.remove(principal, id)
    ctx.status = 204
  }

  return { create, append, look, remove }
}

function lengthOf(ctx: Ctx): number | null {
  const length = bytesHeader(ctx, 'upload-length')
  if (defersLength(ctx) === (length !== null))
    throw new UploadError('validation_failed', 'Either Upload-Length or Upload-Defer-Length: 1 must be there.')
  return length
}

/** The bytes that come with a creation. A body of another type is none of ours. */
function sentWith(ctx: Ctx): Sent | null {
  const { 'content-length': length, 'transfer-encoding': coding } = ctx.req.headers
  const none = coding === undefined && (length === undefined || Number(length) === 0)
  if (none || !isChunk(ctx)) return null
  return { body: bodyOf(ctx), sum: checksumHeader(ctx) }
}

function header(ctx: Ctx, name: string): string | null {
  const value = ctx.req.headers[name]
  return typeof value === 'string' ? value : null
}

/** What the client sent at the creation, as it sent it; what is too long for proxies is left out. */
function echo({ resumable }: Upload): Record<string, string> {
  const found: Record<string, string> = {}
  let left = maxEchoBytes
  for (const [name, text] of [
    ['Upload-Concat', resumable?.concat ?? null],
    ['Upload-Metadata', resumable?.metadata ?? null],
  ] as const) {
    if (text === null || text.length > left) continue
    found[name] = text
    left -= text.length
  }
  return found
}

const recordUrl = (ctx: Ctx, upload: Upload): string => `${ctx.state.origin.url}/api/v1/uploads/${upload.id}`

/** Only what is not finished comes to an end. */
function expires(upload: Upload): Record<string, string> {
  const { expiresAt } = upload
  return isOpen(upload) && expiresAt !== null ? { 'Upload-Expires': new Date(expiresAt).toUTCString() } : {}
}
