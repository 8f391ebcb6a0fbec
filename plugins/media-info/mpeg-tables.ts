import type { Packet } from './mpeg-ts.ts'

const maxPrograms = 64
const maxStreams = 256
const headerBytes = 3 // of a section: its kind and length
const checkBytes = 4 // at its end

/** The whole section of a table that begins in one of these payloads; undefined when its end is missing. */
class Section {
  #parts: Buffer[] = []
  #length = 0

  add({ starts, payload }: Packet): Buffer | undefined {
    if (starts) {
      this.#parts = []
      this.#length = 0
    } else if (this.#length === 0) return undefined
    const part = starts ? payload.subarray(1 + payload.readUInt8(0)) : payload
    this.#parts.push(part)
    this.#length += part.length
    if (this.#length < headerBytes) return undefined
    const bytes = Buffer.concat(this.#parts)
    const end = headerBytes + (bytes.readUInt16BE(1) & 0xfff)
    if (bytes.length < end) return undefined
    this.#length = 0
    return bytes.subarray(0, Math.max(0, end - checkBytes))
  }
}

/** Packets that carry the table of a program. */
function programPids(section: Buffer): number[] {
  const pids: number[] = []
  for (let at = 8; at + 4 <= section.length && pids.length < maxPrograms; at += 4) {
    if (section.readUInt16BE(at) !== 0) pids.push(section.readUInt16BE(at + 2) & 0x1fff)
  }
  return pids
}

/** Reads the table of a program, which says of what kind each of its streams is. */
function readProgram(section: Buffer, types: Map<number, number>): void {
  if (section.length < 12) return
  let at = 12 + (section.readUInt16BE(10) & 0xfff)
  while (at + 5 <= section.length && types.size < maxStreams) {
    types.set(section.readUInt16BE(at + 1) & 0x1fff, section.readUInt8(at))
    at += 5 + (section.readUInt16BE(at + 3) & 0xfff)
  }
}

/** The kind of each stream, by the numbers of their packets, as far as the tables in these packets say. */
export function streamTypes(packets: Iterable<Packet>): Map<number, number> {
  const types = new Map<number, number>()
  const sections = new Map([[0, new Section()]])
  for (const packet of packets) {
    const table = sections.get(packet.pid)?.add(packet)
    if (!table) continue
    if (packet.pid !== 0) readProgram(table, types)
    else for (const pid of programPids(table)) if (!sections.has(pid)) sections.set(pid, new Section())
  }
  return types
}
