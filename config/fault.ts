import type { z } from 'zod'
import { ConfigError, describeValue, nearest, oneLine } from './error.ts'
import type { Option } from './option.ts'
import { options } from './schema.ts'

type Path = readonly PropertyKey[]

export const isRecord = (value: unknown): value is Record<PropertyKey, unknown> =>
  typeof value === 'object' && value !== null

export const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)

/** The documented option that a path leads to, or leads into. */
const optionAt = (path: Path): Option | undefined =>
  options
    .filter((known) =>
      known.path.every((name, index) => name === path[index] || (name === '<name>' && index < path.length)),
    )
    .toSorted((a, b) => b.path.length - a.path.length)[0]

/** What may stand directly inside a group. */
const namesIn = (path: Path): string[] => {
  const inside = options.filter((known) =>
    path.every((name, index) => [name, '<name>'].includes(known.path[index] ?? '')),
  )
  return [...new Set(inside.flatMap((known) => known.path[path.length] ?? []))]
}

const formatPath = (path: Path): string =>
  oneLine(path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')).replace(/^\./, '')

export const wrongValue = (name: string, got: string, takes: string): ConfigError =>
  new ConfigError(`${name}: got ${got}; it takes ${takes}.`)

/**
 * The one line about the first thing that is wrong in a configuration.
 *
 * @param file where the configuration stands, for the message
 */
export function faultIn(config: unknown, { issues: [issue] }: z.ZodError, file?: string): ConfigError {
  const where = file === undefined ? '' : ` in ${file}`
  if (issue?.code === 'unrecognized_keys') return unknownKey([...issue.path, issue.keys[0] ?? ''], where)
  if (!issue?.path.length) return new ConfigError(`The default export${where} is not an object.`)
  const option = optionAt(issue.path)
  const given = issue.code === 'invalid_key' ? issue.path.at(-1) : valueAt(config, issue.path)
  const takes = option?.takes ?? `an object with ${namesIn(issue.path).join(', ')}`
  return wrongValue(formatPath(issue.path) + where, describeValue(given, option?.secret), takes)
}

function unknownKey(path: Path, where: string): ConfigError {
  const key = String(path.at(-1))
  const names = namesIn(path.slice(0, -1))
  const elsewhere = options.find((known) => known.path.at(-1) === key)?.path.join('.')
  const meant = nearest(key, names) ?? elsewhere
  const remedy = meant === undefined ? `known here: ${names.join(', ')}` : `did you mean ${meant}?`
  return new ConfigError(`${formatPath(path)}${where} is not an option; ${remedy}`)
}
