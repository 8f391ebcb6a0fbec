import type { Readable } from 'node:stream'

/**
 * Bytes `start` (inclusive) to `end` (exclusive), at least one; anything else is refused with a RangeError. What lies beyond the object's
 * end is left out.
 */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

export interface StoredObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  readonly modifiedAt: number
}

/**
 * One object on its way into the store. Nothing can be read under the key before `finish` has returned, and then all of it.
 * The calls follow one another: the next starts when the promise of the last is settled.
 */
export interface ObjectWriter {
  /** Resolves when more may come. The chunks are the caller's again then, and may be empty: copy what is sent later. */
  write(chunks: readonly Uint8Array[]): Promise<void>
  /** Resolves when the object is readable under its key and survives a power loss. */
  finish(): Promise<void>
  /**
   * Leaves nothing behind. May be called at any time, also during a `write` or `finish`, and must be called when one of them failed;
   * does nothing after `finish` has returned.
   */
  abort(): Promise<void>
}

/**
 * Where the bytes are. Keys are ours: two hexadecimal digits, `/`, a letter or digit and up to 79 of `[a-z0-9.-]`; anything else is refused
 * with a TypeError.
 * Every method may fail with `storage_failed`, which has a `retryAfter` when the store is away, full or too slow.
 */
export interface ObjectStore {
  /** Shown to clients as the name of the service. */
  readonly name: string
  /** Starts an object; nothing is done in the store before the first byte or `finish`. */
  write(key: string): ObjectWriter
  /**
   * The object's bytes, in order. The caller destroys the stream when it wants no more. A failure on the way destroys it with its error,
   * and so does the signal.
   *
   * @throws {UploadError} `not_found` when there is no such object.
   */
  read(key: string, range?: ByteRange, signal?: AbortSignal): Promise<Readable>
  /** A small range at once, cut at the object's end. @throws {UploadError} `not_found`. */
  bytes(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array>
  stat(key: string): Promise<StoredObject | undefined>
  /** Removes the object, also in the face of a power loss; one that is not there counts as removed. */
  remove(key: string): Promise<void>
  /** Every finished object, in no order. */
  list(signal?: AbortSignal): AsyncIterable<StoredObject>
  /** Path of the object in the local file system, where it has one. */
  path?(key: string): string
  /** Removes what writers of an earlier process left unfinished. Called once, before anything is written. */
  recover(): Promise<void>
  /** Whether bytes can be stored now. @throws {UploadError} `storage_failed` with the reason. */
  check(): Promise<void>
}
