import { createHash, randomInt, timingSafeEqual } from 'node:crypto'
import type { Ctx } from './context.ts'
import { UploadError } from '../errors.ts'
import type { Principal } from '../uploads/principal.ts'
import type { ApiKey, Records } from '../uploads/records.ts'
import type { VerifyToken } from './jwt.ts'

/** Characters of the longest credential that is looked at. */
const maxCredentialLength = 8_192
const secretLength = 32

/**
 * @param workspace that the path names; `null` or absent: none
 * @param kind what the request counts as; `continuations` go on with an upload that was created before
 */
export type Authenticate = (
  ctx: Ctx,
  workspace?: string | null,
  kind?: 'requests' | 'continuations',
) => Promise<Principal>

/** What the records keep of a key. */
export const keyDigest = (key: string): Buffer => createHash('sha256').update(key).digest()

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** A new API key, shown once. */
export const newKey = (prefix: string): string =>
  `${prefix}_live_${Array.from({ length: secretLength }, () => base62[randomInt(base62.length)]).join('')}`

/** Three segments in base64url, the last of which may be empty. An API key has no dot. */
const jwtShape = /^[\w-]+\.[\w-]+\.[\w-]*$/

/**
 * Who is calling: the API key in `Authorization: Bearer` or `x-api-key`, or the user whose token is in `Authorization: Bearer`; and
 * the workspace in `X-Workspace-Id` or in the path if it is given.
 *
 * @param prefix what keys begin with, such as `op`
 * @param verifyToken without it there are API keys only
 * @throws {UploadError} `unauthenticated`, `token_expired`, `api_key_reserved`, `workspace_forbidden`, `not_ready`
 */
export function authenticator(records: Records, prefix: string, verifyToken?: VerifyToken): Authenticate {
  const live = new RegExp(`^${prefix}_live_[0-9A-Za-z]{${secretLength}}$`)
  const reserved = new RegExp(`^${prefix}_(test|pub)_`)

  return async (ctx, workspace) => {
    const { text, bearer } = credentialOf(ctx)
    const principal = verifyToken && bearer && jwtShape.test(text) ? await verifyToken(text) : await keyHolder(text)
    const asked = [ctx.get('x-workspace-id') || null, workspace ?? null].filter((one) => one !== null)
    // Nothing is looked up: a workspace that exists and one that does not are refused alike.
    if (asked.some((one) => !sameText(one, principal.workspaceId)))
      throw new UploadError('workspace_forbidden', 'The caller does not belong to that workspace.')
    return (ctx.state.principal = principal)
  }

  async function keyHolder(credential: string): Promise<Principal> {
    if (reserved.test(credential))
      throw new UploadError('api_key_reserved', 'Test and public keys are reserved: use a live key.')
    const digest = keyDigest(credential)
    const key = live.test(credential) ? await records.keyByDigest(digest) : undefined
    if (!key || !valid(key)) throw new UploadError('unauthenticated', 'The API key is not valid, revoked or expired.')
    return {
      id: `key:${key.id}`,
      userId: key.userId,
      workspaceId: key.workspaceId,
      scopes: key.scopes,
      projects: key.projects,
      keyName: key.name,
    }
  }
}

interface Credential {
  readonly text: string
  /** Whether it came as a bearer token; `x-api-key` takes API keys only. */
  readonly bearer: boolean
}

function credentialOf(ctx: Ctx): Credential {
  const [header = '', ...others] = ctx.req.headersDistinct['authorization'] ?? []
  if (others.length > 0) throw new UploadError('unauthenticated', 'There are several Authorization headers: send one.')
  const apiKey = ctx.get('x-api-key').trim()
  if (Math.max(header.length, apiKey.length) > maxCredentialLength)
    throw new UploadError('unauthenticated', 'The credential is too long.')
  const bearer = /^Bearer +(\S+) *$/i.exec(header)?.[1] ?? ''
  if (header !== '' && bearer === '')
    throw new UploadError('unauthenticated', 'The Authorization header must be "Bearer <key>".')
  if (bearer !== '' && apiKey !== '' && !sameText(bearer, apiKey))
    throw new UploadError('unauthenticated', 'Authorization and x-api-key hold different credentials: send one.')
  const text = bearer || apiKey
  if (text === '')
    throw new UploadError('unauthenticated', 'Send an API key as "Authorization: Bearer <key>" or "x-api-key: <key>".')
  return { text, bearer: bearer !== '' }
}

/** In constant time for texts of equal length. */
export const sameText = (a: string, b: string): boolean => timingSafeEqual(keyDigest(a), keyDigest(b))

const valid = (key: ApiKey): boolean => key.revokedAt === null && (key.expiresAt === null || key.expiresAt > Date.now())
