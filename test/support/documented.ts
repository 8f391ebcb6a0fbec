import assert from 'node:assert'
import { z } from 'zod'
import { dialects } from '../../src/dialects/all.ts'
import { type ApiFacts, type Operation, responsesOf } from '../../src/http/api.ts'
import { operationsApi, pageApi } from '../../src/http/operations-api.ts'
import type { Answer, Client } from './client.ts'

const facts: ApiFacts = { categories: ['other'], maxFileSize: 1, filesPerBatch: 1, presignTtl: 1, downloadTtl: 1 }

/** Everything that is documented. What the facts change stands in requests only. */
export const documentedOperations: readonly Operation[] = [
  ...dialects.flatMap(({ api }) => api(facts)),
  ...operationsApi,
  ...pageApi,
]

/** What the document says of one operation was seen: such as `createUpload 201`. */
export type Seen = Set<string>

/** The same client; an answer that the OpenAPI document does not tell of fails. @param seen is told what was answered */
export const documentedClient =
  (call: Client, seen: Seen = new Set()): Client =>
  async (method, path, ask) => {
    const answer = await call(method, path, ask)
    const { pathname } = new URL(path, 'http://gateway.test')
    const operation = operationAt(method, pathname, new Headers(ask?.headers).get('content-type') ?? '')
    if (operation) {
      assertDocumented(operation, answer)
      seen.add(`${operation.id} ${answer.status}`)
    } else assert([404, 405].includes(answer.status), `${method} ${pathname} is not documented: ${answer.status}`)
    return answer
  }

/** The documented operation that a request asks for. HEAD is wherever GET is; a form has operations of its own. */
export function operationAt(method: string, pathname: string, contentType = ''): Operation | undefined {
  const isForm = contentType.startsWith('multipart/')
  const fitting = documentedOperations.filter(({ path }) => patternOf(path).test(pathname))
  const literal = fitting.toSorted((a, b) => a.path.split('{').length - b.path.split('{').length)
  const find = (name: string) => {
    const those = literal.filter((operation) => operation.method === name.toLowerCase())
    return those.find(({ body }) => 'multipart/form-data' in (body?.content ?? {}) === isForm) ?? those[0]
  }
  const get = method === 'HEAD' ? find('GET') : undefined
  return find(method) ?? (get && { ...get, method: 'head' })
}

const patternOf = (path: string): RegExp =>
  new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`)

/** @throws {assert.AssertionError} when status, headers, media type or body are others than the document says. */
export function assertDocumented(operation: Operation, answer: Answer): void {
  const what = `${operation.id} ${answer.status}: ${answer.bytes.toString('utf8', 0, 500)}`
  const response = responsesOf(operation)[String(answer.status)]
  assert(response, `the status is not documented: ${what}`)
  const { headers, content } = response
  assert(headers instanceof z.ZodObject, what)
  const sent = Object.keys(headers.shape).map((name) => [name, answer.headers.get(name) ?? undefined])
  fits(headers, Object.fromEntries(sent), `the headers are not as documented: ${what}`)
  if (!content) return assert.equal(answer.bytes.length, 0, `there is a body: ${what}`)
  const type = answer.headers.get('content-type')?.split(';')[0] ?? ''
  const documented = content[type] ?? content['*/*']
  assert(documented, `the media type ${type} is not documented: ${what}`)
  if (!(documented.schema instanceof z.ZodType)) return
  const body: unknown = type.endsWith('json') ? answer.json() : answer.bytes.toString()
  fits(documented.schema, body, `the body is not as documented: ${what}`)
}

function fits(schema: z.ZodType, value: unknown, message: string): void {
  const { error } = schema.safeParse(value)
  assert(!error, error && `${message}\n${z.prettifyError(error)}`)
}
