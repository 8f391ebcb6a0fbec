import {
  CustomSource,
  FLAC,
  Input,
  type InputTrack,
  Logging,
  LogLevel,
  MATROSKA,
  MP4,
  MPEG_TS,
  QTFF,
  WEBM,
} from 'mediabunny'
import { isAsf, probeAsf } from './asf.ts'
import { probeAvi } from './avi.ts'
import { probeAac, probeAmr, probeDolby } from './coded-sounds.ts'
import type { Found, MediaFile, Probe } from './facts.ts'
import { behindTags } from './frames.ts'
import { recordedSeconds } from './matroska.ts'
import { probeMovie } from './movie.ts'
import { probeMpegAudio } from './mpeg-audio.ts'
import { isTransportStream, probeTransportStream } from './mpeg-ts.ts'
import { probeOgg } from './ogg.ts'
import { probeWave } from './wave.ts'

const maxTransportHead = 4 * 1024 * 1024 // bytes in which the streams of an MPEG-TS must show what they are
const maxWalk = 16 * 1024 * 1024 // bytes of a row of frames that are counted; a longer file is estimated from them
const maxTracks = 16

Logging.level = LogLevel.Silent

// Never ALL_FORMATS: it has HLS, which fetches what a playlist names.
const formats = [MP4, QTFF, MATROSKA, WEBM, FLAC, MPEG_TS]

function open(file: MediaFile): Input {
  const source = new CustomSource({ getSize: () => file.size, read: (start, end) => file.read(start, end) })
  return new Input({ source, formats })
}

/** The beginning of a file without an index, to be read in order: 20 times as fast as by single frames. */
function openBeginning(file: MediaFile, size: number): Input {
  const read = (start: number, end: number) => file.read(start, end)
  return new Input({ source: new CustomSource({ getSize: () => size, read, prefetchProfile: 'network' }), formats })
}

async function codecOf(track: InputTrack): Promise<string | undefined> {
  const codec =
    (await track.getCodecParameterString()) ?? (await track.getCodec()) ?? (await track.getInternalCodecId())
  return typeof codec === 'string' ? codec : undefined
}

/** Size and codecs; what one track does not tell is left out. */
async function probeTracks(input: Input, found: Found): Promise<void> {
  const tracks = (await input.getTracks()).slice(0, maxTracks)
  for (const track of tracks) {
    if (!track.isVideoTrack() || found.width !== undefined) continue
    Object.assign(found, { width: await track.getDisplayWidth(), height: await track.getDisplayHeight() })
  }
  found.codecs = []
  for (const track of tracks) {
    const codec = await codecOf(track).catch(() => undefined)
    if (codec !== undefined) found.codecs.push(codec)
  }
}

/** Seconds of a row of frames without an index, each of which has a header. */
async function countedSeconds(file: MediaFile): Promise<number> {
  const walked = Math.min(file.size, maxWalk)
  return ((await openBeginning(file, walked).computeDuration()) * file.size) / walked
}

async function secondsOf(file: MediaFile, input: Input): Promise<number | null | undefined> {
  switch (await input.getFormat()) {
    case FLAC: // one that went through a pipe does not know how long it is
      return (await input.getDurationFromMetadata()) ?? countedSeconds(file)
    default:
      return (await input.getDurationFromMetadata()) ?? recordedSeconds(file)
  }
}

/** What the library can read from end to end: Matroska, WebM, FLAC. */
async function probeWithLibrary(file: MediaFile, found: Found): Promise<void> {
  const input = open(file)
  await probeTracks(input, found)
  const seconds = await secondsOf(file, input)
  if (typeof seconds === 'number') found.duration = seconds
}

/** MP4 and QuickTime: the library knows more codecs, and the boxes speak for themselves where it throws. */
async function probeBoxes(file: MediaFile, found: Found): Promise<void> {
  await probeTracks(open(file), found).catch(() => {}) // first, because it reads the index of a movie in one go
  await probeMovie(file, found)
}

async function probeStream(file: MediaFile, found: Found): Promise<void> {
  // Two views of one file: what mediabunny cannot read (MPEG-2 video) is no reason to give up.
  await probeTracks(openBeginning(file, Math.min(file.size, maxTransportHead)), found).catch(() => {})
  return probeTransportStream(file, found)
}

/** By the first bytes, in Latin-1. A QuickTime film needs no `ftyp`. */
const byStart: readonly (readonly [start: RegExp, probe: Probe])[] = [
  [/^RIFF.{4}AVI /s, probeAvi],
  [/^(?:RIF[FX]|RF64|BW64).{4}WAVE/s, probeWave],
  [/^.{4}(?:ftyp|styp|moov|mdat|wide|free|skip|pnot)/s, probeBoxes],
  [/^OggS\0/, probeOgg],
  [/^#!AMR/, probeAmr],
  [/^(?:.E\xdf\xa3|fLaC)/s, probeWithLibrary],
]

/** Reads what the headers of a film or sound say. */
export async function probeMedia(file: MediaFile, found: Found): Promise<void> {
  const start = await file.read(0, 1024)
  const text = start.toString('latin1')
  const probe = byStart.find(([pattern]) => pattern.test(text))?.[1]
  if (probe) return probe(file, found)
  if (isAsf(start)) return probeAsf(file, found)
  if (isTransportStream(start)) return probeStream(file, found)
  const sound = await behindTags(file)
  if ((await file.read(sound, sound + 4)).toString('latin1') === 'fLaC') return probeWithLibrary(file, found)
  for (const probeSound of [probeAac, probeDolby, probeMpegAudio]) if (await probeSound(file, found, sound)) return
  throw new Error('No format is known that begins so.')
}
