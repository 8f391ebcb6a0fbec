import type { NamedType } from '../../src/plugin.ts'

/** Kilobits per second, by the index in a frame's header: of MPEG-1 layers 1, 2 and 3, of MPEG-2 layer 1, of its layers 2 and 3. */
const bitrates: readonly (readonly number[])[] = [
  [],
  [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
]
const mpeg1Rates = [44_100, 48_000, 32_000]

const infoHeaderBytes = new Set([12, 16, 40, 52, 56, 64, 108, 124])
/** OS/2 wrote headers of any length between these, which are believed with the one plane that every bitmap has. */
const os2HeaderBytes = { least: 16, most: 64 }
/** Extension, image, end. */
const gifBlocks = new Set([0x21, 0x2c, 0x3b])
const mostIcons = 256

/** Checks of signatures that are too short to be believed alone. Each gets the whole head bytes, and at least 16 of them. */
const checks: Readonly<Record<string, (head: Buffer) => boolean>> = {
  bmp: (head) => isBitmap(head, 0),
  gif: isGif,
  aif: (head) => /^AIF[FC]$/.test(head.toString('latin1', 8, 12)),
  swf: (head) => (head[3] ?? 0) > 0 && (head[3] ?? 0) <= 60 && head.readUInt32LE(4) >= 8,
  ac3: isAc3,
  ico: isIcon,
  cur: isIcon,
  mts: (head) => inStep(head, 0, 188) || inStep(head, 4, 192),
  mov: isMovie,
  mp1: (head) => isMpegAudio(head),
  mp2: (head) => isMpegAudio(head),
  mp3: (head) => head.toString('latin1', 0, 3) === 'ID3' || isMpegAudio(head),
  aac: isAdts,
}
/** Two bytes and nothing to check: believed when the name says the same. */
const backedByName = new Set(['dmg', 'arj', 'cpio', 'Z', 'jxl'])
const shortestChecked = 16

/** Whether to believe what file-type found: it goes by two bytes for some formats. */
export function confirms(ext: string, head: Buffer, named: readonly NamedType[]): boolean {
  const check = checks[ext]
  if (check) return head.length >= shortestChecked && check(head)
  if (!backedByName.has(ext) || hasLongSignature(ext, head)) return true
  return named.some(({ format }) => format === ext.toLowerCase())
}

const hasLongSignature = (ext: string, head: Buffer): boolean =>
  (ext === 'jxl' && head[0] === 0) || (ext === 'cpio' && head[0] === 0x30)

/** The header, and behind its palette a block that there is. */
function isGif(head: Buffer): boolean {
  const flags = head[10] ?? 0
  const block = head[13 + (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0)]
  return /^GIF8[79]a/.test(head.toString('latin1', 0, 6)) && (block === undefined || gifBlocks.has(block))
}

/** Whether a bitmap of Windows or OS/2 begins there, by the length of its second header. */
export function isBitmap(head: Buffer, at: number): boolean {
  if (head.length < at + 18) return false
  const length = head.readUInt32LE(at + 14)
  if (infoHeaderBytes.has(length)) return true
  if (head.length < at + 28) return false
  return length >= os2HeaderBytes.least && length <= os2HeaderBytes.most && head.readUInt16LE(at + 26) === 1
}

/** First four bytes of an icon's picture: the length of a bitmap's header, or PNG. */
const iconPictures = new Set([12, 40, 64, 108, 124, 0x474e_5089])

/** The list of pictures, with a byte that should be zero; old programs left it as it was, and then a picture must be where the list says. */
function isIcon(head: Buffer): boolean {
  const count = head.readUInt16LE(4)
  if (count === 0 || count > mostIcons || head.length < 22) return false
  const at = head.readUInt32LE(18)
  if (head.readUInt32LE(14) === 0 || at < 6 + 16 * count) return false
  return head[9] === 0 || (at + 4 <= head.length && iconPictures.has(head.readUInt32LE(at)))
}

/** Whether every packet of a transport stream begins with its sync byte. */
function inStep(head: Buffer, first: number, packet: number): boolean {
  for (let at = first; at < Math.min(head.length, first + 6 * packet); at += packet) {
    if (head[at] !== 0x47) return false
  }
  return head.length > first + packet
}

/** The library takes any file with `free`, `mdat`, `moov` or `wide` in bytes 4 to 8 for QuickTime: the box must have a size. */
function isMovie(head: Buffer): boolean {
  if (head.toString('latin1', 4, 8) === 'ftyp') return true
  const size = head.readUInt32BE(0)
  if (size === 1) return true
  if (size !== 0 && size < 8) return false
  return size === 0 || size + 8 > head.length || /^[a-z]{4}$/.test(head.toString('latin1', size + 4, size + 8))
}

/**
 * One frame of MPEG audio, and the next one where it should be.
 *
 * @param whole frames that there must be; without it the next one may lie behind the head bytes
 */
export function isMpegAudio(head: Buffer, whole = 0): boolean {
  let at = 0
  for (let frames = 0; frames < Math.max(2, whole); frames++) {
    if (at + 4 > head.length) return frames > 0 && whole === 0
    const size = mpegFrameBytes(head, at)
    if (size === 0) return false
    at += size
  }
  return true
}

function mpegFrameBytes(head: Buffer, at: number): number {
  const header = head.readUInt32BE(at)
  const version = (header >>> 19) & 3
  const layer = 4 - ((header >>> 17) & 3)
  const rate = mpeg1Rates[(header >>> 10) & 3]
  if (header >>> 21 !== 0x7ff || version === 1 || layer === 4 || rate === undefined) return 0
  const table = version === 3 ? bitrates[layer] : bitrates[layer === 1 ? 4 : 5]
  const bits = (table?.[(header >>> 12) & 15] ?? 0) * 1000
  if (bits === 0) return 0
  const sampleRate = version === 3 ? rate : version === 2 ? rate / 2 : rate / 4
  const padding = (header >>> 9) & 1
  if (layer === 1) return (Math.floor((12 * bits) / sampleRate) + padding) * 4
  return Math.floor(((layer === 3 && version !== 3 ? 72 : 144) * bits) / sampleRate) + padding
}

/** The sync word of AC-3 or E-AC-3, and a bit stream version that there is. */
export function isAc3(sound: Buffer): boolean {
  return (
    sound.length >= 6 && sound.readUInt16BE(0) === 0x0b77 && (sound[4] ?? 0) >> 6 !== 3 && (sound[5] ?? 0) >> 3 <= 16
  )
}

/** One ADTS frame, and the next one where it should be. Wants 7 bytes. */
export function isAdts(head: Buffer): boolean {
  const size = ((head.readUInt32BE(3) >>> 13) & 0x7ff) | (((head[3] ?? 0) & 3) << 11)
  const next = head.readUInt16BE(0) & 0xfff6
  if (size < 7 || next !== 0xfff0) return false
  return size + 2 > head.length || (head.readUInt16BE(size) & 0xfff6) === 0xfff0
}
