import type { Selectable } from 'kysely'
import type { ApiKey, Job, JobWork, NewJob, Workspace } from '../uploads/records.ts'
import type { Upload } from '../uploads/upload.ts'
import type { Schema, UploadTable } from './schema.ts'

/** Ids are 16 bytes in the tables and text everywhere else; this is the one place that knows. */
export const idBytes = (id: string): Uint8Array => Uint8Array.from(Buffer.from(id.replaceAll('-', ''), 'hex'))
export function idText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** The least and the greatest id, as bounds. */
export const firstId = new Uint8Array(16)
export const lastId = new Uint8Array(16).fill(0xff)

export function toUpload(row: Selectable<UploadTable>): Upload {
  return {
    id: idText(row.id),
    number: row.number,
    workspaceId: row.workspace_id,
    projectId: row.project_id,
    userId: row.user_id,
    batchId: row.batch_id,
    dialect: row.dialect,
    state: row.state,
    category: row.category,
    filename: row.filename,
    declaredType: row.declared_type,
    declaredSize: row.declared_size,
    declaredChecksum: row.declared_checksum === null ? null : JSON.parse(row.declared_checksum),
    size: row.size,
    received: row.received,
    reserved: row.reserved,
    objectKey: row.object_key,
    sha256: row.sha256 === null ? null : Buffer.from(row.sha256).toString('hex'),
    context: row.context === null ? null : JSON.parse(row.context),
    metadata: JSON.parse(row.metadata),
    properties: JSON.parse(row.properties),
    extra: JSON.parse(row.extra),
    rejection: row.rejection === null ? null : JSON.parse(row.rejection),
    resumable: row.resumable === null ? null : JSON.parse(row.resumable),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    expiresAt: row.expires_at,
  }
}

export function toApiKey(row: Selectable<Schema['api_key']>): ApiKey {
  return {
    id: row.id,
    workspaceId: row.workspace_id,
    userId: row.user_id,
    name: row.name,
    scopes: JSON.parse(row.scopes),
    projects: row.projects === null ? null : JSON.parse(row.projects),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
  }
}

export function toWorkspace(row: Selectable<Schema['workspace']>, defaultQuota: number | null): Workspace {
  return {
    id: row.id,
    quota: row.quota,
    limit: row.quota ?? defaultQuota,
    used: row.used,
    reserved: row.reserved,
    createdAt: row.created_at,
  }
}

/** A job's columns: what recovery and audits look for gets a column, the rest is JSON. A claim moves the column `due`, not the JSON's. */
export function jobColumns(job: NewJob, now: number) {
  const uploadId = 'uploadId' in job ? job.uploadId : 'upload' in job ? job.upload.id : null
  const { kind, ...rest } = job
  return {
    kind,
    uploadId: uploadId === null ? null : idBytes(uploadId),
    objectKey: 'key' in job ? job.key : null,
    payload: JSON.stringify(rest),
    due: 'due' in job ? job.due : now,
  }
}

export function toJob(row: Selectable<Schema['job']>): Job {
  const { due: _, ...rest } = JSON.parse(row.payload)
  const work: JobWork = { kind: row.kind, ...rest }
  return { number: row.number, work, tries: row.tries, due: row.due, error: row.error, failedAt: row.failed_at }
}
