import { UploadError } from '../errors.ts'
import type { Records } from '../uploads/records.ts'
import type { ObjectStore } from '../uploads/object-store.ts'
import type { Routes } from './context.ts'

/** Milliseconds for which an answer of the store is believed, so that probes cost nothing. */
const checkedMs = 2_000

/** For those who run the server: is it alive, can it take uploads? */
export function operations(routes: Routes, records: Records, store: ObjectStore, stopping: () => boolean): void {
  let checked: { readonly at: number; readonly result: Promise<unknown> } | undefined

  async function check(): Promise<void> {
    // Not by the clock of the machine: when that is set back, the answer would be believed for as long.
    if (!checked || performance.now() - checked.at > checkedMs)
      checked = { at: performance.now(), result: Promise.all([records.check(), store.check()]) }
    await checked.result
  }

  routes.get('/healthz', (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { status: 'ok' }
  })

  routes.get('/readyz', async (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    if (stopping()) throw new UploadError('not_ready', 'The server is stopping.')
    try {
      await check()
    } catch (cause) {
      throw new UploadError('not_ready', 'The records or the store do not answer; the log says why.', { cause })
    }
    ctx.body = { status: 'ready' }
  })
}
