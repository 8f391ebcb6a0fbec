import { createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

/** A pair of keys as an issuer of tokens has them. */
export interface SigningKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

type Algorithm = 'RS256' | 'ES256' | 'EdDSA'
type Header = Readonly<Record<string, unknown>>

export function newSigningKey(kid: string, algorithm: Algorithm, bits = 2_048): SigningKey {
  const pair =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: bits })
      : algorithm === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519')
  return { kid, algorithm, ...pair }
}

export const jwkOf = ({ kid, publicKey }: SigningKey): Record<string, unknown> => ({
  ...publicKey.export({ format: 'jwk' }),
  kid,
  use: 'sig',
})
export const pemOf = ({ publicKey }: Pick<SigningKey, 'publicKey'>): string =>
  publicKey.export({ type: 'spki', format: 'pem' }).toString()

const segment = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/**
 * A token, put together by hand so that it can be wrong in every way.
 *
 * @param payload claims, or the payload's text as it is
 * @param header what differs from `{ alg, kid, typ }`; `undefined` leaves a member out
 */
export function tokenBy(key: SigningKey, payload: object | string, header: Header = {}): string {
  const head = { alg: key.algorithm, kid: key.kid, typ: 'JWT', ...header }
  const signed = `${segment(head)}.${segment(payload)}`
  const hash = key.algorithm === 'EdDSA' ? null : 'sha256'
  const signature = signBytes(hash, Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

/** A token whose signature is an HMAC under a text that everybody knows. */
export function hmacToken(secret: string, payload: object, header: Header): string {
  const signed = `${segment({ typ: 'JWT', ...header })}.${segment(payload)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

export const unsignedToken = (payload: object, header: Header): string => `${segment(header)}.${segment(payload)}.`

export interface TestIssuer {
  /** Its JWKS URL. */
  readonly url: string
  /** How often it was asked. */
  requests(): number
  /** Requests that were not answered. */
  open(): number
  publish(keys: readonly SigningKey[], more?: readonly object[]): void
  /** Answers so from now on; without an answer: never. */
  answer(how: (req: IncomingMessage, res: ServerResponse) => void): void
  /** Nobody listens any more. */
  leave(): Promise<void>
  /** Listens again, at the same address. */
  comeBack(): Promise<void>
}

/** A real HTTP server on loopback that publishes keys. */
export async function startIssuer(keys: readonly SigningKey[], more: readonly object[] = []): Promise<TestIssuer> {
  let requests = 0
  const open = new Set<ServerResponse>()
  let how: (req: IncomingMessage, res: ServerResponse) => void
  const server = createServer((req, res) => {
    requests++
    open.add(res)
    res.once('close', () => open.delete(res))
    how(req, res)
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const publish = (published: readonly SigningKey[], others: readonly object[] = []) => {
    const body = JSON.stringify({ keys: [...published.map(jwkOf), ...others] })
    how = (_, res) => res.setHeader('Content-Type', 'application/json').end(body)
  }
  publish(keys, more)
  await listen(0)
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}/.well-known/jwks.json`,
    requests: () => requests,
    open: () => open.size,
    publish,
    answer: (next) => (how = next),
    async leave() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
    comeBack: () => listen(port),
  }
}
