import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
import type { Logger } from 'pino'
import { z } from 'zod'
import { beginning } from '../connection.ts'
import { UploadError } from '../errors.ts'

/** Milliseconds after which the keys are fetched again, while those that are there serve on. */
const renewAfterMs = 10 * 60_000
/** Milliseconds for which the keys are good when the issuer cannot be reached. */
const goodForMs = 6 * 3_600_000
/** Milliseconds between two fetches because of keys that nobody knows: anybody can name one. */
const searchEveryMs = 10_000
/** Seconds after which an issuer that could not be reached is asked again. */
const retrySeconds = 2
/** Milliseconds in which the keys must have come. */
const timeoutMs = 3_000
const maxBytes = 256 * 1024
const maxKeys = 100

const keySetSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(maxKeys) })

/**
 * The keys that an issuer publishes at its JWKS URL. They are fetched when first needed, renewed while they are in use, and looked up
 * anew for a key that is not among them. An issuer that is away or answers junk leaves what was fetched before as it is.
 *
 * @returns picks a token's key; rejects with `not_ready` when there are no good keys and none can be fetched
 */
export function remoteKeys(url: string, log: Logger): JWTVerifyGetKey {
  let fetchedAt = Number.NEGATIVE_INFINITY
  let failedAt = Number.NEGATIVE_INFINITY
  let searchedAt = Number.NEGATIVE_INFINITY
  let failing = false

  const keys = createRemoteJWKSet(new URL(url), {
    timeoutDuration: timeoutMs,
    cacheMaxAge: goodForMs,
    cooldownDuration: Number.POSITIVE_INFINITY, // unknown keys are searched below
    [customFetch]: async (address, options) => {
      if (isWithin(failedAt, retrySeconds * 1_000)) throw keysAway()
      try {
        const keySet = await readKeySet(await fetch(address, options))
        if (failing) log.info('the keys of the token issuer are there again')
        failing = false
        fetchedAt = Date.now()
        return Response.json(keySet)
      } catch (err) {
        if (!failing) log.warn({ err }, 'the keys of the token issuer cannot be fetched')
        failing = true
        failedAt = Date.now()
        throw keysAway(err)
      }
    },
  })

  return async (header, token) => {
    const renew = fetchedAt > 0 && !isWithin(fetchedAt, renewAfterMs) && !keys.reloading
    if (renew) keys.reload().catch(() => {}) // it was logged; what is there serves on
    try {
      return await keys(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    }
    // Several requests come with a new key at once: all of them wait for the one fetch.
    if (!isWithin(searchedAt, searchEveryMs)) {
      await keys.reload()
      searchedAt = Date.now()
    }
    return keys(header, token)
  }
}

/** Also when the clock was set back. */
const isWithin = (at: number, ms: number): boolean => Math.abs(Date.now() - at) < ms

const keysAway = (cause?: unknown): UploadError =>
  new UploadError('not_ready', 'The keys of the token issuer cannot be fetched just now.', {
    cause,
    retryAfter: retrySeconds,
  })

async function readKeySet(response: Response): Promise<unknown> {
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`The JWKS URL answered ${response.status}.`)
  }
  const bytes = await beginning(response, maxBytes + 1)
  if (bytes.length > maxBytes) throw new Error(`The JWKS URL answered more than ${maxBytes} bytes.`)
  const keySet = keySetSchema.safeParse(JSON.parse(bytes.toString()))
  if (!keySet.success) throw new Error(`The JWKS URL answered no set of 1 to ${maxKeys} keys.`)
  return keySet.data
}
