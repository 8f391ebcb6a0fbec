import { array, assert, asyncProperty, constantFrom, double, nat, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sniffedBytes } from '../../plugins/sniff-type.ts'
import { isMimeType } from '../../src/uploads/names.ts'
import { compound, type Stream } from '../support/handmade/compound.ts'
import { largeFiles } from '../support/handmade/large.ts'
import { box, brand, id3, movie, track, windowsMedia } from '../support/handmade/movies.ts'
import { compounds, packages } from '../support/handmade/packages.ts'
import { handmade } from '../support/handmade/small.ts'
import { iworkParts, noise, zip, type ZipEntry } from '../support/handmade/zip.ts'
import { sniff, sniffWhole } from '../support/sniff.ts'

/** Of one file, behind the first bytes: what the plugin's limits add up to. */
const mostCalls = 34
const mostBytes = 8 * 1024 * 1024

const numbered = (count: number, name: string, content: string | Uint8Array = ''): ZipEntry[] =>
  Array.from({ length: count }, (_, i) => [name.replace('#', String(i)), content])
/** Storages within storages. */
const nested = (depth: number): Stream[] =>
  depth === 0 ? [{ name: 'WordDocument' }] : [{ name: `s${depth}`, within: nested(depth - 1) }]
/** An archive that says something else of its size or place. @param at counted from the record at its end */
const withEnd = (bytes: Buffer, at: number, value: number): Buffer => {
  bytes.writeUInt32LE(value, bytes.length - 22 + at)
  return bytes
}
const far = zip([
  ['a.bin', noise(70_000)],
  ['doc.kml', '<kml/>'],
])
/** A directory whose only sector is its own successor. */
const circular = (): Buffer => {
  const bytes = compound([{ name: 'Workbook' }], 200)
  const start = bytes.readUInt32LE(0x30)
  bytes.writeUInt32LE(start, 512 + start * 4)
  return bytes
}
/** An entry that is its own sibling. */
const knotted = (): Buffer => {
  const bytes = compound([{ name: 'Workbook' }, { name: 'a' }])
  bytes.writeUInt32LE(1, 1024 + 128 + 68)
  bytes.writeUInt32LE(0, 1024 + 128 + 72)
  return bytes
}

const hostile: Readonly<Record<string, Uint8Array>> = {
  'thousands of entries': zip(numbered(9_000, 'Data/#.jpg')),
  'thousands of entries, the telling one last': zip([...numbered(9_000, 'Data/#.jpg'), ...iworkParts(10_000)], true),
  'more entries than are read': zip(numbered(30_000, 'a/very/long/way/to/go/#.txt')),
  'thousands of manifests': zip([['a', noise(70_000)], ...numbered(5_000, '[Content_Types].xml', 'x'.repeat(500))]),
  'archives in an archive': zip(numbered(40, 'Index.zip', zip(iworkParts(1), true)), true),
  'a bomb behind a picture': zip([['a.bin', noise(70_000)], ['mimetype', ' '.repeat(30_000_000)], ['[Content_Types].xml', ' '.repeat(30_000_000)], ['index.xml', ' '.repeat(30_000_000)]]),
  'a directory that begins before the file': withEnd(Buffer.from(far), 12, 0xffff_fff0),
  'a directory of nothing': withEnd(Buffer.from(far), 12, 0),
  'entries far away': withEnd(Buffer.from(far), 16, 0xffff_fff0),
  'an end without an archive': Buffer.concat([Buffer.from('PK\x03\x04'), noise(90_000), Buffer.from('PK\x05\x06')]),
  'ends without end': Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.from('PK\x05\x06'.repeat(30_000))]),
  'a directory that goes in a circle': circular(),
  'entries in a knot': knotted(),
  'storages within storages': compound(nested(900)),
  'thousands of streams': compound(Array.from({ length: 9_000 }, (_, i) => ({ name: `s${i}` })), 200),
  'thousands of boxes': Buffer.concat([brand('isom'), ...Array.from({ length: 20_000 }, () => box('free'))]),
  'boxes far apart': Buffer.concat([brand('isom'), ...Array.from({ length: 40 }, () => box('free', Buffer.alloc(70_000)))]),
  'thousands of tracks': Buffer.concat([brand('isom'), box('mdat', noise(70_000)), movie(...Array.from({ length: 5_000 }, () => track('soun')))]),
  'a box without end': Buffer.concat([brand('isom'), Buffer.from('\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1'), noise(70_000)]),
  'tags behind tags': Buffer.concat(Array.from({ length: 5_000 }, () => id3(20))),
  'a tag longer than the file': id3(90_000_000).subarray(0, 70_000),
  'thousands of streams of sound': windowsMedia(Array.from({ length: 5_000 }, () => 'sound' as const)),
  'a header without end': Buffer.concat([windowsMedia(['sound']).subarray(0, 16), Buffer.alloc(8, 0xff), noise(70_000)]),
} // prettier-ignore

describe('a file made to harm', () => {
  it.each(Object.entries(hostile))('%s', async (_what, bytes) => {
    const started = process.cpuUsage()
    const { contentType, reads, ...rest } = await sniffWhole(bytes, 'upload')
    const spent = process.cpuUsage(started)
    expect(contentType).toSatisfy(isMimeType)
    expect(rest).not.toHaveProperty('open')
    expect(reads.calls).toBeLessThanOrEqual(mostCalls)
    expect(reads.bytes).toBeLessThanOrEqual(mostBytes)
    expect(spent.user + spent.system).toBeLessThan(2_000_000) // microseconds of work, not of waiting
  })

  it('with the telling entry behind thousands is told', async () => {
    const { contentType } = await sniffWhole(hostile['thousands of entries, the telling one last'] ?? Buffer.alloc(0))
    expect(contentType).toBe('application/vnd.apple.pages')
  })
})

const every = Object.values({ ...handmade, ...packages, ...compounds })

describe('files that are cut or damaged', () => {
  it('at every offset have a type', async () => {
    for (const bytes of every) {
      for (let end = 0; end < Math.min(bytes.length, 2_000); end++)
        expect((await sniff(bytes.subarray(0, end), 'a.zip')).contentType).toSatisfy(isMimeType)
    }
  })

  it('behind the first bytes have one too', async () => {
    for (const { bytes } of Object.values(largeFiles)) {
      for (let end = bytes.length; end > sniffedBytes && end > bytes.length - 600; end -= 7) {
        const { contentType, reads } = await sniffWhole(bytes.subarray(0, end))
        expect(contentType).toSatisfy(isMimeType)
        expect(reads.calls).toBeLessThanOrEqual(mostCalls)
      }
    }
  })

  it('anywhere, are read within bounds', async () => {
    const large = Object.values(largeFiles).map(({ bytes }) => bytes)
    const damages = array(tuple(double({ min: 0, max: 1, noNaN: true }), nat(255)), { minLength: 1, maxLength: 6 })
    const places = constantFrom('anywhere', 'start', 'end')
    await assert(
      asyncProperty(nat(large.length - 1), places, damages, async (index, place, damage) => {
        const bytes = Buffer.from(large[index] ?? Buffer.alloc(0))
        for (const [share, value] of damage) {
          const within = place === 'anywhere' ? bytes.length : 600
          const at = Math.min(within - 1, Math.floor(share * within))
          bytes[place === 'end' ? bytes.length - 1 - at : at] = value
        }
        const { contentType, reads } = await sniffWhole(bytes)
        expect(contentType).toSatisfy(isMimeType)
        expect(reads.calls).toBeLessThanOrEqual(mostCalls)
        expect(reads.bytes).toBeLessThanOrEqual(mostBytes)
      }),
      { numRuns: 500 },
    )
  })
})
