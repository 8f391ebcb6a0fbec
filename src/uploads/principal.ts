import { notFound, UploadError } from '../errors.ts'
import type { Records, Scope } from './records.ts'
import type { Upload } from './upload.ts'

/** Who is calling. */
export interface Principal {
  /** Unique among all principals; never shown. */
  readonly id: string
  readonly userId: string
  readonly workspaceId: string
  readonly scopes: readonly Scope[]
  /** Projects that it is limited to; `null`: all of the workspace. */
  readonly projects: readonly string[] | null
  readonly keyName: string | null
}

/** @throws {UploadError} `scope_missing` */
export function demandScope(principal: Principal, scope: Scope): void {
  if (!principal.scopes.includes(scope)) throw new UploadError('scope_missing', `This needs the scope ${scope}.`)
}

/** @throws {UploadError} `project_forbidden` */
export function demandProject(principal: Principal, projectId: string | null): void {
  if (projectId === null || principal.projects === null || principal.projects.includes(projectId)) return
  throw new UploadError('project_forbidden', 'This key may not use that project.')
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
export const isUuid = (text: string): boolean => uuidPattern.test(text)

/**
 * The upload, if the principal may know of it. What belongs to another workspace is not found, as what never was. A principal limited to projects sees what is in them or in none.
 *
 * @throws {UploadError} `scope_missing`, `not_found`, `project_forbidden`
 */
export async function owned(records: Records, principal: Principal, id: string, scope: Scope): Promise<Upload> {
  demandScope(principal, scope)
  const upload = isUuid(id) ? await records.get(id.toLowerCase(), principal.workspaceId) : undefined
  if (!upload) throw notFound()
  if (!(await inReach(records, principal, upload)))
    throw new UploadError('project_forbidden', 'This key may not use the project of this upload.')
  return upload
}

/** Whether an upload of the principal's workspace is in one of its projects or in none. */
export async function inReach(records: Records, principal: Principal, upload: Upload): Promise<boolean> {
  if (principal.projects === null) return true
  const projects = await records.projectsOf(upload.id)
  return projects.length === 0 || projects.some((project) => principal.projects?.includes(project))
}
