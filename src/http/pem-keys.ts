import { createPublicKey, type KeyObject } from 'node:crypto'
import { type CryptoKey, importSPKI } from 'jose'
import { ConfigError } from '../../config/error.ts'

const variable = 'FAIRLEAD_JWT_PUBLIC_KEY (jwt.publicKey)'
const minRsaBits = 2_048

/**
 * The key for each of the algorithms that it fits.
 *
 * @param pem a public key or a certificate, of which only the key counts
 * @throws {ConfigError} when it cannot be read or fits none of them.
 */
export async function pemKeys(pem: string, algorithms: readonly string[]): Promise<ReadonlyMap<string, CryptoKey>> {
  const key = readKey(pem)
  const spki = key.export({ type: 'spki', format: 'pem' }).toString()
  const keys = new Map<string, CryptoKey>()
  for (const algorithm of algorithms) {
    const fitting = await importSPKI(spki, algorithm).catch(() => undefined)
    if (fitting) keys.set(algorithm, fitting)
  }
  if (keys.size === 0) {
    const { namedCurve } = key.asymmetricKeyDetails ?? {}
    const kind = [key.asymmetricKeyType, namedCurve].filter((word) => word !== undefined).join(' ')
    throw new ConfigError(`${variable}: a key of type ${kind} fits none of jwt.algorithms: ${algorithms.join(', ')}.`)
  }
  return keys
}

function readKey(pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch (cause) {
    throw new ConfigError(`${variable}: the text inside the PEM lines is no public key and no certificate.`, { cause })
  }
  const { modulusLength } = key.asymmetricKeyDetails ?? {}
  if (modulusLength !== undefined && modulusLength < minRsaBits)
    throw new ConfigError(`${variable}: the key has ${modulusLength} bits; an RSA key needs at least ${minRsaBits}.`)
  return key
}
