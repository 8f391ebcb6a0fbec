import type { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { type Check, type Explanation, failed, passed } from '../../uploads/diagnosis.ts'

/** Milliseconds by which the clocks may differ. Servers refuse signatures that are 15 minutes off. */
const mostSkewMs = 60_000
/** Milliseconds: a Date header has whole seconds. */
const halfSecond = 500

export interface ClockCheck {
  /** Milliseconds by which the server's clock is ahead of ours; nothing when it did not tell. */
  skewMs(): number | undefined
  check(): Check
}

/** Reads the time that the answer to a command carries, whatever the answer is. */
export function clockCheck(stack: ListObjectsV2Command['middlewareStack']): ClockCheck {
  let skew: number | undefined
  stack.add(
    (next) => async (args) => {
      const before = Date.now()
      const result = await next(args)
      const told = dateOf(result.response)
      if (told !== undefined) skew = told + halfSecond - (before + Date.now()) / 2
      return result
    },
    // Next to the wire: an answer that is an error becomes one further out.
    { step: 'deserialize', priority: 'low' },
  )
  return {
    skewMs: () => skew,
    check: () =>
      skew === undefined || Math.abs(skew) <= mostSkewMs
        ? passed('store.clock')
        : failed('store.clock', explainClock(skew)),
  }
}

export function explainClock(skewMs: number | undefined): Explanation {
  return {
    detail:
      skewMs === undefined || Math.abs(skewMs) <= mostSkewMs
        ? "This machine's clock and the S3 server's differ too much for it (RequestTimeTooSkewed)."
        : `The clock of this machine is ${spanText(Math.abs(skewMs))} ${skewMs > 0 ? 'behind' : 'ahead of'} the S3 server's: it refuses requests, or soon will.`,
    remedy: 'Set both clocks by NTP.',
  }
}

function spanText(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  if (seconds < 120) return `${seconds} seconds`
  return seconds < 7_200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3_600)} hours`
}

function dateOf(response: unknown): number | undefined {
  if (typeof response !== 'object' || response === null || !('headers' in response)) return undefined
  const { headers } = response
  if (typeof headers !== 'object' || headers === null || !('date' in headers)) return undefined
  const time = Date.parse(String(headers.date))
  return Number.isNaN(time) ? undefined : time
}
