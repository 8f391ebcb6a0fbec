import type { z } from 'zod'
import type { ValidationFault } from '../errors.ts'

/**
 * Faults as the framework behind the pages of the presigned and the direct API words them, FastAPI with pydantic: clients that were
 * written for it branch on `type`, and some on `msg`.
 */
export function faultsOf(issues: readonly z.core.$ZodIssue[], where: string): ValidationFault[] {
  return issues.flatMap((issue) => {
    const loc = [where, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))]
    const type = typeOf(issue)
    const fault = (at: string): ValidationFault => ({
      loc: [...loc, ...(at === '' ? [] : [at])],
      msg: issue.message,
      type,
    })
    return issue.code === 'unrecognized_keys' ? issue.keys.map(fault) : [fault('')]
  })
}

/** Types of values, as that framework names them, and what it calls them in a sentence. */
const kinds: Readonly<Record<string, readonly [type: string, name: string]>> = {
  string: ['string_type', 'string'],
  int: ['int_type', 'integer'],
  number: ['int_type', 'integer'],
  boolean: ['bool_type', 'boolean'],
  array: ['list_type', 'list'],
  object: ['model_attributes_type', 'dictionary or object to extract fields from'],
  record: ['dict_type', 'dictionary'],
}
const unknownKind = ['value_error', 'value'] as const

type Issue = z.core.$ZodRawIssue | z.core.$ZodIssue

/** An integer was wanted, and something else is there. */
function integerFault({ input }: Issue): readonly [type: string, ending: string] {
  if (typeof input === 'number' && Number.isFinite(input))
    return ['int_from_float', ', got a number with a fractional part']
  return Number.isNaN(input) ? ['int_parsing', ', unable to parse string as an integer'] : ['int_type', '']
}

const isInteger = (issue: Issue): boolean => issue.code === 'invalid_type' && /^(int|number)$/.test(issue.expected)
/** With `reportInput` every issue has what was there. */
const isMissing = (issue: Issue): boolean =>
  issue.input === undefined && (issue.code === 'invalid_type' || issue.code === 'invalid_value')

function typeOf(issue: Issue): string {
  if (isMissing(issue)) return 'missing'
  if (isInteger(issue)) return integerFault(issue)[0]
  switch (issue.code) {
    case 'invalid_type':
      return (kinds[issue.expected] ?? unknownKind)[0]
    case 'too_small':
      return issue.origin === 'string'
        ? 'string_too_short'
        : issue.origin === 'array'
          ? 'too_short'
          : 'greater_than_equal'
    case 'too_big':
      return issue.origin === 'string' ? 'string_too_long' : issue.origin === 'array' ? 'too_long' : 'less_than_equal'
    case 'invalid_value':
      return issue.values.length === 1 ? 'literal_error' : 'enum'
    case 'invalid_format':
      return formatTypes[issue.format] ?? 'string_pattern_mismatch'
    case 'unrecognized_keys':
      return 'extra_forbidden'
    default:
      return 'value_error'
  }
}

const formatTypes: Readonly<Record<string, string>> = { guid: 'uuid_parsing', datetime: 'datetime_parsing' }

/** The sentence for a fault for which the schema has none of its own. */
export function sentenceOf(issue: z.core.$ZodRawIssue): string | undefined {
  if (isMissing(issue)) return 'Field required'
  if (isInteger(issue)) return `Input should be a valid integer${integerFault(issue)[1]}`
  switch (issue.code) {
    case 'invalid_type':
      return `Input should be a valid ${(kinds[issue.expected] ?? unknownKind)[1]}`
    case 'too_small':
      return boundSentence(issue.origin, 'least', 'greater', issue.minimum)
    case 'too_big':
      return boundSentence(issue.origin, 'most', 'less', issue.maximum)
    case 'invalid_value':
      return `Input should be ${listed(issue.values)}`
    case 'invalid_format':
      if (issue.format === 'guid') return 'Input should be a valid UUID'
      if (issue.format === 'datetime') return 'Input should be a valid datetime'
      return `String should match pattern '${issue.pattern ?? ''}'`
    case 'unrecognized_keys':
      return 'Extra inputs are not permitted'
    default:
      return undefined
  }
}

function boundSentence(origin: string, extreme: string, than: string, bound: number | bigint): string {
  const number = Number(bound)
  if (origin === 'string') return `String should have at ${extreme} ${number} character${number === 1 ? '' : 's'}`
  if (origin === 'array') return `List should have at ${extreme} ${number} item${number === 1 ? '' : 's'}`
  return `Input should be ${than} than or equal to ${number}`
}

/** `'a', 'b' or 'c'`. */
function listed(values: readonly z.core.util.Primitive[]): string {
  const quoted = values.map((value) => `'${String(value)}'`)
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
}
