import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BudgetError, type ByteSource } from '../plugin.ts'
import type { ObjectStore } from '../uploads/object-store.ts'

/** Bytes that one hook may read by ranges. */
const rangeBudgetBytes = 64 * 1024 * 1024
/** Ranges that one hook may ask for. */
const rangeBudgetCalls = 4_096

export interface StoredBytes {
  readonly source: ByteSource
  /** Ends what `stream` has opened, and removes what `toFile` made. */
  dispose(): Promise<void>
}

/** An object of the store as a plugin sees it. */
export function storedBytes(store: ObjectStore, key: string, size: number, signal: AbortSignal): StoredBytes {
  let bytesLeft = rangeBudgetBytes
  let callsLeft = rangeBudgetCalls
  const streams = new Set<Readable>()
  let copy: Promise<string> | undefined
  let folder: string | undefined

  async function stream(): Promise<Readable> {
    const opened = await store.read(key, undefined, signal)
    streams.add(opened)
    return opened
  }

  async function copyToFile(): Promise<string> {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-'))
    const path = join(folder, 'object')
    await pipeline(await stream(), createWriteStream(path, { mode: 0o600 }), { signal })
    return path
  }

  return {
    source: {
      size,
      async bytes(start, end) {
        const stop = Math.min(end, size)
        if (stop <= start) return new Uint8Array(0)
        bytesLeft -= stop - start
        if (bytesLeft < 0 || --callsLeft < 0) throw new BudgetError('This hook has read as much as it may.')
        return store.bytes(key, { start, end: stop }, signal)
      },
      stream,
      async toFile() {
        if (store.path) return store.path(key)
        return (copy ??= copyToFile())
      },
    },
    async dispose() {
      for (const opened of streams) opened.destroy()
      await copy?.catch(() => {})
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}
