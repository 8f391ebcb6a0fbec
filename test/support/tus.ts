import { expect } from 'vitest'
import { refusalOf } from '../contracts/dialect.ts'
import { type Answer, type Ask, type Client, clientOf, eventually, requestHead, type Wire, wireTo } from './client.ts'
import type { TestGateway } from './gateway.ts'

export const tusVersion = '1.0.0'
export const bytesType = 'application/offset+octet-stream'
export const uuidPattern = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

export type Headers = Readonly<Record<string, string>>
/** Headers of a request on a connection of our own. A second header of the same name: `'1\r\nName: 2'`. */
export type WireHeaders = Readonly<Record<string, string | number>>
type Bytes = NonNullable<Ask['body']>

/** What the presigned API says of an upload. */
export interface UploadView {
  readonly id: string
  readonly filename: string
  readonly category: string | null
  readonly content_type: string | null
  readonly size_bytes: number | null
  readonly received_bytes: number
  readonly status: string
  readonly context_type: string | null
  readonly context_id: string | null
  readonly metadata: Readonly<Record<string, string>>
}

export interface Usage {
  readonly storage: { readonly used_bytes: number; readonly reserved_bytes: number }
  readonly uploads: Readonly<Record<string, number>>
}

/** A small client of the protocol that sends what it is told, right or wrong. Uploads are named by their ids. */
export interface Tus {
  /** With credentials and nothing else. */
  readonly call: Client
  /** With credentials and version. */
  readonly ask: Client
  post(headers?: Headers, body?: Bytes): Promise<Answer>
  /** A POST that must work. @param length `null`: to be told later */
  made(length: number | null, headers?: Headers, body?: Bytes): Promise<string>
  head(id: string): Promise<Answer>
  patch(id: string, offset: number | string, body?: Bytes, headers?: Headers): Promise<Answer>
  /** A PATCH that must work; the new offset. */
  sent(id: string, offset: number, body?: Bytes, headers?: Headers): Promise<number>
  remove(id: string): Promise<Answer>
  /** As HEAD tells it, which must work. */
  offset(id: string): Promise<number>
  view(id: string): Promise<UploadView>
  download(id: string): Promise<Buffer>
  usage(): Promise<Usage>
  /** The head of a request with credentials and version, on a connection of its own; a body may follow. */
  open(method: string, id: string | null, headers?: WireHeaders, body?: Uint8Array | string): Promise<Wire>
  /** A PATCH that has brought these bytes of so many, and stays open. HEAD has seen the bytes. */
  stuck(id: string, offset: number, bytes: Uint8Array, length: number): Promise<Wire>
  /** The same client with another key; `null`: none. */
  as(key: string | null): Tus
}

export const pathOf = (id: string): string => `/files/${id}`
/** Upload-Metadata of these. */
export const metadataOf = (pairs: Headers): string =>
  Object.entries(pairs)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
    .join(',')

const problem = { errors: 'problem', errorType: 'application/problem+json' } as const
/** What a refusal says, such as `404 not_found`. */
export const refusal = (answer: Answer): string => refusalOf(answer, problem)

/** The id that `Location` names. */
export function idOf(answer: Answer): string {
  expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 201 })
  const id = new RegExp(`/files/(${uuidPattern})$`).exec(answer.headers.get('location') ?? '')?.[1]
  if (id === undefined) throw new Error(`Location names no upload: ${answer.headers.get('location')}`)
  return id
}

/** Headers that every answer but OPTIONS must have; what is wrong goes on the list. */
function watch(client: Client, breaches: string[]): Client {
  return async (method, path, ask) => {
    const answer = await client(method, path, ask)
    const wanted = { 'tus-resumable': tusVersion, 'cache-control': 'no-store' }
    // 431 is said before anybody has looked at what was asked.
    if (method === 'OPTIONS' || method === 'GET' || answer.status === 431) return answer
    for (const [name, value] of Object.entries(wanted)) {
      const found = answer.headers.get(name)
      if (found !== value) breaches.push(`${method} ${path}, ${answer.status}: ${name} is ${found}`)
    }
    if (!answer.headers.has('x-request-id')) breaches.push(`${method} ${path}, ${answer.status}: no x-request-id`)
    if ([400, 401, 403, 404, 410, 423].includes(answer.status) && answer.headers.has('upload-offset'))
      breaches.push(`${method} ${path}, ${answer.status}: there is an upload-offset`)
    return answer
  }
}

const withBody = (body: Bytes | undefined) => (body === undefined ? {} : { body })
const typed = (headers: Headers, body: Bytes | undefined): Headers =>
  body === undefined ? headers : { 'Content-Type': bytesType, ...headers }

/** @param breaches where what every answer should have and one has not is written down */
export function tusOf(gateway: () => TestGateway, breaches: string[], key?: string | null): Tus {
  const credential = (): string | null => (key === undefined ? gateway().key : key)
  const call: Client = (method, path, ask = {}) =>
    clientOf(gateway(), '')(method, path, { ...ask, key: ask.key === undefined ? credential() : ask.key })
  const watched = watch(call, breaches)
  const ask: Client = (method, path, more = {}) =>
    watched(method, path, { ...more, headers: { 'Tus-Resumable': tusVersion, ...more.headers } })

  const tus: Tus = {
    call,
    ask,
    post: (headers = {}, body) => ask('POST', '/files', { headers: typed(headers, body), ...withBody(body) }),
    async made(length, headers = {}, body) {
      const size: Headers = length === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }
      return idOf(await tus.post({ ...size, ...headers }, body))
    },
    head: (id) => ask('HEAD', pathOf(id)),
    patch: (id, offset, body, headers = {}) =>
      ask('PATCH', pathOf(id), {
        headers: { 'Content-Type': bytesType, 'Upload-Offset': String(offset), ...headers },
        ...withBody(body),
      }),
    async sent(id, offset, body, headers) {
      const answer = await tus.patch(id, offset, body, headers)
      expect({ status: answer.status, body: answer.bytes.toString() }).toEqual({ status: 204, body: '' })
      return Number(answer.headers.get('upload-offset'))
    },
    remove: (id) => ask('DELETE', pathOf(id)),
    async offset(id) {
      const answer = await tus.head(id)
      expect(answer.status).toBe(200)
      return Number(answer.headers.get('upload-offset') ?? Number.NaN)
    },
    async view(id) {
      const answer = await call('GET', `/api/v1/uploads/${id}`)
      expect(answer.status).toBe(200)
      return answer.json<{ data: UploadView }>().data
    },
    async download(id) {
      const answer = await call('GET', `/api/v1/uploads/${id}/download`)
      expect(answer.status).toBe(200)
      return answer.bytes
    },
    usage: async () => (await call('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data,
    async open(method, id, headers = {}, body = '') {
      const wire = await wireTo(gateway().url)
      const holder = credential()
      const auth: WireHeaders = holder === null ? {} : { Authorization: `Bearer ${holder}` }
      const all = { ...auth, 'Tus-Resumable': tusVersion, ...headers }
      const head = requestHead(method, id === null ? '/files' : pathOf(id), all)
      await wire.send(Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)]))
      return wire
    },
    async stuck(id, offset, bytes, length) {
      const wire = await tus.open('PATCH', id, patchHeaders(offset, length), bytes)
      await eventually(async () => expect(await tus.offset(id)).toBe(offset + bytes.length))
      return wire
    },
    as: (other) => tusOf(gateway, breaches, other),
  }
  return tus
}

export const patchHeaders = (offset: number, length: number): WireHeaders => ({
  'Content-Type': bytesType,
  'Upload-Offset': offset,
  'Content-Length': length,
})

/** The body in chunks of HTTP, as one connection sends them; without the last, empty one it goes on. */
export const chunksOf = (pieces: readonly (Uint8Array | string)[], ends = true): Buffer =>
  Buffer.concat([
    ...pieces.flatMap((piece) => {
      const bytes = Buffer.from(piece)
      return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]
    }),
    Buffer.from(ends ? '0\r\n\r\n' : ''),
  ])
