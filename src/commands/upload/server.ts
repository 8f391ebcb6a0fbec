import { z } from 'zod'
import { ask, type AskOptions, connectionFault, read, type Reply } from '../../connection.ts'
import { gone, UploadFailure } from './failure.ts'
import type { Unanswered } from './patience.ts'

const recordSchema = z.object({
  data: z.object({
    id: z.string().max(64),
    status: z.enum(['pending', 'processing', 'confirmed', 'rejected', 'expired']),
    content_type: z.string(),
    size_bytes: z.number().nullable(),
    width: z.number().nullable(),
    height: z.number().nullable(),
    duration: z.number().nullable(),
  }),
})
export type UploadRecord = z.infer<typeof recordSchema>['data']

const whoamiSchema = z.object({ data: z.object({ workspace_id: z.string() }) })

/** What the command asks the gateway beside tus. Nothing comes back when there is no answer that counts. */
export interface Server {
  /** Without a slash at its end. */
  readonly base: string
  readonly headers: Readonly<Record<string, string>>
  /** The workspace of the key. @throws {UploadFailure} when nobody is there, or somebody else; or the key is not taken */
  workspace(): Promise<string | Unanswered>
  idOf(uploadUrl: string): string
  recordUrl(uploadUrl: string): string
  /** `null`: this key may not read it. */
  record(uploadUrl: string): Promise<UploadRecord | null | Unanswered>
  /** What the server says to whatever is sent to this upload: answers to HEAD have no words. */
  objection(uploadUrl: string): Promise<Reply | Unanswered>
  remove(uploadUrl: string): Promise<void>
}

/** Answers that say nothing of the upload itself. */
export const isPassing = (status: number): boolean => [408, 409, 423, 425, 429].includes(status) || status >= 500

export function unanswered({ status, code, headers }: Reply): Unanswered {
  const seconds = /^\d{1,6}$/.exec(headers.get('retry-after') ?? '')?.[0]
  return {
    why: `the server answers ${status}${code === undefined ? '' : ` (${code})`}`,
    retryAfterMs: seconds === undefined ? undefined : Number(seconds) * 1_000,
  }
}

/** Such as `http://127.0.0.1:8080 refuses the connection`. */
export const unreached = (url: string, error: unknown): Unanswered => ({
  why: `${new URL(url).origin} ${connectionFault(error).what}`,
})

const idOf = (uploadUrl: string): string => new URL(uploadUrl).pathname.split('/').at(-1) ?? ''

/** @param signal ends whatever is being asked */
export function server(base: string, key: string, signal: AbortSignal): Server {
  const headers = { Authorization: `Bearer ${key}` }
  const tus = { ...headers, 'Tus-Resumable': '1.0.0' }
  const append = { ...tus, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': '0' }

  const tryTo = (url: string, options: AskOptions): Promise<Reply | Unanswered> =>
    ask(url, { ...options, signal }).then(
      (answer) => {
        const reply = read(answer)
        return isPassing(reply.status) ? unanswered(reply) : reply
      },
      (error: unknown) => unreached(url, error),
    )

  const recordUrl = (uploadUrl: string): string => `${base}/api/v1/uploads/${idOf(uploadUrl)}`

  return {
    base,
    headers,
    idOf,
    recordUrl,
    async workspace() {
      const reply = await ask(`${base}/api/v1/auth/whoami`, { headers, signal }).then(read, (error: unknown) => {
        signal.throwIfAborted()
        const { what, remedy } = connectionFault(error)
        throw new UploadFailure(`${base} ${what}. ${remedy}`)
      })
      if (isPassing(reply.status)) return unanswered(reply)
      if (reply.code !== undefined)
        throw new UploadFailure(`${base} does not take the key: ${detailOf(reply)}`, { code: reply.code })
      const parsed = whoamiSchema.safeParse(reply.json)
      if (reply.status === 200 && parsed.success) return parsed.data.data.workspace_id
      throw new UploadFailure(`${base} is no Fairlead server: it answers ${reply.status} to GET /api/v1/auth/whoami.`)
    },
    async record(uploadUrl) {
      const reply = await tryTo(recordUrl(uploadUrl), { headers })
      if ('why' in reply) return reply
      const parsed = recordSchema.safeParse(reply.json)
      return parsed.success ? parsed.data.data : null
    },
    async objection(uploadUrl) {
      return tryTo(uploadUrl, { method: 'PATCH', headers: append })
    },
    async remove(uploadUrl) {
      await tryTo(uploadUrl, { method: 'DELETE', headers: tus })
    },
  }
}

/** What somebody may mend: what is on the server waits. */
const mendable = new Set([
  'unauthenticated',
  'token_expired',
  'scope_missing',
  'workspace_forbidden',
  'project_forbidden',
  'quota_exceeded',
])

const detailOf = ({ json, status, code }: Reply): string =>
  typeof json['detail'] === 'string' ? json['detail'] : `it answers ${status} (${code}).`

/** What the server has said of what it refuses for good, or somebody in its place. */
export function refusal(reply: Reply): UploadFailure {
  const { status, code } = reply
  if (code === undefined)
    return new UploadFailure(
      status === 413
        ? 'A proxy refuses bodies of this size (413): send the file in pieces, with such as --chunk-size 50MB.'
        : `Something that is not the server answers ${status}.`,
    )
  if (status === 404) return gone()
  return new UploadFailure(detailOf(reply), { code, resumable: status !== 410 && mendable.has(code) })
}
