import { notFound, UploadError } from '../errors.ts'
import type { Ctx } from '../http/context.ts'
import { bodyOf, fromBytes, readJson, validate } from '../http/request.ts'
import { kindOf } from '../uploads/names.ts'
import { cleanName, refuseForm } from '../uploads/policy.ts'
import type { NewUpload, Upload, UploadState } from '../uploads/upload.ts'
import { type Dialect, downloadUrl, isContentType, measuresOf, param } from './dialect.ts'
import { bindSchema, createHeaders, maxNameLength, pageSchema, projectParameters } from './raw-api.ts'

/** An asset is a file that came whole. */
const assetStates: readonly UploadState[] = ['processing', 'ready']

/** One request, one asset. */
export const raw: Dialect = (routes, { service, catalog, authenticate, once }) => {
  const view = (ctx: Ctx, upload: Upload) => ({
    assetId: upload.id,
    type: kindOf(upload.properties.contentType),
    source: 'upload',
    filename: upload.filename,
    mimetype: upload.properties.contentType,
    size: upload.size ?? upload.received,
    fileUrl: downloadUrl(ctx, catalog, upload),
    fileKey: upload.objectKey,
    ...measuresOf(upload),
  })

  routes.post('/v1/uploads', async (ctx) => {
    const principal = await authenticate(ctx)
    const headers = { 'x-file-name': ctx.get('x-file-name'), 'x-project-id': ctx.get('x-project-id') || undefined }
    const { 'x-file-name': name, 'x-project-id': projectId } = validate(createHeaders, headers, 'header')
    const filename = decodedName(name)
    const body = bodyOf(ctx)
    if (body.length === 0) throw new UploadError('empty_body', 'The body is empty: it must be the file.')
    const declared = ctx.get('content-type')
    refuseForm(declared)
    const draft: NewUpload = {
      dialect: 'raw',
      filename,
      category: null,
      projectId: projectId ?? null,
      declaredType: isContentType(declared) ? declared : null,
      declaredSize: body.length,
      declaredChecksum: null,
      context: null,
      metadata: {},
    }
    await once(ctx, principal, {
      asked: draft,
      make: (claim) => service.receive(principal, draft, body, claim),
      async recall(id) {
        const upload = await service.recall(id)
        return upload && assetStates.includes(upload.state) ? upload : undefined
      },
      answer: (upload) => ({
        status: 201,
        headers: { Location: `${ctx.state.origin.path}/v1/assets/${upload.id}` },
        body: { data: view(ctx, upload), meta: {} },
      }),
    })
  })

  routes.get('/v1/assets/:id', async (ctx) => {
    const upload = await catalog.get(await authenticate(ctx), param(ctx, 'id'))
    ctx.body = { data: view(ctx, asset(upload)), meta: {} }
  })

  routes.delete('/v1/assets/:id', async (ctx) => {
    await service.remove(await authenticate(ctx), param(ctx, 'id'))
    ctx.status = 204
  })

  routes.get('/v1/projects/:project/assets', async (ctx) => {
    const principal = await authenticate(ctx)
    const projectId = projectOf(ctx)
    const { pageSize, pageCursor } = validate(pageSchema, { ...ctx.query }, 'query')
    const before = pageCursor === undefined ? {} : { before: pageCursor }
    const page = await catalog.list(principal, { projectId, states: assetStates, limit: pageSize, ...before })
    ctx.body = { data: page.uploads.map((upload) => view(ctx, upload)), meta: { nextPageCursor: page.next } }
  })

  routes.post('/v1/projects/:project/assets', async (ctx) => {
    const principal = await authenticate(ctx)
    const projectId = projectOf(ctx)
    const { assetId } = await readJson(ctx, bindSchema)
    ctx.body = { data: view(ctx, await catalog.bind(principal, projectId, assetId, assetStates)), meta: {} }
  })

  routes.delete('/v1/projects/:project/assets/:id', async (ctx) => {
    const principal = await authenticate(ctx)
    await catalog.unbind(principal, projectOf(ctx), param(ctx, 'id'))
    ctx.status = 204
  })
}

function asset(upload: Upload): Upload {
  if (!assetStates.includes(upload.state)) throw notFound()
  return upload
}

const projectOf = (ctx: Ctx): string =>
  validate(projectParameters, { projectId: param(ctx, 'project') }, 'path').projectId

/** The name from `x-file-name`: UTF-8, as it is or percent-encoded. */
function decodedName(header: string): string {
  return cleanName(percentDecoded(fromBytes(header)), maxNameLength)
}

/** A name that merely holds a percent sign stays as it is. */
function percentDecoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
