import { constants, inflateRawSync } from 'node:zlib'
import type { Bytes } from './bytes.ts'

export interface Entry {
  readonly name: string
  /** The packed bytes, as many as there are up to a limit. */
  packed(): Promise<Buffer>
  /** Whether the bytes are deflated. */
  readonly deflated: boolean
}

/** Entries that are looked at from the start; the kind of a package shows in the first few. */
const mostHeadEntries = 1_000
/** Bytes of a directory that are read, which is some ten thousand entries. */
const mostDirectoryBytes = 1024 * 1024
/** Packed bytes of one entry that are read. */
const mostPackedBytes = 256 * 1024
/** Bytes that one entry may unpack to: `[Content_Types].xml` has a few kilobytes. */
const mostUnpackedBytes = 256 * 1024
/** The start of an entry: that many packed bytes, and what comes of them (deflate makes at most a thousandfold of it). */
const startBytes = 2 * 1024
const mostStartBytes = startBytes * 1_100

const localHeader = Buffer.from('PK\x03\x04', 'latin1')
const localHeaderBytes = 30
const centralHeader = Buffer.from('PK\x01\x02', 'latin1')
const centralHeaderBytes = 46
const endHeader = Buffer.from('PK\x05\x06', 'latin1')
const endHeaderBytes = 22
const mostCommentBytes = 65_535
/** Bytes for the extra fields of a local header, beyond the name. */
const extraBytes = 4 * 1024

/** Goes from local header to local header. `all` says that none lies behind the head bytes. */
export function headEntries(head: Buffer): { readonly entries: readonly Entry[]; readonly all: boolean } {
  const entries: Entry[] = []
  let at = 0
  while (entries.length < mostHeadEntries && at + localHeaderBytes <= head.length) {
    if (!head.subarray(at, at + localHeader.length).equals(localHeader)) return { entries, all: true }
    const flags = head.readUInt16LE(at + 6)
    const packed = head.readUInt32LE(at + 18)
    const nameEnd = at + localHeaderBytes + head.readUInt16LE(at + 26)
    const start = nameEnd + head.readUInt16LE(at + 28)
    // with bit 3 the size follows the data: look for the next entry instead
    const sizeLater = (flags & 8) !== 0 && packed === 0
    const found = sizeLater ? head.indexOf(localHeader, start) : start + packed
    const end = found < 0 ? head.length : found
    const data = head.subarray(start, end)
    entries.push({
      name: head.toString('latin1', at + localHeaderBytes, nameEnd),
      deflated: head.readUInt16LE(at + 8) === 8,
      packed: async () => data,
    })
    at = end
  }
  return { entries, all: false }
}

/** Every entry that the directory at the end of the archive names; `undefined` when it cannot be read. */
export async function directoryEntries(bytes: Bytes): Promise<readonly Entry[] | undefined> {
  const { size } = bytes
  if (size === undefined) return undefined
  const tailAt = Math.max(0, size - endHeaderBytes - mostCommentBytes)
  const tail = await bytes.read(tailAt, size - tailAt)
  const end = tail?.lastIndexOf(endHeader) ?? -1
  if (!tail || end < 0 || end + endHeaderBytes > tail.length) return undefined
  const directoryBytes = tail.readUInt32LE(end + 12)
  // The directory ends where this record begins, whatever its offset says.
  const directory = await bytes.read(tailAt + end - directoryBytes, Math.min(directoryBytes, mostDirectoryBytes))
  if (!directory) return undefined
  const entries: Entry[] = []
  for (let at = 0; at + centralHeaderBytes <= directory.length;) {
    if (!directory.subarray(at, at + centralHeader.length).equals(centralHeader)) break
    const nameBytes = directory.readUInt16LE(at + 28)
    const nameEnd = at + centralHeaderBytes + nameBytes
    const packed = directory.readUInt32LE(at + 20)
    const offset = directory.readUInt32LE(at + 42)
    entries.push({
      name: directory.toString('latin1', at + centralHeaderBytes, nameEnd),
      deflated: directory.readUInt16LE(at + 10) === 8,
      packed: () => packedAt(bytes, offset, nameBytes, Math.min(packed, mostPackedBytes)),
    })
    at = nameEnd + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32)
  }
  return entries
}

async function packedAt(bytes: Bytes, offset: number, nameBytes: number, packed: number): Promise<Buffer> {
  const local = await bytes.read(offset, localHeaderBytes + nameBytes + extraBytes + packed)
  if (!local || local.length < localHeaderBytes) return Buffer.alloc(0)
  const start = localHeaderBytes + local.readUInt16LE(26) + local.readUInt16LE(28)
  return local.subarray(start, start + packed)
}

/** The whole content of a small entry; nothing when it is broken or larger than any honest one. */
export async function contentOf(entry: Entry | undefined): Promise<string> {
  if (!entry) return ''
  return unpack(await entry.packed(), entry.deflated, mostUnpackedBytes).toString('latin1')
}

/** The start of an entry of any size. */
export async function startOf(entry: Entry | undefined): Promise<Buffer> {
  if (!entry) return Buffer.alloc(0)
  return unpack((await entry.packed()).subarray(0, startBytes), entry.deflated, mostStartBytes)
}

function unpack(packed: Buffer, deflated: boolean, mostBytes: number): Buffer {
  if (!deflated) return packed.subarray(0, mostBytes)
  try {
    return inflateRawSync(packed, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: mostBytes })
  } catch {
    return Buffer.alloc(0)
  }
}
