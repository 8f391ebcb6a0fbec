import { z } from 'zod'
import type { Plugin } from '../src/plugin.ts'
import { pluginType } from './plugins.ts'
import * as values from './values.ts'

const day = 86_400 // seconds

/** What a reader of the documentation and of an error line needs to know about one option. */
export interface OptionFacts {
  readonly meaning: string
  /** Unit and bounds; ends the sentence "it takes …". */
  readonly takes: string
  /** As the documentation shows it. */
  readonly fallback: string
  /** The environment variable that overrides the option, and how its text becomes a value of it. */
  readonly variable?: string
  readonly read?: (text: string) => unknown
  /** A message never shows what was given. */
  readonly secret?: boolean
}

const facts = z.registry<OptionFacts>()

interface Kind<T extends z.ZodType> {
  readonly type: T
  readonly takes: string
  readonly read?: (text: string) => unknown
}
type Wording = Pick<OptionFacts, 'meaning' | 'variable' | 'secret'>

const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** An option with a default of its own. */
const option = <T extends z.ZodType>({ type, ...kind }: Kind<T>, fallback: z.input<T>, wording: Wording) =>
  z.prefault(type, fallback).register(facts, { ...kind, ...wording, fallback: show(fallback) })

/** An option whose default depends on others, or means "no restriction". */
const derived = <T extends z.ZodType>({ type, ...kind }: Kind<T>, fallback: string, wording: Wording) =>
  z.optional(type).register(facts, { ...kind, ...wording, fallback })

const group = <T extends z.core.$ZodShape>(shape: T) => z.strictObject(shape)

/** Text that a function understands; what the function returns becomes the value. */
const parsed = (parse: (text: string) => string | undefined) =>
  z.string().transform((text, ctx) => {
    const value = parse(text)
    if (value !== undefined) return value
    ctx.addIssue({ code: 'custom', message: 'not understood' })
    return z.NEVER
  })

const whole = (least: number, most: number) => ({
  type: z.int().min(least).max(most),
  takes: `a whole number from ${least} to ${most}`,
  read: values.readNumber,
})
const seconds = (most: number) => ({ ...whole(1, most), takes: `whole seconds from 1 to ${most}` })
const size = {
  type: z.union([z.number(), z.string()]).transform((given, ctx) => {
    const bytes = values.parseSize(String(given))
    if (bytes !== undefined) return bytes
    ctx.addIssue({ code: 'custom', message: 'not a size' })
    return z.NEVER
  }),
  takes: 'bytes, or a size such as 500MB, 10GiB or 1.5 TiB, from 1 byte to 2^53 - 1',
}
const path = { type: z.string().regex(/^[^\0]+$/), takes: 'a path; a relative one begins at the working directory' }
