import { Rejection, UploadError } from '../errors.ts'
import {
  type Awaitable,
  BusyError,
  type Patch,
  type Plugin,
  type PluginContext,
  type PluginLog,
  type Upload,
  type UploadContext,
} from '../plugin.ts'
import type { ObjectStore } from '../uploads/object-store.ts'
import { type HookOptions, merge, mergePatches, type Pipeline } from '../uploads/pipeline.ts'
import { storedBytes } from './bytes.ts'
import { type NamedTap, tapLine } from './taps.ts'

/** Milliseconds that one hook may take, when its plugin says nothing. */
const hookTimeoutMs = 10_000
/** Seconds after which a client may ask again about a file that a plugin failed on. */
const failureRetrySeconds = 5

export interface PluginRunner extends Pipeline {
  /** Runs one plugin's `afterFinish` or `afterTerminate`, as its job asks. */
  after(hook: 'afterFinish' | 'afterTerminate', plugin: string, upload: Upload): Promise<void>
  close(): Promise<void>
}

export interface RunnerOptions {
  readonly plugins: readonly Plugin[]
  readonly store: ObjectStore
  readonly log: PluginLog
}

const wants = (plugin: Plugin, upload: Upload): boolean => plugin.accepts?.(upload) ?? true

const reserveNothing = () => Promise.reject(new UploadError('internal', 'The upload is finished.'))

/** Runs the plugins of an installation. */
export function pluginRunner({ plugins, store, log }: RunnerOptions): PluginRunner {
  /** One hook within its time; a hook that answers at once costs no timer. */
  async function run<T>(
    plugin: Plugin,
    hook: string,
    outer: AbortSignal | undefined,
    call: (ctx: PluginContext) => Awaitable<T>,
    facts: { readonly workspaceId: string; readonly upload?: Upload },
  ): Promise<T | undefined> {
    const controller = lazyAbort(outer)
    try {
      const answer = call(pluginContext(facts.workspaceId, log, controller))
      if (!(answer instanceof Promise)) return answer
      return await within(answer, plugin.timeoutMs ?? hookTimeoutMs, controller)
    } catch (error) {
      failed(plugin, hook, error, facts, outer)
      return undefined
    }
  }

  /** Throws what the failure means, or returns when this plugin is to be skipped. */
  function failed(
    plugin: Plugin,
    hook: string,
    error: unknown,
    facts: { readonly workspaceId: string; readonly upload?: Upload },
    outer: AbortSignal | undefined,
  ) {
    if (error instanceof Rejection) throw error
    // When the upload was ended meanwhile, no plugin has failed.
    if (outer?.reason instanceof UploadError) throw outer.reason
    if (error instanceof UploadError && error.ended) throw error
    const about = { plugin: plugin.name, hook, uploadId: facts.upload?.id, workspaceId: facts.workspaceId, err: error }
    const skipped = plugin.onFailure === 'skip'
    // The client has gone.
    if (outer?.aborted) log.debug(about, 'a plugin was stopped')
    else if (error instanceof BusyError) log.warn(about, 'a plugin has too much to do')
    else if (skipped) log.warn(about, 'a plugin failed and was skipped')
    else log.error(about, 'a plugin failed')
    if (skipped) return
    if (error instanceof UploadError) throw error
    throw new UploadError('processing_failed', 'The file could not be checked now; try again later.', {
      cause: error,
      retryAfter: failureRetrySeconds,
      postponed: error instanceof BusyError,
    })
  }

  /** Runs one hook of each plugin that has it after another, each seeing what the ones before have found. */
  async function each(
    upload: Upload,
    hook: 'inspect' | 'beforeFinish',
    options: HookOptions,
    call: (plugin: Plugin, ctx: UploadContext) => Awaitable<Patch | void> | undefined,
  ): Promise<Patch> {
    const facts = { workspaceId: upload.workspaceId, upload }
    let known = upload
    let found: Patch = {}
    for (const plugin of plugins) {
      if (!plugin[hook]) continue
      const runHook = (ctx: PluginContext) =>
        wants(plugin, known) ? call(plugin, uploadContext(ctx, known, options)) : undefined
      const patch = await run(plugin, hook, options.signal, runHook, facts)
      if (!patch) continue
      known = merge(known, patch)
      found = mergePatches(found, patch)
    }
    return found
  }

  function jobsOf(hook: 'afterFinish' | 'afterTerminate', upload: Upload): readonly string[] {
    const wanting = plugins.filter((plugin) => {
      if (!plugin[hook]) return false
      try {
        return wants(plugin, upload)
      } catch (error) {
        // The change of the upload does not depend on it, and a job that fails is at least seen.
        log.error({ plugin: plugin.name, hook, uploadId: upload.id, err: error }, 'a plugin failed')
        return true
      }
    })
    return wanting.map((plugin) => plugin.name)
  }

  return {
    headBytes: Math.max(0, ...plugins.map((plugin) => plugin.inspect?.bytes ?? 0)),

    async beforeCreate(draft, workspaceId) {
      let reserve = 0
      let patch: Patch = {}
      for (const plugin of plugins) {
        if (!plugin.beforeCreate) continue
        const found = await run(plugin, 'beforeCreate', undefined, (ctx) => plugin.beforeCreate?.(draft, ctx), {
          workspaceId,
        })
        if (!found) continue
        reserve = Math.max(reserve, found.reserve ?? 0)
        patch = mergePatches(patch, found)
      }
      return { reserve, patch }
    },

    inspect: (upload, headBytes, options) =>
      each(upload, 'inspect', options, (plugin, ctx) =>
        plugin.inspect?.handler(headBytes.subarray(0, plugin.inspect.bytes), ctx),
      ),

    taps(upload, options) {
      const found = plugins.flatMap((plugin): NamedTap[] => {
        if (!plugin.tap) return []
        const controller = lazyAbort(options.signal)
        const facts = { workspaceId: upload.workspaceId, upload }
        const fail = (error: unknown) => failed(plugin, 'tap', error, facts, options.signal)
        try {
          const ctx = uploadContext(pluginContext(upload.workspaceId, log, controller), upload, options)
          const tap = wants(plugin, upload) ? plugin.tap(ctx) : undefined
          const inTime = <T>(answer: Promise<T>) => within(answer, plugin.timeoutMs ?? hookTimeoutMs, controller)
          return tap ? [{ tap, failed: fail, inTime }] : []
        } catch (error) {
          fail(error)
          return []
        }
      })
      return found.length > 0 ? tapLine(found) : undefined
    },

    beforeFinish: (upload, options) =>
      each(upload, 'beforeFinish', options, async (plugin, ctx) => {
        if (!plugin.beforeFinish) return undefined
        const bytes = storedBytes(store, upload.objectKey ?? '', upload.size ?? 0, ctx.signal)
        try {
          return await plugin.beforeFinish(bytes.source, ctx)
        } finally {
          await bytes.dispose()
        }
      }),

    afterFinish: (upload) => jobsOf('afterFinish', upload),
    afterTerminate: (upload) => jobsOf('afterTerminate', upload),

    async after(hook, name, upload) {
      const plugin = plugins.find((one) => one.name === name)
      if (!plugin) return
      await run(
        plugin,
        hook,
        undefined,
        async (base) => {
          const ctx = uploadContext(base, upload, { reserve: reserveNothing })
          if (hook === 'afterTerminate') return plugin.afterTerminate?.(ctx)
          const bytes = storedBytes(store, upload.objectKey ?? '', upload.size ?? 0, ctx.signal)
          try {
            await plugin.afterFinish?.(bytes.source, ctx)
          } finally {
            await bytes.dispose()
          }
        },
        { workspaceId: upload.workspaceId, upload },
      )
    },

    async close() {
      for (const plugin of plugins.toReversed()) await plugin.close?.()
    },
  }
}

interface LazyAbort {
  readonly signal: AbortSignal
  abort(reason: Error): void
}

/** Most hooks never look at their signal, and making one for each costs more than the hook. */
function lazyAbort(outer: AbortSignal | undefined): LazyAbort {
  let controller: AbortController | undefined
  let reason: Error | undefined
  return {
    get signal() {
      if (!controller) {
        controller = new AbortController()
        if (reason) controller.abort(reason)
      }
      return outer ? AbortSignal.any([outer, controller.signal]) : controller.signal
    },
    abort(why) {
      reason = why
      controller?.abort(why)
    },
  }
}

async function within<T>(answer: Promise<T>, timeoutMs: number, controller: LazyAbort): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`The hook took more than ${timeoutMs} ms.`)
      controller.abort(error)
      reject(error)
    }, timeoutMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

function pluginContext(workspaceId: string, log: PluginLog, controller: LazyAbort): PluginContext {
  return {
    log,
    workspaceId,
    get signal() {
      return controller.signal
    },
    reject(code, message, facts) {
      throw new Rejection(code, message, facts === undefined ? {} : { facts })
    },
  }
}

/** The same context with the upload; a getter, because spreading would ask for the signal. */
function uploadContext(base: PluginContext, upload: Upload, options: Pick<HookOptions, 'reserve'>): UploadContext {
  return {
    log: base.log,
    workspaceId: base.workspaceId,
    upload,
    reserve: options.reserve,
    reject: (code, message, facts) => base.reject(code, message, facts),
    get signal() {
      return base.signal
    },
  }
}
