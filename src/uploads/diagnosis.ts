import { randomBytes } from 'node:crypto'

/** One thing that was looked at. */
export interface Check {
  /** Names it for programs, such as `store.write`. */
  readonly check: string
  readonly ok: boolean
  /** What is wrong, or worth knowing, in a sentence. */
  readonly detail?: string
  /** What to do about it, in a sentence. */
  readonly remedy?: string
}

export type Explanation = Required<Pick<Check, 'detail' | 'remedy'>>

export const passed = (check: string, detail?: string): Check => ({
  check,
  ok: true,
  ...(detail === undefined ? {} : { detail }),
})

export const failed = (check: string, { detail, remedy }: Explanation): Check => ({ check, ok: false, detail, remedy })

/** What a store is asked to do. */
export type StoreStep = 'reach' | 'write' | 'stat' | 'read' | 'list' | 'remove'

export interface ClientTerms {
  /** Keys of objects that only this diagnosis makes; what is under them is removed by whoever asked. */
  readonly keys: readonly [string, string]
  /** Whether anything may be written. */
  readonly dryRun: boolean
  /** Origins of web pages that send files; `*` is any. Empty: none. */
  readonly origins: readonly string[]
  /** Whether downloads are sent on to the store. */
  readonly downloads: boolean
  /** Whether the store shall be told to let those pages in. */
  readonly setCors: boolean
}

/** What a store can tell about itself to those who run it. No sentence holds a secret, nor text that the other side has chosen. */
export interface Diagnosis {
  /** Whether the store is there at all. Nothing is written. Takes some seconds at most, and never throws. */
  reach?(): Promise<readonly Check[]>
  /** Why that step failed, and what to do. */
  explain(step: StoreStep, error: unknown): Explanation
  /** What clients, and the gateway on their behalf, do past the calls of the port. Each check takes some seconds at most; never throws. */
  clients?(terms: ClientTerms): AsyncIterable<Check>
}

/** Milliseconds for which an object of a diagnosis is nobody's business. */
export const trialMs = 3_600_000
const trialPattern = /^00\/0-doctor\./

/** A key for an object that goes at once. It is among the first of a listing, and no upload's. */
export const newTrialKey = (): string => `00/0-doctor.${randomBytes(12).toString('hex')}`

/** Whether the object may belong to a diagnosis that runs now, in whatever process. */
export const isTrial = (key: string, since: number): boolean => trialPattern.test(key) && since > Date.now() - trialMs
