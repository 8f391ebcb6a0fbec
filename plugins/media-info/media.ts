import {
  CustomSource,
  Input,
  type InputFormat,
  type InputTrack,
  type InputVideoTrack,
  Logging,
  LogLevel,
  MATROSKA,
  MP4,
  MPEG_TS,
  OGG,
  QTFF,
  WEBM,
} from 'mediabunny'
import { probeAvi } from './avi.ts'
import { findBox, wholeFile } from './boxes.ts'
import type { Found, MediaFile } from './facts.ts'
import { probeFlac } from './flac.ts'
import { probeFrames } from './frames.ts'
import { recordedSeconds } from './matroska.ts'
import { firstPicture, isFragmented, movieSeconds } from './movie.ts'
import { isTransportStream, probeTransportStream } from './mpeg-ts.ts'
import { probeWave } from './wave.ts'

const maxTransportHead = 4 * 1024 * 1024 // bytes in which the streams of an MPEG-TS must show what they are
const maxTracks = 16

Logging.level = LogLevel.Silent

// Never ALL_FORMATS: it has HLS, which fetches what a playlist names.
const formats = [MP4, QTFF, MATROSKA, WEBM, OGG, MPEG_TS]

const containers = ['OggS', '\x1a\x45\xdf\xa3']
const oldMovieBoxes = ['moov', 'mdat', 'wide', 'free', 'skip', 'pnot']

function open(file: MediaFile, size: number): Input {
  const source = new CustomSource({ getSize: () => size, read: (start, end) => file.read(start, end) })
  return new Input({ source, formats })
}

async function codecOf(track: InputTrack): Promise<string | undefined> {
  const codec =
    (await track.getCodecParameterString()) ?? (await track.getCodec()) ?? (await track.getInternalCodecId())
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
    const codec = await codecOf(track).catch(() => undefined)
    if (codec !== undefined) found.codecs.push(codec)
  }
}

/** Seconds of an mp4 or mov by its own header, which knows of edits; undefined when it does not say. */
async function movieHeaderSeconds(file: MediaFile): Promise<number | undefined> {
  const moov = await findBox(file, wholeFile(file), 'moov')
  return moov === undefined || (await isFragmented(file, moov)) ? undefined : movieSeconds(file, moov)
}

async function secondsOf(file: MediaFile, input: Input, format: InputFormat): Promise<number | undefined> {
  const isMovie = format === MP4 || format === QTFF
  const stated = isMovie ? await movieHeaderSeconds(file) : await input.getDurationFromMetadata()
  if (stated) return stated
  // An Ogg is searched by jumping; a fragmented movie has an index at its end, or is walked through from fragment to fragment.
  return isMovie || format === OGG ? input.computeDuration() : recordedSeconds(file)
}

/** A QuickTime file from before there was a file type box, which mediabunny does not take. */
async function probeOldMovie(file: MediaFile, found: Found): Promise<void> {
  const moov = await findBox(file, wholeFile(file), 'moov')
  if (!moov) throw new Error('The file has no movie header.')
  const picture = await firstPicture(file, moov)
  if (picture) Object.assign(found, { width: picture.width, height: picture.height })
  const seconds = await movieSeconds(file, moov)
  if (seconds !== undefined) found.duration = seconds
}

async function probeContainer(file: MediaFile, found: Found): Promise<void> {
  const input = open(file, file.size)
  await probeTracks(input, found) // first, because it reads the index of a movie in one go
  const seconds = await secondsOf(file, input, await input.getFormat())
  if (seconds !== undefined) found.duration = seconds
}

/** Reads what the headers of a film or sound say. */
export async function probeMedia(file: MediaFile, found: Found): Promise<void> {
  const start = await file.read(0, 1024)
  const kind = start.toString('latin1', 0, 4)
  const riff = ['RIFF', 'RF64'].includes(kind) ? start.toString('latin1', 8, 12) : undefined
  if (riff === 'AVI ') return probeAvi(file, found)
  if (riff === 'WAVE') return probeWave(file, found)
  if (isTransportStream(start)) {
    // Two views of one file: what mediabunny cannot read (MPEG-2 video) is no reason to give up.
    await probeTracks(open(file, Math.min(file.size, maxTransportHead)), found).catch(() => {})
    return probeTransportStream(file, found)
  }
  const box = start.toString('latin1', 4, 8)
  if (kind === 'fLaC') return probeFlac(file, found)
  if (box === 'ftyp' || containers.includes(kind)) return probeContainer(file, found)
  if (oldMovieBoxes.includes(box)) return probeOldMovie(file, found)
  return probeFrames(file, found)
}
