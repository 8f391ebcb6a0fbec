import { createHash } from 'node:crypto'
import { Crc32, Crc32c, Crc64Nvme } from '@aws-sdk/checksums/crc'
import type { Checksum } from './upload.ts'

/** Algorithms that can be checked, with the bytes of their digests. */
export const digestBytes = { sha256: 32, sha512: 64, sha1: 20, md5: 16, crc32: 4, crc32c: 4, crc64nvme: 8 } as const
export type DigestAlgorithm = keyof typeof digestBytes

/** What the client says of bytes that it sends. */
export interface ExpectedDigest {
  readonly algorithm: DigestAlgorithm
  /** Base64, with its padding. */
  readonly digest: string
  /** The header that says so. @default it was declared at the creation */
  readonly header?: string
}

interface Hasher {
  update(bytes: Uint8Array): unknown
  digest(): Uint8Array | Promise<Uint8Array>
}

const checksums = { crc32: Crc32, crc32c: Crc32c, crc64nvme: Crc64Nvme }
const isCrc = (algorithm: DigestAlgorithm): algorithm is keyof typeof checksums => Object.hasOwn(checksums, algorithm)
const hasherOf = (algorithm: DigestAlgorithm): Hasher =>
  isCrc(algorithm) ? new checksums[algorithm]() : createHash(algorithm)

/** Digests of bytes that pass, each algorithm once. */
function passing(algorithms: readonly DigestAlgorithm[]) {
  const hashers = new Map([...new Set(algorithms)].map((algorithm) => [algorithm, hasherOf(algorithm)]))
  return {
    update: (chunk: Uint8Array): void => {
      for (const hasher of hashers.values()) hasher.update(chunk)
    },
    async end(): Promise<ReadonlyMap<DigestAlgorithm, Buffer>> {
      const found = new Map<DigestAlgorithm, Buffer>()
      for (const [algorithm, hasher] of hashers) found.set(algorithm, Buffer.from(await hasher.digest()))
      return found
    },
  }
}

const wrongIn = (
  found: ReadonlyMap<DigestAlgorithm, Buffer>,
  expected: readonly ExpectedDigest[],
): ExpectedDigest | undefined =>
  expected.find(({ algorithm, digest }) => found.get(algorithm)?.toString('base64') !== digest)

/** What is said of bytes whose digest is another than the expected one. */
export const mismatch = ({ algorithm, header }: ExpectedDigest): string =>
  `The bytes do not have the ${algorithm} that ${header === undefined ? 'was declared' : `${header} names`}.`

/** As what was declared at the creation is expected of the bytes. */
export const declaredDigests = (declared: Checksum | null): readonly ExpectedDigest[] =>
  declared === null ? [] : [declared]

/** The SHA-256 of bytes that pass, and whether they are those that are expected. */
export function digestsOf(expected: readonly ExpectedDigest[]) {
  const sums = passing(['sha256', ...expected.map(({ algorithm }) => algorithm)])
  return {
    update: sums.update,
    /** The SHA-256 in hexadecimal, and what is wrong when the bytes are not those that are expected. */
    async end(): Promise<{ readonly sha256: string; readonly fault: string | undefined }> {
      const found = await sums.end()
      const wrong = wrongIn(found, expected)
      return { sha256: found.get('sha256')?.toString('hex') ?? '', fault: wrong && mismatch(wrong) }
    },
  }
}

/** Whether bytes that pass are those that are expected; `undefined`: nothing is. */
export function checkOf(expected: readonly ExpectedDigest[]) {
  if (expected.length === 0) return undefined
  const sums = passing(expected.map(({ algorithm }) => algorithm))
  return { update: sums.update, wrong: async () => wrongIn(await sums.end(), expected) }
}
