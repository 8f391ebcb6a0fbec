import type { NewUpload, Patch, Upload } from './upload.ts'

/** Where hooks may ask for more of the workspace's quota. Rejects with a `Rejection` when there is none left. */
export type Reserve = (bytes: number) => Promise<void>

export interface HookOptions {
  readonly signal?: AbortSignal
  readonly reserve: Reserve
}

/** The taps of all plugins that want to see this file's bytes pass. */
export interface TapLine {
  /** Returns a promise only when a tap holds the stream back. */
  write(chunks: readonly Uint8Array[]): Promise<void> | undefined
  end(): Promise<Patch>
  abort(): void
}

/**
 * Runs the plugins' hooks in order, each within its time. A `Rejection` refuses the file for good; any other error is a failure,
 * which becomes `processing_failed` unless the plugin is one to be skipped.
 */
export interface Pipeline {
  /** Bytes that `inspect` wants to see before anything is stored. */
  readonly headBytes: number
  beforeCreate(draft: NewUpload, workspaceId: string): Promise<{ readonly reserve: number; readonly patch: Patch }>
  inspect(upload: Upload, headBytes: Uint8Array, options: HookOptions): Promise<Patch>
  taps(upload: Upload, options: HookOptions): TapLine | undefined
  /** All bytes are in the store under `upload.objectKey`. */
  beforeFinish(upload: Upload, options: HookOptions): Promise<Patch>
  /** Names of the plugins that want to run after this upload was finished or removed, as jobs. */
  afterFinish(upload: Upload): readonly string[]
  afterTerminate(upload: Upload): readonly string[]
}

/** Adds what was found later to what was found before. */
export const mergePatches = (before: Patch, later: Patch | void): Patch =>
  later
    ? { properties: { ...before.properties, ...later.properties }, extra: { ...before.extra, ...later.extra } }
    : before

/** Adds what was found to what was known. */
export function merge<T extends Pick<Upload, 'properties' | 'extra'>>(upload: T, patch: Patch): T {
  return {
    ...upload,
    properties: { ...upload.properties, ...patch.properties },
    extra: { ...upload.extra, ...patch.extra },
  }
}
