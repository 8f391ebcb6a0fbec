import type { Ctx } from '../http/context.ts'
import { faultyField, formParts } from '../http/multipart.ts'
import { boundaryOf } from '../http/multipart-headers.ts'
import { bodyOf, demandPlain, validate } from '../http/request.ts'
import { type AddFile, type BatchTerms, isFailed } from '../uploads/batches.ts'
import type { Body } from '../uploads/ingest.ts'
import { cleanName } from '../uploads/policy.ts'
import type { Batch } from '../uploads/records.ts'
import type { NewUpload, Upload, UploadState } from '../uploads/upload.ts'
import {
  type Dialect,
  type DialectDependencies,
  downloadUrl,
  factsOf,
  isContentType,
  measuresOf,
  param,
  timeText,
} from './dialect.ts'
import {
  type BatchView,
  fieldsSchema,
  type FileView,
  maxNameLength,
  projectParameter,
  type TaskView,
} from './form-api.ts'

/** This dialect's word for each state. */
const statusWords: Readonly<Record<UploadState, TaskView['status']>> = {
  pending: 'processing',
  receiving: 'processing',
  processing: 'processing',
  ready: 'completed',
  rejected: 'failed',
  expired: 'failed',
}
/** Shown where the bytes have no format that we know. */
const unknownFormat = 'bin'
const fileField = 'file'
const fieldNames = Object.keys(fieldsSchema.shape)

/** One form, one or more files: a batch, each file of which is a task here. */
export const form: Dialect = (routes, deps) => {
  const { service, authenticate, once } = deps

  async function create(ctx: Ctx, teamId: string | null): Promise<void> {
    const principal = await authenticate(ctx, teamId)
    const projectId = teamId === null ? null : projectOf(ctx)
    demandPlain(ctx)
    boundaryOf(ctx.get('content-type')) // before anything is written
    const body = bodyOf(ctx)
    await once(ctx, principal, {
      asked: ['form', ctx.path, body.length],
      make: (claim) =>
        service.receiveBatch(principal, projectId, (add) => fill(ctx, deps, { projectId, body, add }), claim),
      recall: (id) => service.recallBatch(id),
      answer: (batch) => ({ status: 201, body: batchView(batch) }),
    })
  }

  routes.post('/v2/:team/project/:project/upload', (ctx) => create(ctx, param(ctx, 'team')))

  // The presigned dialect has the same path for JSON, and lets forms pass.
  routes.post('/api/v1/uploads', (ctx) => create(ctx, null))

  routes.get('/v2/:team/project/:project/upload/:id', async (ctx) => {
    const principal = await authenticate(ctx, param(ctx, 'team'))
    const batch = await service.getBatch(principal, projectOf(ctx), param(ctx, 'id'))
    const files = batch.uploads.map((upload) => [upload.id, fileView(ctx, deps, upload)] as const)
    ctx.body = {
      payload: {
        id: batch.id,
        name: batch.name,
        status: statusOf(batch),
        files: Object.fromEntries(files),
        meta: batch.meta,
        folder_id: null,
        created_at: timeText(batch.createdAt),
      },
    }
  })

  routes.delete('/v2/:team/project/:project/upload/:id', async (ctx) => {
    const principal = await authenticate(ctx, param(ctx, 'team'))
    await service.removeBatch(principal, projectOf(ctx), param(ctx, 'id'))
    ctx.status = 204
  })
}

const projectOf = (ctx: Ctx): string =>
  validate(projectParameter, { project_id: param(ctx, 'project') }, 'path').project_id

interface Filling {
  /** As the path has it. */
  readonly projectId: string | null
  readonly body: Body
  readonly add: AddFile
}

/** Hands the files on as they come, and knows what the fields say when all have come. */
async function fill(ctx: Ctx, deps: DialectDependencies, { projectId, body, add }: Filling): Promise<BatchTerms> {
  const fields: Record<string, unknown> = {}
  let firstName: string | undefined
  if (body.waits) body.accept()
  const parts = formParts(ctx.req, {
    file: fileField,
    fields: fieldNames,
    maxFiles: deps.filesPerBatch,
    digests: body.digests ?? [],
    idleTimeoutMs: deps.bodyIdleMs,
    lowestPace: deps.lowestPace,
  })
  for await (const part of parts) {
    if (part.kind === 'field') {
      fields[part.name] = part.name === 'meta' ? jsonOf(part.value) : part.value
      // What is wrong with a field is said as soon as it is there, not after gigabytes.
      checkFields(fields, projectId, true)
    } else {
      const filename = cleanName(part.filename, maxNameLength)
      firstName ??= filename
      const known = projectId ?? checkFields(fields, projectId, true).projectId ?? null
      const { stream, contentType, digests } = part
      await add(draftOf(filename, contentType, known), {
        stream,
        ownChunks: true,
        length: null,
        digests,
        waits: false,
        accept() {},
      })
    }
  }
  const { name, projectId: told, meta } = checkFields(fields, projectId, false)
  if (firstName === undefined)
    throw faultyField(fileField, 'There is no file: send it in a part with this name and a file name.')
  return { name: name ?? firstName, projectId: projectId ?? told ?? '', meta: meta ?? [] }
}

const draftOf = (filename: string, contentType: string | null, projectId: string | null): NewUpload => ({
  dialect: 'form',
  filename,
  category: null,
  projectId,
  declaredType: contentType !== null && isContentType(contentType) ? contentType : null,
  declaredSize: null,
  declaredChecksum: null,
  context: null,
  metadata: {},
})

/** @param more fields may follow */
function checkFields(fields: Readonly<Record<string, unknown>>, projectId: string | null, more: boolean) {
  const found = validate(fieldsSchema, fields, 'body')
  if (projectId !== null && found.projectId !== undefined && found.projectId !== projectId)
    throw faultyField('projectId', 'This is another project than the one in the path.')
  if (!more && projectId === null && found.projectId === undefined)
    throw faultyField('projectId', 'The field is required.')
  return found
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw faultyField('meta', 'This is not valid JSON.')
  }
}

function statusOf(batch: Batch): BatchView['status'] {
  const words = new Set(batch.uploads.map(({ state }) => statusWords[state]))
  if (words.has('processing')) return 'processing'
  if (isFailed(batch)) return 'failed'
  return words.has('failed') ? 'partial' : 'completed'
}

const formatOf = ({ properties }: Upload): string => properties.format ?? unknownFormat

function taskView(upload: Upload): Omit<TaskView, 'id'> {
  const { rejection } = upload
  return {
    name: upload.filename,
    status: statusWords[upload.state],
    fileType: formatOf(upload),
    fileSize: upload.size ?? upload.received,
    ...(rejection && { error: { errorCode: rejection.code.toUpperCase(), detail: rejection.message } }),
  }
}

function fileView(ctx: Ctx, { catalog }: DialectDependencies, upload: Upload): FileView {
  const url = upload.state === 'ready' ? downloadUrl(ctx, catalog, upload) : null
  return { ...taskView(upload), ...measuresOf(upload), ...factsOf(upload), extra: upload.extra, downloadUrl: url }
}

function batchView(batch: Batch): BatchView {
  const { uploads } = batch
  const formats = new Set(uploads.map(formatOf))
  const [format = unknownFormat] = formats
  return {
    id: batch.id,
    name: batch.name,
    projectId: batch.projectId ?? '',
    status: statusOf(batch),
    fileType: formats.size > 1 ? 'mixed' : format,
    fileSize: uploads.reduce((sum, upload) => sum + (upload.size ?? upload.received), 0),
    createdAt: timeText(batch.createdAt),
    updatedAt: timeText(Math.max(batch.createdAt, ...uploads.map(({ updatedAt }) => updatedAt))),
    tasks: uploads.map((upload) => ({ id: upload.id, ...taskView(upload) })),
  }
}
