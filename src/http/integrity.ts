import { UploadError } from '../errors.ts'
import { type DigestAlgorithm, digestBytes, type ExpectedDigest } from '../uploads/digests.ts'

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>
/** An algorithm in a header's own words, and its digest in base64; without a digest the header asks for nothing. */
type Member = readonly [algorithm: string, digest: string]

/** What begins the headers that S3 clients put checksums into. */
const s3Prefix = 'x-amz-checksum-'
/** Headers that begin like this and hold no digest. */
const s3Others: ReadonlySet<string> = new Set(['algorithm', 'mode', 'type'].map((name) => s3Prefix + name))

/** Names of RFC 9530, section 7.2, and of RFC 3230. */
const fieldAlgorithms: Readonly<Record<string, DigestAlgorithm>> = {
  'sha-256': 'sha256',
  'sha-512': 'sha512',
  sha: 'sha1',
  md5: 'md5',
  crc32c: 'crc32c',
}
const s3Algorithms: Readonly<Record<string, DigestAlgorithm>> = Object.fromEntries(
  (['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256', 'sha512', 'md5'] as const).map((name) => [name, name]),
)

interface Reader {
  readonly algorithms: Readonly<Record<string, DigestAlgorithm>>
  /** `undefined`: not understood. */
  read(text: string): readonly Member[] | undefined
  /** The end of the sentence "it takes …". */
  readonly takes: string
}

const digestField: Reader = {
  algorithms: fieldAlgorithms,
  read: (text) =>
    members(text, /^([a-z*][a-z0-9_.*-]*)\s*=\s*:([^:]*):\s*(?:;[^"]*)?$/)?.map(([name, digest]) => [name, digest]),
  takes: 'pairs such as sha-256=:<base64>:, of sha-256, sha-512, sha, md5 or crc32c',
}

const readers: Readonly<Record<string, Reader>> = {
  'content-md5': {
    algorithms: { md5: 'md5' },
    read: (text) => [['md5', text]],
    takes: 'the base64 of the 16 bytes of an MD5',
  },
  'content-digest': digestField,
  'repr-digest': digestField,
  digest: {
    algorithms: fieldAlgorithms,
    read: (text) => members(text, /^([A-Za-z0-9-]+)=(.*)$/),
    takes: 'pairs such as SHA-256=<base64>, of SHA-256, SHA-512, SHA, MD5 or CRC32C',
  },
  'x-amz-content-sha256': {
    algorithms: { sha256: 'sha256' },
    read: (text) => {
      if (text === 'UNSIGNED-PAYLOAD') return []
      return /^[0-9a-f]{64}$/i.test(text) ? [['sha256', Buffer.from(text, 'hex').toString('base64')]] : undefined
    },
    takes: 'UNSIGNED-PAYLOAD, or a SHA-256 in hexadecimal of a body that is not coded',
  },
}

function readerOf(name: string): Reader | undefined {
  if (Object.hasOwn(readers, name)) return readers[name]
  if (!name.startsWith(s3Prefix) || s3Others.has(name)) return undefined
  const algorithm = name.slice(s3Prefix.length)
  return {
    algorithms: s3Algorithms,
    read: (text) => [[algorithm, text]],
    takes: `base64 of the digest, by one of ${Object.keys(s3Algorithms).join(', ')}`,
  }
}

/** The members of a list, no part of which holds a comma of its own; names in small letters. */
function members(text: string, pattern: RegExp): readonly Member[] | undefined {
  const found: Member[] = []
  for (const member of text.split(',')) {
    const [, name, digest] = pattern.exec(member.trim()) ?? []
    if (name === undefined || digest === undefined) return undefined
    found.push([name.toLowerCase(), digest])
  }
  return found
}

/**
 * What the headers of a body, or of one part of a form, say about its bytes. Of several algorithms in one header those count that
 * can be checked (RFC 9530, section 2): there must be one.
 *
 * @throws {UploadError} `checksum_invalid`: what cannot be checked must not be taken for right.
 */
export function expectedDigests(headers: Headers): readonly ExpectedDigest[] {
  return Object.entries(headers).flatMap(([name, values]) => {
    const text = [values ?? ''].flat().join(', ').trim()
    if (text === '') return []
    if (name === 'trailer' || name === 'x-amz-trailer') demandNone(name, text)
    const reader = readerOf(name)
    return reader ? digestsIn(name, text, reader) : []
  })
}

function digestsIn(name: string, text: string, reader: Reader): ExpectedDigest[] {
  const given = reader.read(text)
  const known = given?.flatMap(([word, text64]): ExpectedDigest[] => {
    const algorithm = Object.hasOwn(reader.algorithms, word) ? reader.algorithms[word] : undefined
    return algorithm ? [{ algorithm, digest: canonical(name, text64, digestBytes[algorithm]), header: name }] : []
  })
  if (!given || !known || (given.length > 0 && known.length === 0))
    throw bad(`${name} cannot be checked: it takes ${reader.takes}.`)
  return known
}

function canonical(name: string, text: string, bytes: number): string {
  const digest = Buffer.from(text, 'base64')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || digest.length !== bytes)
    throw bad(`${name} cannot be checked: it holds no base64 of ${bytes} bytes.`)
  return digest.toString('base64')
}

/** A digest behind the body would come too late for an algorithm that nobody has named before. */
function demandNone(name: string, text: string): void {
  const late = text.split(',').find((field) => readerOf(field.trim().toLowerCase()))
  if (late !== undefined) throw bad(`${name} names a checksum that follows the body: send it before the body.`)
}

const bad = (message: string): UploadError => new UploadError('checksum_invalid', message)
