import { BitReader } from './bits.ts'
import { type Box, boxes, boxesIn, findBox } from './boxes.ts'
import type { Found, MediaFile } from './facts.ts'

const maxMetaBytes = 1024 * 1024
const maxAssociations = 100_000 // of properties with pictures
const fullHeaderBytes = 4 // version and flags
const firstTurned = 5 // of the eight ways to show a picture, those from here on change its sides

const whole = (file: MediaFile): Box => ({ type: '', start: 0, end: file.size })

/** The picture that is meant when no other is asked for. */
function primaryOf(meta: Buffer): number {
  for (const { type, start } of boxesIn(meta, fullHeaderBytes)) {
    if (type === 'pitm') return meta[start] === 0 ? meta.readUInt16BE(start + 4) : meta.readUInt32BE(start + 4)
  }
  return 0
}

/** The properties of a picture, by their places in the list of all. */
function propertiesOf(meta: Buffer, { start, end }: Box, picture: number): number[] {
  const isLongItem = (meta[start] ?? 0) > 0
  const isLongIndex = (meta.readUInt8(start + 3) & 1) !== 0
  const count = meta.readUInt32BE(start + 4)
  const places: number[] = []
  let at = start + 8
  let left = maxAssociations
  for (let i = 0; i < count && at < end && left > 0; i++) {
    const item = isLongItem ? meta.readUInt32BE(at) : meta.readUInt16BE(at)
    at += isLongItem ? 4 : 2
    const amount = meta.readUInt8(at++)
    left -= amount + 1
    for (let j = 0; j < amount; j++, at += isLongIndex ? 2 : 1) {
      if (item === picture) places.push(isLongIndex ? meta.readUInt16BE(at) & 0x7fff : meta.readUInt8(at) & 0x7f)
    }
  }
  return places
}

/** Size of the primary picture by its properties, whatever its codec. */
async function probeMeta(file: MediaFile, box: Box, found: Found): Promise<void> {
  const meta = await file.read(box.start, Math.min(box.end, box.start + maxMetaBytes))
  const picture = primaryOf(meta)
  for (const properties of boxesIn(meta, fullHeaderBytes)) {
    if (properties.type !== 'iprp') continue
    const parts = [...boxesIn(meta, properties.start, properties.end)]
    const list = parts.find(({ type }) => type === 'ipco')
    const all = list ? [...boxesIn(meta, list.start, list.end)] : []
    const places = parts.filter(({ type }) => type === 'ipma').flatMap((part) => propertiesOf(meta, part, picture))
    const own = places.map((place) => all[place - 1]).filter((one) => one !== undefined)
    const size = own.find(({ type }) => type === 'ispe')
    const turn = own.find(({ type }) => type === 'irot')
    if (!size) continue
    const [wide, high] = [meta.readUInt32BE(size.start + 4), meta.readUInt32BE(size.start + 8)]
    const isTurned = turn !== undefined && (meta.readUInt8(turn.start) & 1) !== 0
    Object.assign(found, isTurned ? { width: high, height: wide } : { width: wide, height: high })
    return
  }
}

/** A picture whose few properties are packed in bits, as brand `mif3` has them. */
async function probeMini(file: MediaFile, { start }: Box, found: Found): Promise<void> {
  const bits = new BitReader(await file.read(start, start + 16))
  bits.skip(2 + 9 + 2)
  const isTurned = bits.read(3) + 1 >= firstTurned
  const length = bits.flag() ? 7 : 15
  const [wide, high] = [bits.read(length) + 1, bits.read(length) + 1]
  Object.assign(found, isTurned ? { width: high, height: wide } : { width: wide, height: high })
}

/** HEIF and AVIF: the size that the boxes state, for pictures that no decoder here knows. */
export async function probeHeifBoxes(file: MediaFile, found: Found): Promise<void> {
  const mini = await findBox(file, whole(file), 'mini')
  if (mini) return probeMini(file, mini, found)
  for await (const box of boxes(file, 0, file.size)) {
    if (box.type === 'meta') return probeMeta(file, box, found)
  }
}
