import type { z } from 'zod'
import type { ValidationFault } from '../errors.ts'

type Issue = z.core.$ZodRawIssue | z.core.$ZodIssue

/** How one fault is worded; without a sentence, the schema has one of its own. */
interface Wording {
  readonly type: string
  readonly msg?: string
}

/** What the framework calls a value of another type than was wanted, by the type that was. */
const kinds: Readonly<Record<string, Wording>> = {
  string: { type: 'string_type', msg: 'Input should be a valid string' },
  boolean: { type: 'bool_type', msg: 'Input should be a valid boolean' },
  array: { type: 'list_type', msg: 'Input should be a valid list' },
  record: { type: 'dict_type', msg: 'Input should be a valid dictionary' },
  object: {
    type: 'model_attributes_type',
    msg: 'Input should be a valid dictionary or object to extract fields from',
  },
}
const formats: Readonly<Record<string, Wording>> = {
  guid: { type: 'uuid_parsing', msg: 'Input should be a valid UUID' },
  datetime: { type: 'datetime_parsing', msg: 'Input should be a valid datetime' },
}
const ownRule: Wording = { type: 'value_error' }

/**
 * Faults as the framework behind the pages of the presigned and the direct API words them, FastAPI with pydantic: clients that were
 * made for it branch on `type`, and some on `msg`.
 */
export function faultsOf(issues: readonly z.core.$ZodIssue[], where: string): ValidationFault[] {
  return issues.flatMap((issue) => {
    const loc = [where, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))]
    const said = { msg: issue.message, type: wordingOf(issue).type }
    return issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ loc: [...loc, key], ...said }))
      : [{ loc, ...said }]
  })
}

/** The sentence for a fault, where the schema has none of its own. */
export const sentenceOf = (issue: z.core.$ZodRawIssue): string | undefined => wordingOf(issue).msg

/** The issue must have its input: zod's `reportInput`. */
function wordingOf(issue: Issue): Wording {
  const { code, input } = issue
  if (input === undefined && (code === 'invalid_type' || code === 'invalid_value'))
    return { type: 'missing', msg: 'Field required' }
  if (code === 'invalid_type')
    return issue.expected === 'int' || issue.expected === 'number'
      ? notInteger(input)
      : (kinds[issue.expected] ?? ownRule)
  if (code === 'too_small') return outOfBounds(issue.origin, 'short', 'greater', issue.minimum)
  if (code === 'too_big') return outOfBounds(issue.origin, 'long', 'less', issue.maximum)
  if (code === 'invalid_value') return { type: 'enum', msg: `Input should be ${listed(issue.values)}` }
  if (code === 'invalid_format')
    return (
      formats[issue.format] ?? {
        type: 'string_pattern_mismatch',
        msg: `String should match pattern '${issue.pattern ?? ''}'`,
      }
    )
  if (code === 'unrecognized_keys') return { type: 'extra_forbidden', msg: 'Extra inputs are not permitted' }
  return ownRule
}

function notInteger(input: unknown): Wording {
  const msg = 'Input should be a valid integer'
  // Of the text of a query nothing but this is left.
  if (Number.isNaN(input)) return { type: 'int_parsing', msg: `${msg}, unable to parse string as an integer` }
  if (typeof input !== 'number') return { type: 'int_type', msg }
  return { type: 'int_from_float', msg: `${msg}, got a number with a fractional part` }
}

function outOfBounds(origin: string, way: 'short' | 'long', than: 'greater' | 'less', bound: number | bigint): Wording {
  const number = Number(bound)
  const extreme = way === 'short' ? 'least' : 'most'
  const plural = number === 1 ? '' : 's'
  if (origin === 'string')
    return { type: `string_too_${way}`, msg: `String should have at ${extreme} ${number} character${plural}` }
  if (origin === 'array') return { type: `too_${way}`, msg: `List should have at ${extreme} ${number} item${plural}` }
  return { type: `${than}_than_equal`, msg: `Input should be ${than} than or equal to ${number}` }
}

/** `'a', 'b' or 'c'`. */
function listed(values: readonly z.core.util.Primitive[]): string {
  const quoted = values.map((value) => `'${String(value)}'`)
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
}
