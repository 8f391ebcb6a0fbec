import { z } from 'zod'
import type { ZodOpenApiOperationObject, ZodOpenApiRequestBodyObject, ZodOpenApiResponseObject } from 'zod-openapi'
import type { ErrorCode } from '../errors.ts'
import { errorResponses } from './api-errors.ts'
import { type Examples, examplesOf, sample } from './api-examples.ts'

/** What an installation's document depends on. */
export interface ApiFacts {
  readonly categories: readonly string[]
  /** Bytes. */
  readonly maxFileSize: number
  readonly filesPerBatch: number
  /** Seconds. */
  readonly presignTtl: number
  readonly downloadTtl: number
}

/** One method of one path, as the OpenAPI document tells it. */
export interface Operation {
  readonly method: 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete' | 'options'
  /** Parameters stand in braces. */
  readonly path: string
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly description?: string
  readonly params?: Readonly<Partial<Record<'path' | 'query' | 'header', z.ZodObject>>>
  readonly body?: ZodOpenApiRequestBodyObject
  /** Each entry is one way to be allowed. */
  readonly security: NonNullable<ZodOpenApiOperationObject['security']>
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>
  /** Codes of its own; those that every operation of its kind has are added. */
  readonly refusals: readonly ErrorCode[]
}

export interface Answer {
  readonly description: string
  readonly content?: NonNullable<ZodOpenApiResponseObject['content']>
  readonly headers?: Readonly<Record<string, z.ZodType>>
}

/** An API's part of the document. */
export type ApiPart = (facts: ApiFacts) => readonly Operation[]

export const anyKey: Operation['security'] = [{ bearer: [] }, { apiKey: [] }]
export const nobody: Operation['security'] = []

/** What can happen to every operation that asks for credentials. */
const keyRefusals: readonly ErrorCode[] = [
  'unauthenticated',
  'api_key_reserved',
  'token_expired',
  'workspace_forbidden',
  'rate_limited',
  'storage_failed',
]
/** What a plugin or a rule may say about a file. */
export const fileRefusals: readonly ErrorCode[] = [
  'file_type_not_allowed',
  'content_type_mismatch',
  'file_too_large',
  'quota_exceeded',
  'checksum_mismatch',
  'size_mismatch',
  'validation_failed',
  'processing_failed',
]
export const jsonBodyRefusals: readonly ErrorCode[] = [
  'validation_failed',
  'invalid_json',
  'body_too_large',
  'unsupported_media_type',
  'request_timeout',
]
export const idempotencyRefusals: readonly ErrorCode[] = ['idempotency_conflict', 'idempotency_key_reused']

export const timestamp = z.iso
  .datetime({ precision: 0 })
  .meta({ id: 'Timestamp', description: 'RFC 3339, UTC, to the second.' })
export const uploadIdParameter = z.string().meta({
  description: 'Id of an upload: a UUID. Everything else is a 404.',
  examples: [sample.id],
})
export const wholeBytes = z.int().min(0)
/** Of a file; `null`: there is none, or it is not known. */
export const measures = {
  width: z.int().min(0).nullable().meta({ description: 'Pixels, as displayed.' }),
  height: z.int().min(0).nullable(),
  duration: z.number().min(0).nullable().meta({ description: 'Seconds.' }),
}
export const nextCursor = z
  .uuid()
  .nullable()
  .meta({ description: '`null` at the end. A page may be short, even empty, and still have a next one.' })

/** Of a file, beside `measures`; `null`: there is none, or it is not known. */
export const facts = {
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable()
    .meta({ description: 'Digest of the whole file, in hexadecimal.' }),
  codecs: z.array(z.string()).nullable().meta({ description: 'Of a film or sound, such as `avc1.42c01e`.' }),
  pages: z.int().min(0).nullable().meta({ description: 'Of a document, or frames of an animation.' }),
}
/** What plugins have found out, under their names. */
export const extra = z
  .record(z.string(), z.unknown())
  .meta({ description: 'What plugins have noted about the file, by their names.' })

/** @param examples of answers, at least one; each fits the schema, as a test sees */
export const jsonAnswer = (
  description: string,
  schema: z.ZodType,
  examples: Examples,
  headers: Answer['headers'] = {},
): Answer => ({
  description,
  headers,
  content: { 'application/json': { schema, examples: examplesOf(examples) } },
})
export const textAnswer = (description: string, type: string, example: string): Answer => ({
  description,
  content: { [type]: { schema: z.string().min(1), examples: examplesOf({ text: example }) } },
})
export const jsonBody = (schema: z.ZodType, examples: Examples): ZodOpenApiRequestBodyObject => ({
  required: true,
  content: { 'application/json': { schema, examples: examplesOf(examples) } },
})
/** The bytes of a file, of any type. */
export const fileContent = {
  '*/*': { schema: { type: 'string', format: 'binary' }, examples: examplesOf({ text: 'Hello' }) },
} as const
export const fileBody: ZodOpenApiRequestBodyObject = { required: true, content: fileContent }

export const idempotencyParameter = z
  .string()
  .regex(/^[ -~]{1,255}$/)
  .optional()
  .meta({
    description:
      'For 24 hours the same key from the same caller gets the first answer again and creates nothing. It may be quoted, as a structured-field string.',
    param: { id: 'Idempotency-Key' },
  })
const workspaceParameter = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/)
  .optional()
  .meta({ description: 'Must be a workspace that the caller belongs to.', param: { id: 'X-Workspace-Id' } })
const requestIdParameter = z
  .string()
  .optional()
  .meta({
    description: 'Kept where it has 1 to 128 of `[A-Za-z0-9._-]`, replaced where not.',
    param: { id: 'X-Request-Id' },
  })
const requestIdHeader = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,128}$/)
  .meta({ description: 'Names the request in the log.', header: { id: 'X-Request-Id' } })

const asksForKey = ({ security }: Operation): boolean => security.some((way) => 'bearer' in way)

/** Every answer of an operation, by status. */
export function responsesOf(operation: Operation): Record<string, ZodOpenApiResponseObject> {
  const { path, method, answers, refusals } = operation
  const responses: Record<string, ZodOpenApiResponseObject> = {}
  for (const [status, { headers, ...answer }] of Object.entries(answers))
    responses[status] = { ...answer, headers: z.object({ 'X-Request-Id': requestIdHeader, ...headers }) }
  const codes = [...(asksForKey(operation) ? keyRefusals : []), ...refusals, 'internal' as const]
  const [contentType = ''] = Object.keys(operation.body?.content ?? {})
  Object.assign(responses, errorResponses({ path, method: method.toUpperCase(), contentType }, codes, requestIdHeader))
  if (method === 'head')
    for (const [status, { description = '', headers = {} }] of Object.entries(responses))
      responses[status] = { description, headers }
  return responses
}

/** An operation as `createDocument` takes it. */
export function operationObject(operation: Operation): ZodOpenApiOperationObject {
  const { id, tag, summary, description, body, security, params } = operation
  const header = z.object({
    'X-Request-Id': requestIdParameter,
    ...(asksForKey(operation) ? { 'X-Workspace-Id': workspaceParameter } : {}),
    ...params?.header?.shape,
  })
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security,
    requestParams: { ...params, header },
    ...(body === undefined ? {} : { requestBody: body }),
    responses: responsesOf(operation),
  }
}
