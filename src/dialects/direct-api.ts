import { z } from 'zod'
import {
  type ApiFacts,
  anyKey,
  fileRefusals,
  idempotencyParameter,
  idempotencyRefusals,
  jsonAnswer,
  jsonBody,
  jsonBodyRefusals,
  type Operation,
} from '../http/api.ts'
import type { Guide } from '../http/documentation.ts'
import { blobSchema, directExample, directSchema, pendingExample, readyExample } from './direct-schemas.ts'
import { tusOfferExample } from './tus-offer.ts'

const withKey = { tag: 'Direct', security: anyKey } as const

/** This API's part of the OpenAPI document. */
export const directApi = (facts: ApiFacts): readonly Operation[] => [
  {
    ...withKey,
    method: 'post',
    path: '/api/v1/upload/direct',
    id: 'createDirectUpload',
    summary: 'Create a direct upload',
    description: `As Active Storage's browser client asks for it. \`direct_upload.url\` takes the bytes for ${facts.presignTtl} seconds, by a PUT with exactly the headers that are given; other bytes than the checksum's are refused. There is no confirm: the file is looked at when it has come. Where the installation looks for files that it has already, one of the same SHA-256 and size comes back with \`direct_upload: null\`. In S3 one PUT brings at most \`largest_put\` bytes, of which a 413 tells together with \`tus_endpoint\`, where larger files can come. Unknown fields are ignored. Scope: \`uploads:write\`.`,
    params: { header: z.object({ 'Idempotency-Key': idempotencyParameter }) },
    body: jsonBody(directSchema, { blob: directExample }),
    answers: {
      200: jsonAnswer('Created: PUT the bytes. Or found: there is nothing to do.', blobSchema, {
        created: pendingExample,
        large: { ...pendingExample, tus: tusOfferExample },
        found: readyExample,
      }),
    },
    refusals: [...jsonBodyRefusals, ...fileRefusals, ...idempotencyRefusals, 'scope_missing', 'not_acceptable'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/api/v1/upload/direct/{signed_id}',
    id: 'getDirectUpload',
    summary: 'Read a direct upload',
    description:
      'Bytes that have come are looked at first: `metadata` tells that they were. Without bytes, and while plugins take longer than the installation lets a request wait, `metadata` is empty. An upload whose bytes were refused answers with the reason, one that was never finished with 410. A signed id that was changed is a 404. Scope: `uploads:read`.',
    params: { path: z.object({ signed_id: z.string().meta({ description: '`signed_id` of the creation.' }) }) },
    answers: { 200: jsonAnswer('The record.', blobSchema, { ready: readyExample }) },
    refusals: [
      ...fileRefusals,
      'scope_missing',
      'not_found',
      'project_forbidden',
      'upload_state_conflict',
      'upload_expired',
      'not_acceptable',
    ],
  },
]

export const directGuide: Guide = (url) => `## Direct: create and PUT, as Active Storage does

The public \`@rails/activestorage\` browser client works with \`${url}/api/v1/upload/direct\` as its URL. \`checksum\` is the base64 of the MD5 or SHA-256. PUT the file to \`direct_upload.url\` with \`direct_upload.headers\`, exactly; nothing has to be confirmed.

\`\`\`sh
curl ${url}/api/v1/upload/direct -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d "{\\"blob\\":{\\"filename\\":\\"photo.jpg\\",\\"content_type\\":\\"image/jpeg\\",\\"byte_size\\":$(wc -c < photo.jpg),\\"checksum\\":\\"$(openssl md5 -binary photo.jpg | base64)\\"}}"
curl -T photo.jpg "$URL" -H "Content-Type: image/jpeg" -H "Content-MD5: …" -H "Content-Disposition: …"
\`\`\`

Read it with \`GET ${url}/api/v1/upload/direct/$SIGNED_ID\`: \`metadata.identified\` is there when the file was looked at. \`key\` is its id in the other APIs: \`GET ${url}/api/v1/uploads/$KEY_OF_BLOB/download\`.
`
