import { randomBytes } from 'node:crypto'
import type { Config } from '../../config/load.ts'
import { createKey } from '../commands/keys.ts'
import type { Records } from '../uploads/records.ts'

/** Where the doctor uploads to: it stays, empty. */
export const doctorWorkspace = 'fairlead-doctor'
const keyName = 'temporary, of fairlead doctor'
/** Milliseconds: a key that a killed doctor has left is useless after that. */
const keyMs = 10 * 60_000
/** Bytes, whatever the installation's default is. */
const quota = 64 * 1024 * 1024
/** Uploads that are looked at. */
const pageSize = 100

/** Gives an API key that lives as long as the work takes; nothing that was uploaded with it is left. */
export async function withTemporaryKey<T>(
  records: Records,
  config: Config,
  work: (key: string) => Promise<T>,
): Promise<T> {
  await records.ensureWorkspace(doctorWorkspace)
  await records.setQuota(doctorWorkspace, quota)
  await removeLeftovers(records)
  const userId = `doctor-${randomBytes(8).toString('hex')}`
  const { id, key } = await createKey(records, config, {
    workspaceId: doctorWorkspace,
    userId,
    name: keyName,
    expiresAt: Date.now() + keyMs,
  })
  try {
    return await work(key)
  } finally {
    await records.forgetKey(id)
    await removeUploads(records, (upload) => upload.userId === userId)
  }
}

/** Of a doctor that was killed. One that runs now has newer things. */
async function removeLeftovers(records: Records): Promise<void> {
  const before = Date.now() - keyMs
  for (const { id, workspaceId, createdAt } of await records.keys())
    if (workspaceId === doctorWorkspace && createdAt < before) await records.forgetKey(id)
  await removeUploads(records, (upload) => upload.createdAt < before)
}

async function removeUploads(
  records: Records,
  which: (upload: { readonly userId: string; readonly createdAt: number }) => boolean,
): Promise<void> {
  const { uploads } = await records.list({ workspaceId: doctorWorkspace, limit: pageSize })
  for (const upload of uploads.filter(which))
    // The server may remove it at the same time.
    await records.remove(upload.id, { jobs: () => [], force: true }).catch(() => {})
}
