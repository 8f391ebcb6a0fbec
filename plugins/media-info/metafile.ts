import type { Found, MediaFile } from './facts.ts'

const pixelsPerInch = 96
const unitsPerInch = 2540 // hundredths of a millimetre

/** Whether a file begins as an enhanced metafile or a placeable one, the kinds of Windows' drawings that have a size. */
export const isMetafile = (start: Buffer): boolean => isEnhanced(start) || isPlaceable(start)

const isPlaceable = (start: Buffer): boolean => start.length >= 22 && start.readUInt32LE(0) === 0x9ac6cdd7
const isEnhanced = (start: Buffer): boolean =>
  start.length >= 44 && start.readUInt32LE(0) === 1 && start.toString('latin1', 40, 44) === ' EMF'

/** WMF and EMF: the frame that the header states, in pixels of 1/96 inch as for SVG. */
export async function probeMetafile(file: MediaFile, found: Found): Promise<void> {
  const head = await file.read(0, 44)
  const perInch = isEnhanced(head) ? unitsPerInch : head.readUInt16LE(14)
  const [left, top, right, bottom] = isEnhanced(head)
    ? [24, 28, 32, 36].map((at) => head.readInt32LE(at))
    : [6, 8, 10, 12].map((at) => head.readInt16LE(at))
  const pixels = (from = 0, to = 0): number => (Math.abs(to - from) / perInch) * pixelsPerInch
  Object.assign(found, { width: pixels(left, right), height: pixels(top, bottom) })
}
