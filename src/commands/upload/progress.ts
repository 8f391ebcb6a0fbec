import { oneLine } from '../../../config/error.ts'
import { bytesText } from '../../bytes-text.ts'

/** Characters of a name that are shown. */
const nameCharacters = 120
/** A line for each so much of a file … */
const stepPercent = 10
/** … but at least so often, and not more often (milliseconds). */
const quietMs = 10_000
const busyMs = 1_000
/** Milliseconds over which the rate is measured. */
const rateWindowMs = 5_000
const sampleMs = 100
/** A rate over less says nothing. */
const shortestMs = 250

/** Hears how one file gets on. */
export interface FileProgress {
  /** A try begins: whatever was sent and not acknowledged counts for nothing. */
  begins(): void
  /** An earlier run had brought so many bytes. */
  resumes(bytes: number): void
  /** So many bytes are there or on their way. */
  at(bytes: number): void
  waits(why: string, ms: number): void
  /** It is there, or nothing more is done about it. */
  ends(isDone: boolean): void
}

/** Shows people what goes on. */
export interface Progress {
  file(named: string, size: number): FileProgress
  /** A line of its own. */
  note(text: string): void
  /** A file was not sent. */
  failed(named: string, why: string): void
  close(): void
}

export type Write = (text: string) => void

/** A name as it can be shown. */
export const shownName = (named: string): string => oneLine(named, nameCharacters)

const two = (value: number): string => String(value).padStart(2, '0')

/** Such as `1:05`, or `2:00:05`. */
export function timeText(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

export const percent = (bytes: number, size: number): number =>
  size === 0 ? 100 : Math.min(100, Math.floor((bytes / size) * 100))

export interface Meter {
  add(bytes: number): void
  /** Bytes in a second, lately. */
  rate(): number
}

export function meter(now: () => number = Date.now): Meter {
  let samples: { readonly at: number; readonly bytes: number }[] = []
  const begun = now()
  const recent = (): typeof samples => samples.filter(({ at }) => now() - at < rateWindowMs)
  return {
    add(bytes) {
      const last = samples.at(-1)
      if (last && now() - last.at < sampleMs) samples[samples.length - 1] = { at: last.at, bytes: last.bytes + bytes }
      else samples = [...recent(), { at: now(), bytes }]
    },
    rate() {
      const bytes = recent().reduce((sum, sample) => sum + sample.bytes, 0)
      return (bytes * 1_000) / Math.min(rateWindowMs, Math.max(now() - begun, shortestMs))
    },
  }
}

/** Where a file is, and how many of its bytes were sent by this run. */
export interface Position {
  readonly bytes: number
  begins(): void
  /** Returns how many bytes were sent since the last call. */
  at(bytes: number): number
}

export function position(): Position {
  let bytes = 0
  let isFirst = true
  return {
    get bytes() {
      return bytes
    },
    begins() {
      isFirst = true
    },
    at(now) {
      const sent = isFirst ? 0 : Math.max(0, now - bytes)
      isFirst = false
      bytes = now
      return sent
    },
  }
}

export const noteLine = (text: string): string => `fairlead: ${oneLine(text)}\n`

export const failureLine = (named: string, why: string): string => `fairlead: ${shownName(named)}: ${oneLine(why)}\n`

export const waitText = (why: string, ms: number): string => `${why}: waits ${Math.round(ms / 1_000)} s`

const nothing = (): void => {}

/** Says nothing but what went wrong. */
export function quiet(write: Write): Progress {
  return {
    file: () => ({ begins: nothing, resumes: nothing, at: nothing, waits: nothing, ends: nothing }),
    note: (text) => write(noteLine(text)),
    failed: (named, why) => write(failureLine(named, why)),
    close: nothing,
  }
}

/** Lines, for logs and pipes. */
export function plain(write: Write, now: () => number = Date.now): Progress {
  return {
    ...quiet(write),
    file(named, size) {
      const where = position()
      const sent = meter(now)
      const begun = now()
      let toldAt = begun
      let toldPercent = 0
      let total = 0
      const say = (text: string): void => {
        toldAt = now()
        write(`${shownName(named)}: ${text}\n`)
      }
      say(`begins, ${bytesText(size)}`)
      return {
        begins: () => where.begins(),
        resumes(bytes) {
          toldPercent = percent(bytes, size)
          say(`goes on at ${toldPercent} %, ${bytesText(bytes)} are there`)
        },
        at(bytes) {
          const more = where.at(bytes)
          total += more
          sent.add(more)
          const done = percent(bytes, size)
          const quietFor = now() - toldAt
          if (done >= 100 || quietFor < busyMs) return
          if (quietFor < quietMs && done < toldPercent + stepPercent) return
          toldPercent = done - (done % stepPercent)
          say(`${done} %, ${bytesText(bytes)}, ${bytesText(sent.rate())}/s`)
        },
        waits: (why, ms) => say(oneLine(waitText(why, ms))),
        ends(isDone) {
          const ms = Math.max(1, now() - begun)
          if (isDone) say(`done in ${timeText(ms)}, ${bytesText(total)} sent, ${bytesText((total * 1_000) / ms)}/s`)
        },
      }
    },
  }
}
