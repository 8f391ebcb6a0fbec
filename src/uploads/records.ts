import type { Patch, Upload, UploadState, NewUpload } from './upload.ts'
import type { Rejection } from '../errors.ts'
import type { ByteRange, Growth, NewPiece } from './object-store.ts'

export interface Workspace {
  readonly id: string
  /** Bytes; `null`: the installation's default. */
  readonly quota: number | null
  /** Bytes that may be used in the end: its own quota or the default; `null`: no limit. */
  readonly limit: number | null
  /** Bytes of `ready` uploads. */
  readonly used: number
  /** Bytes that unfinished uploads hold. */
  readonly reserved: number
  readonly createdAt: number
}

export type Scope = 'uploads:read' | 'uploads:write'

export interface ApiKey {
  readonly id: string
  readonly workspaceId: string
  readonly userId: string
  readonly name: string
  readonly scopes: readonly Scope[]
  /** `null`: every project of the workspace. */
  readonly projects: readonly string[] | null
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly revokedAt: number | null
}

/** Work to be done after the transaction that wrote it, at least once. */
export type NewJob =
  | { readonly kind: 'delete-object'; readonly key: string }
  /** Removes what an attempt to write under this key has left; `until`: it may come that late. */
  | { readonly kind: 'clear-object'; readonly key: string; readonly note: string | null; readonly until: number | null }
  /** The second look, when nothing can come any more. */
  | { readonly kind: 'look-again'; readonly key: string; readonly due: number }
  | { readonly kind: 'verdict'; readonly uploadId: string; readonly due: number }
  /** A look whether bytes have come past the gateway that finish their upload. */
  | { readonly kind: 'arrival'; readonly uploadId: string; readonly due: number }
  | { readonly kind: 'after-finish'; readonly uploadId: string; readonly plugin: string }
  | { readonly kind: 'after-terminate'; readonly upload: Upload; readonly plugin: string }

export type JobWork = NewJob extends infer J ? (J extends { due: number } ? Omit<J, 'due'> : J) : never

export interface Job {
  readonly number: number
  readonly work: JobWork
  /** Times that it was tried before. */
  readonly tries: number
  readonly due: number
  /** Message of the last failure. */
  readonly error: string | null
  /** Set when the worker has given up; an operator may retry it. */
  readonly failedAt: number | null
}

/** A request that is to make something once, however often it is sent. */
export interface Claim {
  /** Who sends it: the id of the principal. */
  readonly principal: string
  /** What the client calls it. */
  readonly key: string
  /** Digest of what it asks for. */
  readonly fingerprint: Uint8Array
}

export interface StoredAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON, as it was sent. */
  readonly body: string
}

/** What the first request of that name has come to: it has been answered, or has only made what has the id `made`. */
export type Claimed = { readonly fingerprint: Uint8Array } & (
  | { readonly made: string; readonly answer: null }
  | { readonly made: null; readonly answer: StoredAnswer }
)

export interface NewRecord extends NewUpload {
  readonly id: string
  readonly workspaceId: string
  readonly userId: string
  /** The batch with which it comes. */
  readonly batchId?: string | null
  readonly state: 'pending' | 'receiving'
  readonly properties: Upload['properties']
  readonly extra: Upload['extra']
  /** Bytes of quota to hold; 0 asks nothing of the quota. */
  readonly reserve: number
  /** Key under which the bytes are about to be written. */
  readonly stagedKey: string | null
  /** Key to which a URL leads until then, past the gateway. */
  readonly put: { readonly key: string; readonly until: number } | null
  /** It may come in several requests: its object grows, or is made of others. */
  readonly resumable?: Upload['resumable']
  /** Digest of what a final upload is made of: there is one for each. */
  readonly joined?: Uint8Array | null
  /** Digest of who asks for what: it takes over what an earlier equal one holds into which nothing has come. */
  readonly creation?: Uint8Array | null
  /** When it goes on to hold only what it has, if nobody comes back to it. `null`: it holds what it has declared to its end. */
  readonly holdsUntil?: number | null
  readonly expiresAt: number | null
  readonly createdAt: number
  readonly jobs?: readonly NewJob[]
  /** `registered`: an unknown project is refused. */
  readonly projectMode: 'open' | 'registered'
  /** The request that asks for it, when it is to be done once. */
  readonly claim?: Claim | null
}

/** A batch whose files are about to come in one request. */
export interface NewBatch {
  readonly id: string
  readonly workspaceId: string
  /** `null`: the request will tell. */
  readonly projectId: string | null
  readonly projectMode: NewRecord['projectMode']
  readonly createdAt: number
  readonly claim: Claim | null
}

export interface MetaEntry {
  readonly name: string
  readonly value: string
}

/** All files of a batch have come. */
export interface BatchEnd {
  readonly name: string
  readonly meta: readonly MetaEntry[]
  readonly projectId: string
  readonly projectMode: NewRecord['projectMode']
  /** What is to be done for each upload that is `processing` from now on. */
  readonly jobs: (uploadId: string) => readonly NewJob[]
}

/** Uploads that came in one request, in the order in which they came. */
export interface Batch {
  readonly id: string
  readonly workspaceId: string
  readonly projectId: string | null
  readonly name: string
  readonly meta: readonly MetaEntry[]
  readonly createdAt: number
  /** At least one. */
  readonly uploads: readonly Upload[]
}

export interface RemoveOptions {
  /** What is to be done for an upload that was removed. */
  readonly jobs: (upload: Upload) => readonly NewJob[]
  /** Also what a project holds. */
  readonly force?: boolean
}

/** The bytes of an upload are complete in the store and durable. */
export interface StoredBytes {
  readonly key: string
  readonly size: number
  /** `null`: they have come past the gateway, and nobody has looked at them. */
  readonly sha256: string | null
  readonly patch: Patch
  readonly to: 'receiving' | 'processing'
  /** `null` or absent: as it was. */
  readonly context?: Upload['context']
  readonly expiresAt: number | null
  readonly jobs: readonly NewJob[]
}

export interface Transition {
  readonly from: readonly UploadState[]
  readonly to: UploadState
  readonly patch?: Patch
  readonly context?: Upload['context']
  readonly rejection?: Rejection
  /** Or what they are for the upload as the change leaves it. */
  readonly jobs?: readonly NewJob[] | ((changed: Upload) => readonly NewJob[])
  readonly expiresAt?: number | null
  /** Bytes that have come. */
  readonly received?: number
  readonly sha256?: string | null
}

/** The object of an upload has grown. */
export interface Grown {
  readonly key: string
  /** Bytes that count from now on. */
  readonly bytes: number
  /** They replace all that are on record from the start of the first of them on. */
  readonly pieces: readonly NewPiece[]
  readonly expiresAt: number
  /** As for a new record. */
  readonly holdsUntil: number
  readonly jobs: readonly NewJob[]
}

/** Somebody has come back to an upload. */
export interface Hold {
  /** When it goes on to hold only what it has. */
  readonly until: number
  /** When it ends. */
  readonly expiresAt: number
}

export interface ListFilter {
  readonly workspaceId: string
  readonly states?: readonly UploadState[]
  readonly category?: string
  readonly projectId?: string
  /** Exact, or with a trailing `/*`. */
  readonly contentType?: string
  readonly createdAfter?: number
  /** Only uploads of these projects or of none. */
  readonly onlyProjects?: readonly string[]
  /** Id of the last upload of the page before. */
  readonly before?: string
  readonly limit: number
}

export interface Page {
  readonly uploads: readonly Upload[]
  /** Where the next page starts; `null` at the end. A page may be short and still have a next one. */
  readonly next: string | null
}

export interface UsageDay {
  /** `2026-11-21`, UTC. */
  readonly day: string
  readonly uploads: number
  readonly bytes: number
}

export interface Usage {
  readonly workspace: Workspace
  readonly counts: Readonly<Record<UploadState, number>>
  readonly days: readonly UsageDay[]
}

/** A breach of an invariant, in a sentence. */
export type Finding = string

/**
 * The records: whole operations, each of which is one transaction. A promise resolves when its transaction survives a power loss.
 * State changes write the ledger and the follow-up jobs with them. Changes that find another state than they ask for reject with
 * `upload_state_conflict`, those that find no upload with `not_found`.
 */
export interface Records {
  /** The workspace, made when there is none. */
  ensureWorkspace(id: string): Promise<Workspace>
  workspace(id: string): Promise<Workspace | undefined>
  workspaces(): Promise<readonly Workspace[]>
  /** @throws {UploadError} `not_found` */
  setQuota(id: string, bytes: number | null): Promise<Workspace>

  /** Tells this installation from others that use the same bucket; never changes. */
  installation(): Promise<string>

  /** Makes a project known, and its workspace when there is none. */
  ensureProject(workspaceId: string, projectId: string): Promise<void>
  projects(workspaceId: string): Promise<readonly string[]>

  /** Makes the workspace when there is none. `digest`: SHA-256 of the key, 32 bytes. */
  createKey(key: Omit<ApiKey, 'revokedAt'>, digest: Uint8Array): Promise<ApiKey>
  keyByDigest(digest: Uint8Array): Promise<ApiKey | undefined>
  keys(): Promise<readonly ApiKey[]>
  /** @throws {UploadError} `not_found` */
  revokeKey(id: string): Promise<ApiKey>
  /** Removes a key as if it had never been; one that is not there counts as removed. */
  forgetKey(id: string): Promise<void>

  /**
   * Makes the workspace when there is none.
   *
   * @throws {UploadError} `quota_exceeded`, `project_forbidden`; `idempotency_conflict` when its claim is taken
   */
  create(record: NewRecord): Promise<Upload>
  /** Makes an unfinished upload hold at least `bytes` of quota. @throws {UploadError} `quota_exceeded` */
  reserve(id: string, bytes: number): Promise<void>
  /** Makes an unfinished upload to which somebody has come back hold what it has declared. @throws {UploadError} `quota_exceeded` */
  hold(id: string, how: Hold): Promise<Upload>
  /** Whether the upload holds all that it has declared, and will for a while. */
  isHeld(id: string): Promise<boolean>
  /** An upload whose time to hold what it has declared is over holds what it has. */
  lapse(id: string): Promise<void>
  /** Ids of such uploads, the oldest first. */
  lapsing(limit: number): Promise<readonly string[]>
  /** When the last of the parts ends that may belong together with this one: those of its user, made at most so much later. */
  siblingsEnd(id: string, withinMs: number): Promise<number | null>
  /** Gives back what an unfinished upload holds beyond what was declared or has come. */
  unreserve(id: string): Promise<void>
  /** Notes the key of another attempt to bring the bytes of a `pending` or `receiving` upload. */
  stage(id: string, key: string): Promise<Upload>
  /** Bytes under a staged key are complete; those of an earlier attempt go. @throws {UploadError} `quota_exceeded` */
  stored(id: string, bytes: StoredBytes): Promise<Upload>
  /** Keeps what the store needs to know to clear a staged key. */
  note(key: string, text: string): Promise<void>
  /** A staged key will not be used: whatever is under it goes. @param note of an attempt that no record knows */
  abandon(key: string, note?: string): Promise<void>
  /** Whether bytes are on their way to this key, or a job will clear what has come. */
  staged(key: string): Promise<boolean>
  /** The key to which the upload's URL leads, past the gateway. */
  putKey(id: string): Promise<string | undefined>
  transition(id: string, change: Transition): Promise<Upload>

  /** What is on record of the object of an upload that comes in several requests; `undefined` when it does not grow any more. */
  growth(id: string): Promise<({ readonly key: string } & Growth) | undefined>
  /** @throws {UploadError} `quota_exceeded`; `upload_state_conflict` when the object has more bytes, or its key was given up */
  grow(id: string, grown: Grown): Promise<Upload>
  /** Id of the upload whose object grows under this key. */
  growingUnder(key: string): Promise<string | undefined>
  /** Bytes of the object that are on record, in pieces without a `ref`. */
  keptBytes(key: string, range: ByteRange): Promise<Uint8Array>
  /** The object goes on under another key, and what may still come under the old one goes. */
  renewKey(id: string, from: string, to: string): Promise<void>
  /** Uploads whose objects grow and of which their writers have noted nothing. */
  unnoted(): Promise<readonly { readonly id: string; readonly key: string }[]>
  /** Bytes that the upload will have, when that was not known before. @param reserve bytes of quota to hold */
  setLength(id: string, bytes: number, reserve: number): Promise<Upload>
  /** Its client was told that all bytes are there. */
  answeredEarly(id: string): Promise<void>
  /** The final upload that is made of this. */
  joined(digest: Uint8Array): Promise<Upload | undefined>

  /**
   * Removes the upload, gives back its bytes and leaves a job that removes the object.
   *
   * @throws {UploadError} `asset_referenced` while a project holds it, unless `force`.
   */
  remove(id: string, options: RemoveOptions): Promise<void>
  /** @param workspaceId of another workspace there is none, and finding that out takes as long as for an id that never was */
  get(id: string, workspaceId?: string): Promise<Upload | undefined>
  /** `ready` uploads with these bytes, the oldest first; some, when there are many. @param sha256 hexadecimal */
  sameBytes(workspaceId: string, sha256: string, size: number): Promise<readonly Upload[]>
  list(filter: ListFilter): Promise<Page>
  /** Of a workspace that is not there yet: nothing. */
  usage(workspaceId: string, fromDay: string): Promise<Usage>

  /** Binds an upload to a project; again changes nothing. @throws {UploadError} `project_forbidden` */
  bind(upload: Upload, projectId: string, mode: 'open' | 'registered'): Promise<void>
  /** Whether there was such a binding. */
  unbind(upload: Upload, projectId: string): Promise<boolean>
  projectsOf(uploadId: string): Promise<readonly string[]>

  /**
   * Makes the workspace when there is none. Nobody sees the batch before it is finished.
   *
   * @throws {UploadError} `project_forbidden`; `idempotency_conflict` when its claim is taken
   */
  openBatch(batch: NewBatch): Promise<void>
  /** In one step the batch is there, its uploads are in its project, and those with bytes are `processing`. @throws `project_forbidden` */
  finishBatch(id: string, end: BatchEnd): Promise<Batch>
  /** A finished batch; one that has lost its last upload is gone. @param workspaceId as for `get` */
  batch(id: string, workspaceId?: string): Promise<Batch | undefined>
  /** Removes all of its uploads, as `remove` does, or none. */
  removeBatch(id: string, options: RemoveOptions): Promise<void>

  /** What is known of the request; after 24 hours nothing. */
  claimed(claim: Claim): Promise<Claimed | undefined>
  /** Keeps the answer to the request, whether or not it has made something, for 24 hours. */
  answered(claim: Claim, answer: StoredAnswer): Promise<void>
  /** The request was not answered, and nothing is left of what it has made: it may run again. */
  release(claim: Claim, made: string): Promise<void>
  /** Forgets requests whose time is over; returns how many. */
  forgetClaims(limit: number): Promise<number>

  /** Jobs that are due, each for `leaseMs`: those that are neither done nor failed by then come again. */
  claim(limit: number, leaseMs: number): Promise<readonly Job[]>
  /** @param next what is to be done after it */
  done(job: number, next?: readonly NewJob[]): Promise<void>
  /** Tries again at `due`; `null`: gives up. */
  failed(job: number, error: string, due: number | null): Promise<void>
  /** Jobs that were given up, and how many wait. */
  jobs(): Promise<{ readonly waiting: number; readonly failed: readonly Job[] }>
  /** The same in numbers, each counted up to 100 000. */
  queueDepth(): Promise<{ readonly waiting: number; readonly failed: number }>
  /** Makes given-up jobs due again; returns how many. */
  retryJobs(job: number | 'all'): Promise<number>

  /** Unfinished uploads whose time is over and to which no bytes are on their way: the oldest, or those that follow `after`. */
  overdue(limit: number, after?: Pick<Upload, 'expiresAt' | 'number'>): Promise<readonly Upload[]>
  /** Forgets `rejected` and `expired` records that have not changed since `before`; returns how many. */
  forget(before: number, limit: number): Promise<number>
  /** After a crash: nothing is on its way any more. Staged keys become deletions, uploads that cannot go on `expired`, jobs due. */
  recover(jobs: (expired: Upload) => readonly NewJob[]): Promise<void>
  /** Those of the keys of which no record, intent or job knows. */
  unknownKeys(keys: readonly string[]): Promise<readonly string[]>
  /** Which uploads have their bytes under these keys, and how many. */
  storedUnder(
    keys: readonly string[],
  ): Promise<readonly { readonly number: number; readonly key: string; readonly size: number | null }[]>
  /** Uploads with bytes in the store, by number. */
  storedUploads(afterNumber: number, limit: number): Promise<readonly Upload[]>
  /** Folds ledger rows older than `before` into one row a workspace; returns how many went. */
  foldLedger(before: number, limit: number): Promise<number>
  /** Compares counters, rows and ledger of every workspace, and the file's own consistency. */
  audit(): Promise<readonly Finding[]>
  /** Whether the records answer. */
  check(): Promise<void>
  close(): Promise<void>
}
