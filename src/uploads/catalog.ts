import { notFound, UploadError } from '../errors.ts'
import type { ArrivedObject, ByteRange, GetTerms, ObjectStore } from './object-store.ts'
import { demandProject, demandScope, inReach, isUuid, owned, type Principal } from './principal.ts'
import type { ListFilter, Page, Records, Usage } from './records.ts'
import type { Tokens } from './tokens.ts'
import type { Checksum, Upload, UploadState } from './upload.ts'
import type { Readable } from 'node:stream'

export interface CatalogDependencies {
  readonly records: Records
  readonly store: ObjectStore
  readonly tokens: Tokens
  readonly projectMode: 'open' | 'registered'
  /** Milliseconds for which a download URL is good. */
  readonly downloadTtlMs: number
  /** Downloads are sent on to the store, where clients reach that by themselves. */
  readonly redirect: boolean
  /** Who declares bytes that the workspace has is given the upload that has them. */
  readonly dedupe: boolean
}

export type ListRequest = Omit<ListFilter, 'workspaceId' | 'onlyProjects'>

/** A download URL's proof: when it ends, and the signature. */
export interface DownloadToken {
  readonly expires: number
  readonly signature: string
}

/** Looks at what is there: uploads, their bytes, projects and usage. Changes bindings only. */
export function catalog(deps: CatalogDependencies) {
  const { records, store, tokens, projectMode, downloadTtlMs, redirect, dedupe } = deps
  return {
    get: (principal: Principal, id: string): Promise<Upload> => owned(records, principal, id, 'uploads:read'),

    async list(principal: Principal, request: ListRequest): Promise<Page> {
      demandScope(principal, 'uploads:read')
      if (request.projectId !== undefined) demandProject(principal, request.projectId)
      const limited = principal.projects === null ? {} : { onlyProjects: principal.projects }
      return records.list({ ...request, ...limited, workspaceId: principal.workspaceId })
    },

    async usage(principal: Principal, fromDay: string): Promise<Usage> {
      demandScope(principal, 'uploads:read')
      return records.usage(principal.workspaceId, fromDay)
    },

    async bind(principal: Principal, projectId: string, id: string, states: readonly UploadState[]): Promise<Upload> {
      demandProject(principal, projectId)
      const upload = await owned(records, principal, id, 'uploads:write')
      if (!states.includes(upload.state)) throw notFound()
      await records.bind(upload, projectId, projectMode)
      return upload
    },

    async unbind(principal: Principal, projectId: string, id: string): Promise<void> {
      demandProject(principal, projectId)
      const upload = await owned(records, principal, id, 'uploads:write')
      if (!(await records.unbind(upload, projectId))) throw notFound()
    },

    /** The upload that has the bytes which the principal is about to bring, where it may see that; `undefined`: bring them. */
    async same(principal: Principal, checksum: Checksum, size: number): Promise<Upload | undefined> {
      demandScope(principal, 'uploads:write')
      if (!dedupe || checksum.algorithm !== 'sha256' || !principal.scopes.includes('uploads:read')) return undefined
      const sha256 = Buffer.from(checksum.digest, 'base64').toString('hex')
      for (const upload of await records.sameBytes(principal.workspaceId, sha256, size))
        if (await inReach(records, principal, upload)) return upload
      return undefined
    },

    /** Names the upload, and cannot be made up. It allows nothing by itself. */
    signedId: ({ id }: Upload): string => `blob.${id}.${tokens.sign('blob', [id])}`,

    /** The id in a signed one. @throws {UploadError} `not_found` */
    idOf(signedId: string): string {
      const [, id = '', signature = ''] = /^blob\.([0-9a-f-]{36})\.([\w-]{43})$/.exec(signedId) ?? []
      if (!tokens.verify('blob', [id], signature)) throw notFound()
      return id
    },

    /** A proof that lets whoever has it read this upload for a while. */
    downloadToken(upload: Upload): DownloadToken {
      const expires = Math.ceil((Date.now() + downloadTtlMs) / 1_000)
      return { expires, signature: tokens.sign('download', [upload.id, expires]) }
    },

    /** The upload to be downloaded, by credentials or by token. @throws {UploadError} */
    async forDownload(id: string, by: Principal | DownloadToken): Promise<Upload> {
      if ('signature' in by) {
        if (!tokens.verify('download', [id, by.expires], by.signature))
          throw new UploadError('signature_invalid', 'The download URL was changed or is not ours.')
        if (by.expires * 1_000 < Date.now())
          throw new UploadError('upload_expired', 'The download URL has expired: ask for a new one.')
        return readable(isUuid(id) ? await records.get(id) : undefined)
      }
      return readable(await owned(records, by, id, 'uploads:read'))
    },

    /** Where the store itself gives the bytes to whoever has the URL; `undefined`: they come from here. */
    async elsewhere(upload: Upload, terms: Omit<GetTerms, 'seconds'>): Promise<string | undefined> {
      if (!redirect || !store.direct || upload.objectKey === null) return undefined
      return store.direct.getUrl(upload.objectKey, { ...terms, seconds: downloadTtlMs / 1_000 })
    },

    /** The object as the store itself describes it to whoever was sent there. */
    async stored(upload: Upload): Promise<ArrivedObject> {
      const found = upload.objectKey === null ? undefined : await store.direct?.arrived(upload.objectKey)
      if (!found) throw notFound()
      return found
    },

    open(upload: Upload, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
      if (upload.objectKey === null) throw notFound()
      return store.read(upload.objectKey, range, signal)
    },
  }
}

function readable(upload: Upload | undefined): Upload {
  if (!upload) throw notFound()
  if (upload.state !== 'ready')
    throw new UploadError('upload_state_conflict', `The upload is ${upload.state}: there is nothing to download.`)
  return upload
}

export type Catalog = ReturnType<typeof catalog>
