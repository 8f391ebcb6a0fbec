import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { S3Store } from '../../src/stores/s3.ts'
import type { ObjectWriter } from '../../src/uploads/object-store.ts'
import { missingS3 } from '../support/s3.ts'
import type { S3Proxy } from '../support/s3-proxy.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const kib = 1024
const mib = 1024 * kib
const part = 8 * mib
const budget = 16 * mib
/** What one lease may go beyond the budget. */
const beyond = part

describe.skipIf(missingS3())('the memory of s3', () => {
  let rig: S3Rig
  let opened: OpenS3
  let store: S3Store
  let proxy: S3Proxy
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open({ memoryBytes: budget })
    ;({ store, proxy } = opened)
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  it.each([
    ['known before', true],
    ['not known', false],
  ])('is enough for eight writers at once, their lengths %s', async (_, isKnown) => {
    const objects = Array.from({ length: 8 }, (_object, i) => ({
      key: `ab/${i}`,
      bytes: randomBytes(part + 1 + i * 100_003),
    }))
    let most = 0
    await Promise.all(
      objects.map(async ({ key, bytes }) => {
        const writer = store.write(key, { length: isKnown ? bytes.length : null })
        for (let at = 0; at < bytes.length; at += 640 * kib) {
          await writer.write([bytes.subarray(at, at + 640 * kib)])
          most = Math.max(most, store.heldBytes())
        }
        await writer.finish()
      }),
    )
    expect(most).toBeGreaterThanOrEqual(part)
    expect(most).toBeLessThanOrEqual(budget + beyond)
    expect(store.heldBytes()).toBe(0)
    for (const { key, bytes } of objects) expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), bytes)).toBe(0)
    expect(await opened.uploads()).toEqual([])
  })

  it('is there for small objects while large ones wait for a server that is slow', async () => {
    const stalled = proxy.fault('UploadPart', { act: 'stall', times: Infinity })
    const large = randomBytes(2 * part)
    const writers = Array.from({ length: 6 }, (_, i) =>
      writeObject(store, `ab/large-${i}`, large, { length: large.length }),
    )
    await stalled.hit
    const small = randomBytes(10 * kib)
    const keys = Array.from({ length: 20 }, (_, i) => `ab/small-${i}`)
    for (const [i, key] of keys.entries())
      await writeObject(store, key, small, { length: i % 2 === 0 ? small.length : null })
    expect((await opened.objects()).map(({ key }) => key)).toEqual(keys.toSorted())
    stalled.release()
    await Promise.all(writers)
    expect(store.heldBytes()).toBe(0)
    expect(await opened.objects()).toHaveLength(26)
  })

  it('is not kept by clients that have stopped sending', async () => {
    const slow = await Promise.all(
      // One could send a part of what it has; the other has too little for that.
      [6 * mib, 300 * kib].map(async (bytes, i) => {
        const content = randomBytes(part + 5)
        const writer = store.write(`ab/slow-${i}`, { length: content.length })
        const waits = writer.write([content.subarray(0, bytes)])
        return { key: `ab/slow-${i}`, content, bytes, writer, waits }
      }),
    )
    const quick = randomBytes(part)
    await writeObject(store, 'ab/quick', quick, { length: quick.length })
    expect(Buffer.compare((await opened.get('ab/quick')) ?? Buffer.of(), quick)).toBe(0)
    for (const { key, content, bytes, writer, waits } of slow) {
      await waits
      await writer.write([content.subarray(bytes)])
      await writer.finish()
      expect(Buffer.compare((await opened.get(key)) ?? Buffer.of(), content)).toBe(0)
    }
    expect(store.heldBytes()).toBe(0)
  })

  it('is given back by writers that are aborted while they wait for it', async () => {
    const stalled = proxy.fault('UploadPart', { act: 'stall', times: Infinity })
    const large = randomBytes(2 * part)
    const writers = Array.from({ length: 6 }, (_, i) => store.write(`ab/large-${i}`))
    const waiting = writers.map((writer) => endOf(writer, large))
    await stalled.hit
    for (const writer of writers.toReversed()) await writer.abort()
    await Promise.all(waiting)
    expect(store.heldBytes()).toBe(0)
    stalled.release()
    await writeObject(store, 'ab/next', large)
    expect(store.heldBytes()).toBe(0)
  })

  it('is given back when the server fails', async () => {
    proxy.fault('any', { act: { status: 403, code: 'AccessDenied' }, times: Infinity })
    const large = randomBytes(2 * part)
    const writers = Array.from({ length: 6 }, (_, i) => store.write(`ab/${i}`))
    const ends = await Promise.all(writers.map((writer, i) => endOf(writer, i % 2 ? large : large.subarray(0, 10))))
    for (const end of ends) expect(end).toMatchObject({ code: 'storage_failed', cause: { name: 'AccessDenied' } })
    for (const writer of writers) await writer.abort()
    expect(store.heldBytes()).toBe(0)
  })
})

/** Writes all of it; returns the failure, if there is one. */
async function endOf(writer: ObjectWriter, bytes: Uint8Array): Promise<unknown> {
  try {
    await writer.write([bytes])
    return await writer.finish()
  } catch (error) {
    return error
  }
}
