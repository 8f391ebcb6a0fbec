import { z } from 'zod'
import { ConfigError, describeValue, nearest, oneLine } from './error.ts'
import { wrongValue } from './fault.ts'
import type { Option } from './option.ts'
import { options } from './schema.ts'
import { readValueFile } from './value-file.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'FAIRLEAD_'
/** `NAME_FILE` names the file that holds what `NAME` would. */
const inFile = '_FILE'

interface Given {
  /** The variable that the operator set: `NAME` or `NAME_FILE`. */
  readonly name: string
  readonly text: string
  /** What stands in a file was not meant to be seen. */
  readonly hidden: boolean
}

/**
 * The options that the environment sets.
 *
 * @throws {ConfigError} naming the first variable with a wrong value.
 */
export function readEnvironment(env: Environment): Map<Option, unknown> {
  const set = new Map<Option, unknown>()
  for (const option of options) {
    const given = option.variable === undefined ? undefined : find(env, option.variable)
    if (given === undefined) continue
    const value = option.read ? option.read(given.text) : given.text
    if (!z.safeParse(option.type, value).success) {
      // What a shell or compose makes of a variable that is not set, unless it says something here.
      if (given.text === '' && !given.hidden) continue
      throw wrongValue(given.name, describeValue(given.text, given.hidden || option.secret), option.takes)
    }
    set.set(option, value)
  }
  return set
}

/** @throws {ConfigError} when the variable is given in both ways, or its file cannot be read. */
function find(env: Environment, variable: string): Given | undefined {
  const text = env[variable]
  const name = variable + inFile
  const path = env[name] || undefined
  if (path === undefined) return text === undefined ? undefined : { name: variable, text, hidden: false }
  if (text) throw new ConfigError(`${variable} and ${name} exclude each other: set one.`)
  return { name, text: readValueFile(name, path), hidden: true }
}

/** Variables that are no options: which file has them, and what `fairlead upload` takes instead of flags. */
const others = ['FAIRLEAD_CONFIG', 'FAIRLEAD_URL', 'FAIRLEAD_KEY']

/** A line for every variable with our prefix that changes nothing. Names only: a value may be a secret. */
export function environmentWarnings(env: Environment): string[] {
  const variables = options.flatMap(({ variable }) => variable ?? [])
  const known = [...others, ...variables, ...variables.map((variable) => variable + inFile)]
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
