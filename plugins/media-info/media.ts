import {
  CustomSource,
  FLAC,
  Input,
  type InputTrack,
  type InputVideoTrack,
  Logging,
  LogLevel,
  MATROSKA,
  MP4,
  MPEG_TS,
  OGG,
  QTFF,
  WAVE,
  WEBM,
} from 'mediabunny'
import { probeAvi } from './avi.ts'
import { findBox, wholeFile } from './boxes.ts'
import type { Found, MediaFile } from './facts.ts'
import { probeFrames } from './frames.ts'
import { isFragmented, movieSeconds } from './movie.ts'
import { isTransportStream, probeTransportStream } from './mpeg-ts.ts'

const maxScan = 16 * 1024 * 1024 // bytes; a file without a length in its header is read through when it is no larger
const maxTransportHead = 4 * 1024 * 1024 // bytes in which the streams of an MPEG-TS must show what they are
const maxTracks = 16

Logging.level = LogLevel.Silent

// Never ALL_FORMATS: it has HLS, which fetches what a playlist names.
const formats = [MP4, QTFF, MATROSKA, WEBM, WAVE, OGG, FLAC, MPEG_TS]

const containers = ['RIFF', 'RIFX', 'RF64', 'OggS', 'fLaC', '\x1a\x45\xdf\xa3']
const movieBoxes = ['ftyp', 'styp', 'moov', 'mdat', 'wide', 'free', 'skip']

function open(file: MediaFile, size: number): Input {
  const source = new CustomSource({ getSize: () => size, read: (start, end) => file.read(start, end) })
  return new Input({ source, formats })
}

async function codecOf(track: InputTrack): Promise<string | undefined> {
  const codec = (await track.getCodecParameterString()) ?? (await track.getCodec()) ?? (await track.getInternalCodecId())
  return typeof codec === 'string' ? codec : undefined
}

async function setSize(track: InputVideoTrack, found: Found): Promise<void> {
  Object.assign(found, { width: await track.getDisplayWidth(), height: await track.getDisplayHeight() })
}

/** Size and codecs; what one track does not tell is left out. */
async function probeTracks(input: Input, found: Found): Promise<void> {
  const tracks = (await input.getTracks()).slice(0, maxTracks)
  for (const track of tracks) {
    if (track.isVideoTrack() && found.width === undefined) await setSize(track, found)
  }
  found.codecs = []
  for (const track of tracks) {
    const codec = await codecOf(track)
    if (codec !== undefined) found.codecs.push(codec)
  }
}

/** Seconds of an mp4 or mov by its own header; undefined when it is another format or does not say. */
async function statedMovieSeconds(file: MediaFile): Promise<number | undefined> {
  const moov = await findBox(file, wholeFile(file), 'moov')
  return moov === undefined || (await isFragmented(file, moov)) ? undefined : movieSeconds(file, moov)
}

async function probeContainer(file: MediaFile, found: Found): Promise<void> {
  const input = open(file, file.size)
  const format = await input.getFormat()
  const isMovie = format === MP4 || format === QTFF
  const stated = isMovie ? await statedMovieSeconds(file) : await input.getDurationFromMetadata()
  if (stated) found.duration = stated
  await probeTracks(input, found)
  // An Ogg is asked by jumping, a fragmented film has an index at its end; the others are read through.
  if (!stated && (isMovie || format === OGG || file.size <= maxScan)) found.duration = await input.computeDuration()
}

/** Reads what the headers of a film or sound say. */
export async function probeMedia(file: MediaFile, found: Found): Promise<void> {
  const start = await file.read(0, 1024)
  const kind = start.toString('latin1', 0, 4)
  if (kind === 'RIFF' && start.toString('latin1', 8, 12) === 'AVI ') return probeAvi(file, found)
  if (isTransportStream(start)) {
    // Two views of one file: what mediabunny cannot read (MPEG-2 video) is no reason to give up.
    await probeTracks(open(file, Math.min(file.size, maxTransportHead)), found).catch(() => {})
    return probeTransportStream(file, found)
  }
  const isContainer = containers.includes(kind) || movieBoxes.includes(start.toString('latin1', 4, 8))
  if (!isContainer && (await probeFrames(file, found))) return
  return probeContainer(file, found)
}
