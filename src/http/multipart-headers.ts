import { UploadError } from '../errors.ts'
import type { ExpectedDigest } from '../uploads/digests.ts'
import { expectedDigests } from './integrity.ts'
import { fromBytes } from './request.ts'

/** Characters of a boundary at most: RFC 2046, section 5.1.1. */
const maxBoundaryLength = 70
/** Bytes of one part's headers at most. */
export const maxPartHeaderBytes = 8 * 1024
/** Headers of one part at most. */
export const maxPartHeaders = 16

/** What the headers of a part say, as far as forms go: RFC 7578. */
export interface PartHead {
  readonly name: string
  /** As it was sent, perhaps with a path; `null`: the part is no file. */
  readonly filename: string | null
  readonly contentType: string | null
  /** What the part says of its bytes. */
  readonly digests: readonly ExpectedDigest[]
}

export const invalidMultipart = (message: string, cause?: unknown): UploadError =>
  new UploadError('invalid_multipart', message, { cause })

/** Whether the request's body claims to be of parts; whether it is a form is another question. */
export const isMultipart = (contentType: string): boolean => /^multipart\//i.test(contentType)

/**
 * The boundary of a form.
 *
 * @throws {UploadError} `unsupported_media_type` when it is another kind of multipart, `invalid_multipart`
 */
export function boundaryOf(contentType: string): string {
  if (!/^multipart\/form-data\s*(?:;|$)/i.test(contentType))
    throw new UploadError('unsupported_media_type', 'The body must be a form: multipart/form-data.')
  const given = parametersOf(contentType).filter(([name]) => name === 'boundary')
  const [, boundary = ''] = given[0] ?? []
  if (given.length !== 1) throw invalidMultipart('The Content-Type must name one boundary.')
  if (boundary.length > maxBoundaryLength || !/^[ -~]*[!-~]$/.test(boundary))
    throw invalidMultipart(`A boundary is 1 to ${maxBoundaryLength} printable ASCII characters, the last no space.`)
  return boundary
}

/**
 * Reads a part's headers, whose bytes stand for one character each.
 *
 * @throws {UploadError} `invalid_multipart`: what is not understood would be stored as something that it is not.
 */
export function partHead(headers: Readonly<Record<string, readonly string[]>>): PartHead {
  const lines = Object.entries(headers).flatMap(([name, values]) => values.map((value) => `${name}: ${value}\r\n`))
  if (lines.length > maxPartHeaders || lines.join('').length > maxPartHeaderBytes)
    throw invalidMultipart(
      `The headers of a part are too many or too large: at most ${maxPartHeaders}, ${maxPartHeaderBytes} bytes.`,
    )
  const disposition = only(headers, 'content-disposition') ?? ''
  if (!/^form-data\s*(?:;|$)/i.test(disposition))
    throw invalidMultipart('Every part needs the header "Content-Disposition: form-data".')
  const encoding = only(headers, 'content-transfer-encoding')?.trim().toLowerCase() ?? ''
  if (!plainEncodings.includes(encoding))
    throw invalidMultipart('A part must be sent as it is: its Content-Transfer-Encoding is not taken.')
  const contentType = only(headers, 'content-type')?.trim() ?? null
  const parameters = parametersOf(disposition)
  const find = (name: string): string | undefined => parameters.find(([one]) => one === name)?.[1]
  const name = find('name')
  if (!name) throw invalidMultipart('Every part needs a name in its Content-Disposition.')
  const plain = find('filename')
  const filename =
    extended(find('filename*')) ?? (plain === undefined ? null : decodedWords(unescaped(fromBytes(plain))))
  if (filename === null && isMultipart(contentType ?? ''))
    throw invalidMultipart('Parts within a part are not taken: send every file as a part of its own.')
  return { name: unescaped(fromBytes(name)), filename, contentType, digests: expectedDigests(headers) }
}

/** Codings that change nothing. */
const plainEncodings: readonly string[] = ['', '7bit', '8bit', 'binary']

function only(headers: Readonly<Record<string, readonly string[]>>, name: string): string | undefined {
  const values = headers[name] ?? []
  if (values.length > 1) throw invalidMultipart(`A part has the header ${name} more than once.`)
  return values[0]
}

/** Names in small letters and values, quoted or not. A backslash counts only before `"` and itself: paths have others. */
function parametersOf(header: string): [name: string, value: string][] {
  const found = header.matchAll(/;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))/gs)
  return [...found].map(([, name = '', quoted, bare = '']) => [
    name.toLowerCase(),
    quoted?.replaceAll(/\\(["\\])/g, '$1') ?? bare.trim(),
  ])
}

/** Browsers write these three so that no quoted string can end early: HTML, "multipart/form-data encoding algorithm". */
const unescaped = (text: string): string =>
  text.replaceAll(/%22/g, '"').replaceAll(/%0d/gi, '\r').replaceAll(/%0a/gi, '\n')

/**
 * A value with its charset, as RFC 8187 writes it. Forms should not have it, and .NET sends it beside the plain one, with the quotes
 * that belong to that.
 */
function extended(value: string | undefined): string | undefined {
  const [, charset = '', escaped = ''] = /^([^']*)'[^']*'(.*)$/s.exec(value ?? '') ?? []
  if (charset === '' || escaped === '' || /%(?![0-9a-f]{2})/i.test(escaped)) return undefined
  const bytes = escaped.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCodePoint(Number.parseInt(hex, 16)),
  )
  return decoded(charset, bytes)?.replace(/^"(.*)"$/s, '$1')
}

/** One word of RFC 2047, and the blanks before the next: they are none of the text. */
const encodedWord =
  /=\?([\w.:-]{1,40})(?:\*[\w-]{1,40})?\?([bq])\?([!->@-~ ]*)\?=(?:\s+(?==\?[\w.:-]+(?:\*[\w-]+)?\?[bq]\?))?/gi

/** Text with encoded words in it, which mail has and forms should not: PowerShell and Spring write names so, slashes among their letters. */
const decodedWords = (text: string): string =>
  text.replaceAll(encodedWord, (word, charset: string, coding: string, content: string) => {
    const bytes =
      coding.toLowerCase() === 'b'
        ? Buffer.from(content, 'base64').toString('latin1')
        : content
            .replaceAll('_', ' ')
            .replaceAll(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)))
    return decoded(charset, bytes) ?? word
  })

/** @param bytes a character for each; `undefined`: they are not in this charset, or nobody knows it */
function decoded(charset: string, bytes: string): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}
