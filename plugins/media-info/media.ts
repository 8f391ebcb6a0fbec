import {
  ADTS,
  CustomSource,
  FLAC,
  Input,
  type InputTrack,
  Logging,
  LogLevel,
  MATROSKA,
  MP3,
  MP4,
  MPEG_TS,
  OGG,
  QTFF,
  WAVE,
  WEBM,
} from 'mediabunny'
import { probeAvi } from './avi.ts'
import type { Found, MediaFile } from './facts.ts'
import { recordedSeconds } from './matroska.ts'
import { movieSeconds } from './movie.ts'
import { isTransportStream, probeTransportStream } from './mpeg-ts.ts'

const maxTransportHead = 4 * 1024 * 1024 // bytes in which the streams of an MPEG-TS must show what they are
const maxWalk = 16 * 1024 * 1024 // bytes of a row of frames that are counted; a longer file is estimated from them
const xingBytes = 64 * 1024 // in which an MP3 that counts its frames says so
const maxTracks = 16

Logging.level = LogLevel.Silent

// Never ALL_FORMATS: it has HLS, which fetches what a playlist names.
const formats = [MP4, QTFF, MATROSKA, WEBM, OGG, WAVE, FLAC, MPEG_TS, MP3, ADTS]

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

/** Seconds of a film in fragments, which has an index at the end or is walked through. Some begin later than at zero. */
async function fragmentSeconds(input: Input): Promise<number> {
  return (await input.computeDuration()) - Math.max(0, await input.getFirstTimestamp())
}

/** Without the number of its frames, mediabunny would take the first bit rate of an MP3 for the rate of all of it. */
async function knowsItsFrames(file: MediaFile): Promise<boolean> {
  return /Xing|Info/.test((await file.read(0, xingBytes)).toString('latin1'))
}

async function secondsOf(file: MediaFile, input: Input): Promise<number | null | undefined> {
  switch (await input.getFormat()) {
    case MP4:
    case QTFF:
      return (await movieSeconds(file)) ?? fragmentSeconds(input)
    case OGG:
      return input.computeDuration() // by jumping
    case ADTS:
      return countedSeconds(file)
    case FLAC: // one that went through a pipe does not know how long it is
      return (await input.getDurationFromMetadata()) ?? countedSeconds(file)
    case MP3:
      return file.size > maxWalk || (await knowsItsFrames(file))
        ? input.getDurationFromMetadata()
        : countedSeconds(file)
    case MATROSKA:
    case WEBM:
      return (await input.getDurationFromMetadata()) ?? recordedSeconds(file)
    default:
      return input.getDurationFromMetadata()
  }
}

/** Reads what the headers of a film or sound say. */
export async function probeMedia(file: MediaFile, found: Found): Promise<void> {
  const start = await file.read(0, 1024)
  if (start.toString('latin1', 0, 4) === 'RIFF' && start.toString('latin1', 8, 12) === 'AVI ') {
    return probeAvi(file, found)
  }
  if (isTransportStream(start)) {
    // Two views of one file: what mediabunny cannot read (MPEG-2 video) is no reason to give up.
    await probeTracks(openBeginning(file, Math.min(file.size, maxTransportHead)), found).catch(() => {})
    return probeTransportStream(file, found)
  }
  const input = open(file)
  await probeTracks(input, found) // first, because it reads the index of a movie in one go
  const seconds = await secondsOf(file, input)
  if (typeof seconds === 'number') found.duration = seconds
}
