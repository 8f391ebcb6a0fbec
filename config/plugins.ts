import { z } from 'zod'
import type { Plugin } from '../src/plugin.ts'
import { ConfigError } from './error.ts'

const longestHookMs = 3_600_000
const hook = z.optional(z.custom((value) => typeof value === 'function'))

/** Its name is part of paths, so the alphabet is small. */
const shape = z.looseObject({
  name: z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/i),
  provides: z.optional(z.array(z.string())),
  requires: z.optional(z.array(z.string())),
  onFailure: z.optional(z.enum(['fail', 'skip'])),
  timeoutMs: z.optional(z.number().min(1).max(longestHookMs)),
  inspect: z.optional(
    z.looseObject({ bytes: z.int().min(1), handler: z.custom((value) => typeof value === 'function') }),
  ),
  accepts: hook,
  setup: hook,
  beforeCreate: hook,
  tap: hook,
  beforeFinish: hook,
  afterFinish: hook,
  afterTerminate: hook,
  close: hook,
})

/** Plugins that come with the gateway, by name: each stands for itself with its defaults. */
export const builtInNames = ['sniff-type', 'quota', 'media-info'] as const
type BuiltInName = (typeof builtInNames)[number]
const isBuiltIn = (plugin: Plugin | BuiltInName): plugin is BuiltInName => builtInNames.some((name) => name === plugin)

/** Checks a plugin and keeps the object itself: it may be an instance with state. */
export const pluginType = z.custom<Plugin | BuiltInName>().superRefine((plugin, ctx) => {
  if (isBuiltIn(plugin)) return
  for (const { path, message } of shape.safeParse(plugin).error?.issues ?? [])
    ctx.addIssue({ code: 'custom', path, message })
})

/** Loaded only when they are listed: the media parsers are large. */
const builtIn: Readonly<Record<BuiltInName, () => Promise<Plugin>>> = {
  'sniff-type': async () => (await import('../plugins/sniff-type.ts')).sniffType(),
  quota: async () => (await import('../plugins/quota.ts')).quota(),
  'media-info': async () => (await import('../plugins/media-info.ts')).mediaInfo(),
}

/** @param listed without a list: all that come with the gateway */
export const loadPlugins = (listed: readonly (Plugin | BuiltInName)[] = builtInNames): Promise<Plugin[]> =>
  Promise.all(listed.map(async (plugin) => (isBuiltIn(plugin) ? builtIn[plugin]() : plugin)))

/**
 * Plugins run in their order, so what one requires an earlier one must provide, and only one may.
 *
 * @throws {ConfigError} naming the plugins that do not fit together.
 */
export function checkPlugins(plugins: readonly Plugin[]): void {
  const names = new Set<string>()
  const providers = new Map<string, string>()
  for (const plugin of plugins) {
    if (names.has(plugin.name)) throw new ConfigError(`plugins: two are named "${plugin.name}"; names are unique.`)
    names.add(plugin.name)
    for (const property of plugin.requires ?? []) {
      if (!providers.has(property)) throw new ConfigError(missing(plugins, plugin.name, property))
    }
    for (const property of plugin.provides ?? []) {
      const other = providers.get(property)
      if (other !== undefined) {
        throw new ConfigError(`plugins: "${other}" and "${plugin.name}" both provide ${property}; keep one of them.`)
      }
      providers.set(property, plugin.name)
    }
  }
}

function missing(plugins: readonly Plugin[], name: string, property: string): string {
  const provider = plugins.find(
    (plugin) => plugin.name !== name && plugin.provides?.some((provided) => provided === property),
  )
  const remedy = provider ? `list "${provider.name}" before "${name}"` : 'no plugin in the list does'
  return `plugins: "${name}" requires ${property}, which an earlier plugin must provide; ${remedy}.`
}
