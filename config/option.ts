import { z } from 'zod'
import * as values from './values.ts'

/** What the documentation and an error line say about one option. */
export interface OptionFacts {
  readonly meaning: string
  /** Unit and bounds: the end of the sentence "it takes …". */
  readonly takes: string
  /** The default, as the documentation shows it. */
  readonly fallback: string
  /** The environment variable that overrides the option, where it is not named after the option's path. */
  readonly variable?: string
  /** Makes the variable's text what a configuration file would hold. Without it the text is taken as it is. */
  readonly read?: (text: string) => unknown
  /** No message shows what was given. */
  readonly secret?: boolean
}

export interface Option extends OptionFacts {
  /** Such as `['server', 'port']`; `<name>` stands for a name that the operator chooses. */
  readonly path: readonly string[]
  readonly type: z.core.$ZodType
}

interface Kind<T extends z.ZodType> extends Pick<OptionFacts, 'takes' | 'read'> {
  readonly type: T
}
type Wording = Pick<OptionFacts, 'meaning' | 'variable' | 'secret'>

export const hour = 3600 // seconds
export const day = 24 * hour

const facts = z.registry<OptionFacts>()

/** An option with a default of its own, written as a configuration file would write it. */
export function option<T extends z.ZodType>(kind: Kind<T>, fallback: z.input<T>, wording: Wording): z.ZodPrefault<T> {
  const { type, ...rest } = kind
  const shown = fallback === null ? 'none' : typeof fallback === 'string' ? fallback : JSON.stringify(fallback)
  const schema = z.prefault(type, fallback)
  facts.add(schema, { ...rest, ...wording, fallback: shown })
  return schema
}

/** An option whose absence says something: that it follows from others, or that there is no restriction. */
export function absent<T extends z.ZodType>(kind: Kind<T>, fallback: string, wording: Wording): z.ZodOptional<T> {
  const { type, ...rest } = kind
  const schema = z.optional(type)
  facts.add(schema, { ...rest, ...wording, fallback })
  return schema
}

/** Every documented option inside a schema, in its order. */
export function listOptions(schema: z.core.$ZodType, path: readonly string[] = []): Option[] {
  const own = facts.get(schema)
  const nested = children(schema).flatMap(([name, child]) => listOptions(child, [...path, name]))
  return own ? [{ ...variableOf(path), ...own, path, type: schema }, ...nested] : nested
}

/** Groups whose names are left out of variables. */
const unnamedGroups: readonly (string | undefined)[] = ['server', 'limits']

/** `s3.publicEndpoint` is `FAIRLEAD_S3_PUBLIC_ENDPOINT`. What is below a name that the operator chooses has no variable of its own. */
function variableOf(path: readonly string[]): Pick<OptionFacts, 'variable'> {
  if (path.includes('<name>')) return {}
  const named = unnamedGroups.includes(path[0]) ? path.slice(1) : path
  const words = named.map((name) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase())
  return { variable: `FAIRLEAD_${words.join('_')}` }
}

function children(schema: z.core.$ZodType): [string, z.core.$ZodType][] {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) return children(schema.unwrap())
  if (schema instanceof z.ZodObject) return Object.entries<z.core.$ZodType>(schema.shape)
  return schema instanceof z.ZodRecord ? [['<name>', schema.valueType]] : []
}

/** Text that a function understands; what it returns is the value. */
export const parsed = <T>(parse: (text: string) => T | undefined): z.ZodType<T, string> =>
  z.string().transform((text, ctx) => {
    const value = parse(text)
    if (value !== undefined) return value
    ctx.addIssue({ code: 'custom', message: 'not understood' })
    return z.NEVER
  })

export const whole = (least: number, most: number) => ({
  type: z.int().min(least).max(most),
  takes: `a whole number from ${least} to ${most}`,
  read: values.readNumber,
})

export const seconds = (most: number) => ({ ...whole(1, most), takes: `whole seconds from 1 to ${most}` })

export const oneOf = <const T extends readonly string[]>(names: T) => ({
  type: z.enum(names),
  takes: `one of ${names.join(', ')}`,
})

/** Bytes; text with a unit becomes their number. */
export const size = {
  type: z.union([z.int().min(1), parsed(values.parseSize)]),
  takes: 'bytes from 1 to 2^53 - 1, or text such as 500MB, 10GiB, 1.5 TiB',
}

export const yesOrNo = { type: z.boolean(), takes: 'true or false', read: values.readBoolean }

export const httpUrl = {
  type: parsed(values.parsePublicUrl),
  takes: 'an absolute http or https URL without credentials, query or fragment',
}

export const path = {
  type: z.string().regex(/^[^\0]+$/),
  takes: 'a path; a relative one begins at the working directory',
}
