import { z } from 'zod'
import {
  anyKey,
  type ApiFacts,
  fileContent,
  fileRefusals,
  idempotencyParameter,
  idempotencyRefusals,
  nobody,
  type Operation,
  uploadIdParameter,
} from '../http/api.ts'
import type { Guide } from '../http/documentation.ts'
import { checksumAlgorithms, chunkType, extensions, tusVersion } from './tus-headers.ts'

const withKey = { tag: 'tus', security: anyKey } as const
const version = z.literal(tusVersion).meta({ description: 'The version of the protocol.' })
const bytes = z.string().regex(/^(0|[1-9]\d{0,15})$/)
const checksum = z
  .string()
  .optional()
  .meta({
    description: `Of the body: one of ${checksumAlgorithms.join(', ')}, a space, and the base64 digest.`,
  })
const override = z.string().optional().meta({ description: 'Takes the place of the method of the request.' })
const request = { 'Tus-Resumable': version, 'X-HTTP-Method-Override': override }
const everyAnswer = { 'Tus-Resumable': version }
const record = z.url().meta({ description: "Where the upload's record is: `GET` it with the same credentials." })
const expires = z
  .string()
  .optional()
  .meta({ description: 'When an upload that is not finished goes, unless something comes for it till then.' })
const onePath = z.object({ id: uploadIdParameter })
const chunkBody = (required: boolean) => ({
  required,
  content: { [chunkType]: fileContent['*/*'] },
})
const common = ['precondition_failed', 'scope_missing'] as const
const ofOne = [...common, 'not_found', 'project_forbidden', 'upload_expired', 'upload_locked'] as const

/** This API's part of the OpenAPI document. */
export const tusApi = (facts: ApiFacts): readonly Operation[] => [
  {
    ...withKey,
    method: 'options',
    path: '/files',
    id: 'discoverTus',
    summary: 'What the endpoint can do',
    security: nobody,
    answers: {
      204: {
        description: 'Version, extensions and limits, in headers.',
        headers: {
          'Tus-Version': version,
          'Tus-Extension': z.literal(extensions.join(',')),
          'Tus-Max-Size': bytes,
          'Tus-Checksum-Algorithm': z.literal(checksumAlgorithms.join(',')),
        },
      },
    },
    refusals: [],
  },
  {
    ...withKey,
    method: 'post',
    path: '/files',
    id: 'createTusUpload',
    summary: 'Create a resumable upload',
    description: `tus ${tusVersion} with ${extensions.join(', ')}. At most ${facts.maxFileSize} bytes. \`Upload-Metadata\`: \`filename\`, \`filetype\`, \`category\`, \`project_id\`, \`context_type\` with \`context_id\`, in capitals or not, and the names that clients use for the first two (\`name\`; \`type\`, \`mimeType\`, \`contentType\`); anything else is kept as the upload's metadata. Of the name the last path segment is kept, and a type that is no media type says nothing. A body of type \`${chunkType}\` brings the first bytes, or all. Scope: \`uploads:write\`.`,
    params: {
      header: z.object({
        ...request,
        'Idempotency-Key': idempotencyParameter,
        'Upload-Length': bytes.optional(),
        'Upload-Defer-Length': z.literal('1').optional(),
        'Upload-Metadata': z.string().optional(),
        'Upload-Concat': z
          .string()
          .optional()
          .meta({ description: '`partial`, or `final;` and the URLs of partial uploads.' }),
        'Upload-Checksum': checksum,
      }),
    },
    body: chunkBody(false),
    answers: {
      201: {
        description: 'Created; with the last byte also checked.',
        headers: {
          ...everyAnswer,
          Location: z
            .string()
            .meta({ description: 'Where to PATCH. Absolute, unless the installation says otherwise.' }),
          'Upload-Record': record,
          'Upload-Expires': expires,
          'Upload-Offset': bytes.optional().meta({ description: 'Bytes that count, when some came along.' }),
        },
      },
    },
    refusals: [
      ...common,
      ...fileRefusals,
      ...idempotencyRefusals,
      'chunk_checksum_mismatch',
      'checksum_invalid',
      'project_forbidden',
      'upload_not_received',
    ],
  },
  {
    ...withKey,
    method: 'head',
    path: '/files/{id}',
    id: 'lookAtTusUpload',
    summary: 'Where an upload is',
    description:
      'An offset that equals the length means that the file was accepted. While it is being checked, or the gateway cannot look because its store or its records are away: 423 with `Retry-After`. A refused file: 410. Without `Tus-Resumable` it is answered too. `Upload-Metadata` and `Upload-Concat` come back as they were sent, up to 4,096 bytes together.',
    params: { path: onePath, header: z.object({ ...request, 'Tus-Resumable': version.optional() }) },
    answers: {
      200: {
        description: 'The offset.',
        headers: {
          ...everyAnswer,
          'Upload-Offset': bytes,
          'Upload-Length': bytes.optional(),
          'Upload-Defer-Length': z.literal('1').optional(),
          'Upload-Metadata': z.string().optional(),
          'Upload-Concat': z.string().optional(),
          'Upload-Record': record,
          'Upload-Expires': expires,
        },
      },
    },
    refusals: ofOne,
  },
  {
    ...withKey,
    method: 'patch',
    path: '/files/{id}',
    id: 'appendToTusUpload',
    summary: 'Send bytes',
    description:
      'From `Upload-Offset` on. What has come of a request that breaks off is kept, and HEAD tells how much that is, as does the header `Upload-Offset` of a 409; with `Upload-Checksum` all of the body counts or nothing. The answer to the last byte comes with the verdict on the file. A newer request for the same upload ends an older one with 423.',
    params: {
      path: onePath,
      header: z.object({
        ...request,
        'Upload-Offset': bytes,
        'Upload-Length': bytes.optional().meta({ description: 'Once, where it was deferred.' }),
        'Upload-Checksum': checksum,
      }),
    },
    body: chunkBody(true),
    answers: {
      204: {
        description: 'They count.',
        headers: { ...everyAnswer, 'Upload-Offset': bytes, 'Upload-Record': record, 'Upload-Expires': expires },
      },
    },
    refusals: [
      ...ofOne,
      ...fileRefusals,
      'unsupported_media_type',
      'upload_state_conflict',
      'upload_final',
      'chunk_checksum_mismatch',
      'checksum_invalid',
    ],
  },
  {
    ...withKey,
    method: 'delete',
    path: '/files/{id}',
    id: 'deleteTusUpload',
    summary: 'End or delete an upload',
    description: 'A request that is bringing bytes for it ends.',
    params: { path: onePath, header: z.object(request) },
    answers: { 204: { description: 'It is gone.', headers: everyAnswer } },
    refusals: [...common, 'not_found', 'project_forbidden', 'asset_referenced'],
  },
  {
    ...withKey,
    method: 'get',
    path: '/files/{id}',
    id: 'downloadTusUpload',
    summary: 'Download a finished upload',
    description: 'As `GET /api/v1/uploads/{upload_id}/download` does.',
    params: { path: onePath },
    answers: {
      200: { description: 'The bytes.', content: fileContent },
      206: { description: 'A part of them.', content: fileContent },
      302: { description: 'They are in the store.', headers: { Location: z.url() } },
      304: { description: 'You have them.' },
    },
    refusals: [
      'not_found',
      'project_forbidden',
      'scope_missing',
      'upload_state_conflict',
      'range_not_satisfiable',
      'precondition_failed',
    ],
  },
]

export const tusGuide: Guide = (url) => `## tus: resumable uploads

Any tus ${tusVersion} client works with \`${url}/files\` as its endpoint and \`Authorization: Bearer $KEY\` as a header: tus-js-client, Uppy, TUSKit, tus-android.

\`\`\`sh
curl -i -X POST ${url}/files -H "Authorization: Bearer $KEY" -H "Tus-Resumable: ${tusVersion}" -H "Upload-Length: 2048" -H "Upload-Metadata: filename $(printf a.png | base64)"
curl -i -X PATCH "$LOCATION" -H "Authorization: Bearer $KEY" -H "Tus-Resumable: ${tusVersion}" -H "Upload-Offset: 0" -H "Content-Type: ${chunkType}" --data-binary @a.png
curl -I "$LOCATION" -H "Authorization: Bearer $KEY" -H "Tus-Resumable: ${tusVersion}"
\`\`\`

The id at the end of \`Location\` is the upload's id in the other APIs; \`Upload-Record\` is the URL of its record. What the client does for you:

- \`OPTIONS ${url}/files\` tells version, extensions and the largest size
- \`HEAD ${url}/files/$ID\` tells how many bytes have come, \`PATCH ${url}/files/$ID\` goes on there
- \`GET ${url}/files/$ID\` is the finished file, \`DELETE ${url}/files/$ID\` removes it, finished or not
`
