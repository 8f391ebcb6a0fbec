import { Rejection, UploadError } from '../errors.ts'
import type { Awaitable, Plugin, Tap } from '../plugin.ts'
import type { GrowingWriter, ObjectStore, ObjectWriter } from '../uploads/object-store.ts'
import type { Records, RemoveOptions } from '../uploads/records.ts'
import type { DialectName, Upload, UploadState } from '../uploads/upload.ts'

/** `stopped`: by us or by a client that has gone, so nobody's failure. */
export type Outcome = 'ok' | 'refused' | 'missing' | 'stopped' | 'failed'

export type StoreReport = (operation: string, outcome: Outcome, seconds: number) => void

/** The store, with the time of every operation told. What an `ObjectStore` has beyond these goes through as it is. */
export function measuredStore(store: ObjectStore, report: StoreReport): ObjectStore {
  const { direct } = store
  const time = <T>(operation: string, call: () => Promise<T>): Promise<T> =>
    timed(call, (seconds, error) => report(operation, outcomeOf(error), seconds))
  const timedWriter = (writer: ObjectWriter): ObjectWriter => ({
    write: (chunks) => time('write', () => writer.write(chunks)),
    finish: () => time('finish', () => writer.finish()),
    abort: () => time('abort', () => writer.abort()),
  })
  return {
    ...store,
    write: (key, options) => timedWriter(store.write(key, options)),
    grow(key, options): GrowingWriter {
      const writer = store.grow(key, options)
      return {
        ...timedWriter(writer),
        get bytes() {
          return writer.bytes
        },
        save: () => time('save', () => writer.save()),
      }
    },
    concat: (sources, key, options) => time('concat', () => store.concat(sources, key, options)),
    read: (key, range, signal) => time('read', () => store.read(key, range, signal)),
    bytes: (key, range, signal) => time('bytes', () => store.bytes(key, range, signal)),
    stat: (key) => time('stat', () => store.stat(key)),
    remove: (key) => time('remove', () => store.remove(key)),
    clear: (key, note) => time('clear', () => store.clear(key, note)),
    ...(direct && {
      direct: {
        ...direct,
        arrived: (key) => time('arrived', () => direct.arrived(key)),
        copy: (from, key, options) => time('copy', () => direct.copy(from, key, options)),
      },
    }),
    check: () => time('check', () => store.check()),
  }
}

/** What became of an upload: a state, or that it is gone; `discarded` when its own request broke. */
export type Turn = UploadState | 'deleted' | 'discarded'

export type RecordsReport = (
  turn: Turn,
  upload: { readonly dialect: DialectName; readonly size: number | null },
) => void

/** The records, with every change of an upload's state told once it is written. */
export function measuredRecords(records: Records, report: RecordsReport): Records {
  return {
    ...records,
    async create(record) {
      const upload = await records.create(record)
      report(upload.state, upload)
      return upload
    },
    async stored(id, bytes) {
      const upload = await records.stored(id, bytes)
      // In a batch it was `receiving` before, and is it until all have come.
      if (upload.batchId === null) report(upload.state, upload)
      return upload
    },
    async transition(id, change) {
      const upload = await records.transition(id, change)
      report(upload.state, upload)
      return upload
    },
    async finishBatch(id, end) {
      const batch = await records.finishBatch(id, end)
      for (const upload of batch.uploads) if (upload.state === 'processing') report(upload.state, upload)
      return batch
    },
    remove: (id, how) => removal(how, (told) => records.remove(id, told)),
    removeBatch: (id, how) => removal(how, (told) => records.removeBatch(id, told)),
  }

  async function removal(how: RemoveOptions, remove: (how: RemoveOptions) => Promise<void>): Promise<void> {
    const removed: Upload[] = []
    await remove({
      ...how,
      jobs(upload) {
        removed.push(upload)
        return how.jobs(upload)
      },
    })
    for (const upload of removed) report(how.force ? 'discarded' : 'deleted', upload)
  }
}

export interface HookReport {
  started(plugin: string, hook: string): void
  ended(plugin: string, hook: string, outcome: Outcome, seconds: number): void
}

/** The plugin, with the time of its hooks told. The object itself is asked: it may be an instance with state. */
export function measuredPlugin(plugin: Plugin, report: HookReport): Plugin {
  const { name, inspect, provides, requires, onFailure, timeoutMs } = plugin
  const ended = (hook: string) => (seconds: number, error?: unknown) =>
    report.ended(name, hook, outcomeOf(error), seconds)
  function time<T>(hook: string, call: () => Awaitable<T>): Awaitable<T> {
    report.started(name, hook)
    return timed(call, ended(hook))
  }

  return {
    name,
    ...(provides && { provides }),
    ...(requires && { requires }),
    ...(onFailure && { onFailure }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    accepts: (upload) => plugin.accepts?.(upload) ?? true,
    setup: (boot) => plugin.setup?.(boot),
    ...(plugin.beforeCreate && {
      beforeCreate: (draft, ctx) => time('beforeCreate', () => plugin.beforeCreate?.(draft, ctx)),
    }),
    ...(inspect && {
      inspect: { bytes: inspect.bytes, handler: (head, ctx) => time('inspect', () => inspect.handler(head, ctx)) },
    }),
    ...(plugin.tap && {
      tap(ctx) {
        const tap = plugin.tap?.(ctx)
        if (!tap) return undefined
        report.started(name, 'tap')
        return measuredTap(tap, ended('tap'))
      },
    }),
    ...(plugin.beforeFinish && {
      beforeFinish: (bytes, ctx) => time('beforeFinish', () => plugin.beforeFinish?.(bytes, ctx)),
    }),
    ...(plugin.afterFinish && {
      afterFinish: (bytes, ctx) => time('afterFinish', () => plugin.afterFinish?.(bytes, ctx)),
    }),
    ...(plugin.afterTerminate && {
      afterTerminate: (ctx) => time('afterTerminate', () => plugin.afterTerminate?.(ctx)),
    }),
    close: () => plugin.close?.(),
  }
}

/** Adds up the time that a tap takes of a file's way, and tells it when the tap has ended: once. */
function measuredTap(tap: Tap, told: (seconds: number, error?: unknown) => void): Tap {
  let busy = 0
  let open = true
  function end(error?: unknown): void {
    if (open) told(busy, error)
    open = false
  }
  const add = (seconds: number, error?: unknown): void => {
    busy += seconds
    if (error !== undefined) end(error)
  }
  return {
    write: (chunk, ahead) => timed(() => tap.write(chunk, ahead), add),
    end: () =>
      timed(
        () => tap.end(),
        (seconds, error) => {
          busy += seconds
          end(error)
        },
      ),
    abort() {
      end(new DOMException('The upload broke off.', 'AbortError'))
      tap.abort?.()
    },
  }
}

/** Calls, and tells how long it took. What answers at once still does. */
function timed<T>(call: () => Promise<T>, told: (seconds: number, error?: unknown) => void): Promise<T>
function timed<T>(call: () => Awaitable<T>, told: (seconds: number, error?: unknown) => void): Awaitable<T>
function timed<T>(call: () => Awaitable<T>, told: (seconds: number, error?: unknown) => void): Awaitable<T> {
  const from = performance.now()
  const end = (error?: unknown): void => told((performance.now() - from) / 1_000, error)
  const fail = (error: unknown): never => {
    end(error)
    throw error
  }
  let answer: Awaitable<T>
  try {
    answer = call()
  } catch (error) {
    return fail(error)
  }
  if (answer instanceof Promise)
    return answer.then((value) => {
      end()
      return value
    }, fail)
  end()
  return answer
}

function outcomeOf(error: unknown): Outcome {
  if (error === undefined) return 'ok'
  if (error instanceof Rejection) return 'refused'
  if (error instanceof UploadError && error.code === 'not_found') return 'missing'
  return error instanceof Error && error.name === 'AbortError' ? 'stopped' : 'failed'
}
