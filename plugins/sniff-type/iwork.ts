import type { NamedType } from '../../src/plugin.ts'
import { type Entry, headEntries, startOf } from './zip-entries.ts'

export const iworkFormats = 'pages numbers key'

const formats = new Set(iworkFormats.split(' '))
/** Namespaces of the root element in packages of 2005 to 2009. */
const namespaces: Readonly<Record<string, string>> = { sl: 'pages', ls: 'numbers', keynote2: 'key' }
/** Type of the first object in `Document.iwa` of Pages; Numbers and Keynote share another. */
const pagesDocument = 10_000
const sharedDocument = 1

export interface IworkFormat {
  readonly format: string
  /** Whether no other entry can say otherwise. */
  readonly sure: boolean
}

/** @param all whether these are all entries */
export async function iworkFormat(
  entries: readonly Entry[],
  all: boolean,
  named: NamedType | undefined,
): Promise<IworkFormat | undefined> {
  const said = named?.format != null && formats.has(named.format) ? named.format : undefined
  if (entries.some(({ name }) => /^index\.apxl(?:\.gz)?$/i.test(name))) return { format: 'key', sure: true }
  const index = entries.find(({ name }) => /^index\.xml$/i.test(name))
  const old = index && namespaceFormat((await startOf(index)).toString('latin1'))
  if (old !== undefined) return { format: old, sure: true }
  return archiveFormat(await withNested(entries), all, said)
}

function namespaceFormat(xml: string): string | undefined {
  const prefix = /<(\w{1,20}):(?:document|presentation)\s/.exec(xml)?.[1]
  const uri = new RegExp(`xmlns:${prefix}\\s*=\\s*["']http://developer\\.apple\\.com/namespaces/(\\w{1,20})["']`)
  return prefix === undefined ? undefined : namespaces[uri.exec(xml)?.[1] ?? '']
}

/** Packages of 2013 hold another archive, `Index.zip`, in which the parts are. */
async function withNested(entries: readonly Entry[]): Promise<readonly Entry[]> {
  const nested = entries.find(({ name, deflated }) => name === 'Index.zip' && !deflated)
  return nested ? [...entries, ...headEntries(await nested.packed()).entries] : entries
}

async function archiveFormat(entries: readonly Entry[], all: boolean, said: string | undefined) {
  const has = (pattern: RegExp) => entries.some(({ name }) => pattern.test(name))
  if (!has(/^(?:Index\/)?[\w/-]+\.iwa$/)) return undefined
  if (has(/^(?:Index\/)?(?:Master|Template)?Slide(?:-\d+)*\.iwa$/)) return { format: 'key', sure: true }
  const document = entries.find(({ name }) => /^(?:Index\/)?Document\.iwa$/.test(name))
  const type = firstObjectType(await startOf(document))
  if (type === pagesDocument) return { format: 'pages', sure: true }
  if (type === sharedDocument) return { format: all || said !== 'key' ? 'numbers' : 'key', sure: all }
  return { format: said ?? (has(/^(?:Index\/)?Tables\//) ? 'numbers' : 'pages'), sure: false }
}

/**
 * The type of the first object of an IWA file: a byte 0, the length in three, and a block of Snappy, which begins with its
 * length and a literal. In it: the length of an `ArchiveInfo`, its identifier, and the first `MessageInfo` with its type.
 */
function firstObjectType(iwa: Buffer): number | undefined {
  if (iwa[0] !== 0) return undefined
  const block = varint(iwa, 4)
  const tag = iwa[block.end] ?? 1
  if ((tag & 3) !== 0) return undefined
  const info = varint(iwa, block.end + 1 + Math.max(0, (tag >> 2) - 59))
  if (iwa[info.end] !== 0x08) return undefined
  const identifier = varint(iwa, info.end + 1)
  if (iwa[identifier.end] !== 0x12) return undefined
  const message = varint(iwa, identifier.end + 1)
  return iwa[message.end] === 0x08 ? varint(iwa, message.end + 1).value : undefined
}

function varint(bytes: Buffer, start: number): { readonly value: number; readonly end: number } {
  let value = 0
  for (let at = start; at < start + 5; at++) {
    const byte = bytes[at] ?? 0
    value += (byte & 0x7f) * 2 ** (7 * (at - start))
    if (byte < 0x80) return { value, end: at + 1 }
  }
  return { value, end: start + 5 }
}
