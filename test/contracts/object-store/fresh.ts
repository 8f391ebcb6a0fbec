import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach } from 'vitest'
import type { ObjectStore, WriteOptions } from '../../../src/uploads/object-store.ts'

/** The bytes, seen through another client than the driver. */
export interface RawAccess {
  get(key: string): Promise<Buffer | undefined>
  put(key: string, bytes: Uint8Array): Promise<void>
  keys(): Promise<string[]>
  /** Whatever unfinished writers have left in the store, by any name. */
  leftovers(): Promise<string[]>
}

export interface OpenStore {
  /** Empty, and recovered. */
  readonly store: ObjectStore
  readonly raw: RawAccess
  /** For a store with `settledMs`: resolves when nothing that was given up can have an effect any more. */
  settled?(): Promise<void>
  close(): Promise<void>
}

/** Gives a new, empty store for each test. */
export type Open = () => Promise<OpenStore>

/** The store of the test that runs. */
export interface Fresh {
  readonly store: ObjectStore
  readonly raw: RawAccess
  /** As the service does it: at once, and again when nothing can come after. */
  clear(key: string, note: string | null): Promise<void>
  /** Resolves when nothing that was given up can have an effect any more. */
  settled(): Promise<void>
}

/** Opens one before each test of the suite that calls this, and closes it after. */
export function freshStores(open: Open): () => Fresh {
  let opened: OpenStore | undefined
  beforeEach(async () => {
    opened = await open()
  })
  afterEach(() => opened?.close())
  return () => {
    if (!opened) throw new Error('No test runs.')
    const { store, raw } = opened
    const settled = opened.settled?.bind(opened)
    return {
      store,
      raw,
      settled: async () => settled?.(),
      async clear(key, note) {
        await store.clear(key, note)
        if (store.settledMs === undefined) return
        await settled?.()
        await store.clear(key, note)
      },
    }
  }
}

export async function put(store: ObjectStore, key: string, bytes: Uint8Array, options?: WriteOptions): Promise<void> {
  const writer = store.write(key, options)
  await writer.write([bytes])
  await writer.finish()
}

export function newKey(directory = randomBytes(1).toString('hex')): string {
  return `${directory}/${randomBytes(16).toString('hex')}.${randomBytes(6).toString('hex')}`
}

export async function keysOf(store: ObjectStore, signal?: AbortSignal): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(signal)) keys.push(key)
  return keys
}

/** Compares without printing megabytes. */
export const same = (found: Uint8Array | undefined, expected: Uint8Array): boolean =>
  found !== undefined && Buffer.compare(found, expected) === 0
