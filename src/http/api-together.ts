import { z } from 'zod'
import type { ZodOpenApiOperationObject, ZodOpenApiResponseObject } from 'zod-openapi'
import { type Operation, operationObject, responsesOf } from './api.ts'

/**
 * Operations with the same method and path, told apart by the media type of the body: OpenAPI has one place for all of them.
 *
 * @throws {Error} when their media types do not tell them apart.
 */
export function together(operations: readonly [Operation, ...Operation[]]): ZodOpenApiOperationObject {
  const [first] = operations
  if (operations.length === 1) return operationObject(first)
  const bodies = operations.map(({ body }) => body?.content ?? {})
  const media = bodies.flatMap((content) => Object.keys(content))
  if (new Set(media).size < media.length || bodies.some((content) => Object.keys(content).length === 0))
    throw new Error(
      `${operations.map(({ id }) => id).join(' and ')} cannot be told apart by the media type of their bodies.`,
    )
  const responses: Record<string, ZodOpenApiResponseObject> = {}
  for (const operation of operations)
    for (const [status, response] of Object.entries(responsesOf(operation))) {
      const before = responses[status]
      responses[status] = before ? either(before, response) : response
    }
  const words = operations.map(
    ({ body, description = '' }) => `\`${Object.keys(body?.content ?? {}).join()}\`: ${description}`,
  )
  return {
    ...operationObject(first),
    tags: operations.map(({ tag }) => tag),
    summary: operations.map(({ summary }) => summary).join(' · '),
    description: words.join('\n\n'),
    requestBody: { required: true, content: Object.assign({}, ...bodies) },
    responses,
  }
}

function either(one: ZodOpenApiResponseObject, other: ZodOpenApiResponseObject): ZodOpenApiResponseObject {
  const content = { ...one.content }
  for (const [media, body] of Object.entries(other.content ?? {})) {
    const before = content[media]
    const schemas = [before?.schema, body?.schema].filter((schema) => schema instanceof z.ZodType)
    const examples = { ...before?.examples, ...body?.examples }
    content[media] = schemas.length > 1 ? { schema: z.union(schemas), examples } : (body ?? {})
  }
  const sentences = new Set([one.description, other.description])
  return { description: [...sentences].join(' '), headers: z.object({ ...shapeOf(one), ...shapeOf(other) }), content }
}

const shapeOf = ({ headers }: ZodOpenApiResponseObject): Record<string, z.ZodType> =>
  headers instanceof z.ZodObject ? headers.shape : {}
