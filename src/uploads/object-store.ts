import type { Readable } from 'node:stream'
import type { Diagnosis } from './diagnosis.ts'
import type { Checksum } from './upload.ts'

/**
 * Bytes `start` (inclusive) to `end` (exclusive), at least one; anything else is refused with a RangeError. What lies beyond the object's
 * end is left out.
 */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** @throws {RangeError} */
export function checkRange({ start, end }: ByteRange): void {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end <= start)
    throw new RangeError(`Bytes ${start} to ${end} are no range.`)
}

/** Directory and name. The name never begins with a dot, so no key leads out of its directory. */
export const keyPattern = /^[0-9a-f]{2}\/[a-z0-9][a-z0-9.-]{0,79}$/

export interface StoredObject {
  readonly key: string
  /** Bytes. */
  readonly size: number
  readonly modifiedAt: number
}

/** An object that a client has brought by itself, as the store describes it. */
export interface ArrivedObject extends StoredObject {
  /** Changes with the bytes. */
  readonly version: string
  /** Hexadecimal digests that the store has made of the bytes. Where one equals what was declared, that is proved; else nothing is. */
  readonly md5: string | null
  readonly sha256: string | null
  /** As the client sent it. */
  readonly contentType: string | null
}

export interface WriteOptions {
  /** Bytes that will come; `null` or absent: not known. */
  readonly length?: number | null
  /** Keeps what `clear` needs to know of an object that is begun; nothing more goes to the store before it resolves. */
  readonly note?: (text: string) => Promise<void>
}

/** An object that was begun and neither finished nor cleared. */
export interface UnfinishedObject {
  readonly key: string
  readonly note: string
  readonly startedAt: number
}

/** What a PUT to a URL has to bring. `null`: as the client likes. */
export interface PutTerms {
  /** Bytes. */
  readonly size: number | null
  readonly contentType: string | null
  readonly checksum: Checksum | null
  /** Content-Disposition of the PUT. It is not kept with the bytes. */
  readonly disposition?: string | null
  /** Milliseconds since 1970 when the URL ends. */
  readonly until: number
}

export interface GetTerms {
  /** What the answer's headers shall be. */
  readonly contentType: string
  readonly disposition: string
  /** Seconds for which the URL is good. */
  readonly seconds: number
}

/** For a store that clients reach by themselves, past the gateway. */
export interface DirectAccess {
  /** Bytes of one PUT at most. */
  readonly largestPut: number
  putUrl(
    key: string,
    terms: PutTerms,
  ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }>
  getUrl(key: string, terms: GetTerms): Promise<string>
  /** What lies under a key to which a URL led. */
  arrived(key: string): Promise<ArrivedObject | undefined>
  /**
   * Copies what `arrived` has described to another key; returns how it is there.
   *
   * @throws {UploadError} `upload_not_received` when it is gone, or was replaced meanwhile by something of another size.
   */
  copy(
    from: ArrivedObject,
    key: string,
    options: Pick<WriteOptions, 'note'> & { readonly signal?: AbortSignal },
  ): Promise<ArrivedObject>
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
   * Ends the writer: when it returns, nothing more goes to the store. May be called at any time, also during a `write` or `finish`,
   * and must be called when one of them failed; does nothing after `finish` has returned. What lies in the store then goes by `clear`.
   */
  abort(): Promise<void>
}

/** A stretch of an object that grows: the store has it, under a name of its own, or its bytes are on record. */
export interface Piece {
  /** Where it begins in the object. */
  readonly start: number
  /** Bytes, at least one. */
  readonly size: number
  /** What the store needs to know of it; `null`: the bytes are on record. */
  readonly ref: string | null
}

export interface NewPiece extends Piece {
  /** `null` when the store has them. At most `largestKeptPiece`. */
  readonly bytes: Uint8Array | null
}

/** Bytes that go on record at a time: longer ones would hold up everybody else's records. */
export const largestKeptPiece = 256 * 1024

/** What is on record of an object that grows. */
export interface Growth {
  /** Bytes that count. What the store has beyond them was never acknowledged, and goes when the object is next written. */
  readonly bytes: number
  /** What its writers have noted. */
  readonly note: string | null
  /** From the first byte to the last that counts, without gaps; none where the store knows by itself. */
  readonly pieces: readonly Piece[]
}

export interface GrowOptions {
  readonly growth: Growth
  /** Bytes of the whole object; `null`: not known yet. */
  readonly length: number | null
  /** Bytes that this writer will get; `null`: not known. */
  readonly coming: number | null
  /** Keeps what `clear` and the next writer need to know; nothing more goes to the store before it resolves. */
  readonly note: (text: string) => Promise<void>
  /**
   * Puts on record, in one step, that the first `bytes` bytes count, and the pieces; all that were on record from the start of the first
   * of them on are replaced. Calls never overlap.
   */
  readonly keep: (bytes: number, pieces: readonly NewPiece[]) => Promise<void>
  /** Reads bytes that are on record, all of which are in pieces without a `ref`. */
  readonly kept: (range: ByteRange) => Promise<Uint8Array>
  /** Nothing is kept before `save` or `finish`: it may turn out to be wrong. */
  readonly hold?: boolean
}

/**
 * Goes on with an object that grows over several requests, at the end of what counts. `finish` makes it whole, also when nothing was
 * written; when it failed, or the process died meanwhile, another writer may finish it. Every writer ends with `finish` or `abort`, which
 * leaves what counts.
 */
export interface GrowingWriter extends ObjectWriter {
  /** Bytes that count now. */
  readonly bytes: number
  /** Resolves when all that was written counts. */
  save(): Promise<void>
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
  write(key: string, options?: WriteOptions): ObjectWriter
  /** Starts an object that grows, or goes on with it. Of one key there is one writer at a time. */
  grow(key: string, options: GrowOptions): GrowingWriter
  /**
   * Makes one object of others, in their order; those stay. Where it fails, or is repeated, what is under the key goes by `clear`.
   *
   * @param sources finished objects; one may come several times
   */
  concat(
    sources: readonly Pick<StoredObject, 'key' | 'size'>[],
    key: string,
    options: Pick<WriteOptions, 'note'> & { readonly signal?: AbortSignal },
  ): Promise<void>
  /**
   * Removes all that an attempt to write under this key has left, finished or not; nothing there counts as removed.
   *
   * @param note what the writer has noted; `null`: nothing that is known of
   */
  clear(key: string, note: string | null): Promise<void>
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
  /** What was begun and is still open in the store, where that can be. */
  unfinished?(signal?: AbortSignal): AsyncIterable<UnfinishedObject>
  /** Ends one of these; what is finished under the same key stays. */
  endUnfinished?(one: UnfinishedObject): Promise<void>
  /**
   * Bytes of an object that grows which the store has beyond those that count, and since that time has had all of them: what a writer has left
   * that died. Nobody may be writing it when they are cut off.
   */
  excess?(key: string, growth: Growth, options: { readonly before: number; readonly cut: boolean }): Promise<number>
  readonly direct?: DirectAccess
  /** For those who run the installation. */
  readonly diagnosis?: Diagnosis
  /** Milliseconds after which a request that was given up has no effect in the store any more. Absent: at once. */
  readonly settledMs?: number
  /** Path of the object in the local file system, where it has one. */
  path?(key: string): string
  /** Removes what writers of an earlier process left unfinished. Called once, before anything is written. */
  recover(): Promise<void>
  /** Whether bytes can be stored now. @throws {UploadError} `storage_failed` with the reason. */
  check(): Promise<void>
  /** Bytes of objects on their way that are held in memory now, where that is the store's to decide. */
  heldBytes?(): number
  /** Gives back connections, where there are any. */
  close?(): void
}
