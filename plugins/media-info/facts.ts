import type { Properties } from '../../src/plugin.ts'

/** What a parser has found so far. It fills this in as it goes, so that what it knew before it gave up is kept. */
export interface Found {
  width?: number
  height?: number
  /** Seconds. */
  duration?: number
  codecs?: string[]
  pages?: number
}

/** A file as the parsers see it. */
export interface MediaFile {
  /** Bytes. */
  readonly size: number
  /** Bytes `start` to `end` (exclusive), cut at the file's end. */
  read(start: number, end: number): Promise<Buffer>
  /** Path of the file on this machine; a large one is refused. */
  path(): Promise<string>
}

/** Fills in what it finds; throws where the file makes no sense. */
export type Probe = (file: MediaFile, found: Found) => Promise<void>

export type Facts = Required<Pick<Properties, keyof Found>>

const maxPixels = 2 ** 31 // of one side
const maxSeconds = 10 * 365 * 86_400
const maxPages = 2 ** 31
const maxCodecs = 16
const maxCodecLength = 64 // characters

const within = (value: unknown, least: number, most: number): number | null =>
  typeof value === 'number' && value >= least && value <= most ? value : null

const whole = (value: unknown, most: number): number | null => {
  const rounded = within(value, 0.5, most)
  return rounded === null ? null : Math.round(rounded)
}

/** Keeps what can be true. A width without a height, or the reverse, is dropped. */
export function checkedFacts(found: Readonly<Partial<Record<keyof Found, unknown>>>): Facts {
  const width = whole(found.width, maxPixels)
  const height = whole(found.height, maxPixels)
  const duration = within(found.duration, 0.0005, maxSeconds)
  const codecs = (Array.isArray(found.codecs) ? found.codecs : [])
    .filter((codec): codec is string => typeof codec === 'string' && codec.length <= maxCodecLength)
    .filter((codec) => /^[\x21-\x7e]+$/.test(codec))
    .slice(0, maxCodecs)
  return {
    width: height === null ? null : width,
    height: width === null ? null : height,
    duration: duration === null ? null : Math.round(duration * 1000) / 1000,
    codecs: codecs.length > 0 ? codecs : null,
    pages: whole(found.pages, maxPages),
  }
}
