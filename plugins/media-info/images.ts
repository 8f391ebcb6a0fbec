import type { Found, MediaFile, Probe } from './facts.ts'
import { probeGif } from './gif.ts'
import { probeHeif } from './heif.ts'
import { probeSvg } from './svg.ts'
import { exifOrientation, isSideways, probeTiff } from './tiff.ts'

const maxSegments = 10_000 // of a JPEG, before its frame header
const maxChunks = 100_000 // of a PNG or WebP

/** Sets the size as stored, then as displayed: an orientation that cannot be read leaves it upright. */
async function setOriented(file: MediaFile, found: Found, width: number, height: number, exifAt?: number) {
  Object.assign(found, { width, height })
  if (exifAt === undefined) return
  if (isSideways(await exifOrientation(file, exifAt))) Object.assign(found, { width: height, height: width })
}

const isFrameHeader = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
const standsAlone = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)

async function probeJpeg(file: MediaFile, found: Found): Promise<void> {
  let exifAt: number | undefined
  let at = 2
  for (let count = 0; count < maxSegments; count++) {
    const segment = await file.read(at, at + 10)
    const marker = segment.readUInt8(1)
    if (segment[0] !== 0xff || marker === 0xff || standsAlone(marker)) {
      at += segment[0] === 0xff && marker !== 0xff ? 2 : 1
      continue
    }
    if (isFrameHeader(marker)) {
      return setOriented(file, found, segment.readUInt16BE(7), segment.readUInt16BE(5), exifAt)
    }
    if (marker === 0xe1 && segment.toString('latin1', 4, 10) === 'Exif\0\0') exifAt ??= at + 10
    at += 2 + segment.readUInt16BE(2)
  }
}

async function probePng(file: MediaFile, found: Found): Promise<void> {
  const header = await file.read(16, 24)
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  Object.assign(found, { width, height })
  let animated = false
  let seconds = 0
  let at = 8
  for (let count = 0; count < maxChunks; count++) {
    const chunk = await file.read(at, at + 32)
    if (chunk.length < 12) break
    const type = chunk.toString('latin1', 4, 8)
    if (type === 'eXIf') await setOriented(file, found, width, height, at + 8)
    if (type === 'acTL') {
      animated = chunk.readUInt32BE(8) > 1
      if (animated) found.pages = chunk.readUInt32BE(8)
    }
    if (type === 'fcTL') seconds += chunk.readUInt16BE(28) / (chunk.readUInt16BE(30) || 100)
    if (type === 'IEND' || (type === 'IDAT' && !animated)) break
    at += 12 + chunk.readUInt32BE(0)
  }
  if (animated) found.duration = seconds
}

async function probeWebp(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(12, 42)
  const type = head.toString('latin1', 0, 4)
  if (type === 'VP8 ') {
    Object.assign(found, { width: head.readUInt16LE(14) & 0x3fff, height: head.readUInt16LE(16) & 0x3fff })
  } else if (type === 'VP8L') {
    const bits = head.readUInt32LE(9)
    Object.assign(found, { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 })
  } else if (type === 'VP8X') {
    await probeExtendedWebp(file, found, head.readUIntLE(12, 3) + 1, head.readUIntLE(15, 3) + 1, head.readUInt8(8))
  }
}

async function probeExtendedWebp(file: MediaFile, found: Found, width: number, height: number, flags: number) {
  Object.assign(found, { width, height })
  const [hasExif, animated] = [(flags & 8) !== 0, (flags & 2) !== 0]
  if (!hasExif && !animated) return
  let frames = 0
  let milliseconds = 0
  let at = 12
  for (let count = 0; count < maxChunks; count++) {
    const chunk = await file.read(at, at + 24)
    if (chunk.length < 8) break
    const type = chunk.toString('latin1', 0, 4)
    if (type === 'ANMF') {
      frames++
      milliseconds += chunk.readUIntLE(20, 3)
    }
    if (type === 'EXIF') {
      const prefixed = chunk.toString('latin1', 8, 14) === 'Exif\0\0'
      await setOriented(file, found, width, height, at + (prefixed ? 14 : 8))
    }
    const size = chunk.readUInt32LE(4)
    at += 8 + size + (size % 2)
  }
  if (animated && frames > 1) Object.assign(found, { pages: frames, duration: milliseconds / 1000 })
}

async function probeBmp(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 26)
  if (head.readUInt32LE(14) === 12) {
    Object.assign(found, { width: head.readUInt16LE(18), height: head.readUInt16LE(20) })
  } else {
    Object.assign(found, { width: head.readInt32LE(18), height: Math.abs(head.readInt32LE(22)) }) // below zero: top down
  }
}

/** The largest picture of an icon. */
async function probeIco(file: MediaFile, found: Found): Promise<void> {
  const count = (await file.read(4, 6)).readUInt16LE(0)
  const entries = await file.read(6, 6 + count * 16)
  let [width, height] = [0, 0]
  for (let at = 0; at + 16 <= entries.length; at += 16) {
    const start = entries.readUInt32LE(at + 12)
    const picture = await file.read(start, start + 24)
    const isPng = picture.toString('latin1', 1, 4) === 'PNG'
    const wide = isPng ? picture.readUInt32BE(16) : entries.readUInt8(at) || 256
    const high = isPng ? picture.readUInt32BE(20) : entries.readUInt8(at + 1) || 256
    if (wide * high > width * height) [width, height] = [wide, high]
  }
  Object.assign(found, { width, height })
}

const signatures: readonly (readonly [start: string, probe: Probe])[] = [
  ['\xff\xd8\xff', probeJpeg],
  ['\x89PNG\r\n\x1a\n', probePng],
  ['GIF8', probeGif],
  ['II*\0', probeTiff],
  ['MM\0*', probeTiff],
  ['II+\0', probeTiff],
  ['MM\0+', probeTiff],
  ['BM', probeBmp],
  ['\0\0\x01\0', probeIco],
  ['\0\0\x02\0', probeIco],
]

/** Reads what the headers of a picture say; pixels are never decoded. */
export async function probeImage(file: MediaFile, found: Found): Promise<void> {
  const start = (await file.read(0, 16)).toString('latin1')
  const probe = signatures.find(([signature]) => start.startsWith(signature))?.[1]
  if (probe) await probe(file, found)
  else if (start.startsWith('RIFF') && start.slice(8, 12) === 'WEBP') await probeWebp(file, found)
  else if (start.slice(4, 8) === 'ftyp') await probeHeif(file, found)
  else await probeSvg(file, found)
}
