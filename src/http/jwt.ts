import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify, type JWTVerifyOptions } from 'jose'
import type { Logger } from 'pino'
import type { Config } from '../../config/load.ts'
import { UploadError } from '../errors.ts'
import type { Principal } from '../uploads/principal.ts'
import { remoteKeys } from './jwks.ts'
import { principalOf, refusedToken } from './jwt-claims.ts'
import { pemKeys } from './pem-keys.ts'

/** Who a JSON Web Token proves. @throws {UploadError} `unauthenticated`, `token_expired`, `not_ready` */
export type VerifyToken = (token: string) => Promise<Principal>

/**
 * Verifies tokens as the installation wants it; `undefined` when it takes none.
 *
 * @throws {ConfigError} when the configured key cannot be used.
 */
export async function tokenVerifier(jwt: Config['jwt'], log: Logger): Promise<VerifyToken | undefined> {
  const source = await keySource(jwt, log)
  if (!source) return undefined
  if (jwt.issuer === undefined)
    log.warn('jwt.issuer is not set: a token of any issuer is taken, if only the key fits; set FAIRLEAD_JWT_ISSUER')
  const options: JWTVerifyOptions = {
    algorithms: [...source.algorithms],
    clockTolerance: jwt.leeway,
    requiredClaims: ['exp', 'sub'],
    ...(jwt.issuer === undefined ? {} : { issuer: jwt.issuer }),
    ...(jwt.audience === undefined ? {} : { audience: [...jwt.audience] }),
  }

  return async (token) => {
    const claims = await verifiedClaims(token, source.key, options).catch((error: unknown) => {
      if (!(error instanceof UploadError || error instanceof errors.JOSEError))
        log.warn({ err: error }, 'a key of the token issuer cannot be used')
      throw refusal(error)
    })
    const { azp } = claims
    if (jwt.authorizedParties && !(typeof azp === 'string' && jwt.authorizedParties.includes(azp)))
      throw refusedToken(`The token's "azp" is ${azp === undefined ? 'missing' : 'not one that is taken here'}.`)
    return principalOf(claims, jwt)
  }
}

interface KeySource {
  readonly algorithms: readonly string[]
  readonly key: JWTVerifyGetKey
}

async function keySource(jwt: Config['jwt'], log: Logger): Promise<KeySource | undefined> {
  // The same signatures under their new name: RFC 9864.
  const algorithms = jwt.algorithms.flatMap((name) => (name === 'EdDSA' ? [name, 'Ed25519'] : [name]))
  if (jwt.jwksUrl !== undefined) return { algorithms, key: remoteKeys(jwt.jwksUrl, log) }
  if (jwt.publicKey === undefined) return undefined
  const keys = await pemKeys(jwt.publicKey, algorithms)
  return {
    algorithms: [...keys.keys()],
    key({ alg }) {
      const key = keys.get(alg)
      if (!key) throw new errors.JOSEAlgNotAllowed()
      return key
    },
  }
}

/** The claims, when signature, times, issuer and audience are right. Keys that the token itself brings or points to never count. */
async function verifiedClaims(token: string, key: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, key, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    // The token does not say which key: the one that fits is right.
    for await (const candidate of error) {
      const verified = await jwtVerify(token, candidate, options).catch((wrong: unknown) => {
        if (!(wrong instanceof errors.JWSSignatureVerificationFailed)) throw wrong
      })
      if (verified) return verified.payload
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

const claimSentences: Readonly<Record<string, string>> = {
  iss: 'The token comes from another issuer.',
  aud: 'The token is meant for another audience.',
  nbf: 'The token is not valid yet: its "nbf" lies ahead.',
}

function refusal(error: unknown): UploadError {
  if (error instanceof UploadError) return error
  if (error instanceof errors.JWTExpired)
    return new UploadError('token_expired', 'The token has expired: send a fresh one.')
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error
    if (reason === 'missing') return refusedToken(`The token's "${claim}" is missing.`)
    if (reason === 'invalid') return refusedToken(`The token's "${claim}" is no time.`)
    return refusedToken(claimSentences[claim] ?? `The token's "${claim}" is wrong.`)
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return refusedToken('The token is signed with an algorithm that is not taken here.')
  if (error instanceof errors.JWKSNoMatchingKey)
    return refusedToken('The token is signed with a key that its issuer does not publish.')
  return refusedToken('The token is malformed, or its signature is wrong.')
}
