import type { MediaFile } from './facts.ts'

const blockBytes = 64 * 1024
const mostAhead = 16 // blocks that are fetched in one go while a parser reads on
const maxCached = 256 // blocks; 16 MiB
const maxRead = 16 * 1024 * 1024 // bytes in one read; the index of a film of hours is smaller
const nearBlocks = 16 // a gap that still counts as reading on

/**
 * Turns the many small reads of a parser into few large ones: whole blocks, neighbours in one range,
 * twice as many with each read that goes on where the last one ended.
 */
export function blockReader(
  size: number,
  fetch: (start: number, end: number) => Promise<Uint8Array>,
): Omit<MediaFile, 'path'> {
  const blocks = new Map<number, Buffer>()
  const lastBlock = Math.ceil(size / blockBytes)
  let next = 0 // the block behind the last fetch
  let ahead = 1
  let turn: Promise<unknown> = Promise.resolve()

  /** Blocks `first` to `end`, as far as they are missing. */
  async function load(first: number, end: number): Promise<void> {
    while (first < end && blocks.has(first)) first++
    while (first < end && blocks.has(end - 1)) end--
    if (first === end) return
    ahead = first >= next && first - next <= nearBlocks && next > 0 ? Math.min(ahead * 2, mostAhead) : 1
    let to = Math.min(Math.max(end, first + ahead), lastBlock)
    while (to > end && blocks.has(to - 1)) to--
    const from = first * blockBytes
    const until = Math.min(to * blockBytes, size)
    const fetched = await fetch(from, until)
    const bytes = Buffer.from(fetched.buffer, fetched.byteOffset, fetched.byteLength)
    if (bytes.length !== until - from) throw new Error('The file ended early.')
    for (let i = first; i < to; i++) {
      blocks.delete(i) // so that the order of the map is the order of the fetches
      blocks.set(i, bytes.subarray(i * blockBytes - from, (i + 1) * blockBytes - from))
    }
    next = to
  }

  function evict(): void {
    for (const key of blocks.keys()) {
      if (blocks.size <= maxCached) return
      blocks.delete(key)
    }
  }

  async function read(start: number, end: number): Promise<Buffer> {
    end = Math.min(end, size)
    if (!(start >= 0 && start < end)) return Buffer.alloc(0)
    if (end - start > maxRead) throw new Error('A part of the file is too large to be looked at.')
    const first = Math.floor(start / blockBytes)
    const last = Math.floor((end - 1) / blockBytes)
    await load(first, last + 1)
    const parts: Buffer[] = []
    for (let i = first; i <= last; i++) parts.push(blocks.get(i) ?? Buffer.alloc(0))
    evict()
    const joined = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
    return joined.subarray(start - first * blockBytes, end - first * blockBytes)
  }

  return {
    size,
    read(start, end) {
      const result = turn.then(() => read(start, end)) // one at a time: two parsers' reads of one block are one fetch
      turn = result.catch(() => {})
      return result
    },
  }
}
