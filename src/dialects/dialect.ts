import { create as contentDisposition } from 'content-disposition'
import type { ApiFacts } from '../http/api.ts'
import type { Authenticate } from '../http/authenticate.ts'
import type { Ctx, Routes } from '../http/context.ts'
import type { Once } from '../http/idempotency.ts'
import type { Catalog } from '../uploads/catalog.ts'
import { canonicalType } from '../uploads/names.ts'
import type { Pace } from '../uploads/pace.ts'
import { cutName, maxFilenameLength } from '../uploads/policy.ts'
import type { UploadService } from '../uploads/service.ts'
import type { UploadUrls } from '../uploads/upload-url.ts'
import type { Upload } from '../uploads/upload.ts'

export interface DialectDependencies extends ApiFacts {
  readonly service: UploadService
  readonly catalog: Catalog
  readonly uploadUrls: UploadUrls
  readonly authenticate: Authenticate
  /** Answers what creates something. */
  readonly once: Once
  /** What the store is called towards clients. */
  readonly storeName: string
  /** Bytes above which a creation also tells of tus; `undefined`: none does. */
  readonly multipartThreshold: number | undefined
  /** Milliseconds without a byte after which a body is given up. */
  readonly bodyIdleMs: number
  readonly lowestPace?: Pace | undefined
  /** The address of a tus upload is told without scheme and host. */
  readonly relativeLocation: boolean
  /** PDF files may be shown in the browser. */
  readonly inlinePdf: boolean
}

/** One documented API: registers its routes, translates words, states and errors, decides nothing. */
export type Dialect = (routes: Routes, deps: DialectDependencies) => void

/** The address under which the upload's bytes can be read for a while, by whoever has it. */
export function downloadUrl(ctx: Ctx, catalog: Catalog, upload: Upload): string {
  const { expires, signature } = catalog.downloadToken(upload)
  return `${ctx.state.origin.url}/api/v1/uploads/${upload.id}/download?expires=${expires}&signature=${signature}`
}

/** A media type as a Content-Type header has it: parameters may follow, such as `audio/webm;codecs=opus`. */
export const isContentType = (text: string): boolean => /^[ -~]{1,255}$/.test(text) && canonicalType(text) !== null

/** Characters of a name for clients that read ASCII only. */
const maxAsciiName = 64
/** Bytes of the UTF-8 of a name in a header, each of which takes three there: proxies answer 502 in place of long headers. */
const maxHeaderName = 4 * maxFilenameLength

/** `Content-Disposition` with the name, beside it a short one in ASCII where it has other characters. */
export function dispositionOf(filename: string, type: 'inline' | 'attachment' = 'attachment'): string {
  const name = Buffer.byteLength(filename) > maxHeaderName ? cutName(filename, maxFilenameLength) : filename
  return contentDisposition(name, { type, fallback: cutName(name.replaceAll(/[^ -~]/gu, '?'), maxAsciiName) })
}

/** As `measures` describes them. */
export function measuresOf({ properties: { width = null, height = null, duration = null } }: Upload) {
  return { width, height, duration }
}

/** To the second, as the pages of all these APIs show it. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

/** As `facts` describes them. */
export function factsOf({ sha256, properties: { codecs = null, pages = null } }: Upload) {
  return { sha256, codecs: codecs && [...codecs], pages }
}

/** More bytes may come. */
export const isOpen = ({ state }: Upload): boolean => state === 'pending' || state === 'receiving'

/** A path parameter; the router fills in every one that its path names. */
export const param = (ctx: Ctx, name: string): string => ctx.params[name] ?? ''
