import sharp from 'sharp'
import type { Found, MediaFile, Probe } from './facts.ts'
import { probeHeifBoxes } from './heif.ts'
import { isMetafile, probeMetafile } from './metafile.ts'
import { probeSequence } from './movie.ts'
import { probeSvg } from './svg.ts'
import { probeTiff } from './tiff.ts'

const shortestDelayMs = 11 // browsers show a frame with less for 100 ms
const maxIcons = 256 // in one file

sharp.cache(false)
sharp.concurrency(1)
// Among the loaders that are never used: SVG, which is a program of its own.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Tiff', 'Nsgif', 'Heif'].map((format) => `VipsForeignLoad${format}File`),
})

const forSharp = /^(?:\xff\xd8\xff|\x89PNG|GIF8|RIFF.{4}WEBP)/s
const tiff = /^(?:II[*+]\0|MM\0[*+])/
const iconStarts = ['\0\0\x01\0', '\0\0\x02\0'] // a cursor is an icon
const sequenceBrands = ['avis', 'msf1', 'hevc', 'hevx']

/** What libvips reads in a header; no pixel is decoded, so that their number needs no limit. */
async function probeWithSharp(file: MediaFile, found: Found): Promise<void> {
  const path = await file.path()
  const metadata = (page: number) => sharp(path, { page, failOn: 'none', limitInputPixels: false }).metadata()
  const first = await metadata(0)
  const { pages = 1, delay = [], pagePrimary = 0 } = first
  const { width, height } = (pagePrimary === 0 ? first : await metadata(pagePrimary)).autoOrient
  Object.assign(found, { width, height })
  if (pages < 2) return
  found.pages = pages
  if (delay.length > 0) {
    found.duration = delay.reduce((sum, ms) => sum + (ms < shortestDelayMs ? 100 : ms), 0) / 1000
  }
}

/** HEIC and AVIF: one picture, or a sequence, which is a film. */
async function probeHeif(file: MediaFile, found: Found): Promise<void> {
  const brand = (await file.read(8, 12)).toString('latin1')
  if (!sequenceBrands.includes(brand)) return probePicture(file, found)
  await probeSequence(file, found)
  if (found.width === undefined) await probePicture(file, found)
}

/** By the decoder, which knows of every turn and crop; where it knows nothing of the picture, or may not see it, by its headers. */
const withHeaders =
  (probeHeaders: Probe): Probe =>
  async (file, found) => {
    try {
      await probeWithSharp(file, found)
    } catch (error) {
      await probeHeaders(file, found)
      if (found.width === undefined) throw error
    }
  }

const probePicture = withHeaders(probeHeifBoxes)

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
  const count = Math.min((await file.read(4, 6)).readUInt16LE(0), maxIcons)
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

function probeOf(bytes: Buffer): Probe {
  const start = bytes.toString('latin1')
  if (start.slice(4, 8) === 'ftyp') return probeHeif
  if (tiff.test(start)) return withHeaders(probeTiff)
  if (forSharp.test(start)) return probeWithSharp
  if (start.startsWith('BM')) return probeBmp
  if (isMetafile(bytes)) return probeMetafile
  return iconStarts.some((icon) => start.startsWith(icon)) ? probeIco : probeSvg
}

/** Reads what the headers of a picture say. */
export async function probeImage(file: MediaFile, found: Found): Promise<void> {
  await probeOf(await file.read(0, 44))(file, found)
}
