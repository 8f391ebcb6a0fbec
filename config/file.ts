import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError, describeValue, oneLine } from './error.ts'
import { isRecord, wrongValue } from './fault.ts'

export interface ConfigFile {
  /** Its path as messages show it. */
  readonly label: string
  /** The default export, unchecked. */
  readonly content: unknown
}

/**
 * Imports the configuration file, if there is one.
 *
 * @param named value of `FAIRLEAD_CONFIG`; without it `uploads.config.ts` in `cwd` is taken when it exists
 * @throws {ConfigError} when a named file is missing, or a file cannot be imported or exports nothing.
 */
export async function readConfigFile(cwd: string, named: string | undefined): Promise<ConfigFile | undefined> {
  const path = resolve(cwd, named ?? 'uploads.config.ts')
  if (!existsSync(path)) {
    if (named === undefined) return undefined
    throw wrongValue('FAIRLEAD_CONFIG', describeValue(named), 'the path of a configuration file that exists')
  }
  const inside = relative(cwd, path)
  const label = oneLine(inside.startsWith('..') ? path : inside)
  const module: unknown = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    throw new ConfigError(`${label} cannot be loaded: ${oneLine(reason.split('\n')[0] ?? '')}`, { cause })
  })
  const content = isRecord(module) ? module.default : undefined
  if (content === undefined) {
    throw new ConfigError(`${label} has no default export; write: export default defineConfig({ … })`)
  }
  return { label, content }
}
