import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { objectJobs } from '../../src/jobs/objects.ts'
import { reconcile, type SweepDependencies } from '../../src/jobs/sweep.ts'
import { newRecord, sqliteBackend, type SqliteBackend, storedBytes } from '../support/records.ts'
import { missingS3 } from '../support/s3.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const missing = missingS3()
const bytes = Buffer.from('four')

describe.skipIf(missing)(`records and bucket are compared${missing ? `: ${missing}` : ''}`, () => {
  let rig: S3Rig
  let opened: OpenS3
  let backend: SqliteBackend
  let deps: SweepDependencies
  beforeAll(async () => void (rig = await startS3Rig()))
  afterAll(() => rig.close())
  beforeEach(async () => {
    opened = rig.open({ settledMs: 0 })
    backend = await sqliteBackend()
    await backend.records.ensureWorkspace('w')
    // A moment ahead: the server's clock has whole seconds.
    deps = { records: backend.records, store: opened.store, orphanGraceMs: -2_000 }
  })
  afterEach(async () => {
    await opened.close()
    await backend.close()
  })

  /** Runs the jobs that are due, and those that come of them. */
  async function work(): Promise<void> {
    const handlers = objectJobs(opened.store)
    for (;;) {
      const [job] = await backend.records.claim(1, 60_000)
      if (!job) return
      const { work: one } = job
      if (one.kind !== 'clear-object' && one.kind !== 'look-again') throw new Error(`A job of kind ${one.kind}`)
      const next = one.kind === 'clear-object' ? await handlers['clear-object'](one) : await handlers['look-again'](one)
      await backend.records.done(job.number, next ?? [])
    }
  }

  async function putUpload(key: string): Promise<string> {
    const { id } = await backend.records.create(newRecord({ stagedKey: key }))
    await writeObject(opened.store, key, bytes)
    await backend.records.stored(id, storedBytes({ key, size: bytes.length }))
    return id
  }

  it('objects and begun uploads that nobody knows go, and nothing else does', async () => {
    await putUpload('aa/known')
    await writeObject(opened.store, 'aa/orphan', bytes)
    await backend.records.create(newRecord({ stagedKey: 'aa/on-its-way' }))
    await backend.records.create(newRecord({ put: { key: 'aa/by-url', until: Date.now() } }))
    await writeObject(opened.store, 'aa/by-url', bytes)
    for (const key of ['aa/known', 'aa/on-its-way', 'aa/begun']) await opened.bucket.startUpload(opened.prefix + key)

    const looked = await reconcile(deps, { dryRun: true })
    expect(looked.findings).toHaveLength(3)
    expect(await opened.objects()).toHaveLength(3)
    expect(await opened.uploads()).toHaveLength(3)

    const { findings, orphans } = await reconcile(deps, { dryRun: false })
    expect(findings).toEqual([])
    expect(orphans.toSorted()).toEqual(['aa/begun', 'aa/known', 'aa/orphan'])
    await work()
    expect((await opened.objects()).map(({ key }) => key)).toEqual(['aa/by-url', 'aa/known'])
    expect((await opened.uploads()).map(({ key }) => key)).toEqual(['aa/on-its-way'])
  })

  it('asks for each object only where the list does not show it as it should be', async () => {
    for (const key of ['aa/one', 'aa/two', 'aa/three']) await putUpload(key)
    opened.proxy.reset()
    expect(await reconcile(deps, { dryRun: true })).toMatchObject({ findings: [], objects: 3, uploads: 3 })
    expect(opened.proxy.counts()).toEqual({ ListObjectsV2: 1, ListMultipartUploads: 1 })

    await opened.store.remove('aa/one')
    await writeObject(opened.store, 'aa/two', Buffer.from('longer'))
    const { findings } = await reconcile(deps, { dryRun: true })
    expect(findings.join()).toMatch(/is missing.*has 6 bytes instead of 4/)
  })
})
