import { join, resolve } from 'node:path'
import type { z } from 'zod'
import type { Plugin } from '../src/plugin.ts'
import { ConfigError } from './error.ts'
import { type Environment, environmentWarnings, readEnvironment } from './environment.ts'
import { faultIn, isRecord, valueAt } from './fault.ts'
import { readConfigFile } from './file.ts'
import { checkPlugins, loadPlugins } from './plugins.ts'
import { configSchema, options, type UserConfig } from './schema.ts'
import { parseSqliteUrl } from './values.ts'

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T
type Values = z.output<typeof configSchema>

/** A configuration with every default in place: paths are absolute, sizes are bytes, times are seconds. Frozen, but for the plugins themselves. */
export interface Config extends DeepReadonly<Omit<Values, 'database' | 'storage' | 'plugins'>> {
  readonly database: { readonly url: string; readonly path: string }
  readonly storage: { readonly driver: 'disk' | 's3'; readonly directory: string; readonly required: boolean }
  readonly plugins: readonly Plugin[]
  /** One line each about variables that change nothing, and about what an operator should know. */
  readonly warnings: readonly string[]
}

export interface LoadOptions {
  /** Where relative paths begin and `uploads.config.ts` is looked for. */
  readonly cwd: string
  readonly env: Environment
  /** Takes the place of the configuration file, which is not looked for then. */
  readonly config?: UserConfig
}

/**
 * Puts together defaults ← configuration file ← environment.
 *
 * @throws {ConfigError} about the first thing that is wrong.
 */
export async function loadConfig({ cwd, env, config }: LoadOptions): Promise<Config> {
  const file = config === undefined ? await readConfigFile(cwd, env['FAIRLEAD_CONFIG'] || undefined) : undefined
  const content = config ?? file?.content
  if (content !== undefined) check(content, file?.label)
  const variables = readEnvironment(env)
  const merged: Record<string, unknown> = {}
  for (const option of options.filter(({ path }) => !path.includes('<name>')))
    put(merged, option.path, variables.get(option) ?? valueAt(content, option.path))
  const values = check(merged)
  checkTogether(values)
  const plugins = await loadPlugins(values.plugins)
  checkPlugins(plugins)
  return deepFreeze({
    ...values,
    ...places(cwd, values),
    categories: Object.assign(Object.create(null), values.categories), // a name such as `constructor` finds nothing
    plugins: Object.freeze([...plugins]),
    warnings: [...environmentWarnings(env), ...brakeWarnings(values)],
  })
}

function check(config: unknown, file?: string): Values {
  const { success, data, error } = configSchema.safeParse(config)
  if (success) return data
  throw faultIn(config, error, file)
}

/** What one option asks of another. */
function checkTogether({ storage, s3, jwt }: Values): void {
  if (storage.driver === 's3' && s3.bucket === undefined)
    throw new ConfigError('The s3 driver needs a bucket: set FAIRLEAD_S3_BUCKET (s3.bucket).')
  if ((s3.accessKeyId === undefined) !== (s3.secretAccessKey === undefined))
    throw new ConfigError('FAIRLEAD_S3_ACCESS_KEY_ID and FAIRLEAD_S3_SECRET_ACCESS_KEY go together: one is missing.')
  if (jwt.jwksUrl !== undefined && jwt.publicKey !== undefined)
    throw new ConfigError('FAIRLEAD_JWT_JWKS_URL and FAIRLEAD_JWT_PUBLIC_KEY exclude each other: set one.')
}

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/i

/** Where others than this machine can come, a key that got lost can fill the store. */
function brakeWarnings({ server: { host, publicUrl }, limits }: Values): string[] {
  const isPublic = !loopback.test(host) || (publicUrl !== null && !loopback.test(new URL(publicUrl).hostname))
  if (!isPublic || limits.workspaceQuota !== null || limits.requestsPerMinute !== 0) return []
  return [
    'Others can reach this server, and nothing limits how much a workspace stores or how often a key asks: set FAIRLEAD_WORKSPACE_QUOTA (limits.workspaceQuota) and FAIRLEAD_RATE_LIMIT (limits.requestsPerMinute).',
  ]
}

/** Options stand at the top or in one group. */
function put(target: Record<string, unknown>, [first = '', second]: readonly string[], value: unknown): void {
  const group = target[first]
  target[first] = second === undefined ? value : { ...(isRecord(group) ? group : {}), [second]: value }
}

function places(cwd: string, { dataDir, database, storage }: Values): Pick<Config, 'dataDir' | 'database' | 'storage'> {
  const data = resolve(cwd, dataDir)
  const url = database.url ?? `sqlite:${join(data, 'fairlead.db')}`
  return {
    dataDir: data,
    database: { url, path: resolve(cwd, parseSqliteUrl(url) ?? '') },
    storage: {
      driver: storage.driver,
      required: storage.required,
      directory: resolve(cwd, storage.directory ?? join(data, 'objects')),
    },
  }
}

/** What is frozen already stays as it is; so the list of plugins is frozen, and they are not. */
function deepFreeze<T>(value: T): T {
  if (!isRecord(value) || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const inner of Object.values(value)) deepFreeze(inner)
  return value
}
