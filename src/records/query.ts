import type { Compilable } from 'kysely'

/** Stands for a value that comes when the query is run. */
class Param {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** A query text with its values' places: written by Kysely once at start, run on the driver's own prepared statements. */
export interface Query<P, R> {
  readonly sql: string
  /** The values in the order of the text's placeholders. */
  bind(values: P): unknown[]
  /** Only a type: what a row looks like. */
  readonly row?: R
}

/** A query to run, as an operation hands it to the driver. */
export interface Call {
  readonly sql: string
  readonly values: unknown[]
}

/**
 * An operation: yields its queries one after another and gets their rows back. A driver runs it within one transaction, so that
 * the same text serves drivers that answer at once and drivers that must wait. Of what type the rows are only the query knows, so
 * that the driver may hand back rows of any: `never`.
 */
export type Operation<T> = Generator<Call, T, never[]>

export function query<P extends object>() {
  return <R>(build: (params: P) => Compilable<R>): Query<P, R> => {
    // Kysely takes any object for a value, so the placeholder may stand where the value will.
    const params: P = new Proxy(Object.create(null), { get: (_, name) => new Param(String(name)) })
    const { sql, parameters } = build(params).compile()
    return {
      sql,
      bind(values: P) {
        const given = new Map<string, unknown>(Object.entries(values))
        return parameters.map((p) => (p instanceof Param ? given.get(p.name) : p))
      },
    }
  }
}

/** The rows are what the text selects: Kysely derived R from it. */
export function* rows<P, R>(text: Query<P, R>, values: P): Operation<R[]> {
  return yield { sql: text.sql, values: text.bind(values) }
}

export function* first<P, R>(text: Query<P, R>, values: P): Operation<R | undefined> {
  return (yield* rows(text, values))[0]
}
