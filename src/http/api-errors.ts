import { z } from 'zod'
import type { ZodOpenApiResponseObject } from 'zod-openapi'
import { type ErrorCode, errorTitles, UploadError, type UploadErrorOptions } from '../errors.ts'
import { examplesOf, sample } from './api-examples.ts'
import { type AskedAs, errorAnswer, shapeOf } from './problem.ts'

type Shape = ReturnType<typeof shapeOf>

/** Errors with one status. */
interface Group {
  /** A body for each code. */
  readonly examples: Map<ErrorCode, unknown>
  readonly media: string
}

/** What errors of these codes tell beyond their sentence. */
const exampleOptions: Readonly<Partial<Record<ErrorCode, UploadErrorOptions>>> = {
  validation_failed: {
    faults: [{ loc: ['body', 'filename'], msg: 'String should have at least 1 character', type: 'string_too_short' }],
  },
  quota_exceeded: { facts: { bytes_left: 1_048_576 } },
  range_not_satisfiable: { facts: { size: sample.size } },
}

/** Operations that fail alike share one response. */
const shared = new Map<string, ZodOpenApiResponseObject>()

/** The error answers of an operation that can fail with these codes: shape, media type and statuses as `errorAnswer` gives them. */
export function errorResponses(
  asked: AskedAs,
  codes: readonly ErrorCode[],
  requestId: z.ZodType,
): Record<string, ZodOpenApiResponseObject> {
  const shape = shapeOf(asked)
  const groups = new Map<number, Group>()
  for (const code of new Set(codes))
    // Some codes have another status when trying again helps.
    for (const options of [{}, { retryAfter: 1 }]) {
      const error = new UploadError(code, `${errorTitles[code]}.`, { ...exampleOptions[code], ...options })
      const { status, headers, body } = errorAnswer(error, asked)
      const media = headers['Content-Type']?.split(';')[0] ?? 'application/json'
      const group = groups.get(status) ?? { examples: new Map(), media }
      group.examples.set(code, body)
      groups.set(status, group)
    }
  const responses: Record<string, ZodOpenApiResponseObject> = {}
  for (const [status, group] of groups) {
    const sorted = [...group.examples.keys()].toSorted()
    const id = [shape, group.media.replace('application/', '').replace('+', '-'), status, ...sorted].join('.')
    const response = shared.get(id) ?? { id, ...errorResponse(shape, group, status, sorted, requestId) }
    shared.set(id, response)
    responses[status] = response
  }
  return responses
}

function errorResponse(
  shape: Shape,
  { examples, media }: Group,
  status: number,
  codes: readonly ErrorCode[],
  requestId: z.ZodType,
): ZodOpenApiResponseObject {
  const word = (code: ErrorCode): string => (shape === 'problem' ? code.toUpperCase() : code)
  return {
    description: codes.map((code) => `\`${word(code)}\`: ${errorTitles[code]}.`).join(' '),
    headers: z.object({ 'X-Request-Id': requestId, ...headersOf(status) }),
    content: {
      [media]: {
        schema: shape === 'problem' ? problem(status, codes) : detail(status, codes),
        examples: examplesOf(Object.fromEntries(codes.map((code) => [word(code), examples.get(code)]))),
      },
    },
  }
}

function headersOf(status: number): Record<string, z.ZodType> {
  if (status === 401) return { 'WWW-Authenticate': z.string() }
  const seconds = z
    .string()
    .regex(/^\d+$/)
    .optional()
    .meta({ description: 'Seconds after which trying again makes sense.' })
  return status === 409 || status === 429 || status === 503 ? { 'Retry-After': seconds } : {}
}

const titlesOf = (codes: readonly ErrorCode[]) => z.enum(codes.map((code) => errorTitles[code]))
const sentence = z.string().min(1).meta({ description: 'For people; may be reworded at any time.' })

function detail(status: number, codes: readonly ErrorCode[]): z.ZodType {
  const one = withFacts({ detail: sentence, error: titlesOf(codes), error_code: z.enum(codes) }, codes)
  return status === 422 && codes.includes('validation_failed') ? z.union([faultList, one]) : one
}

function problem(status: number, codes: readonly ErrorCode[]): z.ZodType {
  const type = z
    .string()
    .regex(/^[A-Z_]+$/)
    .meta({ description: 'The class of the status.' })
  const errorCode = z.enum(codes.map((code) => code.toUpperCase()))
  const members = { type, title: titlesOf(codes), status: z.literal(status), detail: sentence, errorCode }
  return withFacts(members, codes)
}

const faultList = z
  .strictObject({
    detail: z
      .array(
        z.strictObject({
          loc: z
            .array(z.union([z.string(), z.int()]))
            .min(1)
            .meta({ examples: [['body', 'filename']] }),
          msg: z.string().min(1),
          type: z.string().regex(/^[a-z_]+$/),
        }),
      )
      .min(1),
  })
  .meta({ id: 'ValidationFaults', description: 'Every fault of the request, not only the first.' })

/** Codes with which a plugin may refuse a file: it may add facts of its own, such as the type that was found. */
const pluginCodes: readonly ErrorCode[] = ['file_type_not_allowed', 'content_type_mismatch', 'file_too_large']

function withFacts(members: Record<string, z.ZodType>, codes: readonly ErrorCode[]): z.ZodType {
  const left = z.int().optional().meta({ description: 'Bytes that the quota leaves, with `quota_exceeded`.' })
  const size = z.int().min(0).optional().meta({ description: 'Bytes of the file, with `range_not_satisfiable`.' })
  const offset = z
    .int()
    .min(0)
    .optional()
    .meta({ description: 'Of a PATCH at another offset: where the upload is, as in the header `Upload-Offset`.' })
  const schema = z.strictObject({
    ...members,
    ...(codes.includes('upload_state_conflict') ? { upload_offset: offset } : {}),
    ...(codes.includes('quota_exceeded') ? { bytes_left: left } : {}),
    ...(codes.includes('range_not_satisfiable') ? { size } : {}),
  })
  const open = codes.some((code) => pluginCodes.includes(code))
  return open ? schema.catchall(z.union([z.string(), z.number()])) : schema
}
