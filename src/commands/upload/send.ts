import { randomUUID } from 'node:crypto'
import { typeOfName } from '../../uploads/names.ts'
import { attempt, type Attempt, meaningOf } from './attempt.ts'
import { FileChanged, gone, UploadFailure } from './failure.ts'
import { type LocalFile, openFile } from './local-file.ts'
import { type Patience, patience } from './patience.ts'
import type { FileProgress } from './progress.ts'
import type { Server, UploadRecord } from './server.ts'
import type { Identity, StoredUrls } from './stored-urls.ts'

/** What all files of one command have in common. */
export interface Sending extends Pick<Attempt, 'server' | 'stack' | 'chunkSize' | 'signal'> {
  readonly stored: StoredUrls
  readonly workspace: string
  readonly category: string | null
  readonly project: string | null
}

export interface Sent {
  readonly id: string
  /** `null`: this key may not read it. */
  readonly record: UploadRecord | null
  readonly recordUrl: string
  /** Bytes that an earlier run had brought. */
  readonly resumedFrom: number
  /** Its address is kept until then: whoever runs an interrupted command again does not send again what is there. */
  forget(): Promise<void>
}

/**
 * Sends one file; waits and tries again as long as that may help. Every try asks the server first how far it is: what was only sent
 * counts for nothing.
 *
 * @throws {UploadFailure} when it cannot be; or what the signal ends it with
 */
export async function sendFile(file: LocalFile, sending: Sending, progress: FileProgress): Promise<Sent> {
  const { server, stored, signal } = sending
  const patient = patience(signal, (why, ms) => progress.waits(why, ms))
  const identity = identityOf(file, sending)
  const state = { url: await stored.find(identity), creation: randomUUID(), reached: 0 }
  /** An earlier run has made it; it may long be gone. */
  let isOld = state.url !== undefined
  let resumedFrom = 0
  const open = await openFile(file)
  const next = (): Attempt => ({
    ...sending,
    ...state,
    open,
    metadata: metadataOf(file, sending),
    created(url) {
      state.url = url
      stored.keep(identity, url)
    },
    found(offset) {
      if (offset > state.reached) patient.moved()
      state.reached = offset
      if (!isOld) return
      isOld = false
      resumedFrom = offset
      progress.resumes(offset)
    },
    sent: (bytes) => progress.at(bytes),
  })
  try {
    for (;;) {
      const now = next()
      progress.begins()
      const meaning = await attempt(now).catch((error: unknown) => {
        signal.throwIfAborted()
        return meaningOf(error, now)
      })
      if (meaning === 'gone') {
        if (!isOld) throw gone()
        isOld = false
        await forget(stored, identity, state.url)
        state.url = undefined
      } else if (meaning !== undefined) await patient.wait(meaning)
      else if (state.url !== undefined) {
        const { url } = state
        const record = await recordOf(server, url, patient)
        return {
          id: server.idOf(url),
          record,
          recordUrl: server.recordUrl(url),
          resumedFrom,
          forget: () => stored.forget(identity, url),
        }
      }
    }
  } catch (error) {
    if (state.url !== undefined && error instanceof FileChanged) await server.remove(state.url)
    if (error instanceof UploadFailure && !error.resumable) await forget(stored, identity, state.url)
    throw error
  } finally {
    await open.close()
  }
}

const identityOf = ({ path, size, modified }: LocalFile, sending: Sending): Identity => {
  const { server, workspace, category, project } = sending
  return { path, size, modified, server: server.base, workspace, category, project }
}

function metadataOf({ name }: LocalFile, { category, project }: Sending): Record<string, string> {
  const type = typeOfName(name, null)?.contentType
  return {
    filename: name,
    ...(type === undefined ? {} : { filetype: type }),
    ...(category === null ? {} : { category }),
    ...(project === null ? {} : { project_id: project }),
  }
}

async function forget(stored: StoredUrls, identity: Identity, url: string | undefined): Promise<void> {
  if (url !== undefined) await stored.forget(identity, url)
}

/** What has become of it. @throws {UploadFailure} when it was refused after all */
async function recordOf(server: Server, url: string, patient: Patience): Promise<UploadRecord | null> {
  for (;;) {
    const record = await server.record(url)
    if (record !== null && 'why' in record) await patient.wait(record)
    else if (record?.status === 'rejected')
      throw new UploadFailure('The file was refused.', { code: 'rejected', resumable: false })
    else return record
  }
}
