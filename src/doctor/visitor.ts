import { type Answer, ask, type AskOptions, connectionFault, isRecord, read, type Reply } from '../connection.ts'
import { type Check, failed, passed } from '../uploads/diagnosis.ts'

/** An answer that cannot be gone on from; what it means is a check. */
export class Stopped extends Error {
  readonly check: Check
  constructor(check: Check) {
    super(check.detail)
    this.check = check
  }
}

/** What an installation may decide about files: the sample is not what it wants, and nothing is wrong. */
const rules = new Set([
  'validation_failed',
  'file_type_not_allowed',
  'content_type_mismatch',
  'file_too_large',
  'quota_exceeded',
  'project_forbidden',
])

/** Calls the gateway as a client does. @throws {Stopped} unless the answer has one of those statuses */
export type Call = (method: string, url: string, wanted: readonly number[], options?: AskOptions) => Promise<Reply>

export const caller =
  (check: string): Call =>
  async (method, url, wanted, options = {}) => {
    const reply = read(await reach(url, check, { ...options, method }))
    if (wanted.includes(reply.status)) return reply
    throw new Stopped(explainReply(check, `${method} ${shown(url)}`, reply))
  }

/** @throws {Stopped} */
async function reach(url: string, check: string, options: AskOptions): Promise<Answer> {
  try {
    return await ask(url, options)
  } catch (error) {
    const { what, remedy } = connectionFault(error)
    throw new Stopped(failed(check, { detail: `${shown(url)} ${what}.`, remedy }))
  }
}

/** A URL without what is secret in it. */
function shown(url: string): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname.replace(/[^\w./~-]/g, '')
}

/** Text of that name inside an object that may be anything. */
export function textIn(value: unknown, name: string): string {
  const found = isRecord(value) ? value[name] : undefined
  return typeof found === 'string' ? found : ''
}

function explainReply(check: string, asked: string, { status, code, headers }: Reply): Check {
  if (status === 429) return passed(check, 'Not tried to the end: there is a limit of requests.')
  if (code !== undefined && rules.has(code))
    return passed(check, `Not tried to the end: the rules of this installation refuse the sample (${code}).`)
  if (code !== undefined) {
    const id = /^[\w.-]{1,128}$/.exec(headers.get('x-request-id') ?? '')?.[0]
    return failed(check, {
      detail: `${asked}: the server answers ${status} (${code}).`,
      remedy:
        code === 'storage_failed'
          ? 'See what is said of the store, and the log of the server.'
          : `See docs/errors.md, and the log of the server${id === undefined ? '' : ` for ${id}`}.`,
    })
  }
  if (status === 413)
    return failed(check, {
      detail: `${asked}: a proxy in front of the server refuses the body as too large (413).`,
      remedy: 'Let the proxy pass bodies as large as limits.maxFileSize (nginx: client_max_body_size 0).',
    })
  if (status >= 502 && status <= 504)
    return failed(check, {
      detail: `${asked}: a proxy answers ${status} in the place of the server.`,
      remedy: 'See the log of the proxy: it cannot reach the server, or does not wait long enough.',
    })
  return failed(check, {
    detail: `${asked}: something that is not the server answers ${status}.`,
    remedy: 'See what stands in front of the server, and let it pass every path and method on.',
  })
}
