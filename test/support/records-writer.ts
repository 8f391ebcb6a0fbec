import { writeSync } from 'node:fs'
import { sqliteRecords } from '../../src/records/sqlite.ts'
import type { Records } from '../../src/uploads/records.ts'
import { newKey, newRecord, storedBytes } from './records.ts'

/**
 * A process of its own that writes to records: `records-writer.ts <url> <what> <workspace> [count]`. Every operation that was
 * acknowledged becomes a line on stdout, before the next one begins; `write` goes on until it is killed.
 */
const [url = '', what = '', workspaceId = '', count = '0'] = process.argv.slice(2)
/** Uploads that are under way side by side. */
const lanes = 8

function open(): Records {
  if (!url.startsWith('sqlite:')) throw new Error(`Nothing here opens ${url}.`)
  return sqliteRecords({ path: url.slice('sqlite:'.length), defaultQuota: null })
}

const say = (...words: string[]): void => void writeSync(1, `${words.join(' ')}\n`)

async function write(records: Records): Promise<never> {
  await records.ensureWorkspace(workspaceId)
  const lane = async (): Promise<never> => {
    for (let i = 0; ; i++) {
      const stagedKey = newKey()
      const size = 1 + (i % 100)
      const { id } = await records.create(newRecord({ workspaceId, state: 'receiving', stagedKey, reserve: size }))
      say('created', id)
      const verdict = { kind: 'verdict', uploadId: id, due: Date.now() + 60_000 } as const
      await records.stored(id, storedBytes({ key: stagedKey, size, to: 'processing', jobs: [verdict] }))
      say('stored', id)
      await records.transition(id, { from: ['processing'], to: 'ready' })
      say('ready', id)
      if (i % 2 === 0) continue
      await records.remove(id, { jobs: () => [] })
      say('removed', id)
    }
  }
  return Promise.race(Array.from({ length: lanes }, lane))
}

/** As many creations at once as are asked for, of one byte each; says how many were granted. */
async function grab(records: Records): Promise<void> {
  let granted = 0
  const one = async () => {
    for (let i = 0; i < Number(count) / lanes; i++)
      await records.create(newRecord({ workspaceId, reserve: 1 })).then(
        () => granted++,
        (error: Error & { code?: string }) => {
          if (error.code !== 'quota_exceeded') throw error
        },
      )
  }
  await Promise.all(Array.from({ length: lanes }, one))
  say('granted', String(granted))
}

const records = open()
say('open')
if (what === 'write') await write(records)
if (what === 'grab') await grab(records)
await records.close()
