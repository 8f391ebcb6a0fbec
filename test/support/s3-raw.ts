import { AwsClient } from 'aws4fetch'
import type { S3Connection } from './s3-server.ts'

const requestTimeoutMs = 60_000
const removalsInFlight = 8
/** The most that servers give at once. */
const largestPage = 1_000

export interface RawObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
}

export interface RawUpload {
  readonly key: string
  readonly id: string
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/** One bucket by plain signed requests, so that nothing of the driver's client can hide what is there. */
export interface RawBucket {
  readonly name: string
  create(): Promise<void>
  /** Empties and removes it. */
  drop(): Promise<void>
  get(key: string): Promise<Buffer | undefined>
  head(key: string): Promise<Headers | undefined>
  put(key: string, bytes: Uint8Array<ArrayBuffer>, headers?: Readonly<Record<string, string>>): Promise<void>
  remove(key: string): Promise<void>
  /** Every object, in order of keys. */
  list(prefix?: string): Promise<RawObject[]>
  /** Every multipart upload that is open. */
  uploads(prefix?: string): Promise<RawUpload[]>
  startUpload(key: string): Promise<RawUpload>
  /** Returns the ETag. */
  putPart(upload: RawUpload, number: number, bytes: Uint8Array<ArrayBuffer>): Promise<string>
  parts(upload: RawUpload): Promise<number[]>
  /** Bytes of all of its parts. */
  partBytes(upload: RawUpload): Promise<number>
  abort(upload: RawUpload): Promise<void>
  /** Lets scripts of that origin read and write. */
  allowOrigin(origin: string): Promise<void>
  /** The rules as they are, in XML. */
  cors(): Promise<string | undefined>
  /** Any signed request; `path` is what follows the bucket's name, with a query. */
  request(method: string, path: string, init?: RawRequest): Promise<RawAnswer>
}

export interface RawRequest {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array<ArrayBuffer>
}

export function rawBucket(server: S3Connection, name: string, pageSize = largestPage): RawBucket {
  const { endpoint, ...credentials } = server
  const client = new AwsClient({ ...credentials, service: 's3', retries: 0 })

  async function request(method: string, path: string, { headers, body }: RawRequest = {}): Promise<RawAnswer> {
    const response = await client.fetch(`${endpoint}/${name}${path}`, {
      method,
      signal: AbortSignal.timeout(requestTimeoutMs),
      ...(headers && { headers }),
      ...(body !== undefined && { body }),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: Buffer.from(await response.arrayBuffer()),
    }
  }

  /** What is missing is no failure; anything else that is not a success is. */
  async function find(method: string, path: string, init?: RawRequest): Promise<RawAnswer | undefined> {
    const answer = await request(method, path, init)
    if (answer.status === 404) return undefined
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`)
    return answer
  }

  async function ask(method: string, path: string, init?: RawRequest): Promise<RawAnswer> {
    const answer = await find(method, path, init)
    if (!answer) throw new Error(`${method} ${path}: not found`)
    return answer
  }

  /** Every element of that name from all pages; `next` makes the query of the following page. */
  async function pages(first: string, element: string, next: (page: string) => string): Promise<string[]> {
    const found: string[] = []
    for (let query = first; ;) {
      const page = (await ask('GET', `?${query}`)).body.toString()
      found.push(...elements(page, element))
      if (text(page, 'IsTruncated') !== 'true') return found
      query = `${first}&${next(page)}`
    }
  }

  const bucket: RawBucket = {
    name,
    request,
    async create() {
      await ask('PUT', '')
    },
    async drop() {
      for (const upload of await bucket.uploads()) await bucket.abort(upload)
      const left = (await bucket.list()).values()
      const work = async () => {
        for (const { key } of left) await bucket.remove(key)
      }
      await Promise.all(Array.from({ length: removalsInFlight }, work))
      await find('DELETE', '')
    },
    async get(key) {
      return (await find('GET', pathOf(key)))?.body
    },
    async head(key) {
      return (await find('HEAD', pathOf(key)))?.headers
    },
    async put(key, bytes, headers) {
      await ask('PUT', pathOf(key), { body: bytes, ...(headers && { headers }) })
    },
    async remove(key) {
      await find('DELETE', pathOf(key))
    },
    async list(prefix = '') {
      const first = `list-type=2&max-keys=${pageSize}&prefix=${encodeURIComponent(prefix)}`
      const found = await pages(
        first,
        'Contents',
        (page) => `continuation-token=${encodeURIComponent(text(page, 'NextContinuationToken'))}`,
      )
      return found.map((xml) => ({ key: text(xml, 'Key'), size: Number(text(xml, 'Size')) }))
    },
    async uploads(prefix = '') {
      const first = `uploads&max-uploads=${pageSize}&prefix=${encodeURIComponent(prefix)}`
      const found = await pages(
        first,
        'Upload',
        (page) =>
          `key-marker=${encodeURIComponent(text(page, 'NextKeyMarker'))}` +
          `&upload-id-marker=${encodeURIComponent(text(page, 'NextUploadIdMarker'))}`,
      )
      return found.map((xml) => ({ key: text(xml, 'Key'), id: text(xml, 'UploadId') }))
    },
    async startUpload(key) {
      const { body } = await ask('POST', `${pathOf(key)}?uploads`)
      return { key, id: text(body.toString(), 'UploadId') }
    },
    async putPart({ key, id }, number, bytes) {
      const path = `${pathOf(key)}?partNumber=${number}&uploadId=${encodeURIComponent(id)}`
      return (await ask('PUT', path, { body: bytes })).headers.get('etag') ?? ''
    },
    async parts({ key, id }) {
      const page = (await ask('GET', `${pathOf(key)}?uploadId=${encodeURIComponent(id)}`)).body.toString()
      return elements(page, 'Part').map((xml) => Number(text(xml, 'PartNumber')))
    },
    async partBytes({ key, id }) {
      const page = (await ask('GET', `${pathOf(key)}?uploadId=${encodeURIComponent(id)}`)).body.toString()
      return elements(page, 'Part').reduce((sum, xml) => sum + Number(text(xml, 'Size')), 0)
    },
    async abort({ key, id }) {
      await find('DELETE', `${pathOf(key)}?uploadId=${encodeURIComponent(id)}`)
    },
    async allowOrigin(origin) {
      const methods = ['GET', 'HEAD', 'PUT'].map((method) => `<AllowedMethod>${method}</AllowedMethod>`).join('')
      const rule = `<AllowedOrigin>${origin}</AllowedOrigin>${methods}<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>`
      const body = `<CORSConfiguration><CORSRule>${rule}</CORSRule></CORSConfiguration>`
      await ask('PUT', '?cors', { body, headers: { 'content-type': 'application/xml' } })
    },
    async cors() {
      return (await find('GET', '?cors'))?.body.toString()
    },
  }
  return bucket
}

const pathOf = (key: string): string => `/${key.split('/').map(encodeURIComponent).join('/')}`

const elements = (xml: string, name: string): string[] =>
  [...xml.matchAll(new RegExp(`<${name}>([^]*?)</${name}>`, 'g'))].map((match) => match[1] ?? '')

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#34': '"' }

function text(xml: string, name: string): string {
  const [found = ''] = elements(xml, name)
  return found.replace(/&([a-z]+|#\d+);/g, (whole, entity: string) => entities[entity] ?? whole)
}
