import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missingS3, newBucket, sharedS3 } from './s3.ts'
import { type RawBucket, rawBucket } from './s3-raw.ts'
import { missingForS3Server, type S3Connection, type S3Server, startS3Server } from './s3-server.ts'

describe.skipIf(missingS3())('the shared S3 server', () => {
  let shared: S3Connection
  let bucket: RawBucket
  beforeAll(async () => {
    shared = await sharedS3()
    bucket = await newBucket(shared)
  })
  afterAll(() => bucket.drop())

  it('is one for everybody', async () => {
    expect(await sharedS3()).toEqual(shared)
  })

  it('keeps objects', async () => {
    await bucket.put('ab/a key & more+', Buffer.from('bytes'), { 'content-type': 'text/x-test' })
    expect(String(await bucket.get('ab/a key & more+'))).toBe('bytes')
    expect((await bucket.head('ab/a key & more+'))?.get('content-type')).toBe('text/x-test')
    expect(await bucket.list()).toEqual([{ key: 'ab/a key & more+', size: 5 }])
    await bucket.remove('ab/a key & more+')
    await bucket.remove('ab/a key & more+')
    expect(await bucket.get('ab/a key & more+')).toBeUndefined()
    expect(await bucket.head('ab/a key & more+')).toBeUndefined()
    expect(await bucket.list()).toEqual([])
  })

  it('shows every object and every open upload, also over several pages', async () => {
    const paged = rawBucket(shared, bucket.name, 2)
    const keys = ['1', '2', '3', '4', '5'].map((name) => `pages/${name}`)
    for (const key of keys) await bucket.put(key, Buffer.from(key))
    for (const key of [...keys, 'pages/5']) await bucket.startUpload(key)
    expect((await paged.list('pages/')).map(({ key }) => key)).toEqual(keys)
    const uploads = await paged.uploads('pages/')
    expect(uploads.map(({ key }) => key)).toEqual([...keys, 'pages/5'])
    expect(new Set(uploads.map(({ id }) => id)).size).toBe(6)
    expect(await bucket.list('other/')).toEqual([])
    for (const upload of uploads) await bucket.abort(upload)
    expect(await bucket.uploads()).toEqual([])
  })

  it('takes parts', async () => {
    const upload = await bucket.startUpload('parts')
    expect(await bucket.putPart(upload, 2, Buffer.from('part'))).toMatch(/^"[0-9a-f]{32}"$/)
    expect(await bucket.parts(upload)).toEqual([2])
    await bucket.abort(upload)
    await expect(bucket.putPart(upload, 3, Buffer.from('part'))).rejects.toThrow(/not found/)
  })

  it('lets scripts of other origins in', async () => {
    expect(await bucket.cors()).toBeUndefined()
    await bucket.allowOrigin('https://app.example.org')
    expect(await bucket.cors()).toContain('<AllowedOrigin>https://app.example.org</AllowedOrigin>')
  })

  it('checks signatures', async () => {
    const stranger = rawBucket({ ...shared, secretAccessKey: 'wrong' }, bucket.name)
    await expect(stranger.list()).rejects.toThrow(/SignatureDoesNotMatch/)
  })
})

describe.skipIf(missingForS3Server())('an S3 server of its own', () => {
  let server: S3Server
  let bucket: RawBucket
  beforeAll(async () => {
    server = await startS3Server()
    bucket = await newBucket(server)
  })
  afterAll(() => server.close())

  it.each(['SIGTERM', 'SIGKILL'] as const)('keeps what it has over %s, at the same address', async (signal) => {
    await bucket.put(`kept/${signal}`, Buffer.from('bytes'))
    const upload = await bucket.startUpload(`open/${signal}`)
    await server.stop(signal)
    expect(await answers(server)).toBe(false)
    await server.start()
    expect(String(await bucket.get(`kept/${signal}`))).toBe('bytes')
    expect(await bucket.uploads(`open/${signal}`)).toEqual([upload])
  })

  it('ends with the process that has started it', async () => {
    const script = `
      import { startS3Server } from ${JSON.stringify(join(import.meta.dirname, 's3-server.ts'))}
      console.log((await startS3Server()).endpoint)
      setInterval(() => {}, 1_000)`
    const starter = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(starter.stdout, 'data')
    const endpoint = String(line).trim()
    expect(await answers({ endpoint })).toBe(true)
    starter.kill('SIGKILL')
    await once(starter, 'exit')
    for (let i = 0; i < 100 && (await answers({ endpoint })); i++) await delay(20)
    expect(await answers({ endpoint })).toBe(false)
  })
})

/** Whether anybody listens there. */
async function answers({ endpoint }: { readonly endpoint: string }): Promise<boolean> {
  const { hostname, port } = new URL(endpoint)
  const socket = connect(Number(port), hostname)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
