import { type BinaryType, type Bytes, typeOf } from './bytes.ts'
import { isAc3, isAdts, isMpegAudio } from './confirm.ts'

const headerBytes = 10
const footerBytes = 10
/** Tags one behind another. */
const mostTags = 4
/** Bytes behind the tags that are looked at: a frame, and the next one. */
const soundBytes = 16 * 1024

const mp3 = typeOf('mp3')
const flac = typeOf('flac')
const aac = typeOf('aac')
const ac3 = typeOf('ac3')
const ape = typeOf('ape')
const wavpack = typeOf('wv')
const musepack = typeOf('mpc')
const taggedTypes = [mp3, flac, aac, ac3, ape, wavpack, musepack]

/** Bytes of an ID3v2 tag, version 2 to 4, whose size is four bytes below 0x80; 0 when there is none. */
export function id3TagBytes(bytes: Buffer): number {
  const version = bytes[3] ?? 0
  const sizes = bytes.subarray(6, headerBytes)
  const isTag = bytes.toString('latin1', 0, 3) === 'ID3' && version >= 2 && version <= 4
  if (!isTag || sizes.length < 4 || !sizes.every((byte) => byte < 0x80)) return 0
  const hasFooter = version === 4 && ((bytes[5] ?? 0) & 0x10) !== 0
  return headerBytes + sizes.reduce((sum, byte) => sum * 128 + byte, 0) + (hasFooter ? footerBytes : 0)
}

/** A tag makes an MP3 of whatever follows, but for the other formats of sound that carry one. */
export async function behindId3Tags(bytes: Bytes): Promise<BinaryType> {
  let at = 0
  for (let i = 0; i < mostTags; i++) {
    const header = await bytes.read(at, headerBytes)
    if (!header) return bytes.whole ? mp3 : { ...mp3, mayBe: taggedTypes }
    const tag = id3TagBytes(header)
    if (tag === 0) break
    at += tag
  }
  const sound = await bytes.read(at, soundBytes)
  if (sound) return untagged(sound)
  // as much as the head bytes have
  const inHead = bytes.head.subarray(at)
  return bytes.whole || inHead.length >= headerBytes ? untagged(inHead) : { ...mp3, mayBe: taggedTypes }
}

function untagged(sound: Buffer): BinaryType {
  const start = sound.toString('latin1', 0, 4)
  if (start === 'fLaC') return flac
  if (start === 'MAC ') return ape
  if (start === 'wvpk') return wavpack
  if (start === 'MPCK' || start.startsWith('MP+')) return musepack
  if (sound.length >= 7 && isAdts(sound)) return aac
  return isAc3(sound) ? ac3 : mp3
}

/** Frames that must follow zeros before they are taken for sound. */
const paddedFrames = 3

/** MPEG audio that begins with zeros, as some encoders and cutters leave it. */
export function paddedMpegAudio(head: Buffer): BinaryType | undefined {
  const start = head[0] === 0 ? head.findIndex((byte) => byte !== 0) : -1
  return start > 0 && isMpegAudio(head.subarray(start), paddedFrames) ? mp3 : undefined
}
