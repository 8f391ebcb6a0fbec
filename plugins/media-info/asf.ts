import type { Found, MediaFile } from './facts.ts'
import { soundCodecs } from './sound-tags.ts'

const maxObjects = 256
const headerBytes = 24 // of every object: its kind and size
const readBytes = 256 // of an object that is looked at; the longest of them has 121 that count
const broadcastFlag = 1

/** Kinds of objects and streams: the first eight of their sixteen bytes. */
const header = '3026b2758e66cf11'
const fileProperties = 'a1dcab8c47a9cf11'
const streamProperties = '9107dcb7b7a9cf11'
const sound = '409e69f84d5bcf11'
const picture = 'c0ef19bc4d5bcf11'

const kindOf = (bytes: Buffer, at = 0): string => bytes.toString('hex', at, at + 8)

export const isAsf = (start: Buffer): boolean => kindOf(start) === header

/** Seconds of a film; undefined for one that was sent while it was made. */
function readLength(body: Buffer): number | undefined {
  if ((body.readUInt32LE(64) & broadcastFlag) !== 0) return undefined
  return Number(body.readBigUInt64LE(40)) / 1e7 - Number(body.readBigUInt64LE(56)) / 1000
}

function readStream(body: Buffer, found: Found): void {
  const kind = kindOf(body)
  const codec =
    kind === picture && body.length >= 85
      ? body.toString('latin1', 81, 85).trim().toLowerCase()
      : kind === sound
        ? soundCodecs[body.readUInt16LE(54)]
        : undefined
  if (codec !== undefined) found.codecs?.push(codec)
  if (kind !== picture || found.width !== undefined) return
  Object.assign(found, { width: body.readUInt32LE(54), height: body.readUInt32LE(58) })
}

/** ASF, which WMV and WMA are: the objects of its header. A cover in front of them may make it large. */
export async function probeAsf(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 30)
  const end = Math.min(Number(head.readBigUInt64LE(16)), file.size)
  found.codecs = []
  let at = 30
  for (let count = 0; count < maxObjects && at + headerBytes <= end; count++) {
    const bytes = await file.read(at, at + headerBytes + readBytes)
    const size = Number(bytes.readBigUInt64LE(16))
    if (size < headerBytes) throw new RangeError('An object is smaller than its own header.')
    const body = bytes.subarray(headerBytes, Math.min(size, bytes.length))
    const kind = kindOf(bytes)
    if (kind === fileProperties) {
      const seconds = readLength(body)
      if (seconds !== undefined) found.duration = seconds
    }
    if (kind === streamProperties) readStream(body, found)
    at += size
  }
}
