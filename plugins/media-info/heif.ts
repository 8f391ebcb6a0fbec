import { type Box, boxes, contents, findBox, wholeFile } from './boxes.ts'
import type { Found, MediaFile } from './facts.ts'
import { firstPicture } from './movie.ts'

const maxMetaBytes = 1024 * 1024 // of one box; a photo of 48 tiles has about 4 KiB

/** Places in the list of properties that belong to one item, in the order in which they apply; the first is 1. */
function associations(bytes: Buffer, item: number): number[] {
  const wideIds = (bytes[0] ?? 0) > 0
  const wideIndexes = ((bytes[3] ?? 0) & 1) === 1
  let at = 8
  for (let entries = bytes.readUInt32BE(4); entries > 0; entries--) {
    const id = wideIds ? bytes.readUInt32BE(at) : bytes.readUInt16BE(at)
    const count = bytes.readUInt8(at + (wideIds ? 4 : 2))
    at += wideIds ? 5 : 3
    const indexes: number[] = []
    for (let i = 0; i < count; i++, at += wideIndexes ? 2 : 1) {
      indexes.push(wideIndexes ? bytes.readUInt16BE(at) & 0x7fff : bytes.readUInt8(at) & 0x7f)
    }
    if (id === item) return indexes
  }
  return []
}

/** Applies one property of the main picture to its size. */
async function apply(file: MediaFile, property: Box, size: { width: number; height: number }): Promise<void> {
  const bytes = await contents(file, property, 32)
  if (property.type === 'ispe') {
    size.width = bytes.readUInt32BE(4)
    size.height = bytes.readUInt32BE(8)
  } else if (property.type === 'clap') {
    size.width = bytes.readUInt32BE(0) / bytes.readUInt32BE(4)
    size.height = bytes.readUInt32BE(8) / bytes.readUInt32BE(12)
  } else if (property.type === 'irot' && (bytes.readUInt8(0) & 1) === 1) {
    ;[size.width, size.height] = [size.height, size.width]
  }
}

async function probeStill(file: MediaFile, meta: Box, found: Found): Promise<void> {
  const inside = { ...meta, start: meta.start + 4 }
  const primary = await findBox(file, inside, 'pitm')
  const list = await findBox(file, inside, 'iprp', 'ipco')
  const links = await findBox(file, inside, 'iprp', 'ipma')
  if (!primary || !list || !links) return
  const id = await contents(file, primary, 8)
  const item = id[0] === 0 ? id.readUInt16BE(4) : id.readUInt32BE(4)
  const properties: Box[] = []
  for await (const box of boxes(file, list.start, list.end)) properties.push(box)

  const size = { width: 0, height: 0 }
  for (const index of associations(await contents(file, links, maxMetaBytes), item)) {
    const property = properties[index - 1]
    if (property) await apply(file, property, size)
  }
  Object.assign(found, size)
}

/** HEIC and AVIF: one picture, which the `meta` box describes, or a sequence, which is a film in a `moov` box. */
export async function probeHeif(file: MediaFile, found: Found): Promise<void> {
  for await (const box of boxes(file, 0, file.size)) {
    if (box.type === 'meta') await probeStill(file, box, found)
    if (box.type === 'mdat') break
  }
  const brand = (await file.read(8, 12)).toString('latin1')
  if (!['avis', 'msf1', 'hevc', 'hevx'].includes(brand)) return

  const moov = await findBox(file, wholeFile(file), 'moov')
  const track = moov && (await firstPicture(file, moov))
  if (track === undefined) return
  if (!found.width || !found.height) Object.assign(found, { width: track.width, height: track.height })
  if (track.samples === undefined || track.samples < 2) return
  found.pages = track.samples
  if (track.seconds !== undefined) found.duration = track.seconds
}
