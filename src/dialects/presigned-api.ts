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
  nextCursor,
  nobody,
  type Operation,
  uploadIdParameter,
} from '../http/api.ts'
import { sample } from '../http/api-examples.ts'
import type { Guide } from '../http/documentation.ts'
import { uploadUrlPath } from '../uploads/upload-url.ts'
import {
  answer,
  answerExample,
  confirmSchema,
  createdExample,
  createdSchema,
  createExample,
  createSchema,
  listSchema,
  uploadExample,
  uploadSchema,
  usageExample,
  usageSchema,
  usageSummarySchema,
  whoamiExample,
  whoamiSchema,
} from './presigned-schemas.ts'
import { tusOfferExample } from './tus-offer.ts'

const withKey = { tag: 'Presigned', security: anyKey } as const
const one = { path: z.object({ upload_id: uploadIdParameter }) }
const contextExample = { context_type: uploadExample.context_type, context_id: uploadExample.context_id }
const readOne = ['scope_missing', 'not_found', 'project_forbidden', 'not_acceptable'] as const

/** This API's part of the OpenAPI document. */
export const presignedApi = (facts: ApiFacts): readonly Operation[] => [
  {
    ...withKey,
    method: 'post',
    path: '/api/v1/uploads',
    id: 'createUpload',
    summary: 'Create an upload',
    description: `Answers with the URL that takes the bytes, good for ${facts.presignTtl} seconds. A file has at most ${facts.maxFileSize} bytes; a category may allow less. A declared size that does not fit into what the workspace's quota leaves is refused here already. In S3 one PUT brings at most \`largest_put\` bytes, of which a 413 tells together with \`tus_endpoint\`, where larger files can come. Unknown fields are ignored. Scope: \`uploads:write\`.`,
    params: { header: z.object({ 'Idempotency-Key': idempotencyParameter }) },
    body: jsonBody(createSchema(facts.categories), { upload: createExample(facts.categories) }),
    answers: {
      201: jsonAnswer('Created: PUT the bytes, then confirm.', answer(createdSchema), {
        created: answerExample(createdExample),
        large: answerExample({ ...createdExample, tus: tusOfferExample }),
      }),
    },
    refusals: [...jsonBodyRefusals, ...fileRefusals, ...idempotencyRefusals, 'scope_missing', 'not_acceptable'],
  },
  {
    ...withKey,
    method: 'put',
    path: `${uploadUrlPath}/{upload_id}`,
    id: 'putUploadBytes',
    summary: 'Send the bytes',
    description:
      'The `upload_url` of the creation, or the `direct_upload.url` of a direct upload; with the `s3` driver that URL leads to the S3 server instead. Takes exactly the size, type and checksum that were declared. Digests of the body in headers such as `Content-MD5`, `Content-Digest` or `x-amz-checksum-sha256` are checked. A newer PUT ends an older one with 423. A PUT that fails keeps nothing and can be tried again; one that worked can be repeated until the confirm, or, of a direct upload, until the bytes have been looked at.',
    security: nobody,
    params: {
      ...one,
      query: z.object({
        expires: z.string().meta({ description: 'As in the URL: seconds since 1970.' }),
        finish: z.string().optional().meta({ description: 'As in the URL, where it has one.' }),
        signature: z.string().meta({ description: 'As in the URL.' }),
      }),
    },
    body: fileBody,
    answers: {
      200: {
        description: 'The bytes are kept until the confirm.',
        headers: {
          ETag: z
            .string()
            .regex(/^"[0-9a-f]{64}"$/)
            .meta({ description: 'SHA-256 of the bytes.' }),
        },
      },
    },
    refusals: [
      'upload_locked',
      'signature_invalid',
      'checksum_invalid',
      'not_found',
      'upload_expired',
      'upload_state_conflict',
      'unsupported_media_type',
      'request_timeout',
      'storage_failed',
      ...fileRefusals,
    ],
  },
  ...[
    { path: '/api/v1/uploads/{upload_id}', id: 'confirmUpload' },
    { path: '/api/v1/uploads/{upload_id}/confirm', id: 'confirmUploadAtItsOwnPath' },
  ].map(({ path, id }): Operation => ({
    ...withKey,
    method: 'post',
    path,
    id,
    summary: 'Confirm an upload',
    description:
      'The bytes are checked and charged. Again: the same answer. `processing` where that takes longer than the installation lets a request wait; read the upload again then. Scope: `uploads:write`.',
    params: one,
    body: { ...jsonBody(confirmSchema, { context: contextExample, nothing: {} }), required: false },
    answers: {
      200: jsonAnswer('The upload, `confirmed` or still `processing`.', answer(uploadSchema), {
        confirmed: answerExample(uploadExample),
      }),
    },
    refusals: [
      ...jsonBodyRefusals,
      ...fileRefusals,
      ...readOne,
      'upload_not_received',
      'upload_state_conflict',
      'upload_expired',
    ],
  })),
  {
    ...withKey,
    method: 'get',
    path: '/api/v1/uploads/{upload_id}',
    id: 'getUpload',
    summary: 'Read an upload',
    description: 'Whichever way it came. Scope: `uploads:read`.',
    params: one,
    answers: { 200: jsonAnswer('The upload.', answer(uploadSchema), { confirmed: answerExample(uploadExample) }) },
    refusals: readOne,
  },
  {
    ...withKey,
    method: 'delete',
    path: '/api/v1/uploads/{upload_id}',
    id: 'deleteUpload',
    summary: 'Delete an upload',
    description:
      'Its bytes are given back to the quota at once, the object goes after the answer; what still receives it is stopped. Scope: `uploads:write`.',
    params: one,
    answers: { 200: jsonAnswer('It is gone.', answer(z.strictObject({})), { gone: answerExample({}) }) },
    refusals: [...readOne, 'asset_referenced'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/api/v1/uploads',
    id: 'listUploads',
    summary: 'List uploads',
    description: 'Newest first, stable while others come and go. Scope: `uploads:read`.',
    params: { query: listSchema },
    answers: {
      200: jsonAnswer('A page.', answer(z.array(uploadSchema), { next_cursor: nextCursor }), {
        page: answerExample([uploadExample], { next_cursor: sample.id }),
      }),
    },
    refusals: ['validation_failed', 'scope_missing', 'project_forbidden', 'not_acceptable'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/api/v1/usage/summary',
    id: 'getUsageSummary',
    tag: 'Account',
    summary: 'What the workspace uses',
    description: 'Scope: `uploads:read`.',
    params: { query: usageSchema },
    answers: {
      200: jsonAnswer('Bytes, counts and days.', answer(usageSummarySchema), { month: answerExample(usageExample) }),
    },
    refusals: ['validation_failed', 'scope_missing', 'not_found', 'not_acceptable'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/api/v1/auth/whoami',
    id: 'whoami',
    tag: 'Account',
    summary: 'Who is calling',
    answers: { 200: jsonAnswer('The caller.', answer(whoamiSchema), { key: answerExample(whoamiExample) }) },
    refusals: ['not_acceptable'],
  },
]

export const presignedGuide: Guide = (url) => `## Presigned: create, PUT, confirm

Who sends the bytes needs no key. Create, PUT the file to \`data.upload_url\` with \`data.upload_headers\`, then confirm: only then is the upload \`confirmed\`.

\`\`\`sh
curl ${url}/api/v1/uploads -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d '{"filename":"film.mp4","category":"video"}'
curl -T film.mp4 "$UPLOAD_URL"
curl -X POST ${url}/api/v1/uploads/$ID/confirm -H "Authorization: Bearer $KEY"
\`\`\`

\`$ID\` is \`data.upload.id\`. Of every upload, whichever way it came:

- \`GET ${url}/api/v1/uploads/$ID\` reads it: \`data.status\` and what was found
- \`GET ${url}/api/v1/uploads/$ID/download\` is the file; \`data.download_url\` needs no key. \`HEAD\`, ranges and \`ETag\` work
- \`DELETE ${url}/api/v1/uploads/$ID\` removes it
- \`GET ${url}/api/v1/uploads\` lists, newest first: \`status\`, \`category\`, \`project_id\`, \`content_type\`, \`created_after\`, \`limit\`, \`cursor\`
- \`POST ${url}/api/v1/uploads/$ID\` confirms, too
- \`GET ${url}/api/v1/usage/summary\` says what the workspace uses, \`GET ${url}/api/v1/auth/whoami\` who is calling
`
