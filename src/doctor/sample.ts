import { randomBytes } from 'node:crypto'

/** Pixels of each side. */
const side = 32
const channels = 3

export const sampleName = 'doctor.png'
export const sampleType = 'image/png'

/** A small image of noise: whatever an installation takes, most take images, and no two samples have the same bytes. */
export async function sample(): Promise<Buffer<ArrayBuffer>> {
  const { default: sharp } = await import('sharp') // native code, which the gateway itself does without
  const noise = sharp(randomBytes(side * side * channels), { raw: { width: side, height: side, channels } })
  return Buffer.from(await noise.png().toBuffer())
}
