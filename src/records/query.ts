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
 * the same text serves drivers that answer at once and drivers that must wait.
 */
export type Operation<T> = Generator<Call, T, unknown[]>

export function query<P extends object>() {
  return <R>(build: (params: P) => Compilable<R>): Query<P, R> => {
    const params = new Proxy<Record<string, unknown>>({}, { get: (_, name) => new Param(String(name)) })
    // Kysely takes any object for a value, so the placeholder may stand where the value will.
    const compiled = build(params as P).compile()
    const parameters = compiled.parameters
    return {
      sql: compiled.sql,
      bind(values: P) {
        const given = new Map<string, unknown>(Object.entries(values))
        return parameters.map((p) => (p instanceof Param ? given.get(p.name) : p))
      },
    }
  }
}

export function* rows<P, R>(query: Query<P, R>, values: P): Operation<R[]> {
  // The rows are what the text selects: Kysely derived R from it.
  return (yield { sql: query.sql, values: query.bind(values) }) as R[]
}

export function* first<P, R>(query: Query<P, R>, values: P): Operation<R | undefined> {
  return (yield* rows(query, values))[0]
}
