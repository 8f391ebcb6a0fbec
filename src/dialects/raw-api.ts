import { z } from 'zod'
import {
  type ApiFacts,
  anyKey,
  fileBody,
  fileRefusals,
  idempotencyParameter,
  idempotencyRefusals,
  jsonAnswer,
  jsonBody,
  jsonBodyRefusals,
  measures,
  nextCursor,
  type Operation,
  uploadIdParameter,
  wholeBytes,
} from '../http/api.ts'
import { sample } from '../http/api-examples.ts'
import type { Guide } from '../http/documentation.ts'

export const maxNameLength = 512 // characters
const defaultPage = 80
const maxPage = 100

const projectId = z.guid('A project id is a UUID here.').toLowerCase()

export const createHeaders = z.object({
  'x-file-name': z
    .string()
    .regex(/\S/, 'The header is required: the name of the file.')
    .meta({
      description: `The name of the file, 1 to ${maxNameLength} characters; UTF-8, as it is or percent-encoded. Its last path segment is kept, without control characters.`,
      examples: ['photo.jpg'],
    }),
  'x-project-id': projectId.optional().meta({ description: 'The project that the asset is bound to.' }),
})
export const projectParameters = z.object({ projectId })
export const pageSchema = z.strictObject({
  pageSize: z.coerce.number().int().min(1).max(maxPage).default(defaultPage),
  pageCursor: z.guid().optional().meta({ description: '`meta.nextPageCursor` of the page before.' }),
})
export const bindSchema = z.object({ assetId: z.guid() })

const assetSchema = z
  .strictObject({
    assetId: z.uuid(),
    type: z.enum(['image', 'video', 'audio', 'document', 'archive', 'text', 'other']),
    source: z.literal('upload'),
    filename: z.string(),
    mimetype: z.string().meta({ description: 'What the bytes are.' }),
    size: wholeBytes,
    fileUrl: z.url().meta({ description: 'Signed; works without credentials until it expires.' }),
    fileKey: z.string().meta({ description: 'Where the store has it; nothing that a client sent is part of it.' }),
    ...measures,
  })
  .meta({ id: 'Asset', description: 'One file that came whole.' })

const assetExample: z.infer<typeof assetSchema> = {
  assetId: sample.id,
  type: 'image',
  source: 'upload',
  filename: sample.filename,
  mimetype: sample.contentType,
  size: sample.size,
  fileUrl: sample.downloadUrl,
  fileKey: '37/019aa5f07c1e7cc38f0a2b1f5a1d9e37.4c81e0b7d2f9',
  width: sample.width,
  height: sample.height,
  duration: null,
}

const answer = (data: z.ZodType, meta: Record<string, z.ZodType> = {}): z.ZodType =>
  z.strictObject({ data, meta: z.strictObject(meta) })

const withKey = { tag: 'Raw', security: anyKey } as const
const common = ['scope_missing', 'project_forbidden', 'not_acceptable'] as const
const oneExample = { asset: { data: assetExample, meta: {} } }
const oneAsset = { assetId: uploadIdParameter }
const gone = { 204: { description: 'Done. There is no body.' } }

/** This API's part of the OpenAPI document. */
export const rawApi = ({ maxFileSize }: ApiFacts): readonly Operation[] => [
  {
    ...withKey,
    method: 'post',
    path: '/v1/uploads',
    id: 'createAsset',
    summary: 'Upload a file in one request',
    description: `The body is the file, of 1 to ${maxFileSize} bytes, with a Content-Length or chunked, uncompressed; its Content-Type is a hint. \`multipart/form-data\` is refused: forms have another address, and a file that is one is sent as \`application/octet-stream\`. Digests of the body in headers such as \`Content-MD5\`, \`Content-Digest\` or \`x-amz-checksum-sha256\` are checked. Send \`Expect: 100-continue\` to learn of a refusal before the bytes are sent. Scope: \`uploads:write\`.`,
    params: { header: createHeaders.extend({ 'Idempotency-Key': idempotencyParameter }) },
    body: fileBody,
    answers: {
      201: jsonAnswer('The asset.', answer(assetSchema), oneExample, {
        Location: z.string().meta({ description: 'Path of the asset.' }),
      }),
    },
    refusals: [
      ...common,
      ...fileRefusals,
      ...idempotencyRefusals,
      'empty_body',
      'checksum_invalid',
      'unsupported_media_type',
      'request_timeout',
      'upload_state_conflict',
      'not_found',
    ],
  },
  {
    ...withKey,
    method: 'get',
    path: '/v1/assets/{assetId}',
    id: 'getAsset',
    summary: 'Read an asset',
    description: 'Scope: `uploads:read`.',
    params: { path: z.object(oneAsset) },
    answers: { 200: jsonAnswer('The asset.', answer(assetSchema), oneExample) },
    refusals: [...common, 'not_found'],
  },
  {
    ...withKey,
    method: 'delete',
    path: '/v1/assets/{assetId}',
    id: 'deleteAsset',
    summary: 'Delete an asset',
    description: 'Not while a project holds it. Scope: `uploads:write`.',
    params: { path: z.object(oneAsset) },
    answers: gone,
    refusals: [...common, 'not_found', 'asset_referenced'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/v1/projects/{projectId}/assets',
    id: 'listProjectAssets',
    summary: 'List the assets of a project',
    description: 'Newest first. Scope: `uploads:read`.',
    params: { path: projectParameters, query: pageSchema },
    answers: {
      200: jsonAnswer('A page.', answer(z.array(assetSchema), { nextPageCursor: nextCursor }), {
        page: { data: [assetExample], meta: { nextPageCursor: sample.id } },
      }),
    },
    refusals: [...common, 'validation_failed'],
  },
  {
    ...withKey,
    method: 'post',
    path: '/v1/projects/{projectId}/assets',
    id: 'addProjectAsset',
    summary: 'Bind an asset to a project',
    description: 'Again changes nothing. Scope: `uploads:write`.',
    params: { path: projectParameters },
    body: jsonBody(bindSchema, { asset: { assetId: sample.id } }),
    answers: { 200: jsonAnswer('The asset.', answer(assetSchema), oneExample) },
    refusals: [...common, ...jsonBodyRefusals, 'not_found'],
  },
  {
    ...withKey,
    method: 'delete',
    path: '/v1/projects/{projectId}/assets/{assetId}',
    id: 'removeProjectAsset',
    summary: 'Unbind an asset from a project',
    description: 'The asset itself stays. Scope: `uploads:write`.',
    params: { path: projectParameters.extend(oneAsset) },
    answers: gone,
    refusals: [...common, 'validation_failed', 'not_found'],
  },
]

export const rawGuide: Guide = (url) => `## Raw: one request, one asset

The body is the file. The answer has its id, type, size, dimensions and a signed URL.

\`\`\`sh
curl ${url}/v1/uploads -H "Authorization: Bearer $KEY" -H "x-file-name: photo.jpg" --data-binary @photo.jpg
\`\`\`

- \`GET ${url}/v1/assets/$ID\` reads the asset, \`DELETE ${url}/v1/assets/$ID\` removes it unless a project holds it
- \`GET ${url}/v1/projects/$PROJECT/assets\` lists those of a project (a UUID), which \`x-project-id\` binds at the upload
- \`POST ${url}/v1/projects/$PROJECT/assets\` with \`{"assetId":"$ID"}\` binds later, \`DELETE ${url}/v1/projects/$PROJECT/assets/$ID\` unbinds
`
