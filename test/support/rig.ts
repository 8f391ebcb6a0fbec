import { createHash } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, expect } from 'vitest'
import { objectJobs } from '../../src/jobs/objects.ts'
import { type JobAnswer, type JobHandlers, startWorker, type Worker } from '../../src/jobs/worker.ts'
import { type PluginRunner, pluginRunner } from '../../src/pipeline/runner.ts'
import type { Plugin, PluginLog } from '../../src/plugin.ts'
import { memoryLocker } from '../../src/lockers/memory.ts'
import { diskStore } from '../../src/stores/disk.ts'
import type { Body } from '../../src/uploads/ingest.ts'
import type { ObjectStore } from '../../src/uploads/object-store.ts'
import type { Policy } from '../../src/uploads/policy.ts'
import type { Principal } from '../../src/uploads/principal.ts'
import type { Records } from '../../src/uploads/records.ts'
import { type ServiceDependencies, type UploadService, uploadService } from '../../src/uploads/service.ts'
import type { NewUpload } from '../../src/uploads/upload.ts'
import { type SqliteBackend, sqliteBackend, unbalanced } from './records.ts'

export interface LogLine {
  readonly level: keyof PluginLog
  readonly facts: Readonly<Record<string, unknown>>
  readonly message: string
}

export function recordingLog(): { readonly log: PluginLog; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const at = (level: keyof PluginLog) => (facts: object, message: string) =>
    void lines.push({ level, facts: { ...facts }, message })
  return { log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines }
}

export interface RigOptions extends Partial<Omit<ServiceDependencies, 'records' | 'store' | 'pipeline' | 'policy'>> {
  readonly plugins?: readonly Plugin[]
  readonly policy?: Partial<Policy>
  /** Stands between the service and the store on the disk. */
  readonly wrapStore?: (store: ObjectStore) => ObjectStore
}

/** The upload service on SQLite and the disk, as the program puts it together, without HTTP. Jobs run when they are asked for. */
export interface Rig {
  readonly records: Records
  readonly store: ObjectStore
  readonly pipeline: PluginRunner
  readonly service: UploadService
  readonly backend: SqliteBackend
  readonly lines: LogLine[]
  /** Milliseconds by which the records' clock is ahead. */
  readonly skew: { ms: number }
  readonly handlers: JobHandlers
  /** Runs the jobs that are due, and those that come of them, until there are none. */
  work(): Promise<void>
  startWorker(): Worker
  /** The process dies, and another starts on what it has left, as the program starts. */
  crash(options?: RigOptions): Promise<void>
  /** Keys of the objects in the store, and unfinished files, as the file system has them. */
  objects(): Promise<readonly string[]>
  /** Nothing is half there: counters agree, no key is staged, no file is unfinished, every object has its upload. */
  expectClean(): Promise<void>
  close(): Promise<void>
}

export const principal: Principal = {
  id: 'key:1',
  userId: 'u',
  workspaceId: 'w',
  scopes: ['uploads:read', 'uploads:write'],
  projects: null,
  keyName: null,
}

/** Directories of stores that were cleaned up: making the hundreds below one takes longer than most tests. */
const spare: string[] = []
afterAll(() => spare.splice(0).forEach((directory) => rmSync(directory, { recursive: true, force: true })))

export async function startRig(first: RigOptions = {}): Promise<Rig> {
  const made = spare.pop()
  const directory = made ?? (await mkdtemp(join(tmpdir(), 'fairlead-rig-')))
  if (made === undefined) await diskStore({ directory }).recover()
  const skew = { ms: 0 }
  const backend = await sqliteBackend({ now: () => Date.now() + skew.ms })
  await backend.records.ensureWorkspace('w')
  const { log, lines } = recordingLog()
  const workers: Worker[] = []

  async function build(options: RigOptions) {
    const { plugins = [], policy, wrapStore, ...rest } = options
    const disk = diskStore({ directory })
    const store = wrapStore ? wrapStore(disk) : disk
    const { records } = backend
    const pipeline = pluginRunner({ plugins, store, log })
    const service = uploadService({
      records,
      store,
      pipeline,
      policy: { maxFileSize: 1024 * 1024 * 1024, categories: {}, projectMode: 'open', ...policy },
      bodyIdleMs: 60_000,
      presignTtlMs: 60_000,
      confirmWithinMs: 60_000,
      resumeWithinMs: 60_000,
      holdMs: 60_000,
      partsPerUpload: 1_000,
      timesPerPart: 4,
      locker: memoryLocker(),
      syncBudgetMs: 10_000,
      wakeJobs: () => {},
      onError: (err, uploadId) => log.error({ err, uploadId }, 'a verdict could not be reached'),
      ...rest,
    })
    const handlers: JobHandlers = {
      ...objectJobs(disk),
      verdict: ({ uploadId }) => service.resume(uploadId),
      arrival: ({ uploadId }) => service.lookForArrival(uploadId),
      'after-finish': async ({ uploadId, plugin }) => {
        const upload = await records.get(uploadId)
        if (upload) await pipeline.after('afterFinish', plugin, upload)
      },
      'after-terminate': ({ upload, plugin }) => pipeline.after('afterTerminate', plugin, upload),
    }
    return { records, store: disk, pipeline, service, handlers }
  }

  let built = await build(first)
  let closed = false

  async function runJob(work: Awaited<ReturnType<Records['claim']>>[number]['work']): JobAnswer {
    switch (work.kind) {
      case 'delete-object':
        return built.handlers['delete-object'](work)
      case 'clear-object':
        return built.handlers['clear-object'](work)
      case 'look-again':
        return built.handlers['look-again'](work)
      case 'verdict':
        return built.handlers.verdict(work)
      case 'arrival':
        return built.handlers.arrival(work)
      case 'after-finish':
        return built.handlers['after-finish'](work)
      case 'after-terminate':
        return built.handlers['after-terminate'](work)
    }
  }

  const rig: Rig = {
    get records() {
      return built.records
    },
    get store() {
      return built.store
    },
    get pipeline() {
      return built.pipeline
    },
    get service() {
      return built.service
    },
    get handlers() {
      return built.handlers
    },
    backend,
    lines,
    skew,
    async work() {
      for (;;) {
        const [job] = await built.records.claim(1, 1_000)
        if (!job) return
        const next = await runJob(job.work)
        await built.records.done(job.number, next ?? [])
      }
    },
    startWorker() {
      const worker = startWorker(built.records, built.handlers, log)
      workers.push(worker)
      return worker
    },
    async crash(options = {}) {
      await backend.crash()
      await built.store.recover()
      built = await build(options)
      await built.service.recover()
    },
    async objects() {
      const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      return files.map((file) => relative(directory, join(file.parentPath, file.name)))
    },
    async expectClean() {
      expect(await built.records.audit()).toEqual([])
      expect(await unbalanced(backend.raw)).toEqual([])
      expect(await backend.raw('select object_key from object_intent')).toEqual([])
      const stored = await built.records.storedUploads(0, 1_000)
      expect(new Set(await rig.objects())).toEqual(new Set(stored.map((upload) => upload.objectKey)))
    },
    async close() {
      if (closed) return
      closed = true
      await Promise.all(workers.map((worker) => worker.stop()))
      await built.pipeline.close()
      await backend.close()
      for (const file of await rig.objects()) await rm(join(directory, file))
      spare.push(directory)
    },
  }
  return rig
}

export const draft = (over: Partial<NewUpload> = {}): NewUpload => ({
  dialect: 'raw',
  filename: 'file.bin',
  category: null,
  projectId: null,
  declaredType: null,
  declaredSize: null,
  declaredChecksum: null,
  context: null,
  metadata: {},
  ...over,
})

/** A body that brings these pieces one after another. */
export function bodyOf(
  content: string | Uint8Array | readonly (string | Uint8Array)[],
  over: Partial<Body> = {},
): Body {
  const pieces = typeof content === 'string' || content instanceof Uint8Array ? [content] : content
  const chunks = pieces.map((piece) => Buffer.from(piece))
  return { stream: Readable.from(chunks, { objectMode: false }), length: null, waits: false, accept() {}, ...over }
}

export const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')

/** Bytes that are not all alike, the same in every run. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 17) & 0xff
  return bytes
}

/** Something that happens once, and can be waited for. */
export function signal<T = void>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>()
  return { promise, resolve }
}
