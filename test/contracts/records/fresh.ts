import { afterEach, beforeEach, expect } from 'vitest'
import type { Records } from '../../../src/uploads/records.ts'
import { type Backend, type OpenOptions, unbalanced } from '../../support/records.ts'

export type Open = (options: OpenOptions) => Promise<Backend>

/** A moment that is far from midnight. */
export const noon = Date.UTC(2026, 10, 21, 12)

export interface Fresh {
  readonly clock: { now: number }
  readonly backend: Backend
  readonly records: Records
}

/**
 * A new backend for each test of the block, with the workspace `w` and a clock that stands still until a test moves it. Whatever a
 * test does, counters, uploads and ledger agree at its end.
 */
export function fresh(open: Open, options: Omit<OpenOptions, 'now'> = {}): Fresh {
  const clock = { now: noon }
  let backend: Backend
  beforeEach(async () => {
    clock.now = noon
    backend = await open({ ...options, now: () => clock.now })
    await backend.records.ensureWorkspace('w')
  })
  afterEach(async () => {
    try {
      await expectWhole(backend)
    } finally {
      await backend.close()
    }
  })
  return {
    clock,
    get backend() {
      return backend
    },
    get records() {
      return backend.records
    },
  }
}

export async function expectWhole(backend: Backend): Promise<void> {
  expect(await unbalanced(backend.raw)).toEqual([])
  expect(await backend.records.audit()).toEqual([])
}
