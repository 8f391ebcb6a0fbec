import type { MediaFile } from './facts.ts'

const tails = [1024 * 1024, 8 * 1024 * 1024] // bytes at the end in which the last cluster is looked for
const headBytes = 64 * 1024
const maxTries = 1000 // places that look like a cluster
const maxTracks = 64

const clusterId = Buffer.from('1f43b675', 'hex')
const scaleId = Buffer.from('2ad7b1', 'hex')
const trackListId = Buffer.from('1654ae6b', 'hex')
/** Elements by what they hold; all others are passed over. */
const ids = { time: 0xe7, simpleBlock: 0xa3, group: 0xa0, block: 0xa1, blockTicks: 0x9b, checksum: 0xbf }
const trackIds = { entry: 0xae, number: 0xd7, usual: 0x23e383 }

interface Element {
  readonly id: number
  readonly start: number
  readonly end: number
}

/** Bytes of the variable-length number that begins with this byte. */
const lengthOf = (first: number): number => Math.clz32(first) - 23

function readElement(bytes: Buffer, at: number): Element {
  const idLength = lengthOf(bytes.readUInt8(at))
  const sizeAt = at + idLength
  const sizeLength = lengthOf(bytes.readUInt8(sizeAt))
  if (idLength > 4 || sizeLength > 6) throw new RangeError('Not an element.')
  const start = sizeAt + sizeLength
  return {
    id: bytes.readUIntBE(at, idLength),
    start,
    end: start + (bytes.readUIntBE(sizeAt, sizeLength) % 2 ** (7 * sizeLength)),
  }
}

const readNumber = (bytes: Buffer, { start, end }: Element): number =>
  end > start ? bytes.readUIntBE(start, Math.min(end - start, 6)) : 0

/** Nanoseconds of a frame of each track whose header says so. */
type Usual = ReadonlyMap<number, number>

function usualLengths(head: Buffer): Usual {
  const usual = new Map<number, number>()
  const firstCluster = head.indexOf(clusterId)
  const listAt = head.lastIndexOf(trackListId, firstCluster < 0 ? undefined : firstCluster) // an index in front names it too
  try {
    for (const entry of listAt < 0 ? [] : inside(head, readElement(head, listAt))) {
      if (entry.id !== trackIds.entry || usual.size === maxTracks) continue
      const elements = [...inside(head, entry)]
      const number = elements.find(({ id }) => id === trackIds.number)
      const length = elements.find(({ id }) => id === trackIds.usual)
      if (number && length) usual.set(readNumber(head, number), readNumber(head, length))
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error // what the others say still holds
  }
  return usual
}

function* inside(bytes: Buffer, { start, end }: Element): Generator<Element> {
  while (start < Math.min(end, bytes.length)) {
    const element = readElement(bytes, start)
    yield element
    start = element.end
  }
}

/** The last blocks of a track in a cluster. */
interface Last {
  time: number
  /** Ticks since the block before. */
  step: number
  /** Ticks that the last block says it takes. */
  stated: number | undefined
}

/** The last blocks of each track in the cluster whose contents begin here, in ticks; undefined when this is no cluster. */
function lastBlocks(bytes: Buffer, at: number): ReadonlyMap<number, Last> | undefined {
  let clusterTime: number | undefined
  const lasts = new Map<number, Last>()
  let current: Last | undefined
  while (at + 4 <= bytes.length) {
    const element = readElement(bytes, at)
    const { id, start, end } = element
    at = id === ids.group ? start : end
    if (id === ids.time) clusterTime = readNumber(bytes, element)
    if ((id === ids.simpleBlock || id === ids.block) && clusterTime !== undefined) {
      const numberLength = lengthOf(bytes.readUInt8(start))
      const track = bytes.readUIntBE(start, numberLength) % 2 ** (7 * numberLength)
      const time = clusterTime + bytes.readInt16BE(start + numberLength)
      const before = lasts.get(track)
      if (before && time <= before.time) current = undefined
      else lasts.set(track, (current = { time, step: before ? time - before.time : 0, stated: undefined }))
    }
    if (id === ids.blockTicks && current) current.stated = readNumber(bytes, element)
    if (clusterTime === undefined && id !== ids.checksum) return undefined // its time comes first, but for a checksum
  }
  return lasts
}

function lastBlocksAt(tail: Buffer, at: number): ReadonlyMap<number, Last> | undefined {
  const sizeAt = at + clusterId.length
  try {
    return lastBlocks(tail, sizeAt + lengthOf(tail.readUInt8(sizeAt)))
  } catch (error) {
    if (error instanceof RangeError) return undefined // the bytes of a picture that look like a cluster
    throw error
  }
}

/**
 * Seconds until the end of the last frame of a recording (WebM, Matroska) whose header never learned its length, as browsers
 * make them: the last cluster tells. A frame takes what it or its track says, else as long as the one before it.
 */
export async function recordedSeconds(file: MediaFile): Promise<number | undefined> {
  const head = await file.read(0, headBytes)
  const scaleAt = head.indexOf(scaleId) + scaleId.length
  const scaleLength = scaleAt < scaleId.length ? 0 : head.readUInt8(scaleAt) & 0x7f
  const scale = scaleLength >= 1 && scaleLength <= 6 ? head.readUIntBE(scaleAt + 1, scaleLength) : 1_000_000
  const usual = usualLengths(head)
  const endOf = ([track, { time, step, stated }]: readonly [number, Last]): number =>
    time + (stated ?? (usual.has(track) ? (usual.get(track) ?? 0) / scale : step))

  for (const length of tails) {
    const tail = await file.read(Math.max(0, file.size - length), file.size)
    let at = tail.lastIndexOf(clusterId)
    for (let tries = 0; at >= 0 && tries < maxTries; tries++) {
      const lasts = lastBlocksAt(tail, at)
      if (lasts && lasts.size > 0) return (Math.max(...[...lasts].map(endOf)) * scale) / 1e9
      at = at === 0 ? -1 : tail.lastIndexOf(clusterId, at - 1)
    }
  }
  return undefined
}
