import type { Plugin, UploadContext } from '../src/plugin.ts'
import { canonicalType, typeOfName } from '../src/plugin.ts'
import { agrees } from './sniff-type/agree.ts'
import { detect, type Found } from './sniff-type/detect.ts'

/**
 * Enough for every signature that we know (tar's stands at 257, that of an ISO image at 32 769) and for the first entries of
 * an Office package, which tell it from a plain zip archive.
 */
export const sniffedBytes = 64 * 1024

export interface SniffTypeOptions {
  /**
   * What a name or Content-Type that lies about the bytes leads to: `correct` records what the bytes are, `reject` refuses a
   * file whose declared type is a specific one and not that of the bytes (`content_type_mismatch`). @default 'correct'
   */
  readonly mode?: 'correct' | 'reject'
  /** Types of which the bytes must be one: `image/png`, `image/*`, or `*` + `/*`. Others: `file_type_not_allowed`. @default every type */
  readonly allow?: readonly string[]
  /** Types of which the bytes may be none; goes before `allow`. @default none */
  readonly deny?: readonly string[]
}

type Matcher = (contentType: string) => boolean

/**
 * Establishes the type of a file from its first bytes, before they are stored.
 *
 * @throws {TypeError} for a mode or pattern that is none.
 */
export function sniffType(options: SniffTypeOptions = {}): Plugin {
  const { mode = 'correct' } = options
  if (mode !== 'correct' && mode !== 'reject')
    throw new TypeError(`sniff-type: mode is correct or reject, not ${String(mode)}.`)
  const allowed = options.allow && matcher('allow', options.allow)
  const denied = matcher('deny', options.deny ?? [])

  return {
    name: 'sniff-type',
    provides: ['contentType', 'format', 'charset'],
    inspect: {
      bytes: sniffedBytes,
      async handler(headBytes, ctx) {
        const { filename, declaredType } = ctx.upload
        const head = headBytes.subarray(0, sniffedBytes)
        const found = await detect(head, head.length < sniffedBytes, { filename, declaredType })
        if (denied(found.contentType) || allowed?.(found.contentType) === false) {
          ctx.reject('file_type_not_allowed', `A file of the type ${found.contentType} is not allowed here.`, {
            found: found.contentType,
          })
        }
        const declaredLies = declaredType !== null && !agrees(declaredType, found.contentType)
        if (mode === 'reject' && declaredLies) {
          ctx.reject('content_type_mismatch', `The file was declared as another type than its bytes show.`, {
            declared: declaredType,
            found: found.contentType,
          })
        }
        return patch(found, ctx.upload, declaredLies)
      },
    },
  }
}

function patch(found: Found, { filename, declaredType }: UploadContext['upload'], declaredLies: boolean) {
  const { contentType, format, charset } = found
  const byName = typeOfName(filename, declaredType)?.contentType ?? null
  const corrected = declaredLies || (byName !== null && !agrees(byName, contentType))
  return {
    properties: { contentType, format, charset },
    extra: { 'sniff-type': { declared: declaredType, byName, found: contentType, corrected } },
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
