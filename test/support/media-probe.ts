import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mediaInfo } from '../../plugins/media-info.ts'
import type { ByteSource, Properties } from '../../src/plugin.ts'
import { sampleUpload, uploadContext } from './plugin-harness.ts'

export const mediaSamples = new URL('../samples/media/', import.meta.url).pathname
export const mediaSample = (file: string): Promise<Buffer> => readFile(mediaSamples + file)

export interface Facts extends Partial<Properties> {
  /** The parser was killed. */
  readonly killed: boolean
  /** Ranges that were read. */
  readonly reads: number
}

export interface MediaProbe {
  /** What the plugin finds in a file, and what that took. */
  probe(this: void, content: Buffer, contentType: string): Promise<Facts>
  close(this: void): Promise<void>
}

/** The plugin on files that are in memory. */
export function mediaProbe(): MediaProbe {
  const plugin = mediaInfo()
  const directory = mkdtemp(join(tmpdir(), 'media-probe-'))
  let files = 0

  async function pathOf(content: Buffer): Promise<string> {
    const path = join(await directory, `${files++}`)
    await writeFile(path, content)
    return path
  }

  return {
    async probe(content, contentType) {
      let reads = 0
      let killed = false
      const source: ByteSource = {
        size: content.length,
        async bytes(start, end) {
          reads++
          return content.subarray(start, end)
        },
        stream: () => Promise.reject(new Error('not read in order')),
        toFile: () => pathOf(content),
      }
      const context = uploadContext(sampleUpload({ properties: { contentType, format: null } }))
      const log = { ...context.log, warn: () => void (killed = true) }
      const patch = await plugin.beforeFinish?.(source, { ...context, log })
      return { ...patch?.properties, killed, reads }
    },
    async close() {
      await plugin.close?.()
      await rm(await directory, { recursive: true, force: true })
    },
  }
}
