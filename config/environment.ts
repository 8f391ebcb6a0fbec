import { z } from 'zod'
import { describeValue, nearest, oneLine } from './error.ts'
import { wrongValue } from './fault.ts'
import type { Option } from './option.ts'
import { options } from './schema.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'FAIRLEAD_'

/**
 * The options that the environment sets.
 *
 * @throws {ConfigError} naming the first variable with a wrong value.
 */
export function readEnvironment(env: Environment): Map<Option, unknown> {
  const set = new Map<Option, unknown>()
  for (const option of options) {
    const text = option.variable === undefined ? undefined : env[option.variable]
    if (option.variable === undefined || text === undefined) continue
    const value = option.read ? option.read(text) : text
    if (!z.safeParse(option.type, value).success) {
      throw wrongValue(option.variable, describeValue(text, option.secret), option.takes)
    }
    set.set(option, value)
  }
  return set
}

/** Variables that are no options: which file has them, and what `fairlead upload` takes instead of flags. */
const others = ['FAIRLEAD_CONFIG', 'FAIRLEAD_URL', 'FAIRLEAD_KEY']

/** A line for every variable with our prefix that changes nothing. Names only: a value may be a secret. */
export function environmentWarnings(env: Environment): string[] {
  const known = [...others, ...options.flatMap(({ variable }) => variable ?? [])]
  const idle = Object.keys(env).filter(
    (name) => name.startsWith(prefix) && env[name] !== undefined && !known.includes(name),
  )
  return idle.toSorted().map((name) => {
    const meant = nearest(
      name.slice(prefix.length),
      known.map((other) => other.slice(prefix.length)),
    )
    return `${oneLine(name)} is not a known variable${meant === undefined ? '' : `; did you mean ${prefix}${meant}?`}`
  })
}
