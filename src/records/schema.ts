import type { Generated } from 'kysely'
import type { DialectName, UploadState } from '../uploads/upload.ts'

/** The tables as Kysely sees them; `migrations/` makes them. */
export interface Schema {
  workspace: {
    id: string
    quota: number | null
    used: Generated<number>
    reserved: Generated<number>
    /** Uploads that are not finished, and records that hold no bytes; triggers count them. */
    open: Generated<number>
    bare: Generated<number>
    created_at: number
  }
  api_key: {
    id: string
    workspace_id: string
    user_id: string
    name: string
    digest: Uint8Array
    scopes: string
    projects: string | null
    created_at: number
    expires_at: number | null
    revoked_at: number | null
  }
  project: { workspace_id: string; id: string; created_at: number }
  /** `finished_at` is null as long as the request that brings its files runs. */
  batch: {
    id: string
    workspace_id: string
    project_id: string | null
    name: string
    meta: string
    created_at: number
    finished_at: number | null
  }
  upload: UploadTable
  binding: { workspace_id: string; project_id: string; upload_id: Uint8Array; held: number }
  object_intent: {
    object_key: string
    upload_id: Uint8Array
    at: number
    until: number | null
    note: string | null
    grows: Generated<number>
  }
  object_piece: {
    number: Generated<number>
    object_key: string
    start: number
    size: number
    ref: string | null
    bytes: Uint8Array | null
  }
  installation: { id: string }
  ledger: {
    number: Generated<number>
    workspace_id: string
    upload_id: Uint8Array | null
    kind: LedgerKind
    used: number
    reserved: number
    at: number
  }
  usage_day: { workspace_id: string; day: string; uploads: number; bytes: number }
  job: {
    number: Generated<number>
    kind: string
    upload_id: Uint8Array | null
    object_key: string | null
    payload: string
    due: number
    tries: Generated<number>
    error: string | null
    failed_at: number | null
  }
  /** `status` is null until the answer is known; `answer` is the id of what the request has made till then. */
  idempotency: {
    principal: string
    key: string
    fingerprint: Uint8Array
    status: number | null
    answer: string
    expires_at: number
  }
}

export type LedgerKind = 'reservation' | 'storage_charge' | 'storage_release' | 'folded'

export interface UploadTable {
  number: Generated<number>
  id: Uint8Array
  workspace_id: string
  project_id: string | null
  user_id: string
  batch_id: string | null
  dialect: DialectName
  state: UploadState
  category: string | null
  filename: string
  declared_type: string | null
  declared_size: number | null
  declared_checksum: string | null
  content_type: string
  size: number | null
  received: number
  reserved: number
  object_key: string | null
  sha256: Uint8Array | null
  context: string | null
  metadata: string
  properties: string
  extra: string
  rejection: string | null
  resumable: string | null
  joined: Uint8Array | null
  holds_until: number | null
  creation: Uint8Array | null
  partial: Generated<number>
  counts_in: Uint8Array | null
  created_at: number
  updated_at: number
  expires_at: number | null
}
