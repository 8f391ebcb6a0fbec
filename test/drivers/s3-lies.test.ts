import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingS3 } from '../support/s3.ts'
import type { Reply } from '../support/s3-faults.ts'
import type { S3Operation } from '../support/s3-operations.ts'
import { type OpenS3, type S3Rig, startS3Rig, writeObject } from '../support/s3-rig.ts'

const mib = 1024 * 1024
const key = 'ab/object'
const small = randomBytes(10 * 1024)
/** Two parts. */
const large = randomBytes(9 * mib)
const html = { 'content-type': 'text/html' }
const portal: Reply = { status: 200, headers: html, body: '<html><body>Please sign in.</body></html>' }
const empty: Reply = { status: 200, headers: {}, body: '' }
const wrong: Reply = { status: 200, headers: { etag: `"${'0'.repeat(32)}"` }, body: '' }
const wrongJoin: Reply = {
  status: 200,
  headers: { 'content-type': 'application/xml' },
  body: `<CompleteMultipartUploadResult><ETag>"${'0'.repeat(32)}-2"</ETag></CompleteMultipartUploadResult>`,
}

describe.skipIf(missingS3())('an S3 server that says 200 and has stored nothing', () => {
  let rig: S3Rig
  let opened: OpenS3
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open()
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  it.each<[S3Operation, string, Buffer, Reply]>([
    ['PutObject', 'an empty answer', small, empty],
    ['PutObject', 'the page of a captive portal', small, portal],
    ['PutObject', 'the ETag of other bytes', small, wrong],
    ['UploadPart', 'an empty answer', large, empty],
    ['UploadPart', 'the page of a captive portal', large, portal],
    ['UploadPart', 'the ETag of other bytes', large, wrong],
    ['CompleteMultipartUpload', 'the page of a captive portal', large, portal],
    ['CompleteMultipartUpload', 'the ETag of other bytes', large, wrongJoin],
  ])('is not believed: %s with %s', async (operation, _, bytes, act) => {
    opened.proxy.fault(operation, { act, times: Infinity })
    await expect(writeObject(opened.store, key, bytes)).rejects.toMatchObject({ code: 'storage_failed' })
    expect(await opened.get(key)).toBeUndefined()
    opened.proxy.reset()
    await opened.store.clear(key, null)
  })

  it('is not believed when it answers everything so', async () => {
    opened.proxy.fault('any', { act: portal, times: Infinity })
    await expect(writeObject(opened.store, key, small)).rejects.toMatchObject({ code: 'storage_failed' })
  })

  it('is believed without an ETag when the object is there', async () => {
    opened.proxy.fault('PutObject', { act: { status: 200, headers: {}, body: '' }, when: 'after' })
    await writeObject(opened.store, key, small)
    expect(await opened.get(key)).toEqual(small)
  })

  it('is believed with the ETag of bytes that it has encrypted with a key of its own', async () => {
    const headers = { ...wrong.headers, 'x-amz-server-side-encryption': 'aws:kms' }
    opened.proxy.fault('PutObject', { act: { status: 200, headers, body: '' }, when: 'after' })
    // The object that is there has another one.
    await expect(writeObject(opened.store, key, small)).rejects.toMatchObject({ code: 'storage_failed' })
    opened.proxy.fault('PutObject', {
      act: { status: 200, headers: { 'x-amz-server-side-encryption': 'aws:kms' }, body: '' },
      when: 'after',
    })
    await writeObject(opened.store, key, small)
  })

  it.each([403, 500])('an error body of 300 MB (%i) is not read', async (status) => {
    const before = process.memoryUsage().rss
    const act = { status, headers: html, body: '<p>'.repeat(21_845), bytes: 300 * mib }
    opened.proxy.fault('PutObject', { act, times: Infinity })
    await expect(writeObject(opened.store, key, small)).rejects.toMatchObject({ code: 'storage_failed' })
    const [seen] = opened.proxy.seen()
    expect(seen?.status).toBe(status)
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * mib)
  })
})
