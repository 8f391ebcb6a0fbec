import { afterAll, beforeAll, expect, it } from 'vitest'
import { clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/**
 * Everything that clients may count on, in the program's document and in its guide. That what is documented is served, and that every
 * success looks as documented, is seen in `openapi.test.ts`. HEAD is wherever GET is.
 */
const promised: Readonly<Record<string, readonly string[]>> = {
  presigned: [
    'POST /api/v1/uploads',
    'POST /api/v1/uploads/{id}',
    'POST /api/v1/uploads/{id}/confirm',
    'GET /api/v1/uploads/{id}',
    'GET /api/v1/uploads',
    'DELETE /api/v1/uploads/{id}',
    'GET /api/v1/usage/summary',
    'GET /api/v1/auth/whoami',
  ],
  // Also POST /api/v1/uploads.
  form: [
    'POST /v2/{team}/project/{project}/upload',
    'GET /v2/{team}/project/{project}/upload/{id}',
    'DELETE /v2/{team}/project/{project}/upload/{id}',
  ],
  direct: ['POST /api/v1/upload/direct', 'GET /api/v1/upload/direct/{id}'],
  raw: [
    'POST /v1/uploads',
    'GET /v1/assets/{id}',
    'DELETE /v1/assets/{id}',
    'GET /v1/projects/{project}/assets',
    'POST /v1/projects/{project}/assets',
    'DELETE /v1/projects/{project}/assets/{id}',
  ],
  tus: [
    'OPTIONS /files',
    'POST /files',
    'HEAD /files/{id}',
    'PATCH /files/{id}',
    'DELETE /files/{id}',
    'GET /files/{id}',
  ],
  downloads: ['GET /api/v1/uploads/{id}/download'],
  operators: ['GET /healthz', 'GET /readyz', 'GET /metrics'],
  documentation: ['GET /openapi.json', 'GET /docs', 'GET /llms.txt'],
}
/** Clients are handed these, or load them, and need not know what they are called. */
const handedOut = ['PUT /presigned/upload/{id}', 'GET /docs/{file}', 'GET /', 'GET /page/{file}']

/** How a parameter is called is nobody's business. */
const unnamed = (endpoint: string): string => endpoint.replaceAll(/\{\w+\}|\$\w+/g, '{}')
const endpoints = Object.values(promised).flat().map(unnamed)

interface Operation {
  readonly tags: readonly string[]
  readonly requestBody?: { readonly content: object }
}
interface Document {
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

let gateway: TestGateway
let document: Document
let guide: string
beforeAll(async () => {
  gateway = await startGateway()
  const call = clientOf(gateway, '')
  document = (await call('GET', '/openapi.json', { key: null })).json<Document>()
  guide = (await call('GET', '/llms.txt', { key: null })).bytes.toString()
})
afterAll(() => gateway.close())

const documented = (): string[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => unnamed(`${method.toUpperCase()} ${path}`)),
  )

/** Method and path of all that a guide tells to call: `` `GET <url>` ``, `curl -X DELETE <url>` or a link; not of what was handed out. */
function called(text: string): string[] {
  const calls = text.matchAll(
    /`(OPTIONS|HEAD|GET|POST|PUT|PATCH|DELETE) (http[^`\s]+)|curl (?:-i )?(?:-X (\w+) )?(http\S+)|\]\((http[^)]+)\)/g,
  )
  return [...calls].map(([, told, url, typed = 'POST', line, link]) => {
    const method = told ?? (link === undefined ? typed : 'GET')
    return unnamed(`${method} ${new URL(url ?? line ?? link ?? '').pathname}`)
  })
}

it('every endpoint is documented', () => {
  const there = documented()
  expect(endpoints.filter((one) => !there.includes(one))).toEqual([])
  const { content = {} } = document.paths['/api/v1/uploads']?.['post']?.requestBody ?? {}
  expect(Object.keys(content)).toEqual(['application/json', 'multipart/form-data'])
})

it('no endpoint is documented that was not promised', () => {
  const known = [...endpoints, ...handedOut.map(unnamed)]
  expect(documented().filter((one) => !known.includes(one.replace(/^HEAD/, 'GET')))).toEqual([])
})

it('the guide tells how to call each of them, and nothing else', () => {
  const told = new Set(called(guide)).add('GET /llms.txt') // who reads it has found it
  expect([...told].toSorted()).toEqual([...new Set(endpoints)].toSorted())
})

it('every part of the document is introduced', () => {
  const used = Object.values(document.paths).flatMap((item) => Object.values(item).flatMap(({ tags }) => tags))
  expect([...new Set(used)].toSorted()).toEqual(document.tags.map(({ name }) => name).toSorted())
})
