import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Rejection } from '../../src/errors.ts'
import type { NewUpload, Patch, Plugin, Upload } from '../../src/plugin.ts'
import { fileSource, sampleUpload, uploadContext } from '../support/plugin-harness.ts'

export interface PluginContractOptions {
  /** What every upload has, such as properties that the plugin requires. */
  readonly upload?: Partial<Upload>
  /** Milliseconds in which the hooks must have ended after the signal was aborted. @default 2_000 */
  readonly abortMs?: number
  /** Milliseconds for all sample files together. @default 120_000 */
  readonly samplesMs?: number
}

interface Outcome {
  readonly patches: readonly Patch[]
  readonly rejected: string | null
}

const samplesRoot = new URL('../samples/', import.meta.url).pathname

const odd: readonly (readonly [what: string, content: Uint8Array])[] = [
  ['an empty file', new Uint8Array(0)],
  ['one byte', new Uint8Array([0x41])],
  ['one zero', new Uint8Array(1)],
  ['64 KiB of zeros', new Uint8Array(64 * 1024)],
  ['bytes without order', disorder(100_000)],
]

/** Bytes that look random and are the same in every run. */
function disorder(length: number): Uint8Array {
  let state = 12_345
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return state >>> 24
  })
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(freeze)
  }
  return value
}

/** Runs every hook of a plugin over one file, in the pipeline's order. A rejection ends it; any other error is thrown. */
async function runHooks(plugin: Plugin, path: string, over: Partial<Upload>, signal?: AbortSignal): Promise<Outcome> {
  const { source, content } = await fileSource(path)
  let upload = freeze(sampleUpload({ filename: path, size: content.length, received: content.length, ...over }))
  const patches: Patch[] = []
  const apply = (patch: Patch | void) => {
    if (!patch) return
    patches.push(patch)
    upload = freeze({
      ...upload,
      properties: { ...upload.properties, ...patch.properties },
      extra: { ...upload.extra, ...patch.extra },
    })
  }
  const draft: NewUpload = freeze({ ...upload, declaredSize: content.length })
  try {
    apply(await plugin.beforeCreate?.(draft, uploadContext(upload, signal)))
    if (!(plugin.accepts?.(upload) ?? true)) return { patches, rejected: null }
    apply(
      await plugin.inspect?.handler(
        Uint8Array.from(content.subarray(0, plugin.inspect.bytes)),
        uploadContext(upload, signal),
      ),
    )
    const tap = plugin.tap?.(uploadContext(upload, signal))
    if (tap) {
      for await (const piece of await source.stream()) await tap.write(Uint8Array.from(piece), 0)
      apply(await tap.end())
    }
    apply(await plugin.beforeFinish?.(source, uploadContext(upload, signal)))
    apply(await plugin.afterFinish?.(source, uploadContext(upload, signal)))
  } catch (error) {
    if (error instanceof Rejection) return { patches, rejected: error.code }
    throw error
  }
  return { patches, rejected: null }
}

/** What every plugin keeps. `make` must give a new plugin each time. */
export function pluginContract(name: string, make: () => Plugin, options: PluginContractOptions = {}): void {
  const { upload = {}, abortMs = 2_000, samplesMs = 120_000 } = options

  describe(`${name} keeps the plugin contract`, () => {
    let directory: string
    let plugin: Plugin

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'plugin-'))
      plugin = make()
      await plugin.setup?.({ log: uploadContext(sampleUpload()).log, directory: async () => directory })
    })

    afterAll(async () => {
      await plugin.close?.()
      await rm(directory, { recursive: true, force: true })
    })

    const write = async (content: Uint8Array): Promise<string> => {
      const path = join(directory, `${content.length}-${content[0] ?? 0}.bin`)
      await writeFile(path, content)
      return path
    }

    it('comes from its factory as a fresh, plain, named object', async () => {
      const other = make()
      expect(other).not.toBe(make())
      expect(Object.getPrototypeOf(other)).toBe(Object.prototype)
      expect(other.name).toMatch(/^[a-z][a-z0-9-]*$/)
      expect(other.inspect?.bytes ?? 1).toBeGreaterThan(0)
      await other.close?.()
    })

    it.each(odd)('takes %s, and says the same again', async (_what, content) => {
      const path = await write(content)
      const first = await runHooks(plugin, path, upload)
      expect(await runHooks(plugin, path, upload)).toEqual(first)
    })

    it(
      'takes every sample file, says the same again, provides what it said and nothing else',
      async () => {
        const paths = (await readdir(samplesRoot, { recursive: true, withFileTypes: true }))
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name))
        expect(paths.length).toBeGreaterThan(0)
        for (const path of paths) {
          const first = { path, ...(await runHooks(plugin, path, upload)) }
          expect({ path, ...(await runHooks(plugin, path, upload)) }).toEqual(first)
          const written = first.patches.flatMap((patch) => Object.keys(patch.properties ?? {}))
          const provided = new Set<string>(plugin.provides)
          expect({ path, foreign: written.filter((property) => !provided.has(property)) }).toEqual({
            path,
            foreign: [],
          })
          // a record holds it: nothing but plain data
          expect(structuredClone(first)).toEqual(first)
        }
      },
      samplesMs,
    )

    it('ends soon when its signal is aborted', async () => {
      const path = await write(odd[4]?.[1] ?? new Uint8Array(1))
      const late = Symbol('late')
      const run = runHooks(plugin, path, upload, AbortSignal.abort()).then(
        () => 'ended',
        () => 'ended',
      )
      const timer = new Promise((resolve) => {
        setTimeout(resolve, abortMs, late).unref()
      })
      expect(await Promise.race([run, timer])).toBe('ended')
    })
  })
}
