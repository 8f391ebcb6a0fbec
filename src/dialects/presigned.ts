import { z } from 'zod'
import { UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import { isMultipart } from '../http/multipart-headers.ts'
import { bodyOf, readJson, validate } from '../http/request.ts'
import { uploadUrlPath } from '../uploads/upload-url.ts'
import {
  type NewUpload,
  type Upload,
  type UploadContextRef,
  type UploadState,
  uploadStates,
} from '../uploads/upload.ts'
import { type Dialect, type DialectDependencies, downloadUrl, factsOf, measuresOf, param, timeText } from './dialect.ts'
import {
  confirmSchema,
  type ContextFields,
  createSchema,
  listSchema,
  type UploadView,
  usageSchema,
} from './presigned-schemas.ts'
import { orByTus, tusOffer } from './tus-offer.ts'

/** Days that the usage summary covers, by the name of its range. */
const usageRanges = { '7d': 7, '30d': 30, '90d': 90 } as const
const dayMs = 86_400_000

/** This dialect's word for each state. */
const statusWords: Readonly<Record<UploadState, UploadView['status']>> = {
  pending: 'pending',
  receiving: 'pending',
  processing: 'processing',
  ready: 'confirmed',
  rejected: 'rejected',
  expired: 'expired',
}
const statesOf = (status: string): UploadState[] => uploadStates.filter((state) => statusWords[state] === status)

const contextOf = ({ context_type: type, context_id: id }: ContextFields): UploadContextRef | null =>
  type == null || id == null ? null : { type, id }

const meta = (ctx: Ctx) => ({ request_id: ctx.state.requestId, timestamp: timeText(Date.now()) })

/** Create, PUT, confirm, delete; and the reads of this API. */
export const presigned: Dialect = (routes, deps) => {
  const { service, catalog, uploadUrls, authenticate, once } = deps
  const create = createSchema(deps.categories)
  const view = (ctx: Ctx, upload: Upload) => uploadView(ctx, deps, upload)

  routes.post('/api/v1/uploads', async (ctx, next) => {
    // A form at this address is another dialect's.
    if (isMultipart(ctx.get('content-type'))) {
      await next()
      return
    }
    const principal = await authenticate(ctx)
    const asked = await readJson(ctx, z.unknown())
    const body = validate(create, asked, 'body')
    const draft: NewUpload = {
      dialect: 'presigned',
      filename: body.filename.trim(),
      category: body.category,
      projectId: null,
      declaredType: body.content_type ?? null,
      declaredSize: body.size_bytes ?? null,
      declaredChecksum: body.checksum ?? null,
      context: contextOf(body),
      metadata: body.metadata ?? {},
    }
    await once(ctx, principal, {
      asked: [draft.dialect, asked],
      make: (claim) => service.create(principal, draft, claim).catch((error: unknown) => orByTus(ctx, error)),
      recall: (id) => service.recall(id),
      async answer(upload) {
        const { url, headers } = await uploadUrls.make(upload, ctx.state.origin.url)
        const offer = tusOffer(ctx, upload, deps.multipartThreshold)
        const data = { upload: view(ctx, upload), upload_url: url, upload_headers: headers, ...offer }
        return { status: 201, body: { data, meta: meta(ctx) } }
      },
    })
  })

  routes.put(`${uploadUrlPath}/:id`, async (ctx) => {
    const { upload, finish, endsAt } = await uploadUrls.verify({
      id: param(ctx, 'id'),
      expires: queryValue(ctx, 'expires'),
      signature: queryValue(ctx, 'signature'),
      finish: queryValue(ctx, 'finish'),
      header: (name) => ctx.get(name),
    })
    const stored = await service.put(upload.id, { ...bodyOf(ctx), endsAt }, finish)
    ctx.status = 200
    if (stored.sha256 !== null) ctx.set('ETag', `"${stored.sha256}"`)
    ctx.body = ''
  })

  const confirm = async (ctx: Ctx): Promise<void> => {
    const principal = await authenticate(ctx)
    const body = await readJson(ctx, confirmSchema, { optional: true })
    const upload = await service.confirm(principal, param(ctx, 'id'), contextOf(body))
    ctx.body = { data: view(ctx, upload), meta: meta(ctx) }
  }
  routes.post('/api/v1/uploads/:id', confirm)
  routes.post('/api/v1/uploads/:id/confirm', confirm)

  routes.delete('/api/v1/uploads/:id', async (ctx) => {
    await service.remove(await authenticate(ctx), param(ctx, 'id'))
    ctx.body = { data: {}, meta: meta(ctx) }
  })

  routes.get('/api/v1/uploads/:id', async (ctx) => {
    const upload = await catalog.get(await authenticate(ctx), param(ctx, 'id'))
    ctx.body = { data: view(ctx, upload), meta: meta(ctx) }
  })

  routes.get('/api/v1/uploads', async (ctx) => {
    const principal = await authenticate(ctx)
    const query = validate(listSchema, { ...ctx.query }, 'query')
    const page = await catalog.list(principal, {
      limit: query.limit,
      ...(query.status === undefined ? {} : { states: statesOf(query.status) }),
      ...(query.category === undefined ? {} : { category: query.category }),
      ...(query.project_id === undefined ? {} : { projectId: query.project_id }),
      ...(query.content_type === undefined ? {} : { contentType: query.content_type.toLowerCase() }),
      ...(query.created_after === undefined ? {} : { createdAfter: Date.parse(query.created_after) }),
      ...(query.cursor === undefined ? {} : { before: query.cursor }),
    })
    ctx.body = {
      data: page.uploads.map((upload) => view(ctx, upload)),
      meta: { ...meta(ctx), next_cursor: page.next },
    }
  })

  routes.get('/api/v1/usage/summary', async (ctx) => {
    const principal = await authenticate(ctx)
    const { range } = validate(usageSchema, { ...ctx.query }, 'query')
    const end = Date.now()
    const start = end - (usageRanges[range] - 1) * dayMs
    const { workspace, counts, days } = await catalog.usage(principal, timeText(start).slice(0, 10))
    const { used, reserved, limit } = workspace
    ctx.body = {
      data: {
        range,
        period: { start: `${timeText(start).slice(0, 10)}T00:00:00Z`, end: timeText(end) },
        storage: {
          used_bytes: used,
          reserved_bytes: reserved,
          quota_bytes: limit,
          percent: limit === null ? null : percentOf(used, limit),
        },
        uploads: {
          total: Object.values(counts).reduce((sum, count) => sum + count, 0),
          pending: counts.pending + counts.receiving,
          processing: counts.processing,
          confirmed: counts.ready,
          rejected: counts.rejected,
          expired: counts.expired,
        },
        daily: days.map(({ day, uploads, bytes }) => ({ date: day, uploads, bytes })),
      },
      meta: meta(ctx),
    }
  })

  routes.get('/api/v1/auth/whoami', async (ctx) => {
    const { userId, workspaceId, scopes, keyName } = await authenticate(ctx)
    ctx.body = { data: { user_id: userId, workspace_id: workspaceId, scopes, key_name: keyName }, meta: meta(ctx) }
  })
}

function uploadView(ctx: Ctx, deps: DialectDependencies, upload: Upload): UploadView {
  const { properties, rejection } = upload
  return {
    id: upload.id,
    user_id: upload.userId,
    workspace_id: upload.workspaceId,
    filename: upload.filename,
    category: upload.category,
    content_type: properties.contentType,
    format: properties.format,
    size_bytes: upload.size ?? upload.declaredSize,
    received_bytes: upload.received,
    status: statusWords[upload.state],
    download_url: upload.state === 'ready' ? downloadUrl(ctx, deps.catalog, upload) : null,
    context_type: upload.context?.type ?? null,
    context_id: upload.context?.id ?? null,
    project_id: upload.projectId,
    metadata: upload.metadata,
    ...measuresOf(upload),
    ...factsOf(upload),
    charset: properties.charset ?? null,
    extra: upload.extra,
    rejection: rejection && { code: rejection.code, detail: rejection.message },
    created_at: timeText(upload.createdAt),
    updated_at: timeText(upload.updatedAt),
  }
}

/** Rounded to hundredths; of a quota of nothing, all is used. */
const percentOf = (used: number, limit: number): number =>
  limit === 0 ? 100 : Math.round((used / limit) * 10_000) / 100

/** A query parameter that stands there once; several are as wrong as none. */
function queryValue(ctx: Ctx, name: string): string {
  const value = ctx.query[name]
  if (Array.isArray(value)) throw new UploadError('signature_invalid', 'The URL was changed.')
  return value ?? ''
}
