import { z } from 'zod'
import { type ApiFacts, type Answer, anyKey, fileContent, type Operation, uploadIdParameter } from '../http/api.ts'

const condition = (description: string) => z.string().optional().meta({ description })

const fileHeaders = {
  ETag: z.string(),
  'Last-Modified': z.string(),
  'Accept-Ranges': z.literal('bytes'),
  'Content-Disposition': z.string(),
}
const file = (description: string, headers: Answer['headers'] = fileHeaders): Answer => ({
  description,
  headers,
  content: fileContent,
})

/** HEAD knows no ranges, and is answered here. */
const rangeHeaders = {
  Range: condition('One range of bytes or several, such as `bytes=0-99,200-`.'),
  'If-Range': condition('The range counts only for this `ETag` or date.'),
}
const onlyOfGet: Operation['answers'] = {
  206: file('One range; several come as `multipart/byteranges`.', {
    ...fileHeaders,
    'Content-Range': z.string().optional(),
  }),
  302: {
    description:
      'With the `s3` driver, where downloads are not proxied, to a request without credentials in its headers: the bytes are there.',
    headers: { Location: z.url() },
  },
}

/** This API's part of the OpenAPI document. */
export const downloadsApi = ({ downloadTtl }: ApiFacts): readonly Operation[] =>
  (['get', 'head'] as const).map((method) => ({
    method,
    path: '/api/v1/uploads/{upload_id}/download',
    id: method === 'get' ? 'downloadUpload' : 'describeDownload',
    tag: 'Downloads',
    summary: method === 'get' ? 'Download the bytes' : 'Ask what a download would be',
    description: `By credentials with the scope \`uploads:read\`, or by the signed address in \`download_url\` and \`fileUrl\`, good for ${downloadTtl} seconds. More than 16 ranges, or ranges with more bytes than the file, get the whole file. What a browser could run is sent as an attachment, sandboxed.`,
    security: [...anyKey, {}],
    params: {
      path: z.object({ upload_id: uploadIdParameter }),
      query: z.object({
        expires: z.string().optional().meta({ description: 'As in the signed address: seconds since 1970.' }),
        signature: z.string().optional().meta({ description: 'As in the signed address; only together.' }),
      }),
      header: z.object({
        ...(method === 'get' ? rangeHeaders : {}),
        'If-Match': condition('412 where the file has another `ETag`.'),
        'If-None-Match': condition('304 where the file has this `ETag`.'),
        'If-Modified-Since': condition('304 where the file has not changed since.'),
        'If-Unmodified-Since': condition('412 where the file has changed since.'),
      }),
    },
    answers: {
      200: file('The whole file.'),
      ...(method === 'get' ? onlyOfGet : {}),
      304: { description: 'The client has this version.', headers: { ETag: z.string() } },
    },
    refusals: [
      'signature_invalid',
      'scope_missing',
      'project_forbidden',
      'not_found',
      'upload_state_conflict',
      'upload_expired',
      'precondition_failed',
      ...(method === 'get' ? (['range_not_satisfiable'] as const) : []),
    ],
  }))
