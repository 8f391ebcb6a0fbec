import type { ByteSource, NamedType, Patch, Plugin, Upload, UploadContext } from '../src/plugin.ts'
import { canonicalType, guessType, isActive, typeOfDeclared, typeOfName, unknownType } from '../src/plugin.ts'
import { isLie } from './sniff-type/agree.ts'
import type { Rest } from './sniff-type/bytes.ts'
import { detect, type Found } from './sniff-type/detect.ts'

export { families } from './sniff-type/families.ts'

/**
 * Enough for every signature that we know (tar's stands at 257, that of an ISO image at 32 769) and for the first entries of
 * an Office package, which tell it from a plain zip archive.
 */
export const sniffedBytes = 64 * 1024

export interface SniffTypeOptions {
  /**
   * What a name or Content-Type that lies about the bytes leads to: `correct` records what the bytes are, `reject` refuses a
   * file whose declared type is a specific one and not that of the bytes (`content_type_mismatch`). A type that bytes do not
   * show, and what honest systems say as they know no better, are no lies. @default 'correct'
   */
  readonly mode?: 'correct' | 'reject'
  /** Types of which the bytes must be one: `image/png`, `image/*`, or `*` + `/*`; lists of them: `families`. Others: `file_type_not_allowed`. @default every type */
  readonly allow?: readonly string[]
  /** Types of which the bytes may be none; goes before `allow`. @default none */
  readonly deny?: readonly string[]
}

type Matcher = (contentType: string) => boolean

/**
 * Establishes the type of a file from its first bytes, before they are stored; where those leave it open, from the rest of the
 * file when that is stored. A fault of the sniffer refuses nothing: the file is of an unknown type for `allow` and `deny`, and
 * the record calls it what the client does.
 *
 * @throws {TypeError} for a mode or pattern that is none.
 */
export function sniffType(options: SniffTypeOptions = {}): Plugin {
  const { mode = 'correct' } = options
  if (mode !== 'correct' && mode !== 'reject')
    throw new TypeError(`sniff-type: mode is correct or reject, not ${String(mode)}.`)
  const allowed = options.allow && matcher('allow', options.allow)
  const denied = matcher('deny', options.deny ?? [])
  const isPermitted: Matcher = (contentType) => !denied(contentType) && allowed?.(contentType) !== false

  /** Refuses a file when none of the types that it may be of is permitted, or none is the one that was declared. */
  function judge(found: Found, ctx: UploadContext): Patch {
    const { declaredType, filename } = ctx.upload
    const types = (found.mayBe ?? [found]).map(({ contentType }) => contentType)
    checkPermitted(types, found, ctx)
    const declaredLies = declaredType !== null && types.every((type) => isLie(declaredType, type, filename))
    if (mode === 'reject' && declaredLies) {
      ctx.reject('content_type_mismatch', `The file was declared as another type than its bytes show.`, {
        declared: declaredType,
        found: found.contentType,
      })
    }
    return patch(found, ctx.upload, declaredLies)
  }

  function checkPermitted(types: readonly string[], { contentType: found }: NamedType, ctx: UploadContext): void {
    if (types.some(isPermitted)) return
    ctx.reject('file_type_not_allowed', `A file of the type ${found} is not allowed here.`, { found })
  }

  function withoutSniffer(fault: unknown, ctx: UploadContext): Patch {
    const { id, filename, declaredType } = ctx.upload
    ctx.log.error({ plugin: 'sniff-type', uploadId: id, err: fault }, 'the type of a file could not be told')
    checkPermitted([unknownType.contentType], unknownType, ctx)
    const claimed = typeOfDeclared(declaredType) ?? guessType(filename, declaredType)
    const isTaken = isPermitted(claimed.contentType) && !isActive(claimed.contentType)
    return patch({ ...(isTaken ? claimed : unknownType), charset: null }, ctx.upload, false)
  }

  return {
    name: 'sniff-type',
    provides: ['contentType', 'format', 'charset'],
    // An upload that waits for its verdict, and whose type is told, needs nothing more.
    accepts: (upload) => upload.state !== 'processing' || upload.extra['sniff-type'] === undefined || isOpen(upload),
    inspect: {
      bytes: sniffedBytes,
      async handler(headBytes, ctx) {
        const head = headBytes.subarray(0, sniffedBytes)
        let found
        try {
          found = await detect(head, head.length < sniffedBytes, ctx.upload)
        } catch (fault) {
          return withoutSniffer(fault, ctx)
        }
        return judge(found, ctx)
      },
    },
    async beforeFinish(bytes, ctx) {
      if (!isOpen(ctx.upload)) return undefined
      let found
      try {
        found = await detectInFull(bytes, ctx.upload)
      } catch (fault) {
        if (fault instanceof ReadError) throw fault.cause
        return withoutSniffer(fault, ctx)
      }
      return judge(found, ctx)
    },
  }
}

/** The store could not be read, which is no fault of the sniffer. */
class ReadError extends Error {
  override readonly name = 'ReadError'
}

async function detectInFull(bytes: ByteSource, upload: Upload): Promise<Found> {
  const rest: Rest = {
    size: bytes.size,
    bytes: (start, end) =>
      bytes.bytes(start, end).catch((cause: unknown) => {
        throw new ReadError('The stored file could not be read.', { cause })
      }),
  }
  const head = await rest.bytes(0, sniffedBytes)
  return detect(head, bytes.size <= sniffedBytes, upload, rest)
}

/** Whether the first bytes have left the type open. */
const isOpen = ({ extra }: Upload): boolean => Object(extra['sniff-type']).open === true

/** While the type is open, the record has the one that the client names, if it may be that. */
function patch(found: Found, { filename, declaredType }: Upload, declaredLies: boolean): Patch {
  const byName = typeOfName(filename, declaredType)
  const claims = [byName, typeOfDeclared(declaredType)]
  const mayBe = (claim: NamedType | null) => found.mayBe?.find((type) => type.contentType === claim?.contentType)
  const { contentType, format } = claims.map(mayBe).find((type) => type !== undefined) ?? found
  const corrected = declaredLies || (byName !== null && isLie(byName.contentType, contentType, filename))
  return {
    properties: { contentType, format, charset: found.charset },
    extra: {
      'sniff-type': {
        declared: declaredType,
        byName: byName?.contentType ?? null,
        found: contentType,
        corrected,
        ...(found.mayBe && { open: true }),
      },
    },
  }
}

function matcher(option: string, patterns: readonly string[]): Matcher {
  const matchers = patterns.map((pattern): Matcher => {
    if (pattern === '*/*') return () => true
    const group = /^([a-z]+)\/\*$/i.exec(pattern)?.[1]?.toLowerCase()
    if (group !== undefined) return (contentType) => contentType.startsWith(`${group}/`)
    const exact = pattern.includes(';') ? null : canonicalType(pattern)
    if (exact === null) throw new TypeError(`sniff-type: ${option} has no type or pattern: ${JSON.stringify(pattern)}.`)
    return (contentType) => contentType === exact
  })
  return (contentType) => matchers.some((matches) => matches(contentType))
}
