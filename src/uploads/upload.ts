import type { ErrorCode } from '../errors.ts'

/**
 * `pending` (record, no bytes) → `receiving` → `processing` (all bytes are there, the pipeline runs) → `ready` | `rejected`;
 * `receiving` → `rejected` (refused while the bytes came); `pending`/`receiving` → `expired`. Deleting removes the record.
 */
export const uploadStates = ['pending', 'receiving', 'processing', 'ready', 'rejected', 'expired'] as const
export type UploadState = (typeof uploadStates)[number]

export type DialectName = 'presigned' | 'form' | 'direct' | 'raw' | 'tus'

/** What finishes an upload whose bytes are there: its client says so, or their arrival is enough. */
export type Finish = 'confirm' | 'arrival'

/** What a client promised about the bytes: algorithm and base64 digest. */
export interface Checksum {
  readonly algorithm: 'sha256' | 'md5'
  readonly digest: string
}

/** What we established about the bytes. A field that is absent is not known (yet); `null` means: looked, and there is none. */
export interface Properties {
  /** MIME type without parameters. A guess from the name until the bytes were seen. */
  readonly contentType: string
  /** Short name of the format, such as `jpeg` or `pdf`. */
  readonly format: string | null
  /** Character encoding of text, such as `utf-8`. */
  readonly charset?: string | null
  /** Pixels, as displayed: after EXIF orientation or rotation. */
  readonly width?: number | null
  readonly height?: number | null
  /** Seconds. */
  readonly duration?: number | null
  /** Such as `['avc1.42c01e', 'mp4a.40.2']`. */
  readonly codecs?: readonly string[] | null
  /** Pages of a document, or frames of an animation. */
  readonly pages?: number | null
}

export interface UploadContextRef {
  readonly type: string
  readonly id: string
}

/** What belongs to an upload that may come in several requests. */
export interface Resumable {
  /** What its client has sent, and gets back as it came. */
  readonly metadata: string | null
  readonly concat: string | null
  /** It is to become a part of others, and no file by itself. */
  readonly partial: boolean
  /** Ids of the uploads whose bytes follow one another in it; `null`: it is no final upload. */
  readonly parts: readonly string[] | null
  /** Its length was not known, and what comes counts against the quota. */
  readonly counted: boolean
  /** Its client was told that all bytes are there, before there was a verdict on them. */
  readonly answered: boolean
}

/** One file: its record. The bytes are an object in the store, under `objectKey`. */
export interface Upload {
  /** UUID version 7, lower case: sorts by the time of creation. */
  readonly id: string
  /** Small integer, never given twice; the direct dialect shows it. */
  readonly number: number
  readonly workspaceId: string
  readonly projectId: string | null
  readonly userId: string
  readonly batchId: string | null
  readonly dialect: DialectName
  readonly state: UploadState
  readonly category: string | null
  /** As shown; never used as a path or key. */
  readonly filename: string
  readonly declaredType: string | null
  /** Bytes. */
  readonly declaredSize: number | null
  readonly declaredChecksum: Checksum | null
  /** Bytes; known when all have come. */
  readonly size: number | null
  /** Bytes that are durable in the store. */
  readonly received: number
  /** Bytes of quota that this upload holds until it is settled. */
  readonly reserved: number
  /** Set when the bytes are complete in the store. */
  readonly objectKey: string | null
  /** Hexadecimal digest of the whole file. */
  readonly sha256: string | null
  readonly context: UploadContextRef | null
  /** The client's; plugins never change it. */
  readonly metadata: Readonly<Record<string, string>>
  readonly properties: Properties
  /** Plugins' own facts, by plugin name. */
  readonly extra: Readonly<Record<string, unknown>>
  /** Why the upload was refused, when `state` is `rejected`. */
  readonly rejection: { readonly code: ErrorCode; readonly message: string } | null
  /** `null`: it does not come by the resumable protocol. */
  readonly resumable: Resumable | null
  /** Milliseconds since 1970, as all times in the code. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly expiresAt: number | null
}

/** What a plugin or the service adds to an upload. */
export interface Patch {
  readonly properties?: Partial<Properties>
  readonly extra?: Readonly<Record<string, unknown>>
}

/** What a dialect asks for, before any rule was applied. */
export interface NewUpload {
  readonly dialect: DialectName
  readonly filename: string
  readonly category: string | null
  readonly projectId: string | null
  readonly declaredType: string | null
  readonly declaredSize: number | null
  readonly declaredChecksum: Checksum | null
  readonly context: UploadContextRef | null
  readonly metadata: Readonly<Record<string, string>>
}
