import { type Box, boxes, boxesIn, findBox } from './boxes.ts'
import type { MediaFile } from './facts.ts'
import type { Track } from './movie.ts'

const maxWalk = 32 * 1024 * 1024 // bytes of a film that is walked through; of a larger one the end tells, when its fragments have times
const tails = [1024 * 1024, 8 * 1024 * 1024, 16 * 1024 * 1024] // bytes at the end in which the last fragments are looked for
const maxFragments = 200_000 // boxes on the top level
const maxFragmentBytes = 1024 * 1024 // of the boxes of one fragment
const maxEntries = 1_000_000 // samples and rows of tables in all
const maxTries = 100 // places at the end that look like a fragment

interface Line {
  readonly timescale: number
  /** Ticks of a sample that says nothing else. */
  readonly usual: number
  /** Ticks by which an edit moves the track. */
  readonly shift: number
  /** Ticks behind the last sample so far, in the order of decoding. */
  next: number
  /** Ticks of the first and behind the last sample, as they are shown. */
  first: number
  last: number
}

type Lines = ReadonlyMap<number, Line>

/** Counts what is looked at, so that a file of nothing but tables has an end. */
class Steps {
  #left = maxEntries

  take(count: number): void {
    this.#left -= count
    if (this.#left < 0) throw new Error('The film has too many entries.')
  }
}

/** Rows of a table of `width` bytes, behind its count. */
async function* rows(file: MediaFile, box: Box | undefined, width: number, steps: Steps): AsyncGenerator<Buffer> {
  if (!box) return
  const bytes = await file.read(box.start, box.end)
  const count = Math.min(bytes.readUInt32BE(4), Math.floor((bytes.length - 8) / width))
  steps.take(count)
  for (let i = 0; i < count; i++) yield bytes.subarray(8 + i * width, 8 + (i + 1) * width)
}

/** The samples that the movie itself has, before any fragment. */
async function ownTicks(file: MediaFile, track: Track, steps: Steps): Promise<Pick<Line, 'next' | 'first' | 'last'>> {
  const table = (type: string) => findBox(file, track.box, 'mdia', 'minf', 'stbl', type)
  let ticks = 0
  for await (const row of rows(file, await table('stts'), 8, steps)) ticks += row.readUInt32BE(0) * row.readUInt32BE(4)
  if (ticks === 0) return { next: 0, first: Infinity, last: 0 }
  const offsets = await table('ctts') // between decoding and showing; all of them are late by the first
  const late = offsets ? (await file.read(offsets.start + 12, offsets.start + 16)).readInt32BE(0) : 0
  return { next: ticks, first: late, last: ticks + late }
}

/** Ticks by which the first edits move the track: pauses before it to later, what is cut off to earlier. */
async function shiftOf(file: MediaFile, track: Track, movieScale: number): Promise<number> {
  const list = await findBox(file, track.box, 'edts', 'elst')
  if (!list) return 0
  const bytes = await file.read(list.start, Math.min(list.end, list.start + 64))
  const isLong = bytes[0] === 1
  const width = isLong ? 20 : 12
  let pause = 0
  for (let at = 8; at + width <= bytes.length; at += width) {
    const length = isLong ? Number(bytes.readBigUInt64BE(at)) : bytes.readUInt32BE(at)
    const from = isLong ? Number(bytes.readBigInt64BE(at + 8)) : bytes.readInt32BE(at + 4)
    if (from >= 0) return pause - from
    if (movieScale > 0) pause += (length / movieScale) * track.timescale
  }
  return pause
}

async function startLines(
  file: MediaFile,
  moov: Box,
  extension: Box | undefined,
  tracks: readonly Track[],
  steps: Steps,
): Promise<{ lines: Lines; movieScale: number }> {
  const header = await findBox(file, moov, 'mvhd')
  const movieBytes = header ? await file.read(header.start, header.start + 24) : Buffer.alloc(24)
  const movieScale = movieBytes.readUInt32BE(movieBytes[0] === 1 ? 20 : 12)
  const usual = new Map<number, number>()
  for await (const { type, start } of extension ? boxes(file, extension.start, extension.end) : []) {
    if (type !== 'trex') continue
    const bytes = await file.read(start, start + 16)
    usual.set(bytes.readUInt32BE(4), bytes.readUInt32BE(12))
  }
  const lines = new Map<number, Line>()
  for (const track of tracks) {
    const { id, timescale, kind } = track
    if (timescale === 0 || (kind !== 'vide' && kind !== 'soun')) continue
    const shift = await shiftOf(file, track, movieScale)
    lines.set(id, { timescale, usual: usual.get(id) ?? 0, shift, ...(await ownTicks(file, track, steps)) })
  }
  return { lines, movieScale }
}

/** Adds the samples of one run to a track. */
function addRun(bytes: Buffer, at: number, usual: number, line: Line, steps: Steps): void {
  const flags = bytes.readUIntBE(at + 1, 3)
  const count = bytes.readUInt32BE(at + 4)
  const [hasTicks, hasOffset] = [(flags & 0x100) !== 0, (flags & 0x800) !== 0]
  const width = [0x100, 0x200, 0x400, 0x800].filter((flag) => flags & flag).length * 4
  let entry = at + 8 + ((flags & 1) !== 0 ? 4 : 0) + ((flags & 4) !== 0 ? 4 : 0)
  const many = width === 0 ? Math.min(count, 1) : count // samples that say nothing are one long one
  steps.take(1 + Math.min(many, bytes.length))
  for (let i = 0; i < many; i++, entry += width) {
    const ticks = width === 0 ? usual * count : hasTicks ? bytes.readUInt32BE(entry) : usual
    const shown = line.next + (hasOffset ? bytes.readInt32BE(entry + width - 4) : 0)
    line.first = Math.min(line.first, shown)
    line.last = Math.max(line.last, shown + ticks)
    line.next += ticks
  }
}

/** Adds a fragment. Without a time of its own it follows the one before. */
function addFragment(bytes: Buffer, lines: Lines, steps: Steps, needsTimes: boolean): void {
  for (const part of boxesIn(bytes)) {
    if (part.type !== 'traf') continue
    let line: Line | undefined
    let usual = 0
    let hasTime = false
    for (const { type, start } of boxesIn(bytes, part.start, part.end)) {
      if (type === 'tfhd') {
        const flags = bytes.readUIntBE(start + 1, 3)
        line = lines.get(bytes.readUInt32BE(start + 4))
        const at = start + 8 + ((flags & 1) !== 0 ? 8 : 0) + ((flags & 2) !== 0 ? 4 : 0)
        usual = (flags & 8) !== 0 ? bytes.readUInt32BE(at) : (line?.usual ?? 0)
      } else if (type === 'tfdt' && line) {
        line.next = bytes[start] === 1 ? Number(bytes.readBigUInt64BE(start + 4)) : bytes.readUInt32BE(start + 4)
        hasTime = true
      } else if (type === 'trun' && line) {
        if (needsTimes && !hasTime) throw new RangeError('The fragment has no time.')
        addRun(bytes, start, usual, line, steps)
      }
    }
  }
}

/** Adds every fragment from an offset on; a box that is cut is the end. */
async function walk(file: MediaFile, from: number, lines: Lines, steps: Steps, most = maxFragments): Promise<void> {
  for await (const { type, start, end } of boxes(file, from, file.size, maxFragments)) {
    if (type !== 'moof') continue
    addFragment(await file.read(start, Math.min(end, start + maxFragmentBytes)), lines, steps, false)
    if (--most <= 0) return
  }
}

/** Adds the fragments in the last bytes. Whether it found some, which had times. */
async function addTail(file: MediaFile, length: number, lines: Lines, steps: Steps): Promise<boolean> {
  const tail = await file.read(file.size - length, file.size)
  let isFound = false
  let at = tail.lastIndexOf('moof', undefined, 'latin1')
  for (let tries = 0; at >= 4 && tries < maxTries; tries++) {
    try {
      const size = tail.readUInt32BE(at - 4)
      if (size < 16 || size > maxFragmentBytes) throw new RangeError('Not a fragment.')
      addFragment(tail.subarray(at + 4, at - 4 + size), lines, steps, true)
      isFound ||= [...lines.values()].some(({ last }) => last > 0)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error // the bytes of a picture that look like a fragment
    }
    at = tail.lastIndexOf('moof', at - 1, 'latin1')
  }
  return isFound
}

/** From the first to the end of the last sample shown. */
function secondsBetween(lines: Lines): number | undefined {
  const all = [...lines.values()].filter(({ first }) => first !== Infinity)
  const first = Math.min(...all.map((line) => (line.first + line.shift) / line.timescale))
  const last = Math.max(...all.map((line) => (line.last + line.shift) / line.timescale))
  return last > first ? last - Math.max(0, first) : undefined
}

/** Seconds of a film in fragments, of which the movie itself may hold the first; without any, of its own samples. */
export async function fragmentSeconds(
  file: MediaFile,
  moov: Box,
  extension: Box | undefined,
  tracks: readonly Track[],
): Promise<number | undefined> {
  const steps = new Steps()
  const { lines, movieScale } = await startLines(file, moov, extension, tracks, steps)
  if (!extension || lines.size === 0) return secondsBetween(lines)
  const isShort = file.size - moov.end <= maxWalk
  await walk(file, moov.end, lines, steps, isShort ? maxFragments : lines.size).catch(unlessCut)
  if (isShort) return secondsBetween(lines)
  for (const length of tails) if (await addTail(file, length, lines, steps)) return secondsBetween(lines)
  return statedSeconds(file, extension, movieScale)
}

/** Seconds that the movie says its fragments will have taken. */
async function statedSeconds(file: MediaFile, extension: Box, movieScale: number): Promise<number | undefined> {
  const header = await findBox(file, extension, 'mehd')
  if (!header || movieScale === 0) return undefined
  const bytes = await file.read(header.start, header.start + 12)
  return (bytes[0] === 1 ? Number(bytes.readBigUInt64BE(4)) : bytes.readUInt32BE(4)) / movieScale
}

function unlessCut(error: unknown): void {
  if (!(error instanceof RangeError)) throw error
}
