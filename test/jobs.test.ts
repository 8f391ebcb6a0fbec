import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { quota } from '../plugins/quota.ts'
import { reconcile, startSweep, type Sweeper } from '../src/jobs/sweep.ts'
import { backoffMs, type JobHandlers, maxTries, startWorker, type Worker } from '../src/jobs/worker.ts'
import type { Plugin } from '../src/plugin.ts'
import type { Upload } from '../src/uploads/upload.ts'
import { newKey, patiently, uploadIn } from './support/records.ts'
import {
  bodyOf,
  draft,
  pattern,
  principal,
  recordingLog,
  type Rig,
  type RigOptions,
  signal,
  startRig,
} from './support/rig.ts'

const minuteMs = 60_000
const dayMs = 86_400_000
let rig: Rig
const ending: { stop(): Promise<void> }[] = []

async function start(options: RigOptions = {}): Promise<Rig> {
  return (rig = await startRig(options))
}

afterEach(async () => {
  vi.restoreAllMocks()
  for (const one of ending.splice(0)) await one.stop()
  await rig.close()
})

const receive = (filename = 'a.bin') => rig.service.receive(principal, draft({ filename }), bodyOf(pattern(1_000)))
const jobs = () => rig.records.jobs()

/** Puts an object into the store of which nobody knows. */
async function putObject(key = newKey(), bytes = 10): Promise<string> {
  const writer = rig.store.write(key)
  await writer.write([Buffer.alloc(bytes)])
  await writer.finish()
  return key
}

describe('the worker', () => {
  const { log, lines } = recordingLog()
  const idle: JobHandlers = {
    'delete-object': async () => {},
    'clear-object': async () => {},
    'look-again': async () => {},
    verdict: async () => {},
    arrival: async () => {},
    'after-finish': async () => {},
    'after-terminate': async () => {},
  }

  function run(handlers: Partial<JobHandlers>): Worker {
    const worker = startWorker(rig.records, { ...idle, ...handlers }, log)
    ending.push(worker)
    lines.length = 0
    return worker
  }

  it('gives each kind of job to whoever handles it', async () => {
    await start()
    const did: unknown[] = []
    const upload = await uploadIn(rig.records, 'processing')
    await rig.records.remove(upload.id, {
      jobs: () => [
        { kind: 'after-finish', uploadId: upload.id, plugin: 'p' },
        { kind: 'after-terminate', upload, plugin: 'p' },
        { kind: 'verdict', uploadId: upload.id, due: 0 },
      ],
    })
    const note = async (work: unknown) => void did.push(work)
    run({ 'delete-object': note, verdict: note, 'after-finish': note, 'after-terminate': note })
    await expect.poll(jobs, patiently).toEqual({ waiting: 0, failed: [] })
    expect(did).toHaveLength(4)
    expect(did).toEqual(
      expect.arrayContaining([
        { kind: 'delete-object', key: upload.objectKey },
        { kind: 'after-finish', uploadId: upload.id, plugin: 'p' },
        { kind: 'after-terminate', upload, plugin: 'p' },
        { kind: 'verdict', uploadId: upload.id },
      ]),
    )
  })

  it('works through more than it takes at a time, without waiting in between', async () => {
    await start()
    await Promise.all(Array.from({ length: 60 }, () => rig.records.abandon(newKey())))
    const keys = new Set<string>()
    let most = 0
    let running = 0
    const begun = performance.now()
    run({
      async 'clear-object'({ key }) {
        most = Math.max(most, ++running)
        keys.add(key)
        await sleep(1)
        running--
      },
    })
    await expect.poll(async () => (await jobs()).waiting, patiently).toBe(0)
    expect(keys.size).toBe(60)
    expect(most).toBe(8)
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  it('goes on while one job takes its time', async () => {
    await start()
    const slow = await uploadIn(rig.records, 'processing')
    const open = signal()
    const worker = run({ verdict: () => open.promise })
    await expect.poll(() => rig.records.claim(1, 0), patiently).toEqual([])
    for (let i = 0; i < 20; i++) await rig.records.abandon(newKey())
    worker.wake()
    await expect.poll(async () => (await jobs()).waiting, patiently).toBe(1)
    open.resolve()
    await expect.poll(async () => (await jobs()).waiting, patiently).toBe(0)
    await rig.records.transition(slow.id, { from: ['processing'], to: 'ready' })
  })

  it('finds by itself what becomes due', async () => {
    await start()
    run({})
    await sleep(20)
    await rig.records.abandon(newKey())
    await expect.poll(async () => (await jobs()).waiting, patiently).toBe(0)
  })

  it('tries again what failed, later and later', async () => {
    await start()
    await rig.records.abandon(newKey())
    let tries = 0
    const worker = run({
      async 'clear-object'() {
        if (++tries < 4) throw new Error(`failure ${tries}`)
      },
    })
    const dues: number[] = []
    for (let i = 1; i <= 3; i++) {
      const message = `failure ${i}`
      const due = async () => (await rig.backend.raw('select due, tries, error from job where error = ?', message))[0]
      await expect.poll(due, patiently).toMatchObject({ tries: i, error: message })
      dues.push(Number((await due())?.['due']) - Date.now())
      // The next try is not due before its time.
      worker.wake()
      await sleep(10)
      expect(tries).toBe(i)
      await rig.backend.raw('update job set due = 0')
      worker.wake()
    }
    await expect.poll(jobs, patiently).toEqual({ waiting: 0, failed: [] })
    expect(lines.map((line) => [line.level, line.facts['tries']])).toEqual([
      ['warn', 1],
      ['warn', 2],
      ['warn', 3],
    ])
    for (const [i, least] of [400, 900, 1_900].entries()) expect(dues[i]).toBeGreaterThan(least)
  })

  it('waits up to a quarter of an hour between two tries, and not always alike', () => {
    const first = Array.from({ length: 200 }, () => backoffMs(1))
    for (const ms of first) expect(ms >= 500 && ms <= 1_000).toBe(true)
    expect(new Set(first).size).toBeGreaterThan(20)
    for (const tries of [11, 50, 199, 10_000]) {
      expect(backoffMs(tries)).toBeGreaterThanOrEqual(450_000)
      expect(backoffMs(tries)).toBeLessThanOrEqual(900_000)
    }
  })

  it('gives up after many tries, loudly; an operator may have it tried again', async () => {
    await start()
    await rig.records.abandon(newKey())
    await rig.backend.raw('update job set tries = ?', maxTries - 1)
    let broken = true
    const worker = run({
      async 'clear-object'() {
        if (broken) throw new Error('never')
      },
    })
    await expect.poll(async () => (await jobs()).failed, patiently).toMatchObject([{ tries: maxTries, error: 'never' }])
    expect(lines).toMatchObject([{ level: 'error', facts: { tries: maxTries, kind: 'clear-object' } }])
    broken = false
    rig.skew.ms += dayMs
    worker.wake()
    await sleep(20)
    expect(await jobs()).toMatchObject({ waiting: 0, failed: [{}] })
    expect(await rig.records.retryJobs('all')).toBe(1)
    worker.wake()
    await expect.poll(jobs, patiently).toEqual({ waiting: 0, failed: [] })
  })

  it('survives records that do not answer for a moment', async () => {
    await start()
    await rig.records.abandon(newKey())
    let broken = true
    const records = {
      ...rig.records,
      claim: (limit: number, leaseMs: number) =>
        broken ? Promise.reject(new Error('busy')) : rig.records.claim(limit, leaseMs),
    }
    const worker = startWorker(records, idle, log)
    ending.push(worker)
    await expect
      .poll(() => lines.some((line) => line.message === 'the job worker could not work'), patiently)
      .toBe(true)
    broken = false
    worker.wake()
    await expect.poll(async () => (await jobs()).waiting, patiently).toBe(0)
  })

  it('is stopped when the jobs that run have ended, and takes no others', async () => {
    await start()
    for (let i = 0; i < 9; i++) await rig.records.abandon(newKey())
    const open = signal()
    let begun = 0
    const worker = run({
      async 'clear-object'() {
        begun++
        await open.promise
      },
    })
    await expect.poll(() => begun, patiently).toBe(8)
    let ended = false
    const stopped = worker.stop().then(() => (ended = true))
    await sleep(20)
    expect(ended).toBe(false)
    open.resolve()
    await stopped
    worker.wake()
    await sleep(20)
    expect(begun).toBe(8)
    expect((await jobs()).waiting).toBe(1)
  })

  it('does for the service what it has left: verdicts, hooks and deletions', async () => {
    let broken = true
    const ran: string[] = []
    const hook: Plugin = {
      name: 'hook',
      beforeFinish() {
        if (broken) throw new Error('not yet')
      },
      afterFinish: () => void ran.push('finished'),
      afterTerminate: () => void ran.push('ended'),
    }
    await start({ plugins: [hook] })
    const upload = await rig.service.create(principal, draft())
    await rig.service.put(upload.id, bodyOf('hello'))
    await expect(rig.service.confirm(principal, upload.id, null)).rejects.toMatchObject({ code: 'processing_failed' })
    broken = false
    rig.skew.ms = minuteMs
    rig.startWorker()
    const state = async () => (await rig.records.get(upload.id))?.state
    await expect.poll(state, patiently).toBe('ready')
    await expect.poll(() => ran, patiently).toEqual(['finished'])
    await rig.service.remove(principal, upload.id)
    await expect.poll(() => rig.objects(), patiently).toEqual([])
    await expect.poll(() => ran, patiently).toEqual(['finished', 'ended'])
  })
})

describe('the sweep', () => {
  const { log, lines } = recordingLog()

  function sweep(over: Partial<Parameters<typeof startSweep>[0]> = {}): Sweeper {
    lines.length = 0
    const { records, store, service } = rig
    const times = { orphanGraceMs: 0, intervalMs: 5, keepEndedMs: dayMs }
    const sweeper = startSweep({ records, store, service, log, wakeJobs: () => {}, ...times, ...over })
    ending.push(sweeper)
    return sweeper
  }

  it('ends what was never finished, gives back its quota and tells the plugins', async () => {
    const told: string[] = []
    const hears: Plugin = { name: 'hears', afterTerminate: (ctx) => void told.push(ctx.upload.filename) }
    await start({ plugins: [quota(), hears], presignTtlMs: minuteMs, confirmWithinMs: 2 * minuteMs })
    const create = (filename: string) => rig.service.create(principal, draft({ filename, declaredSize: 5 }))
    const [never, unconfirmed, fresh] = [await create('never'), await create('unconfirmed'), await create('fresh')]
    await rig.service.put(unconfirmed.id, bodyOf('hello'))
    await rig.backend.raw('update upload set expires_at = expires_at + ? where number = ?', dayMs, fresh.number)
    let wakes = 0
    sweep({ wakeJobs: () => void wakes++ })
    const states = async () => {
      const found = await Promise.all([never, unconfirmed, fresh].map(({ id }) => rig.records.get(id)))
      return found.map((upload) => upload?.state)
    }
    await sleep(20)
    expect(await states()).toEqual(['pending', 'receiving', 'pending'])
    expect(wakes).toBe(0)
    rig.skew.ms = minuteMs
    await expect.poll(states, patiently).toEqual(['expired', 'receiving', 'pending'])
    rig.skew.ms = 2 * minuteMs + 1_000
    await expect.poll(states, patiently).toEqual(['expired', 'expired', 'pending'])
    await expect.poll(() => wakes, patiently).toBe(2)
    expect(await rig.records.workspace('w')).toMatchObject({ used: 0, reserved: 5 })
    await rig.work()
    expect(told).toEqual(['never', 'unconfirmed'])
    await rig.expectClean()
    expect(lines).toEqual([])
  })

  it('does not turn for ever around what cannot be ended', async () => {
    await start()
    await Promise.all(Array.from({ length: 500 }, () => uploadIn(rig.records, 'pending', { expiresAt: 1 })))
    let asked = 0
    const expire = async () => {
      asked++
      throw new Error('a bug')
    }
    sweep({ service: { ...rig.service, expire }, intervalMs: dayMs })
    await expect.poll(() => asked, patiently).toBe(500)
    await sleep(30)
    expect(asked).toBe(500)
    expect(lines).toHaveLength(500)
    expect(lines[0]).toMatchObject({ level: 'error', message: 'an overdue upload could not be ended' })
  })

  it('ends what follows many that cannot be ended yet, and does not turn for ever around those', async () => {
    await start()
    await Promise.all(Array.from({ length: 500 }, () => uploadIn(rig.records, 'pending', { expiresAt: 1 })))
    const behind = await uploadIn(rig.records, 'pending', { expiresAt: 2 })
    let asked = 0
    // As the service does when bytes are coming.
    const expire = async (upload: Upload) => {
      if (++asked > 501) throw new Error('They come again.')
      if (upload.id === behind.id) await rig.service.expire(upload)
    }
    sweep({ service: { ...rig.service, expire }, intervalMs: dayMs })
    await expect.poll(async () => (await rig.records.get(behind.id))?.state, patiently).toBe('expired')
    expect(asked).toBe(501)
    expect(lines).toEqual([])
  })

  it('forgets what ended long ago, and folds the ledger', async () => {
    await start()
    const upload = await receive()
    const ended = await uploadIn(rig.records, 'expired', { reserve: 3 })
    const long = 31 * dayMs
    await rig.backend.raw('update upload set updated_at = updated_at - ?', long)
    await rig.backend.raw('update ledger set at = at - ?', long)
    sweep()
    await expect.poll(() => rig.records.get(ended.id), patiently).toBeUndefined()
    const kinds = async () => (await rig.backend.raw('select kind from ledger')).map((row) => row['kind'])
    await expect.poll(kinds, patiently).toEqual(['folded'])
    expect(await rig.records.get(upload.id)).toMatchObject({ state: 'ready' })
    await rig.expectClean()
  })

  it('goes on after a failure, and says so', async () => {
    await start()
    let broken = true
    const overdue = (limit: number) => (broken ? Promise.reject(new Error('busy')) : rig.records.overdue(limit))
    const { id } = await uploadIn(rig.records, 'pending', { expiresAt: 1 })
    sweep({ records: { ...rig.records, overdue } })
    await expect.poll(() => lines, patiently).toMatchObject([{ level: 'error', message: 'the sweep failed' }])
    broken = false
    await expect.poll(async () => (await rig.records.get(id))?.state, patiently).toBe('expired')
  })

  it('stops', async () => {
    await start()
    const sweeper = sweep()
    await sweeper.stop()
    const { id } = await uploadIn(rig.records, 'pending', { expiresAt: 1 })
    await sleep(30)
    expect(await rig.records.get(id)).toMatchObject({ state: 'pending' })
  })
})

const compare = (orphanGraceMs: number, dryRun: boolean) =>
  reconcile({ records: rig.records, store: rig.store, orphanGraceMs }, { dryRun })
const about = (upload: Upload, what: string) => `The object of upload ${upload.id} (workspace w) ${what}.`

describe('the comparison of records and store', () => {
  it('finds nothing where nothing is wrong', async () => {
    await start()
    await receive()
    const pending = await rig.service.create(principal, draft())
    await rig.service.put(pending.id, bodyOf('hello'))
    expect(await compare(-1_000, false)).toEqual({
      findings: [],
      objects: 2,
      uploads: 2,
      orphans: [],
      removed: 0,
      kept: 0,
    })
    await rig.expectClean()
  })

  it('removes objects that nobody knows, when they are old enough, unless it is only to look', async () => {
    await start()
    const upload = await receive()
    const [orphan, staged, doomed] = [await putObject(), await putObject(), await putObject()]
    const pending = await rig.service.create(principal, draft())
    await rig.records.stage(pending.id, staged)
    await rig.records.abandon(doomed)
    const all = [upload.objectKey, orphan, staged, doomed]

    expect(await compare(minuteMs, false)).toMatchObject({ findings: [], objects: 4, uploads: 1, orphans: [] })
    expect(await compare(-1_000, true)).toEqual({
      findings: [`Object ${orphan} belongs to no upload.`],
      objects: 4,
      uploads: 1,
      orphans: [orphan],
      removed: 0,
      kept: 0,
    })
    expect(new Set(await rig.objects())).toEqual(new Set(all))

    expect(await compare(-1_000, false)).toMatchObject({ findings: [], orphans: [orphan] })
    // Given to a job once.
    expect(await compare(-1_000, false)).toMatchObject({ findings: [], orphans: [] })
    await rig.work()
    expect(new Set(await rig.objects())).toEqual(new Set([upload.objectKey, staged]))
    await rig.records.abandon(staged)
    await rig.work()
  })

  it('reports uploads whose object is missing or has another size', async () => {
    await start()
    const [gone, cut, whole] = [await receive(), await receive(), await receive()]
    await rig.store.remove(gone.objectKey ?? '')
    await rig.store.remove(cut.objectKey ?? '')
    await putObject(cut.objectKey ?? '', 999)
    const { findings, uploads } = await compare(0, false)
    expect(findings).toEqual([about(gone, 'is missing'), about(cut, 'has 999 bytes instead of 1000')])
    expect(uploads).toBe(3)
    expect(await rig.records.get(whole.id)).toEqual(whole)
    for (const { id } of [gone, cut]) await rig.service.remove(principal, id)
    await rig.work()
    expect(await compare(0, false)).toMatchObject({ findings: [], objects: 1, uploads: 1 })
  })

  it('removes nothing where so much has no record that rather the records are missing, until an operator confirms', async () => {
    await start()
    await receive()
    for (let i = 0; i < 101; i++) await putObject()
    const found = await compare(-1_000, false)
    expect(found).toMatchObject({ removed: 0, kept: 101, objects: 102, uploads: 1 })
    expect(found.findings).toEqual([expect.stringMatching(/^101 of 102 objects .*fairlead doctor --remove-orphans/)])
    await rig.work()
    expect(await rig.objects()).toHaveLength(102)

    const deps = { records: rig.records, store: rig.store, orphanGraceMs: -1_000 }
    expect(await reconcile(deps, { dryRun: false, removeOrphans: true })).toMatchObject({ removed: 101, kept: 0 })
    await rig.work()
    expect(await rig.objects()).toHaveLength(1)
  })

  it('removes a hundred without a question, also where they are all there is', async () => {
    await start()
    for (let i = 0; i < 100; i++) await putObject()
    expect(await compare(-1_000, false)).toMatchObject({ findings: [], removed: 100, kept: 0 })
    await rig.work()
    expect(await rig.objects()).toEqual([])
  })

  it('compares uploads range by range, with one listing for each', async () => {
    await start()
    const uploads = await Promise.all(Array.from({ length: 7 }, receive))
    const lost = uploads[4]
    await rig.store.remove(lost?.objectKey ?? '')
    let listings = 0
    const asked: string[] = []
    const store: typeof rig.store = {
      ...rig.store,
      list(abort) {
        listings++
        return rig.store.list(abort)
      },
      stat(key) {
        asked.push(key)
        return rig.store.stat(key)
      },
    }
    const deps = { records: rig.records, store, orphanGraceMs: 0, uploadsOfOneListing: 3 }
    const { findings, uploads: compared } = await reconcile(deps, { dryRun: true })
    expect({ compared, listings, asked }).toEqual({ compared: 7, listings: 3, asked: [lost?.objectKey] })
    expect(findings).toEqual([expect.stringMatching(`^The object of upload ${lost?.id} .* is missing`)])
  })

  it('tells the first of very many, and how many more there are', async () => {
    await start()
    await Promise.all(Array.from({ length: 1_007 }, () => uploadIn(rig.records, 'ready')))
    const { findings, uploads } = await compare(0, true)
    expect(uploads).toBe(1_007)
    expect(findings).toHaveLength(1_001)
    expect(findings.at(-1)).toBe('7 more findings of this kind are not told one by one.')
  })

  it('says nothing about what goes while it looks', async () => {
    await start()
    const upload = await receive()
    const key = await putObject()
    const store = {
      ...rig.store,
      async stat(asked: string) {
        if (asked === upload.objectKey) await rig.service.remove(principal, upload.id)
        await rig.store.remove(asked)
        return rig.store.stat(asked)
      },
    }
    const found = await reconcile({ records: rig.records, store, orphanGraceMs: -1_000 }, { dryRun: true })
    expect(found).toMatchObject({ findings: [], orphans: [] })
    expect(await rig.objects()).not.toContain(key)
    await rig.work()
  })
})
