import type { MediaFile } from './facts.ts'

const tails = [1024 * 1024, 8 * 1024 * 1024] // bytes at the end in which the last cluster is looked for
const headBytes = 64 * 1024
const maxTries = 1000 // places that look like a cluster

const clusterId = Buffer.from('1f43b675', 'hex')
const scaleId = Buffer.from('2ad7b1', 'hex')

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

/** Ticks of the last block in the cluster whose contents begin here; undefined when this is no cluster. */
function lastBlockTime(bytes: Buffer, at: number): number | undefined {
  let clusterTime: number | undefined
  let last: number | undefined
  while (at + 12 <= bytes.length) {
    const { id, start, end } = readElement(bytes, at)
    at = id === 0xa0 ? start : end // a block group is entered
    if (id === 0xe7) clusterTime = bytes.readUIntBE(start, Math.min(end - start, 6))
    if ((id === 0xa3 || id === 0xa1) && clusterTime !== undefined) {
      const time = clusterTime + bytes.readInt16BE(start + lengthOf(bytes.readUInt8(start)))
      last = Math.max(last ?? 0, time)
    }
    if (clusterTime === undefined && id !== 0xbf) return undefined // its time comes first, but for a checksum
  }
  return last
}

/**
 * Seconds until the last block of a recording (WebM, Matroska) whose header never learned its length,
 * as browsers make them: the last cluster tells.
 */
export async function recordedSeconds(file: MediaFile): Promise<number | undefined> {
  const head = await file.read(0, headBytes)
  const scaleAt = head.indexOf(scaleId) + scaleId.length
  const scaleLength = scaleAt < scaleId.length ? 0 : head.readUInt8(scaleAt) & 0x7f
  const scale = scaleLength >= 1 && scaleLength <= 6 ? head.readUIntBE(scaleAt + 1, scaleLength) : 1_000_000

  for (const length of tails) {
    const tail = await file.read(Math.max(0, file.size - length), file.size)
    let at = tail.lastIndexOf(clusterId)
    for (let tries = 0; at >= 0 && tries < maxTries; tries++) {
      const time = lastBlockTimeAt(tail, at)
      if (time !== undefined) return (time * scale) / 1e9
      at = at === 0 ? -1 : tail.lastIndexOf(clusterId, at - 1)
    }
  }
  return undefined
}

function lastBlockTimeAt(tail: Buffer, at: number): number | undefined {
  const sizeAt = at + clusterId.length
  try {
    return lastBlockTime(tail, sizeAt + lengthOf(tail.readUInt8(sizeAt)))
  } catch (error) {
    if (error instanceof RangeError) return undefined // the bytes of a picture that look like a cluster
    throw error
  }
}
