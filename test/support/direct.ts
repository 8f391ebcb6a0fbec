import { expect } from 'vitest'
import { tokens } from '../../src/uploads/tokens.ts'
import { type Answer, type Ask, type Client, md5 } from './client.ts'

export const directBase = '/api/v1/upload/direct'
/** What a gateway signs with when it was started with it as `FAIRLEAD_SECRET`. */
export const secret = 'the secret of the tests, long enough'
export const signedId = (id: string, purpose: 'blob' | 'download' = 'blob'): string =>
  `blob.${id}.${tokens(Buffer.from(secret)).sign(purpose, [id])}`

export interface Blob {
  readonly id: number
  readonly key: string
  readonly filename: string
  readonly content_type: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly service_name: string
  readonly byte_size: number
  readonly checksum: string
  readonly created_at: string
  readonly signed_id: string
  readonly direct_upload: { readonly url: string; readonly headers: Readonly<Record<string, string>> } | null
}

/** A file as clients declare it. */
export const blobFor = (bytes: Uint8Array, over: object = {}) => ({
  filename: 'file.bin',
  content_type: 'application/octet-stream',
  byte_size: bytes.length,
  checksum: md5(bytes),
  ...over,
})

export function blobOf(answer: Answer): Blob {
  expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 200 })
  return answer.json<Blob>()
}

/** What the tests do with one workspace of one gateway. */
export function directOf(call: Client) {
  const create = (blob: unknown, ask: Ask = {}): Promise<Answer> => call('POST', directBase, { json: { blob }, ...ask })
  const put = (blob: Blob, bytes: Uint8Array, headers = blob.direct_upload?.headers ?? {}): Promise<Answer> =>
    call('PUT', blob.direct_upload?.url ?? '', { headers, body: bytes, key: null })
  const made = async (bytes: Uint8Array, over: object = {}): Promise<Blob> => blobOf(await create(blobFor(bytes, over)))
  return {
    call,
    create,
    put,
    made,
    /** Made, and the bytes sent. */
    async sent(bytes: Uint8Array, over: object = {}): Promise<Blob> {
      const blob = await made(bytes, over)
      const answer = await put(blob, bytes)
      expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 200 })
      return blob
    },
    look: ({ signed_id: id }: Pick<Blob, 'signed_id'>, ask: Ask = {}): Promise<Answer> =>
      call('GET', `${directBase}/${id}`, ask),
    /** How the presigned API, which looks for nothing, calls the upload's state. */
    async status({ key }: Blob): Promise<string> {
      const answer = await call('GET', `/api/v1/uploads/${key}`)
      expect(answer.status).toBe(200)
      return answer.json<{ data: { status: string } }>().data.status
    },
  }
}
export type Direct = ReturnType<typeof directOf>
