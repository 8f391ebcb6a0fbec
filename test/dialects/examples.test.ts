import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Operation, responsesOf } from '../../src/http/api.ts'
import { clientOf } from '../support/client.ts'
import { documentedOperations } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

interface Example {
  readonly at: string
  readonly value: unknown
  readonly schema: unknown
}
type Media = Readonly<Record<string, { schema?: unknown; examples?: Readonly<Record<string, unknown>> } | undefined>>

const withValue = z.object({ value: z.unknown() })

const mediaTypes = z.record(z.string(), z.object({ examples: z.record(z.string(), z.unknown()) }))
const shared = z.object({
  paths: z.object({
    '/api/v1/uploads': z.object({
      post: z.object({
        requestBody: z.object({ content: mediaTypes }),
        responses: z.record(z.string(), z.looseObject({ content: mediaTypes.optional() })),
      }),
    }),
  }),
})

const examplesIn = (at: string, content: Media): Example[] =>
  Object.values(content).flatMap((media) =>
    Object.entries(media?.examples ?? {}).map(([name, example]) => ({
      at: `${at}: ${name}`,
      value: withValue.parse(example).value,
      schema: media?.schema,
    })),
  )

function examplesOf(operation: Operation): { request: Example[]; success: Example[]; refusal: Example[] } {
  const { id, body } = operation
  const answers = Object.entries(responsesOf(operation)).map(([status, { content = {} }]) => ({
    good: Number(status) < 400,
    examples: examplesIn(`${id} ${status}`, content),
  }))
  const answered = (good: boolean) => answers.filter((one) => one.good === good).flatMap(({ examples }) => examples)
  return { request: examplesIn(id, body?.content ?? {}), success: answered(true), refusal: answered(false) }
}

/** What is wrong with it; nothing when it fits its schema. */
function faultOf({ at, schema, value }: Example): string | undefined {
  if (!(schema instanceof z.ZodType) && (typeof schema !== 'object' || schema === null)) return `${at}: no schema`
  const type = schema instanceof z.ZodType ? schema : z.fromJSONSchema(z.looseObject({}).parse(schema))
  const { error } = type.safeParse(value)
  return error && `${at}: ${z.prettifyError(error)}`
}

const all = documentedOperations.map((operation) => ({ operation, ...examplesOf(operation) }))
const namesOf = (those: typeof all): string[] => those.map(({ operation }) => operation.id)

describe('examples', () => {
  it('every operation has one of its body, of its success and of a refusal', () => {
    expect(namesOf(all.filter(({ operation, request }) => operation.body && request.length === 0))).toEqual([])
    const answers = ({ operation }: (typeof all)[number]) =>
      operation.method !== 'head' && Object.values(operation.answers).some(({ content }) => content)
    expect(namesOf(all.filter((one) => answers(one) && one.success.length === 0))).toEqual([])
    const told = ({ operation }: (typeof all)[number]) => operation.method !== 'head'
    expect(namesOf(all.filter((one) => told(one) && one.refusal.length === 0))).toEqual([])
  })

  it('each is as its schema says', () => {
    const examples = all.flatMap(({ request, success, refusal }) => [...request, ...success, ...refusal])
    expect(examples.length).toBeGreaterThan(300)
    expect(examples.flatMap((one) => faultOf(one) ?? [])).toEqual([])
  })

  it('one that is not would be found', () => {
    const found = all.flatMap(({ success }) => success).map((one) => faultOf({ ...one, value: 7 }))
    expect(found.filter((fault) => fault === undefined)).toHaveLength(0)
    const form = all.find(({ operation }) => operation.id === 'createFormUploadInOwnWorkspace')?.request[0]
    expect(form && faultOf({ ...form, value: { file: ['a'] } })).toContain('projectId')
  })

  it('every code of an error has its own, with its title and what it tells', () => {
    const { refusal } = all.find(({ operation }) => operation.id === 'createUpload') ?? { refusal: [] }
    const full = refusal.find(({ at }) => at === 'createUpload 413: quota_exceeded')
    expect(full?.value).toEqual({
      detail: 'Quota exceeded.',
      error: 'Quota exceeded',
      error_code: 'quota_exceeded',
      bytes_left: expect.any(Number),
    })
    const faults = refusal.find(({ at }) => at === 'createUpload 422: validation_failed')
    expect(faults?.value).toEqual({
      detail: [{ loc: ['body', 'filename'], msg: expect.any(String), type: 'string_too_short' }],
    })
  })
})

describe('the document', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway.close())

  it('has them all, also where two operations share a place', async () => {
    const text = (await clientOf(gateway, '')('GET', '/openapi.json', { key: null })).bytes.toString()
    const those = all.flatMap(({ request, success, refusal }) => [...request, ...success, ...refusal])
    // What the categories of an installation change is not looked for.
    const missing = those.filter(({ at, value }) => !text.includes(JSON.stringify(value)) && !at.endsWith('upload'))
    expect(missing.map(({ at }) => at)).toEqual([])
    const { post } = shared.parse(JSON.parse(text)).paths['/api/v1/uploads']
    const { requestBody: body, responses } = post
    expect(Object.keys(body.content)).toEqual(['application/json', 'multipart/form-data'])
    expect(Object.values(body.content).map(({ examples }) => Object.keys(examples))).toEqual([['upload'], ['form']])
    const created = responses['201']?.content?.['application/json']?.examples ?? {}
    expect(Object.keys(created)).toEqual(['created', 'large', 'form'])
  })
})
