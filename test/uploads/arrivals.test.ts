import { describe, expect, it } from 'vitest'
import { notFound, Rejection, UploadError } from '../../src/errors.ts'
import { arrivalsOf } from '../../src/uploads/arrivals.ts'
import type { Upload } from '../../src/uploads/upload.ts'
import { sampleUpload } from '../support/plugin-harness.ts'

const minuteMs = 60_000
const missing = () => new UploadError('upload_not_received', 'The bytes have not arrived.')

/** Whether the next look follows, and after how many milliseconds. */
async function lookAt(upload: Upload | undefined, finish: () => Promise<Upload>): Promise<number | undefined> {
  const arrivals = arrivalsOf({ records: { get: async () => upload }, finish })
  const now = Date.now()
  const [next] = await arrivals.look('id')
  return next && 'due' in next ? next.due - now : undefined
}
const pending = (ageMs: number, endsInMs: number): Upload =>
  sampleUpload({ state: 'pending', createdAt: Date.now() - ageMs, expiresAt: Date.now() + endsInMs })
const fail = (error: unknown) => async (): Promise<Upload> => {
  throw error
}

describe('looking for bytes', () => {
  it.each([
    ['soon at first', 0, 2_000],
    ['less often when it is older', 20_000, 10_000],
    ['every 30 seconds after a minute', minuteMs, 30_000],
    ['every 30 seconds after a quarter of an hour', 15 * minuteMs, 30_000],
    ['every 48 minutes after a day', 24 * 60 * minuteMs, 48 * minuteMs],
  ])('comes again %s', async (_what, age, gap) => {
    const found = await lookAt(pending(age, 7 * 24 * 60 * minuteMs), fail(missing()))
    expect(found).toBeGreaterThanOrEqual(gap - 1)
    expect(found).toBeLessThan(gap + 1_000)
  })

  it('comes again at a whole millisecond, as the records take no other', async () => {
    for (const age of [5_001, 5_002, 40 * minuteMs + 1, 40 * minuteMs + 2, 40 * minuteMs + 3])
      expect(Number.isInteger(await lookAt(pending(age, 7 * 24 * 60 * minuteMs), fail(missing())))).toBe(true)
  })

  it('comes again right after the URL has ended', async () => {
    const found = await lookAt(pending(10 * minuteMs, 5_000), fail(missing()))
    expect(found).toBeGreaterThan(5_000 - 1)
    expect(found).toBeLessThan(7_000)
    expect(await lookAt(pending(10 * minuteMs, -1), fail(missing()))).toBeGreaterThan(20_000)
  })

  it('comes as often while the store is away', async () => {
    const away = new UploadError('storage_failed', 'The store is away.', { retryAfter: 5 })
    expect(await lookAt(pending(0, minuteMs), fail(away))).toBeLessThan(3_000)
  })

  it.each(['processing', 'ready', 'rejected', 'expired'] as const)('ends when the upload is %s', async (state) => {
    expect(await lookAt(sampleUpload({ state }), fail(new Error('Nobody asks.')))).toBeUndefined()
  })

  it('ends when the upload is deleted', async () => {
    expect(await lookAt(undefined, fail(notFound()))).toBeUndefined()
  })

  it('leaves bugs to the worker', async () => {
    await expect(lookAt(pending(0, minuteMs), fail(new TypeError('bug')))).rejects.toThrow('bug')
  })
})

describe('asking for an upload', () => {
  const upload = sampleUpload({ state: 'pending' })
  const settle = (error: unknown) =>
    arrivalsOf({ records: { get: async () => upload }, finish: fail(error) }).settle(upload)

  it('gives it as it is while bytes are missing, and else says why it ended', async () => {
    expect(await settle(missing())).toBe(upload)
    const refused = new Rejection('checksum_mismatch', 'They are others.')
    await expect(settle(refused)).rejects.toBe(refused)
  })
})
