import type { ErrorCode } from './errors.ts'
import type { NewUpload, Patch, Properties, Upload } from './uploads/upload.ts'

export type { NewUpload, Patch, Properties, Upload } from './uploads/upload.ts'
/** What names and declared types stand for; plugins see the rest of the program only through this file. */
export {
  canonicalType,
  guessType,
  isActive,
  kindOf,
  type NamedType,
  typeOfDeclared,
  typeOfName,
  typesOfKind,
  typesOfName,
  unknownType,
} from './uploads/names.ts'

export type Awaitable<T> = T | Promise<T>

/** Codes with which a plugin may refuse a file. */
export type RejectCode = Extract<
  ErrorCode,
  | 'file_type_not_allowed'
  | 'content_type_mismatch'
  | 'file_too_large'
  | 'quota_exceeded'
  | 'checksum_mismatch'
  | 'size_mismatch'
  | 'validation_failed'
>

export interface PluginLog {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

export interface BootContext {
  readonly log: PluginLog
  /** A directory of the plugin's own below the data directory; made when it is first asked for. */
  directory(): Promise<string>
}

export interface PluginContext {
  readonly log: PluginLog
  /** Aborts when the hook has used up its time, the client has gone or the server stops. */
  readonly signal: AbortSignal
  readonly workspaceId: string
  /**
   * Refuses the file, for good: the object goes, the state becomes `rejected`, nothing is charged.
   * Anything else that a hook throws is a failure, which is tried again.
   *
   * @param facts shown to the client beside the message
   */
  reject(code: RejectCode, message: string, facts?: Readonly<Record<string, string | number>>): never
}

export interface UploadContext extends PluginContext {
  readonly upload: Upload
  /**
   * Makes the upload hold at least this many bytes of its workspace's quota.
   *
   * @throws {UploadError} `quota_exceeded`, which refuses the file.
   */
  reserve(bytes: number): Promise<void>
}

/** What `beforeCreate` may add. */
export interface CreatePatch extends Patch {
  /** Bytes of the workspace's quota to hold from the creation on. The records count; the creation fails when there is no room. */
  readonly reserve?: number
}

/** Random access to the stored bytes, against a budget of reads. */
export interface ByteSource {
  /** Bytes of the whole file. */
  readonly size: number
  /**
   * Bytes `start` (inclusive) to `end` (exclusive), cut at the file's end.
   *
   * @throws {BudgetError} when the hook has read more than it may.
   */
  bytes(start: number, end: number): Promise<Uint8Array>
  /** Every byte in order. */
  stream(): Promise<AsyncIterable<Uint8Array>>
  /** Path of a local file with these bytes: read it only, and only until the hook returns. */
  toFile(): Promise<string>
}

/** Sees every byte once and in order while the file passes. */
export interface Tap {
  /**
   * A promise that it returns holds the stream back. The chunk may not be kept: copy what is needed later.
   *
   * @param ahead bytes that have come already and follow in the next calls
   */
  write(chunk: Uint8Array, ahead: number): Awaitable<void>
  end(): Awaitable<Patch | void>
  /** The upload broke off or was refused. */
  abort?(): void
}

/**
 * A plugin is a plain object from a factory with options. Plugins run in the order in which the configuration lists them.
 * Hooks up to `beforeFinish` may refuse a file; the `after…` hooks are jobs, run at least once, and cannot.
 */
export interface Plugin {
  /** Unique; names log lines, errors and jobs. */
  readonly name: string
  /** Properties that it establishes; two plugins that provide the same one stop the start. */
  readonly provides?: readonly (keyof Properties)[]
  /** Properties that an earlier plugin must have established; none that does stops the start. */
  readonly requires?: readonly (keyof Properties)[]
  /** What a bug or outage in a hook means: the upload is tried again, or goes on without this plugin. @default 'fail' */
  readonly onFailure?: 'fail' | 'skip'
  /** Milliseconds that one hook may take. @default 10_000 */
  readonly timeoutMs?: number
  /** A cheap filter before each hook on an upload. */
  accepts?(upload: Upload): boolean
  setup?(boot: BootContext): Awaitable<void>
  beforeCreate?(draft: NewUpload, ctx: PluginContext): Awaitable<CreatePatch | void>
  /** Sees the first `bytes` bytes, or all there are, before anything is stored. */
  readonly inspect?: {
    readonly bytes: number
    handler(headBytes: Uint8Array, ctx: UploadContext): Awaitable<Patch | void>
  }
  tap?(ctx: UploadContext): Tap | undefined
  beforeFinish?(bytes: ByteSource, ctx: UploadContext): Awaitable<Patch | void>
  afterFinish?(bytes: ByteSource, ctx: UploadContext): Awaitable<Patch | void>
  afterTerminate?(ctx: UploadContext): Awaitable<void>
  close?(): Awaitable<void>
}

/** More was read than a hook may read. */
export class BudgetError extends Error {
  override readonly name = 'BudgetError'
}
