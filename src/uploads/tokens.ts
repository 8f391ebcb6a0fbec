import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'

/** What a token allows: each purpose signs for itself only. */
export type Purpose = 'put' | 'download' | 'blob'

type Parts = readonly (string | number | null)[]

export interface Tokens {
  /** URL-safe signature over the purpose and the parts. */
  sign(purpose: Purpose, parts: Parts): string
  /** Compares in constant time. */
  verify(purpose: Purpose, parts: Parts, signature: string): boolean
}

/** HMAC-SHA-256 under the installation's secret. @param previous secrets that sign nothing more, and whose signatures stay good */
export function tokens(secret: Uint8Array, previous: readonly Uint8Array[] = []): Tokens {
  const key = createSecretKey(secret) // made once: it costs more than the signature
  const keys = [key, ...previous.map((bytes) => createSecretKey(bytes))]
  return {
    sign: (purpose, parts) => signature(key, purpose, parts),
    verify(purpose, parts, signed) {
      // The texts are compared, not what they decode to: several texts decode to the same bytes.
      const given = Buffer.from(signed)
      return keys
        .map((one) => Buffer.from(signature(one, purpose, parts)))
        .some((right) => given.length === right.length && timingSafeEqual(given, right))
    },
  }
}

const signature = (key: KeyObject, purpose: Purpose, parts: Parts): string =>
  createHmac('sha256', key)
    // JSON keeps the parts apart: no two lists have the same text.
    .update(JSON.stringify([purpose, ...parts]))
    .digest('base64url')
