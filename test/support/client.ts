import assert from 'node:assert'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectByTls, TLSSocket } from 'node:tls'
import { newKey, keyDigest } from '../../src/http/authenticate.ts'
import { sqliteRecords } from '../../src/records/sqlite.ts'
import type { ApiKey, Records } from '../../src/uploads/records.ts'
import { projectRoot, type TestGateway } from './gateway.ts'

/** Milliseconds after which something that has to happen has not. */
const patienceMs = 8_000
/** Milliseconds between two looks. */
const lookMs = 20

/** Text of an `uploads.config.ts`. @param plugins calls of `sniffType` and `quota`; `null`: the product's own @param more further options */
export const configText = (plugins: string | null = 'sniffType(), quota()', more = ''): string => `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default { ${plugins === null ? '' : `plugins: [${plugins}],`} ${more} }
`

export const sha256 = (bytes: Uint8Array, encoding: 'hex' | 'base64' = 'hex'): string =>
  createHash('sha256').update(bytes).digest(encoding)
export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('base64')

/** An answer that was read whole. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Buffer
  /** The body as JSON; the caller says what it must be. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the tests compare what the type only claims
  json<T = Record<string, unknown>>(): T
}

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly json?: unknown
  readonly body?: Uint8Array | string | ReadableStream<Uint8Array>
  /** Another key than the client's; `null`: none. */
  readonly key?: string | null
}

export type Client = (method: string, path: string, ask?: Ask) => Promise<Answer>

const answerOf = (status: number, headers: Headers, bytes: Buffer): Answer => ({
  status,
  headers,
  bytes,
  json: () => JSON.parse(bytes.toString()),
})

/** Asks the gateway by `fetch`. `path` may be an absolute URL. */
export const clientOf =
  (gateway: Pick<TestGateway, 'url'>, key: string): Client =>
  async (method, path, ask = {}) => {
    const credential = ask.key === undefined ? key : ask.key
    const headers = new Headers(ask.headers)
    if (credential !== null) headers.set('Authorization', `Bearer ${credential}`)
    if (ask.json !== undefined) headers.set('Content-Type', 'application/json')
    const body = ask.json === undefined ? ask.body : JSON.stringify(ask.json)
    // Only the types of `fetch` know nothing of Node's own byte arrays.
    const sent = body as RequestInit['body']
    const stream = body instanceof ReadableStream ? { duplex: 'half' as const } : {}
    const response = await fetch(new URL(path, gateway.url), {
      method,
      headers,
      redirect: 'manual',
      ...stream,
      ...(sent === undefined ? {} : { body: sent }),
    })
    return answerOf(response.status, response.headers, Buffer.from(await response.arrayBuffer()))
  }

/** A body that `fetch` sends chunked. */
export function chunked(parts: readonly Uint8Array[], pauseMs = 0): ReadableStream<Uint8Array> {
  const left = [...parts]
  return new ReadableStream({
    async pull(controller) {
      if (pauseMs > 0) await pause(pauseMs)
      const next = left.shift()
      if (next) controller.enqueue(next)
      else controller.close()
    },
  })
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Looks again until it holds; fails with the last look's reason. */
export async function eventually(look: () => void | Promise<void>, ms = patienceMs): Promise<void> {
  const end = Date.now() + ms
  for (;;) {
    try {
      return await look()
    } catch (error) {
      if (Date.now() > end) throw error
      await pause(lookMs)
    }
  }
}

/** Every file below the store's directory, finished or not. */
export async function storedFiles(gateway: Pick<TestGateway, 'dataDir'>): Promise<string[]> {
  const entries = await readdir(join(gateway.dataDir, 'objects'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}

/** Works on the gateway's records as another process does, such as a command of the program. */
export async function withRecords<T>(
  { dataDir }: Pick<TestGateway, 'dataDir'>,
  work: (records: Records) => Promise<T>,
): Promise<T> {
  const records = sqliteRecords({ path: join(dataDir, 'fairlead.db'), defaultQuota: null })
  try {
    return await work(records)
  } finally {
    await records.close()
  }
}

/** API keys written into the gateway's records by another process, as `fairlead keys create` does, at once. */
export async function addKeys<Name extends string>(
  gateway: Pick<TestGateway, 'dataDir'>,
  wanted: Readonly<Record<Name, Partial<ApiKey>>>,
): Promise<Record<Name, string>> {
  const made: Record<string, string> = {}
  await withRecords(gateway, async (records) => {
    for (const [name, over] of Object.entries<Partial<ApiKey>>(wanted)) {
      const key = newKey('op')
      const id = randomUUID()
      const row: ApiKey = {
        id,
        workspaceId: 'default',
        userId: 'tester',
        name,
        scopes: ['uploads:read', 'uploads:write'],
        projects: null,
        createdAt: Date.now(),
        expiresAt: null,
        revokedAt: null,
        ...over,
      }
      await records.createKey(row, keyDigest(key))
      if (row.revokedAt !== null) await records.revokeKey(id)
      made[name] = key
    }
  })
  return made
}

/** A connection of our own, on which every byte is ours. */
export interface Wire {
  readonly socket: Socket
  send(bytes: string | Uint8Array): Promise<void>
  /** The next answer, `100 Continue` included; those to HEAD have no body. */
  answer(options?: { readonly head?: boolean }): Promise<Answer>
  /** What has come and was not read as an answer. */
  rest(): Buffer
  /** Whether the other side has ended the connection by then. */
  closed(ms?: number): Promise<boolean>
  /** Breaks the connection at once. */
  cut(): void
}

export async function wireTo(url: string): Promise<Wire> {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'https:'
  const socket = secure
    ? connectByTls({ host: hostname, port: Number(port), servername: hostname })
    : connect(Number(port), hostname)
  const chunks: Buffer[] = []
  let ended = false
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => {}) // a reset is an end as well
  socket.once('close', () => (ended = true))
  socket.once('end', () => (ended = true))
  await once(socket, secure ? 'secureConnect' : 'connect')

  /** All that has come and was not taken. Put together only when somebody looks: large answers come in many chunks. */
  const received = (): Buffer => {
    if (chunks.length > 1) chunks.splice(0, chunks.length, Buffer.concat(chunks))
    return chunks[0] ?? Buffer.alloc(0)
  }
  const until = async (there: () => boolean, what: string): Promise<void> => {
    const end = Date.now() + patienceMs
    while (!there()) {
      if (ended) throw new Error(`The connection ended before ${what}: ${received().toString('latin1')}`)
      if (Date.now() > end) throw new Error(`There was no ${what}: ${received().toString('latin1')}`)
      await pause(2)
    }
  }
  const take = (length: number): Buffer => {
    const all = received()
    chunks.splice(0, chunks.length, all.subarray(length))
    return all.subarray(0, length)
  }

  async function chunkedBody(): Promise<Buffer> {
    const parts: Buffer[] = []
    for (;;) {
      await until(() => received().includes('\r\n'), 'chunk size')
      const line = take(received().indexOf('\r\n') + 2).toString('latin1')
      const size = Number.parseInt(line, 16)
      await until(() => received().length >= size + 2, 'chunk')
      parts.push(take(size))
      take(2)
      if (size === 0) return Buffer.concat(parts)
    }
  }

  return {
    socket,
    send: (bytes) => new Promise((resolve) => socket.write(bytes, () => resolve())),
    async answer({ head = false } = {}) {
      await until(() => received().includes('\r\n\r\n'), 'answer')
      const [first = '', ...lines] = take(received().indexOf('\r\n\r\n') + 4)
        .toString('latin1')
        .trimEnd()
        .split('\r\n')
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1])
      const headers = new Headers(
        lines.map((line): [string, string] => {
          const colon = line.indexOf(':')
          return [line.slice(0, colon), line.slice(colon + 1).trim()]
        }),
      )
      const length = Number(headers.get('content-length') ?? 0)
      if (head || status < 200 || status === 204 || status === 304) return answerOf(status, headers, Buffer.alloc(0))
      if (headers.get('transfer-encoding') === 'chunked') return answerOf(status, headers, await chunkedBody())
      await until(() => received().length >= length, 'body')
      return answerOf(status, headers, take(length))
    },
    rest: received,
    async closed(ms = patienceMs) {
      await eventually(() => assert(ended), ms).catch(() => {})
      return ended
    },
    // Node resets plain connections only.
    cut: () => void (socket instanceof TLSSocket ? socket.destroy() : socket.resetAndDestroy()),
  }
}

/** The head of a request as it goes over the wire. */
export const requestHead = (
  method: string,
  target: string,
  headers: Readonly<Record<string, string | number>>,
): string => {
  const lines = Object.entries({ Host: 'gateway.test', ...headers }).map(([name, value]) => `${name}: ${value}`)
  return `${[`${method} ${target} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`
}

/** Runs a command of the program, which must work. */
export async function command(gateway: Pick<TestGateway, 'run'>, ...args: string[]): Promise<void> {
  const { code, stderr } = await gateway.run(...args)
  assert.equal(code, 0, stderr)
}
