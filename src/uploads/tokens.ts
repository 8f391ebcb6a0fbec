import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'

/** What a token allows: each purpose signs for itself only. */
export type Purpose = 'put' | 'download' | 'blob'

export interface Tokens {
  /** URL-safe signature over the purpose and the parts. */
  sign(purpose: Purpose, parts: readonly (string | number | null)[]): string
  /** Compares in constant time. */
  verify(purpose: Purpose, parts: readonly (string | number | null)[], signature: string): boolean
}

/** HMAC-SHA-256 under the installation's secret. */
export function tokens(secret: Uint8Array): Tokens {
  const key = createSecretKey(secret) // made once: it costs more than the signature
  const digest = (purpose: Purpose, parts: readonly (string | number | null)[]) =>
    // JSON keeps the parts apart: no two lists have the same text.
    createHmac('sha256', key)
      .update(JSON.stringify([purpose, ...parts]))
      .digest()
  return {
    sign: (purpose, parts) => digest(purpose, parts).toString('base64url'),
    verify(purpose, parts, signature) {
      // The texts are compared, not what they decode to: several texts decode to the same bytes.
      const given = Buffer.from(signature)
      const right = Buffer.from(digest(purpose, parts).toString('base64url'))
      return given.length === right.length && timingSafeEqual(given, right)
    },
  }
}
