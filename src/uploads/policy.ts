import { Rejection, UploadError, type ErrorCode } from '../errors.ts'
import type { NewUpload, Upload } from './upload.ts'

export interface CategoryRules {
  /** Lower case, without the dot. */
  readonly extensions?: readonly string[] | undefined
  /** Exact types, or `image/*`. */
  readonly types?: readonly string[] | undefined
  /** Bytes. */
  readonly maxSize?: number | undefined
}

/** The rules for every way in. Evaluated at the creation, and again when the bytes are known. */
export interface Policy {
  /** Bytes of one file at most. */
  readonly maxFileSize: number
  readonly categories: Readonly<Record<string, CategoryRules>>
  readonly projectMode: 'open' | 'registered'
}

export const maxFilenameLength = 255 // characters
const controlCharacters = /\p{Cc}/gu

/** Characters as a person counts them, nearly: a character beyond the basic plane is one. */
export const codePoints = (text: string): number => Array.from(text).length

/** A name as clients that send JSON must give it: as it is, or not at all. Returns what is wrong with it. */
export function nameFault(name: string): string | undefined {
  const trimmed = name.trim()
  if (trimmed === '') return 'The name is empty.'
  if (codePoints(trimmed) > maxFilenameLength) return `The name has more than ${maxFilenameLength} characters.`
  if (/[/\\]/.test(trimmed)) return 'The name holds a slash or backslash.'
  if (trimmed.search(controlCharacters) >= 0) return 'The name holds control characters.'
  return undefined
}

/** Characters of an extension, with its dot, that a name which is cut keeps. */
const longestExtension = 16

/**
 * A name as browsers and devices send it: its last path segment, without control characters, cut to so many characters. `undefined`:
 * nothing is left.
 */
export function cleanedName(name: string, maxLength: number): string | undefined {
  const last = name.replace(controlCharacters, '').split(/[/\\]/).at(-1)?.trim() ?? ''
  return last === '' || last === '.' || last === '..' ? undefined : cutName(last, maxLength)
}

/** Cut to so many characters, before the extension. */
export function cutName(name: string, maxLength: number): string {
  const characters = Array.from(name)
  if (characters.length <= maxLength) return name
  const dot = characters.lastIndexOf('.')
  const extension = dot > 0 && characters.length - dot <= longestExtension ? characters.slice(dot) : []
  return [...characters.slice(0, maxLength - extension.length), ...extension].join('').trim()
}

/** As `cleanedName`. @throws {UploadError} `validation_failed` when nothing is left. */
export function cleanName(name: string, maxLength: number): string {
  const clean = cleanedName(name, maxLength)
  if (clean === undefined) throw new UploadError('validation_failed', 'The file name is empty or only dots.')
  return clean
}

/**
 * Where the body is the file, a form would be stored as one, with its boundaries. A file that really is a form is sent with another type.
 *
 * @throws {UploadError} `unsupported_media_type`
 */
export function refuseForm(contentType: string): void {
  if (/^multipart\/form-data\s*(?:;|$)/i.test(contentType.trim()))
    throw new UploadError(
      'unsupported_media_type',
      'The body is a form, and must be the file itself here: send forms to POST /api/v1/uploads or /v2/{team_id}/project/{project_id}/upload.',
    )
}

/** Bytes that a file of this category may have. */
export function sizeLimit(policy: Policy, category: string | null): number {
  return Math.min(policy.maxFileSize, rulesOf(policy, category).maxSize ?? Infinity)
}

/** What can be said before the bytes are there. @throws {UploadError} */
export function checkDraft(policy: Policy, draft: NewUpload): void {
  if (draft.category !== null && !Object.hasOwn(policy.categories, draft.category))
    throw new UploadError('validation_failed', 'There is no such category.')
  checkSize(policy, draft.category, draft.declaredSize, fault)
  checkExtension(policy, draft.category, draft.filename, fault)
  if (draft.declaredType !== null) checkType(policy, draft.category, draft.declaredType, fault)
}

/** What the bytes must keep to, whichever way they came. @throws {Rejection} */
export function checkFound(policy: Policy, upload: Upload): void {
  checkArrived(policy, upload, upload.size)
  checkExtension(policy, upload.category, upload.filename, rejection)
  checkType(policy, upload.category, upload.properties.contentType, rejection)
}

/** What the size of bytes must keep to of which nothing else is known yet. @throws {Rejection} */
export function checkArrived(policy: Policy, upload: Upload, size: number | null): void {
  checkSize(policy, upload.category, size, rejection)
}

type Refuse = (code: ErrorCode, message: string) => UploadError
const fault: Refuse = (code, message) => new UploadError(code, message)
const rejection: Refuse = (code, message) => new Rejection(code, message)

function checkSize(policy: Policy, category: string | null, size: number | null, refuse: Refuse): void {
  const limit = sizeLimit(policy, category)
  if (size !== null && size > limit)
    throw refuse('file_too_large', `The file has ${size} bytes; at most ${limit} are allowed.`)
}

function checkExtension(policy: Policy, category: string | null, filename: string, refuse: Refuse): void {
  const { extensions } = rulesOf(policy, category)
  if (!extensions) return
  const extension = /\.([^.]+)$/.exec(filename)?.[1]?.toLowerCase() ?? ''
  if (!extensions.includes(extension))
    throw refuse('file_type_not_allowed', `This category takes files named .${extensions.join(', .')} only.`)
}

function checkType(policy: Policy, category: string | null, type: string, refuse: Refuse): void {
  const { types } = rulesOf(policy, category)
  if (types && !types.some((pattern) => typeMatches(pattern, type)))
    throw refuse('file_type_not_allowed', `This category takes ${types.join(', ')} only, and this is ${type}.`)
}

export function typeMatches(pattern: string, type: string): boolean {
  const bare = type.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (pattern === '*/*' || pattern === bare) return true
  return pattern.endsWith('/*') && bare.startsWith(pattern.slice(0, -1))
}

const rulesOf = (policy: Policy, category: string | null): CategoryRules =>
  category !== null && Object.hasOwn(policy.categories, category) ? (policy.categories[category] ?? {}) : {}
