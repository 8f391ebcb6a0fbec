import { z } from 'zod'
import {
  type ApiFacts,
  anyKey,
  extra,
  facts,
  fileRefusals,
  idempotencyParameter,
  idempotencyRefusals,
  jsonAnswer,
  measures,
  type Operation,
  timestamp,
  wholeBytes,
} from '../http/api.ts'
import { examplesOf, sample } from '../http/api-examples.ts'
import type { Guide } from '../http/documentation.ts'
import { maxFieldBytes } from '../http/multipart.ts'
import { codePoints } from '../uploads/policy.ts'

export const maxNameLength = 255 // characters
const maxMetaEntries = 64
const idPattern = /^[A-Za-z0-9_-]{1,64}$/

export const projectId = z.string().regex(idPattern, 'A project id has 1 to 64 of A-Z, a-z, 0-9, _ and -.')
export const projectParameter = z.object({ project_id: projectId })

/** .NET writes the members of its objects with capitals, unless it is told otherwise. */
const withoutCapitals = (entry: unknown): unknown =>
  typeof entry === 'object' && entry !== null
    ? Object.fromEntries(Object.entries(entry).map(([name, value]) => [name.toLowerCase(), value]))
    : entry

/** The fields of a form, in any order, before or after the files; `meta` as it was parsed. */
export const fieldsSchema = z.object({
  name: z
    .string()
    .trim()
    .min(1)
    .refine((name) => codePoints(name) <= maxNameLength, `The name has more than ${maxNameLength} characters.`)
    .optional(),
  projectId: projectId.optional(),
  meta: z
    .array(z.preprocess(withoutCapitals, z.object({ name: z.string(), value: z.string() })))
    .max(maxMetaEntries)
    .optional(),
})

const status = z.enum(['processing', 'completed', 'failed'])
const fileType = z
  .string()
  .meta({ description: 'Short name of the format, such as `pdf`; `bin` where it is not known.' })
const task = {
  name: z.string(),
  status,
  fileType,
  fileSize: wholeBytes.meta({ description: 'Bytes; 0 of a file that was refused.' }),
  error: z
    .strictObject({ errorCode: z.string().regex(/^[A-Z_]+$/), detail: z.string() })
    .optional()
    .meta({ description: 'Why the file was refused.' }),
}
const taskSchema = z.strictObject({ id: z.uuid(), ...task }).meta({ id: 'FormTask' })
const fileSchema = z
  .strictObject({
    ...task,
    ...measures,
    ...facts,
    extra,
    downloadUrl: z.url().nullable().meta({ description: 'Signed; works without credentials until it expires.' }),
  })
  .meta({ id: 'FormFile' })
const batchId = z.string().regex(/^upl_[A-Za-z0-9_-]{22,26}$/)
const batchStatus = z
  .enum(['processing', 'completed', 'partial', 'failed'])
  .meta({ description: '`partial`: some files were refused, and some are there.' })
const batchSchema = z
  .strictObject({
    id: batchId,
    name: z.string(),
    projectId,
    status: batchStatus,
    fileType: fileType.meta({ description: 'Of all files, or `mixed`.' }),
    fileSize: wholeBytes.meta({ description: 'Of all files together.' }),
    createdAt: timestamp,
    updatedAt: timestamp,
    tasks: z.array(taskSchema).min(1),
  })
  .meta({ id: 'FormUpload', description: 'One form: a task for each file, in the order in which they were sent.' })
const payloadSchema = z.strictObject({
  payload: z.strictObject({
    id: batchId,
    name: z.string(),
    status: batchStatus,
    files: z.record(z.uuid(), fileSchema).meta({ description: 'By the ids of their tasks.' }),
    meta: z.array(z.strictObject({ name: z.string(), value: z.string() })),
    folder_id: z.null(),
    created_at: timestamp,
  }),
})

export type TaskView = z.infer<typeof taskSchema>
export type FileView = z.infer<typeof fileSchema>
export type BatchView = z.infer<typeof batchSchema>

const metaExample = [{ name: 'department', value: 'finance' }]
const fieldsExample = {
  file: ['%PDF-1.7 …', 'MZ…'],
  name: 'Important Document',
  projectId: 'invoices',
  meta: JSON.stringify(metaExample),
}
const pdf: Omit<TaskView, 'id'> = { name: 'a.pdf', status: 'completed', fileType: 'pdf', fileSize: sample.size }
const refused: Omit<TaskView, 'id'> = {
  name: 'b.exe',
  status: 'failed',
  fileType: 'exe',
  fileSize: 0,
  error: { errorCode: 'FILE_TYPE_NOT_ALLOWED', detail: 'Files of the type application/x-msdownload are not taken.' },
}
const batchExample: BatchView = {
  id: 'upl_Vx3kQ9mZ0bTnYp4sHd8fGj',
  name: fieldsExample.name,
  projectId: fieldsExample.projectId,
  status: 'partial',
  fileType: 'mixed',
  fileSize: sample.size,
  createdAt: sample.createdAt,
  updatedAt: sample.updatedAt,
  tasks: [
    { id: sample.id, ...pdf },
    { id: sample.otherId, ...refused },
  ],
}
const unmeasured = { width: null, height: null, duration: null, sha256: null, codecs: null, pages: null, extra: {} }
const payloadExample: z.infer<typeof payloadSchema> = {
  payload: {
    id: batchExample.id,
    name: batchExample.name,
    status: batchExample.status,
    files: {
      [sample.id]: { ...pdf, ...unmeasured, sha256: sample.sha256, pages: 3, downloadUrl: sample.downloadUrl },
      [sample.otherId]: { ...refused, ...unmeasured, downloadUrl: null },
    },
    meta: metaExample,
    folder_id: null,
    created_at: batchExample.createdAt,
  },
}

const withKey = { tag: 'Form', security: anyKey } as const
const common = ['scope_missing', 'project_forbidden', 'validation_failed', 'not_acceptable'] as const
const inProject = z.object({
  team_id: z.string().meta({ description: 'Must be a workspace that the caller belongs to.' }),
  ...projectParameter.shape,
})
const oneBatch = { path: inProject.extend({ upload_id: batchId }) }

const formBody = (projectRequired: boolean): NonNullable<Operation['body']> => ({
  required: true,
  content: {
    'multipart/form-data': {
      schema: {
        type: 'object',
        required: projectRequired ? ['file', 'projectId'] : ['file'],
        properties: {
          file: { type: 'array', items: { type: 'string', format: 'binary' }, minItems: 1 },
          name: { type: 'string', maxLength: maxNameLength, description: 'As a rule the name of the first file.' },
          projectId: { type: 'string', pattern: idPattern.source },
          meta: {
            type: 'string',
            contentMediaType: 'application/json',
            description: `A JSON array of at most ${maxMetaEntries} \`{name, value}\`, both strings.`,
          },
        },
      },
      examples: examplesOf({ form: fieldsExample }),
    },
  },
})

/** This API's part of the OpenAPI document. */
export const formApi = ({ maxFileSize, filesPerBatch }: ApiFacts): readonly Operation[] => [
  ...[
    { path: '/v2/{team_id}/project/{project_id}/upload', id: 'createFormUpload', named: true },
    { path: '/api/v1/uploads', id: 'createFormUploadInOwnWorkspace', named: false },
  ].map(({ path, id, named }): Operation => ({
    ...withKey,
    method: 'post',
    path,
    id,
    summary: 'Upload files as a form',
    description: `A form with 1 to ${filesPerBatch} parts named \`file\`, each with a file name and at most ${maxFileSize} bytes, and the fields in any order; other parts are skipped. A field has at most ${maxFieldBytes} bytes. A file that is refused fails its own task; when all are, the request fails with the reason of the first. When the form breaks off or goes over a limit, nothing of it remains. ${named ? '`projectId`, where it is sent, is the one of the path.' : '`projectId` is required here.'} Scope: \`uploads:write\`.`,
    params: {
      ...(named ? { path: inProject } : {}),
      header: z.object({ 'Idempotency-Key': idempotencyParameter }),
    },
    body: formBody(!named),
    answers: { 201: jsonAnswer('The files have come.', batchSchema, { form: batchExample }) },
    refusals: [
      ...common,
      ...fileRefusals,
      ...idempotencyRefusals,
      'invalid_multipart',
      'checksum_invalid',
      'too_many_files',
      'body_too_large',
      'unsupported_media_type',
      'request_timeout',
      'upload_state_conflict',
      'not_found',
    ],
  })),
  {
    ...withKey,
    method: 'get',
    path: '/v2/{team_id}/project/{project_id}/upload/{upload_id}',
    id: 'getFormUpload',
    summary: 'Read what a form has brought',
    description: 'The files by the ids of their tasks. Scope: `uploads:read`.',
    params: oneBatch,
    answers: { 200: jsonAnswer('The upload.', payloadSchema, { form: payloadExample }) },
    refusals: [...common, 'not_found'],
  },
  {
    ...withKey,
    method: 'delete',
    path: '/v2/{team_id}/project/{project_id}/upload/{upload_id}',
    id: 'deleteFormUpload',
    summary: 'Delete what a form has brought',
    description: 'All of its files at once. Scope: `uploads:write`.',
    params: oneBatch,
    answers: { 204: { description: 'Done. There is no body.' } },
    refusals: [...common, 'not_found', 'asset_referenced'],
  },
]

export const formGuide: Guide = (url) => `## Form: multipart/form-data

One form, one or more files, each a task with a status of its own; a workspace is called team here.

\`\`\`sh
curl ${url}/v2/$TEAM/project/$PROJECT/upload -H "Authorization: Bearer $KEY" -F "file=@document.pdf" -F "name=Important Document" -F 'meta=[{"name":"department","value":"finance"}]'
\`\`\`

\`POST ${url}/api/v1/uploads\` takes the same form in the caller's own workspace; the field \`projectId\` is required there. With the \`id\` of the answer:

- \`GET ${url}/v2/$TEAM/project/$PROJECT/upload/$ID\` reads the files, by the ids of their tasks
- \`DELETE ${url}/v2/$TEAM/project/$PROJECT/upload/$ID\` removes them all
`
