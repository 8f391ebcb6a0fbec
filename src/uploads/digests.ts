import { createHash } from 'node:crypto'
import type { Checksum } from './upload.ts'

/** Digests of bytes that pass: the SHA-256 always, the MD5 where it was declared. */
export function digestsOf(declared: Checksum | null) {
  const sha256 = createHash('sha256')
  const md5 = declared?.algorithm === 'md5' ? createHash('md5') : undefined
  return {
    update(chunk: Uint8Array): void {
      sha256.update(chunk)
      md5?.update(chunk)
    },
    /** The SHA-256 in hexadecimal, and what is wrong when the bytes are not those that were declared. */
    end(): { readonly sha256: string; readonly fault: string | undefined } {
      const whole = sha256.digest()
      const found = (md5?.digest() ?? whole).toString('base64')
      const wrong = declared !== null && found !== declared.digest
      return {
        sha256: whole.toString('hex'),
        fault: wrong ? `The bytes do not have the ${declared.algorithm} that was declared.` : undefined,
      }
    },
  }
}
