import { readFile } from 'node:fs/promises'
import { Rejection } from '../../src/errors.ts'
import {
  BudgetError,
  type ByteSource,
  type Patch,
  type Plugin,
  type Upload,
  type UploadContext,
} from '../../src/plugin.ts'

export interface Run {
  readonly patch: Patch
  /** Bytes and calls that `beforeFinish` read by ranges. */
  readonly reads: { readonly bytes: number; readonly calls: number }
}

export const sampleUpload = (over: Partial<Upload> = {}): Upload => ({
  id: '0192f0c1-0000-7000-8000-000000000001',
  number: 1,
  workspaceId: 'default',
  projectId: null,
  userId: 'tester',
  batchId: null,
  dialect: 'raw',
  state: 'processing',
  category: null,
  filename: 'file.bin',
  declaredType: null,
  declaredSize: null,
  declaredChecksum: null,
  size: null,
  received: 0,
  reserved: 0,
  objectKey: null,
  sha256: null,
  context: null,
  metadata: {},
  properties: { contentType: 'application/octet-stream', format: null },
  extra: {},
  rejection: null,
  resumable: null,
  createdAt: 0,
  updatedAt: 0,
  expiresAt: null,
  ...over,
})

const silent = { debug() {}, info() {}, warn() {}, error() {} }

export function uploadContext(upload: Upload, signal: AbortSignal = AbortSignal.timeout(30_000)): UploadContext {
  return {
    log: silent,
    signal,
    workspaceId: upload.workspaceId,
    upload,
    reserve: async () => {},
    reject(code, message, facts) {
      throw new Rejection(code, message, facts === undefined ? {} : { facts })
    },
  }
}

/** A file on disk as the pipeline would give it to a plugin, counting what is read. */
export const fileSource = async (path: string, budget = Infinity) => bytesSource(await readFile(path), path, budget)

/** Bytes as the pipeline would give them to a plugin, counting what is read. */
export function bytesSource(content: Buffer, path: string, budget = Infinity) {
  const reads = { bytes: 0, calls: 0 }
  const source: ByteSource = {
    size: content.length,
    async bytes(start, end) {
      await new Promise(setImmediate)
      const slice = content.subarray(start, Math.min(end, content.length))
      reads.calls++
      reads.bytes += slice.length
      if (reads.bytes > budget) throw new BudgetError('The budget is used up.')
      return slice
    },
    async stream() {
      return (async function* () {
        yield content
      })()
    },
    toFile: async () => path,
  }
  return { source, reads, content }
}

/** Runs `inspect` and `beforeFinish` of one plugin over a real file, as the pipeline does, and merges what they found. */
export async function runPlugin(plugin: Plugin, path: string, over: Partial<Upload> = {}): Promise<Run> {
  return runPluginOn(plugin, await fileSource(path), over)
}

/** The same with any bytes. */
export async function runPluginOn(
  plugin: Plugin,
  { source, reads, content }: ReturnType<typeof bytesSource>,
  over: Partial<Upload> = {},
): Promise<Run> {
  let upload = sampleUpload({ size: content.length, received: content.length, ...over })
  const patches: Patch[] = []
  const apply = (patch: Patch | void) => {
    if (!patch) return
    patches.push(patch)
    upload = {
      ...upload,
      properties: { ...upload.properties, ...patch.properties },
      extra: { ...upload.extra, ...patch.extra },
    }
  }
  if (plugin.accepts?.(upload) ?? true) {
    if (plugin.inspect)
      apply(await plugin.inspect.handler(content.subarray(0, plugin.inspect.bytes), uploadContext(upload)))
    apply(await plugin.beforeFinish?.(source, uploadContext(upload)))
  }
  const patch = {
    properties: Object.assign({}, ...patches.map((p) => p.properties)),
    extra: Object.assign({}, ...patches.map((p) => p.extra)),
  }
  return { patch, reads }
}
