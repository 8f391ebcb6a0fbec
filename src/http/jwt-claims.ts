import { createHash } from 'node:crypto'
import type { Config } from '../../config/load.ts'
import { UploadError } from '../errors.ts'
import type { Principal } from '../uploads/principal.ts'
import type { Scope } from '../uploads/records.ts'
import { isId, isPersonalWorkspace, personalWorkspace } from '../uploads/workspace-id.ts'

/** 1 to 255 characters that a person can see. */
const printable = /^(?!\s*$)[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]{1,255}$/u
/** Where Clerk's session tokens name the active organization: version 1 and version 2. */
const clerkWorkspaceClaims = ['org_id', 'o.id']
const allScopes: readonly Scope[] = ['uploads:read', 'uploads:write']

export type Claims = Readonly<Record<string, unknown>>

/** The token is none that we take; the sentence says why. */
export const refusedToken = (message: string): UploadError => new UploadError('unauthenticated', message)

/**
 * The user that a verified token proves.
 *
 * @throws {UploadError} `unauthenticated` when a claim is not what it must be.
 */
export function principalOf(claims: Claims, { workspaceClaim, scopesClaim }: Config['jwt']): Principal {
  const { iss = null, sub, exp, sts } = claims
  if (!Number.isFinite(exp)) throw refusedToken('The token\'s "exp" is no time.')
  if (iss !== null && typeof iss !== 'string') throw refusedToken('The token\'s "iss" is not text.')
  if (typeof sub !== 'string' || !printable.test(sub))
    throw refusedToken('The token\'s "sub" must be 1 to 255 printable characters.')
  // Clerk's name for a session that begins only when its user has done what is still missing.
  if (sts === 'pending') throw refusedToken('The session of the token is pending: its user has to finish signing in.')
  // JSON keeps the two apart: no other issuer and subject have the same text.
  const digest = createHash('sha256')
    .update(JSON.stringify([iss, sub]))
    .digest('base64url')
  return {
    id: `user:${digest}`,
    userId: sub,
    workspaceId: workspaceOf(claims, workspaceClaim) ?? personalWorkspace(digest),
    scopes: scopesClaim === undefined ? allScopes : scopesOf(claimAt(claims, scopesClaim), scopesClaim),
    projects: null,
    keyName: null,
  }
}

/** The workspace that the token names; `undefined` when it names none. */
function workspaceOf(claims: Claims, claim: string | undefined): string | undefined {
  const paths = claim === undefined ? clerkWorkspaceClaims : [claim]
  const [id, ...others] = paths.map((path) => claimAt(claims, path)).filter((value) => value != null)
  if (id === undefined) return undefined
  if (others.some((other) => other !== id))
    throw refusedToken('The token names two workspaces, in "org_id" and in "o.id".')
  if (typeof id !== 'string' || !isId(id))
    throw refusedToken('The token names a workspace whose id is not 1 to 64 letters, digits, "_" or "-".')
  if (isPersonalWorkspace(id)) throw refusedToken('The token names a workspace whose id is reserved.')
  return id
}

/** Those of the claim's scopes that we know: others belong to others. */
function scopesOf(value: unknown, claim: string): Scope[] {
  const given: unknown = typeof value === 'string' ? value.split(' ') : (value ?? [])
  if (!Array.isArray(given)) throw refusedToken(`The token's "${claim}" must be a list or text.`)
  return allScopes.filter((scope) => given.includes(scope))
}

/** A claim of exactly this name, else the one inside of objects to which the dots lead. */
function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  return path.split('.').reduce<unknown>((inner, name) => (hasOwn(inner, name) ? inner[name] : undefined), claims)
}

const hasOwn = (value: unknown, name: string): value is Claims =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
