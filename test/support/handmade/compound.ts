const sectorBytes = 512
const perSector = sectorBytes / 4 // numbers
const headerTables = 109
const entryBytes = 128
const none = 0xffff_ffff
const endOfChain = 0xffff_fffe

/** An entry of the directory; what is in it makes it a storage. */
export interface Stream {
  readonly name: string
  readonly within?: readonly Stream[]
}

interface Slot {
  readonly name: string
  readonly kind: number
  right: number
  child: number
}

/**
 * An OLE2 compound file with these entries; their contents are empty.
 *
 * @param before sectors between the header and the directory
 * @param rootClass class of the root, as it is stored
 */
export function compound(streams: readonly Stream[], before = 0, rootClass = ''): Buffer {
  const slots: Slot[] = [{ name: 'Root Entry', kind: 5, right: none, child: none }]
  slots.forEach((root) => (root.child = place(streams, slots)))
  const directory = Buffer.alloc(Math.ceil((slots.length * entryBytes) / sectorBytes) * sectorBytes)
  slots.forEach((slot, index) => directory.set(entryOf(slot), index * entryBytes))
  directory.write(rootClass, 80, 'hex')

  // the allocation table comes first, then the list of its sectors that the header has no room for, then free ones
  const count = directory.length / sectorBytes
  const tables = Math.ceil((before + count + 1) / (perSector - 1))
  const lists = Math.ceil(Math.max(0, tables - headerTables) / (perSector - 1))
  const start = tables + lists + before
  const table = Buffer.alloc(tables * sectorBytes, 0xff)
  for (let i = 0; i < count; i++) table.writeUInt32LE(i === count - 1 ? endOfChain : start + i + 1, (start + i) * 4)
  const list = Buffer.alloc(lists * sectorBytes, 0xff)
  for (let i = 0; i < tables - headerTables; i++)
    list.writeUInt32LE(headerTables + i, (i + Math.floor(i / (perSector - 1))) * 4)
  for (let i = 1; i < lists; i++) list.writeUInt32LE(tables + i, (i * perSector - 1) * 4)

  const header = Buffer.alloc(sectorBytes, 0xff)
  header.write('d0cf11e0a1b11ae100000000000000000000000000000000', 'hex')
  header.write('3e000300feff090006000000000000000000', 24, 'hex')
  header.writeUInt32LE(tables, 0x2c)
  header.writeUInt32LE(start, 0x30)
  header.writeUInt32LE(lists > 0 ? tables : endOfChain, 0x44)
  header.writeUInt32LE(lists, 0x48)
  for (let i = 0; i < Math.min(tables, headerTables); i++) header.writeUInt32LE(i, 0x4c + i * 4)
  return Buffer.concat([header, table, list, Buffer.alloc(before * sectorBytes), directory])
}

/** Puts siblings into the directory, as a chain to the right, and what they hold behind them. */
function place(streams: readonly Stream[], slots: Slot[]): number {
  const first = slots.length
  for (const { name, within } of streams) slots.push({ name, kind: within ? 1 : 2, right: none, child: none })
  streams.forEach(({ within }, index) => {
    const slot = slots[first + index]
    if (!slot) return
    if (index + 1 < streams.length) slot.right = first + index + 1
    if (within) slot.child = place(within, slots)
  })
  return streams.length === 0 ? none : first
}

function entryOf({ name, kind, right, child }: Slot): Buffer {
  const entry = Buffer.alloc(entryBytes)
  entry.write(name, 'utf16le')
  entry.writeUInt16LE((name.length + 1) * 2, 64)
  entry[66] = kind
  entry[67] = 1
  entry.writeUInt32LE(none, 68)
  entry.writeUInt32LE(right, 72)
  entry.writeUInt32LE(child, 76)
  return entry
}

const embeddedWord: Stream = { name: 'ObjectPool', within: [{ name: 'WordDocument' }, { name: '1Table' }] }

/** A mail to which a letter is attached, this many times, that was opened from it. */
export function mailWithLetter(before = 0, times = 1): Buffer {
  const letter: Stream = { name: '__substg1.0_3701000D', within: [{ name: 'WordDocument' }] }
  const attachments = Array.from({ length: times }, (_, i) => ({
    name: `__attach_version1.0_#${String(i).padStart(8, '0')}`,
    within: [letter],
  }))
  return compound(
    [
      { name: '__nameid_version1.0', within: [{ name: '__substg1.0_00020102' }] },
      ...attachments,
      { name: '__properties_version1.0' },
    ],
    before,
  )
}

export const tableWithLetter = (before = 0): Buffer =>
  compound([{ name: 'MBD0018D4CE', within: [{ name: 'WordDocument' }] }, embeddedWord, { name: 'Workbook' }], before)
