import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get, request } from 'node:http'
import { AwsClient } from 'aws4fetch'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingS3, newBucket, sharedS3 } from './s3.ts'
import { startS3Proxy, type S3Proxy } from './s3-proxy.ts'
import { type RawBucket, rawBucket } from './s3-raw.ts'
import type { S3Connection } from './s3-server.ts'

const mib = 1024 * 1024

describe.skipIf(missingS3())('a proxy before an S3 server', () => {
  let shared: S3Connection
  /** Not through the proxy. */
  let direct: RawBucket
  let proxy: S3Proxy
  let bucket: RawBucket
  beforeAll(async () => {
    shared = await sharedS3()
    direct = await newBucket(shared)
    proxy = await startS3Proxy(shared.endpoint)
    bucket = rawBucket({ ...shared, endpoint: proxy.endpoint }, direct.name)
  })
  beforeEach(() => proxy.reset())
  afterEach(async () => {
    for (const { key } of await direct.list()) await direct.remove(key)
  })
  afterAll(async () => {
    await proxy.close()
    await direct.drop()
  })

  it('passes on bytes of every amount, both ways', async () => {
    for (const size of [0, 1, 70_000, 9 * mib + 1]) {
      const bytes = randomBytes(size)
      await bucket.put('object', bytes)
      expect(Buffer.compare((await direct.get('object')) ?? Buffer.alloc(0), bytes)).toBe(0)
      expect(Buffer.compare((await bucket.get('object')) ?? Buffer.alloc(0), bytes)).toBe(0)
      const [put, found] = proxy.seen()
      expect(put).toMatchObject({ operation: 'PutObject', key: 'object', bucket: direct.name, sent: size, status: 200 })
      expect(found).toMatchObject({ operation: 'GetObject', key: 'object', received: size, status: 200 })
      proxy.reset()
    }
  })

  it('goes on when a client hangs up in the body of what is answered on purpose', async () => {
    const fault = proxy.fault('PutObject', { act: { status: 500, code: 'InternalError' } })
    const headers = { 'Content-Length': '1000' }
    const sending = request(`${proxy.endpoint}/${direct.name}/cut`, { method: 'PUT', headers }).on('error', () => {})
    sending.write('some')
    await fault.hit
    sending.destroy()
    await new Promise((resolve) => sending.once('close', resolve))
    await bucket.put('object', Buffer.from('bytes'))
    expect(await direct.get('object')).toEqual(Buffer.from('bytes'))
  })

  it('knows what is asked', async () => {
    await bucket.put('one', Buffer.from('bytes'))
    await bucket.head('one')
    await bucket.request('GET', '/one', { headers: { range: 'bytes=1-2' } })
    await bucket.list()
    const copy = { 'x-amz-copy-source': `/${direct.name}/one` }
    await bucket.put('two', Buffer.alloc(0), copy)
    const upload = await bucket.startUpload('three')
    await bucket.putPart(upload, 1, Buffer.from('part'))
    await bucket.request('PUT', `/three?partNumber=2&uploadId=${upload.id}`, { headers: copy })
    await bucket.parts(upload)
    await bucket.request('POST', `/three?uploadId=${upload.id}`, { body: '<CompleteMultipartUpload/>' })
    await bucket.uploads()
    await bucket.abort(upload)
    await bucket.remove('one')
    await bucket.request('HEAD', '')
    await bucket.cors()
    const client = new AwsClient({ ...shared, service: 's3' })
    const url = `${proxy.endpoint}/${direct.name}/four?X-Amz-Expires=60`
    await fetch(await client.sign(url, { method: 'PUT', body: 'presigned', aws: { signQuery: true } }))
    await fetch(url, { method: 'OPTIONS' })
    expect(proxy.seen().map(({ operation }) => operation)).toEqual([
      'PutObject',
      'HeadObject',
      'GetObject',
      'ListObjectsV2',
      'CopyObject',
      'CreateMultipartUpload',
      'UploadPart',
      'UploadPartCopy',
      'ListParts',
      'CompleteMultipartUpload',
      'ListMultipartUploads',
      'AbortMultipartUpload',
      'DeleteObject',
      'HeadBucket',
      'GetBucketCors',
      'PutObject',
      'Preflight',
    ])
    expect(proxy.seen()[2]).toMatchObject({ headers: { range: 'bytes=1-2' }, received: 2, status: 206 })
    expect(String(await direct.get('two'))).toBe('bytes')
    expect(String(await direct.get('four'))).toBe('presigned')
    expect(proxy.counts()).toMatchObject({ PutObject: 2, GetObject: 1, ListParts: 1 })
  })

  it('answers in the place of the server, for as long as it was told to', async () => {
    const fault = proxy.fault('PutObject', { act: { status: 503, code: 'SlowDown' }, nth: 2, times: 2 })
    const statuses: number[] = []
    for (let i = 0; i < 5; i++) statuses.push((await bucket.request('PUT', `/${i}`, { body: randomBytes(mib) })).status)
    expect(statuses).toEqual([200, 503, 503, 200, 200])
    expect(proxy.seen().map(({ status }) => status)).toEqual(statuses)
    expect(fault.hits()).toBe(2)
    expect((await direct.list()).map(({ key }) => key)).toEqual(['0', '3', '4'])
  })

  it('minds only the key that it was told', async () => {
    const fault = proxy.fault('any', { act: { status: 500, code: 'InternalError' }, key: 'two', times: Infinity })
    expect((await bucket.request('PUT', '/one', { body: 'x' })).status).toBe(200)
    const answer = await bucket.request('PUT', '/two', { body: 'x' })
    expect(answer).toMatchObject({ status: 500 })
    expect(String(answer.body)).toContain('<Code>InternalError</Code>')
    expect((await bucket.request('GET', '/two')).status).toBe(500)
    fault.release()
    expect((await bucket.request('PUT', '/two', { body: 'x' })).status).toBe(200)
  })

  it('cuts before the server has heard of it, and after it has done it', async () => {
    proxy.fault('PutObject', { act: 'cut', key: 'before' })
    proxy.fault('PutObject', { act: 'cut', key: 'during', when: 'sending', bytes: mib })
    proxy.fault('PutObject', { act: 'cut', key: 'after', when: 'after' })
    for (const key of ['before', 'during', 'after'])
      await expect(bucket.put(key, randomBytes(3 * mib))).rejects.toThrow(/fetch failed/)
    expect(await direct.list()).toEqual([{ key: 'after', size: 3 * mib }])
    expect(proxy.seen().map(({ status }) => status)).toEqual([undefined, undefined, undefined])
  })

  it('says of what was done that it was not', async () => {
    proxy.fault('PutObject', { act: { status: 500, code: 'InternalError' }, when: 'after' })
    expect((await bucket.request('PUT', '/one', { body: 'x' })).status).toBe(500)
    expect(String(await direct.get('one'))).toBe('x')
  })

  it('cuts in the middle of an answer', async () => {
    await direct.put('one', randomBytes(3 * mib))
    proxy.fault('GetObject', { act: 'cut', when: 'answering', bytes: mib })
    const response = await fetchUrl(await presigned('one'))
    expect(response.headers['content-length']).toBe(String(3 * mib))
    let received = 0
    response.on('data', (chunk: Buffer) => (received += chunk.length))
    await expect(once(response, 'end')).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(received).toBe(mib)
  })

  it.each(['before', 'sending', 'after', 'answering'] as const)('stalls %s, until it is let go', async (when) => {
    const bytes = randomBytes(3 * mib)
    await direct.put('one', bytes)
    const isRead = when === 'answering'
    const fault = proxy.fault(isRead ? 'GetObject' : 'PutObject', { act: 'stall', when, bytes: mib })
    const done = isRead ? bucket.get('one') : bucket.put('two', bytes)
    expect(await fault.hit).toMatchObject({ key: isRead ? 'one' : 'two' })
    expect((await direct.get('two')) !== undefined).toBe(when === 'after')
    fault.release()
    await done
    const passed = isRead ? await done : await direct.get('two')
    expect(Buffer.compare(passed ?? Buffer.alloc(0), bytes)).toBe(0)
  })

  it('lets a client go that waits no more', async () => {
    const fault = proxy.fault('PutObject', { act: 'stall' })
    const abort = new AbortController()
    const asked = fetch(`${proxy.endpoint}/${direct.name}/one`, { method: 'PUT', body: 'x', signal: abort.signal })
    await fault.hit
    abort.abort()
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('tells when the server has done what nobody waits for any more', async () => {
    const fault = proxy.fault('PutObject', { act: 'stall', when: 'after' })
    const abort = new AbortController()
    const client = new AwsClient({ ...shared, service: 's3', retries: 0 })
    const url = `${proxy.endpoint}/${direct.name}/one`
    const asked = client.fetch(url, { method: 'PUT', body: randomBytes(mib), signal: abort.signal })
    await fault.hit
    abort.abort()
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
    await proxy.idle()
    expect(await direct.list()).toEqual([{ key: 'one', size: mib }])
  })

  it('is late when it was told to', async () => {
    proxy.slowDown(300)
    proxy.fault('HeadBucket', { act: { delayMs: 200 }, when: 'after' })
    const start = performance.now()
    expect((await bucket.request('HEAD', '')).status).toBe(200)
    expect(performance.now() - start).toBeGreaterThan(495)
  })

  it('goes away and comes back at the same address', async () => {
    await bucket.put('one', Buffer.from('bytes'))
    const stalled = proxy.fault('GetObject', { act: 'stall' })
    const broken = bucket.get('one')
    await stalled.hit
    await Promise.all([proxy.down(), expect(broken).rejects.toThrow(/fetch failed/)])
    await expect(bucket.get('one')).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } })
    await proxy.up()
    expect(String(await bucket.get('one'))).toBe('bytes')
  })

  async function presigned(key: string): Promise<string> {
    const client = new AwsClient({ ...shared, service: 's3' })
    return (await client.sign(`${proxy.endpoint}/${direct.name}/${key}`, { aws: { signQuery: true } })).url
  }
})

async function fetchUrl(url: string) {
  const [response] = await once(get(url), 'response')
  return response
}
