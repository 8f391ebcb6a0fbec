import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi'
import manifest from '../../package.json' with { type: 'json' }
import type { Operation } from './api.ts'
import { together } from './api-together.ts'
import { maxJsonBytes } from './request.ts'
import { maxHeaderBytes } from './server.ts'

type Document = ReturnType<typeof createDocument>

/** The document about these operations, for whoever reaches the gateway at this address. Built when it is first asked for. */
export function openApi(operations: readonly Operation[]): (serverUrl: string) => Document {
  let built: Document | undefined
  return (url) => ({ ...(built ??= build(operations)), servers: [{ url }] })
}

function build(operations: readonly Operation[]): Document {
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'Fairlead',
      version: manifest.version,
      summary: manifest.description,
      description,
      license: { name: 'Apache License 2.0', identifier: 'Apache-2.0' },
    },
    tags: [
      { name: 'Presigned', description: 'Create, PUT, confirm. Whoever sends the bytes needs no key.' },
      { name: 'Direct', description: 'Create and PUT, as Active Storage does. Nobody confirms.' },
      { name: 'Form', description: 'multipart/form-data: one form, one or more files.' },
      { name: 'Raw', description: 'One request, one asset; and the projects that hold assets.' },
      { name: 'tus', description: 'Resumable: pieces, until all have come.' },
      { name: 'Downloads', description: 'The bytes, whichever way they came.' },
      { name: 'Account', description: 'Who is calling, and what the workspace uses.' },
      { name: 'Operations', description: 'For those who run the gateway, and for this documentation.' },
    ],
    paths: pathsOf(operations),
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key, or a JWT where the installation takes them.',
        },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'An API key.' },
        metricsToken: { type: 'http', scheme: 'bearer', description: 'The token `metrics.token`.' },
      },
    },
  })
}

/** @throws {Error} when two operations claim the same id, or the same method, path and media type. */
function pathsOf(operations: readonly Operation[]): ZodOpenApiPathsObject {
  const paths: ZodOpenApiPathsObject = {}
  const ids = new Set<string>()
  for (const { id } of operations) {
    if (ids.has(id)) throw new Error(`${id} is documented twice.`)
    ids.add(id)
  }
  for (const [first, ...others] of Map.groupBy(operations, ({ method, path }) => `${method} ${path}`).values()) {
    if (!first) continue
    const item = (paths[first.path] ??= {})
    item[first.method] = together([first, ...others])
  }
  return paths
}

const description = `Uploads by every API that clients already speak.

**Units.** Sizes are whole bytes, durations are seconds, times are RFC 3339 in UTC with milliseconds, width and height are pixels as displayed.

**Errors** come in two shapes: \`{detail, error, error_code}\`, and problem details \`{type, title, status, detail, errorCode}\`. Decide by the code; sentences may be reworded at any time. Members beyond these are facts about the error, such as \`bytes_left\`.

**Limits.** A JSON body has at most ${maxJsonBytes} bytes, the headers of a request ${maxHeaderBytes}. What cannot be read as HTTP is answered with problem details and a closed connection: 400, 408 where the headers do not come in time, 431 where they are too large.

**Everywhere.** Paths are read with their case; a slash at the end is as if it were not there. A path that is not in this document is a 404 \`not_found\`, another method of a path that is here a 405 \`method_not_allowed\` with \`Allow\`. HEAD works wherever GET does. An id of another workspace and an id that never was get the same 404. Answers to web pages of the configured origins carry CORS headers; preflights need no credentials.`
