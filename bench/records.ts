import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { v7 } from 'uuid'
import { sqliteRecords } from '../src/records/sqlite.ts'
import type { NewRecord, Records } from '../src/uploads/records.ts'

// The three transactions of one raw upload (create, stored, ready), one after another and 64 at once.
// Usage: node bench/records.ts

const sequential = 500
const parallel = 64
const each = 150

const record = (): NewRecord => ({
  id: v7(),
  workspaceId: 'bench',
  userId: 'bench',
  state: 'receiving',
  properties: { contentType: 'text/plain', format: 'txt' },
  extra: {},
  reserve: 10,
  stagedKey: `00/${v7()}`,
  put: null,
  expiresAt: null,
  createdAt: Date.now(),
  projectMode: 'open',
  dialect: 'raw',
  filename: 'file.txt',
  category: null,
  projectId: null,
  declaredType: null,
  declaredSize: 10,
  declaredChecksum: null,
  context: null,
  metadata: {},
})

async function upload(records: Records): Promise<void> {
  const made = record()
  await records.create(made)
  await records.stored(made.id, {
    key: made.stagedKey ?? '',
    size: 10,
    sha256: '00'.repeat(32),
    patch: {},
    to: 'processing',
    expiresAt: null,
    jobs: [{ kind: 'verdict', uploadId: made.id, due: Date.now() + 60_000 }],
  })
  await records.transition(made.id, { from: ['processing'], to: 'ready' })
}

const folder = await mkdtemp(join(tmpdir(), 'fairlead-bench-'))
const records = sqliteRecords({ path: join(folder, 'bench.db'), defaultQuota: null })
await records.ensureWorkspace('bench')
for (let i = 0; i < 100; i++) await upload(records)

let started = performance.now()
for (let i = 0; i < sequential; i++) await upload(records)
console.log(
  `one after another: ${((performance.now() - started) / sequential).toFixed(2)} ms for the three transactions`,
)

started = performance.now()
await Promise.all(
  Array.from({ length: parallel }, async () => {
    for (let i = 0; i < each; i++) await upload(records)
  }),
)
const seconds = (performance.now() - started) / 1_000
console.log(
  `${parallel} at once: ${Math.round((parallel * each) / seconds)} uploads/s, ${Math.round((parallel * each * 3) / seconds)} operations/s`,
)
await records.close()
await rm(folder, { recursive: true })
