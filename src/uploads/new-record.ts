import { createHash } from 'node:crypto'
import { v7 } from 'uuid'
import { Rejection } from '../errors.ts'
import { guessType } from './names.ts'
import type { Pipeline } from './pipeline.ts'
import { checkDraft, type Policy } from './policy.ts'
import { demandProject, demandScope, type Principal } from './principal.ts'
import type { Claim, NewRecord } from './records.ts'
import type { NewUpload, Patch, Resumable } from './upload.ts'

/** An upload whose record is about to be written. */
export interface Begun extends Omit<NewRecord, 'state' | 'stagedKey' | 'put' | 'expiresAt'> {
  /** A plugin refuses it, in a batch whose other files go on. */
  readonly refused: Rejection | undefined
}

const noPatch: Patch = {}

/** Every rule that can be asked before the bytes are there. @throws {UploadError} */
export async function newRecord(
  { pipeline, policy }: { readonly pipeline: Pipeline; readonly policy: Policy },
  principal: Principal,
  draft: NewUpload,
  claim: Claim | null,
  batchId: string | null = null,
): Promise<Begun> {
  demandScope(principal, 'uploads:write')
  demandProject(principal, draft.projectId)
  checkDraft(policy, draft)
  let refused: Rejection | undefined
  const asked = await pipeline.beforeCreate(draft, principal.workspaceId).catch((error: unknown) => {
    // In a batch there are others to go on with, and this one is told of among them.
    if (batchId === null || !(error instanceof Rejection)) throw error
    refused = error
  })
  const { reserve, patch } = asked ?? { reserve: 0, patch: noPatch }
  const id = v7()
  return {
    ...draft,
    id,
    workspaceId: principal.workspaceId,
    userId: principal.userId,
    batchId,
    refused,
    properties: { ...guessType(draft.filename, draft.declaredType), ...patch.properties },
    extra: patch.extra ?? {},
    reserve,
    createdAt: timeOf(id),
    projectMode: policy.projectMode,
    claim,
  }
}

/** The same for the same request of the same client. */
export const creationDigest = (
  { id, workspaceId }: Principal,
  draft: NewUpload,
  { metadata, concat }: Pick<Resumable, 'metadata' | 'concat'>,
): Uint8Array =>
  createHash('sha256')
    .update(JSON.stringify([id, workspaceId, draft, metadata, concat]))
    .digest()

/** The moment that a version 7 UUID begins with: lists are in its order, so no other may be shown. */
const timeOf = (id: string): number => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
