import { randomUUID } from 'node:crypto'
import type { Config } from '../../config/load.ts'
import { keyDigest, newKey } from '../http/authenticate.ts'
import type { ApiKey, Records, Scope } from '../uploads/records.ts'
import { checkId, checkWorkspaceName, type Command, list, table, text, UsageError, withRecords } from './command.ts'

const allScopes: readonly Scope[] = ['uploads:read', 'uploads:write']
const maxNameLength = 128 // characters

export type KeyRequest = Pick<ApiKey, 'workspaceId' | 'userId' | 'name'> &
  Partial<Pick<ApiKey, 'scopes' | 'projects' | 'expiresAt'>>

/** Makes a key, and its workspace when there is none. The key itself is not kept: it can be shown only now. */
export async function createKey(
  records: Records,
  config: Config,
  request: KeyRequest,
): Promise<ApiKey & { key: string }> {
  const key = newKey(config.keys.prefix)
  const made = await records.createKey(
    { scopes: allScopes, projects: null, expiresAt: null, ...request, id: randomUUID(), createdAt: Date.now() },
    keyDigest(key),
  )
  return { ...made, key }
}

const shown = (key: ApiKey) => ({
  id: key.id,
  workspace_id: key.workspaceId,
  user_id: key.userId,
  name: key.name,
  scopes: key.scopes,
  projects: key.projects,
  created_at: new Date(key.createdAt).toISOString(),
  expires_at: key.expiresAt === null ? null : new Date(key.expiresAt).toISOString(),
  revoked_at: key.revokedAt === null ? null : new Date(key.revokedAt).toISOString(),
})

export const keyCommands: readonly Command[] = [
  {
    usage: 'keys create [--workspace W] [--user U] [--name N] [--scopes a,b] [--projects p,q] [--expires RFC3339]',
    help: 'makes an API key and shows it, once',
    flags: ['workspace', 'user', 'name', 'scopes', 'projects', 'expires'],
    async run(input) {
      const request = {
        workspaceId: checkWorkspaceName(text(input, 'workspace') ?? 'default', '--workspace'),
        userId: checkText(text(input, 'user') ?? 'admin', '--user'),
        name: checkText(text(input, 'name') ?? 'key', '--name'),
        scopes: checkScopes(list(text(input, 'scopes')) ?? allScopes),
        projects: list(text(input, 'projects'))?.map((id) => checkId(id, '--projects')) ?? null,
        expiresAt: checkTime(text(input, 'expires')),
      }
      const made = await withRecords((records, config) => createKey(records, config, request))
      const { id, ...rest } = shown(made)
      return {
        json: { id, key: made.key, ...rest },
        text: `${made.key}\n\nKey ${id} of workspace ${made.workspaceId}. It is shown only now: keep it.`,
      }
    },
  },
  {
    usage: 'keys list',
    help: 'lists the API keys, without the keys themselves',
    async run() {
      const keys = (await withRecords((records) => records.keys())).map(shown)
      const state = (key: (typeof keys)[number]) => (key.revoked_at === null ? (key.expires_at ?? '') : 'revoked')
      const rows = keys.map((key) => [
        key.id,
        key.workspace_id,
        key.user_id,
        key.name,
        key.scopes.join(','),
        state(key),
      ])
      return { json: keys, text: table([['ID', 'WORKSPACE', 'USER', 'NAME', 'SCOPES', 'ENDS'], ...rows]) }
    },
  },
  {
    usage: 'keys revoke <id>',
    help: 'makes a key useless, for good',
    async run({ words: [id = ''] }) {
      const key = shown(await withRecords((records) => records.revokeKey(id)))
      return { json: key, text: `Key ${key.id} is revoked.` }
    },
  },
]

function checkScopes(scopes: readonly string[]): Scope[] {
  const known = allScopes.filter((scope) => scopes.includes(scope))
  const unknown = scopes.find((scope) => !allScopes.some((one) => one === scope))
  if (unknown !== undefined || known.length === 0)
    throw new UsageError(`--scopes takes ${allScopes.join(' and ')}; got ${JSON.stringify(unknown ?? '')}.`)
  return known
}

function checkText(value: string, flag: string): string {
  if (value.trim() !== '' && value.length <= maxNameLength && !/\p{Cc}/u.test(value)) return value
  throw new UsageError(`${flag} takes 1 to ${maxNameLength} printable characters.`)
}

function checkTime(value: string | undefined): number | null {
  if (value === undefined) return null
  const time = /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : Number.NaN
  if (time > Date.now()) return time
  throw new UsageError(`--expires takes a time to come, such as 2030-01-31T00:00:00Z; got ${JSON.stringify(value)}.`)
}
