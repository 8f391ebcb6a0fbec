import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Upload, type UploadOptions } from 'tus-js-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, eventually, sha256 } from '../support/client.ts'
import { projectRoot, type TestGateway } from '../support/gateway.ts'
import { disk, type Place, s3Place } from '../support/places.ts'
import { samplePath } from '../support/samples.ts'
import { clientOptions, type Ended, run, type Source, urlStorage } from '../support/tus-js-client.ts'

const mib = 1024 * 1024
const chunkSize = 700_000
const program = join(projectRoot, 'test/support/send-by-tus.ts')

interface Way {
  readonly how: string
  readonly options: UploadOptions
  readonly size?: number
  /** What the client is given; absent: the bytes themselves. */
  readonly source?: (bytes: Buffer) => Source
}

/** A stream whose length nobody says. (The client waits for ever when a stream ends where a chunk does.) */
const streamed = (bytes: Buffer): Readable =>
  Readable.from(
    (function* pieces() {
      for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
    })(),
    { objectMode: false },
  )
const deferred = { uploadLengthDeferred: true, chunkSize }

const ways: readonly Way[] = [
  { how: 'in one request', options: {} },
  { how: 'in chunks', options: { chunkSize } },
  { how: 'in chunks that come out even', options: { chunkSize }, size: 3 * chunkSize },
  { how: 'in chunks larger than the file', options: { chunkSize: 9 * mib }, size: mib },
  { how: 'with POST for PATCH', options: { overridePatchMethod: true, chunkSize } },
  { how: 'with request ids', options: { addRequestId: true } },
  { how: 'with the creation', options: { uploadDataDuringCreation: true } },
  { how: 'with the creation, in chunks', options: { uploadDataDuringCreation: true, chunkSize } },
  { how: 'in three uploads at once', options: { parallelUploads: 3 } },
  { how: 'in four uploads at once, in chunks', options: { parallelUploads: 4, chunkSize: 300_000 } },
  {
    how: 'in two uploads at once, with their creation',
    options: { parallelUploads: 2, uploadDataDuringCreation: true },
  },
  { how: 'from a stream', options: deferred, source: streamed },
  { how: 'from a stream, with POST for PATCH', options: { ...deferred, overridePatchMethod: true }, source: streamed },
  {
    how: 'from a stream, with the creation',
    options: { ...deferred, uploadDataDuringCreation: true },
    source: streamed,
  },
  { how: 'that is empty', options: {}, size: 0 },
  { how: 'that is empty, with the creation', options: { uploadDataDuringCreation: true }, size: 0 },
  { how: 'of one byte', options: {}, size: 1 },
]

/** What a client's process has printed last. */
const endOf = (lines: string): Ended => JSON.parse(lines.trim().split('\n').pop() ?? '').ended

/** The public client, as it is, against the program that ships. @param settings further options of it */
function clientSuite(place: Place, settings = ''): void {
  let gateway: TestGateway
  let call: Client
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-tus-'))
    gateway = await place.start({
      plugins: `sniffType({ mode: 'reject', deny: ['application/x-msdownload'] }), quota()`,
      more: settings,
    })
    call = (method, path, ask) => clientOf(gateway, gateway.key)(method, path, ask)
  })
  afterAll(async () => {
    await gateway?.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** The upload is there as it was sent, by the record that its last answer names. */
  async function expectStored(ended: Ended, bytes: Uint8Array): Promise<void> {
    expect(ended.error).toBeUndefined()
    expect(ended.url).toBe(`${gateway.url}/files/${ended.id}`)
    const record = await call('GET', `/api/v1/uploads/${ended.id}`)
    expect(record.json()).toMatchObject({ data: { status: 'confirmed', size_bytes: bytes.length } })
    const download = await call('GET', `/api/v1/uploads/${ended.id}/download`)
    expect([download.status, sha256(download.bytes)]).toEqual([200, sha256(bytes)])
  }

  it.each(ways)('sends a file $how', async ({ options, size = 5 * mib + 12_345, source }) => {
    const bytes = randomBytes(size)
    const metadata = { filename: 'Grüße 😀.bin', filetype: 'application/octet-stream', note: 'ä' }
    const ended = await run(source ? source(bytes) : bytes, { ...clientOptions(gateway), ...options, metadata })
    await expectStored(ended, bytes)
    expect(ended.record).toBe(`${gateway.url}/api/v1/uploads/${ended.id}`)
    const record = await call('GET', `/api/v1/uploads/${ended.id}`)
    expect(record.json()).toMatchObject({ data: { filename: 'Grüße 😀.bin', metadata: { note: 'ä' } } })
  })

  it('sends a file from the disk to an address with a slash', async () => {
    const bytes = randomBytes(2 * mib)
    const file = join(folder, 'file')
    await writeFile(file, bytes)
    const options = { ...clientOptions(gateway), endpoint: `${gateway.url}/files/` }
    for (const more of [{}, { chunkSize }, { parallelUploads: 2 }])
      await expectStored(await run(createReadStream(file), { ...options, ...more }), bytes)
  })

  it('sends many files at once', async () => {
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const bytes = randomBytes(100_000 + i)
        await expectStored(await run(bytes, { ...clientOptions(gateway), chunkSize: 30_000 }), bytes)
      }),
    )
  })

  it.each([
    ['alone', {}],
    ['in parallel', { parallelUploads: 3 }],
  ])('goes on, %s, where another client was aborted', async (how, more) => {
    const bytes = randomBytes(3 * mib)
    const options: UploadOptions = {
      ...clientOptions(gateway),
      chunkSize: 200_000,
      urlStorage: urlStorage(join(folder, `aborted ${how}`)),
      fingerprint: async () => 'aborted',
      ...more,
    }
    let first: Upload | undefined
    const aborted = new Promise<void>((resolve, reject) => {
      let accepted = 0
      const onChunkComplete = (size: number): void => {
        accepted += size
        if (accepted >= mib) first?.abort().then(resolve, reject)
      }
      void run(bytes, { ...options, onChunkComplete }, (upload) => (first = upload)) // it never ends
    })
    await aborted
    const offsets: number[] = []
    const onAfterResponse: UploadOptions['onAfterResponse'] = (req, res) => {
      if (req.getMethod() === 'HEAD') offsets.push(Number(res.getHeader('Upload-Offset')))
    }
    const ended = await run(bytes, { ...options, onAfterResponse })
    await expectStored(ended, bytes)
    const total = offsets.reduce((sum, offset) => sum + offset, 0)
    expect(total).toBeGreaterThanOrEqual(mib)
    expect(total).toBeLessThan(bytes.length)
  })

  it('asks again, and does not begin anew, while nobody can say where the upload is', async () => {
    const fails = `{ name: 'fails', beforeFinish() { if ((globalThis.tries = (globalThis.tries ?? 0) + 1) < 4) throw new Error('away') } }`
    const other = await place.start({ plugins: `sniffType(), quota(), ${fails}` })
    try {
      const bytes = randomBytes(mib)
      const heads: number[] = []
      const onAfterResponse: UploadOptions['onAfterResponse'] = (req, res) => {
        if (req.getMethod() === 'HEAD') heads.push(res.getStatus())
      }
      const ended = await run(bytes, { ...clientOptions(other), onAfterResponse })
      expect(ended.error).toBeUndefined()
      expect(heads).toContain(423)
      const usage = await clientOf(other, other.key)('GET', '/api/v1/usage/summary')
      expect(usage.json()).toMatchObject({ data: { uploads: { total: 1, confirmed: 1 } } })
    } finally {
      await other.close()
    }
  })

  it('terminates what it aborts', async () => {
    const bytes = randomBytes(mib)
    let upload: Upload | undefined
    const url = await new Promise<string>((resolve, reject) => {
      const onChunkComplete = (): void => {
        const at = upload?.url ?? ''
        upload?.abort(true).then(() => resolve(at), reject)
      }
      const options = { ...clientOptions(gateway), chunkSize: 100_000, onChunkComplete }
      void run(bytes, options, (one) => (upload = one)) // it never ends
    })
    const id = url.split('/').pop()
    expect((await call('GET', `/api/v1/uploads/${id}`)).status).toBe(404)
  })

  it('terminates what is finished', async () => {
    const { url, id } = await run(randomBytes(1_000), clientOptions(gateway))
    expect((await call('GET', `/api/v1/uploads/${id}`)).status).toBe(200)
    await Upload.terminate(url, clientOptions(gateway))
    expect((await call('GET', `/api/v1/uploads/${id}`)).status).toBe(404)
  })

  it('is told when a file is refused', async () => {
    const bytes = await readFile(samplePath({ file: 'program.exe' }))
    for (const way of [{}, { uploadDataDuringCreation: true }, { parallelUploads: 2 }]) {
      const ended = await run(bytes, { ...clientOptions(gateway), ...way })
      expect(ended).toMatchObject({ status: 415, error: expect.stringContaining('FILE_TYPE_NOT_ALLOWED') })
    }
  })

  it('creates the upload anew when it has gone', async () => {
    const bytes = randomBytes(100_000)
    const { url } = await run(bytes, clientOptions(gateway))
    await Upload.terminate(url, clientOptions(gateway))
    const again = await run(bytes, { ...clientOptions(gateway), uploadUrl: url })
    expect(again.url).not.toBe(url)
    await expectStored(again, bytes)
  })

  /** The client as a process of its own; what it has printed, as it comes. */
  function clientProcess(file: string, wait: number, parallel = 1): { child: ChildProcess; lines: () => string } {
    const args = [program, gateway.url, gateway.key, file, `${file}.urls`, String(wait), String(parallel)]
    const child = spawn(process.execPath, args)
    let out = ''
    child.stdout.on('data', (chunk) => (out += String(chunk)))
    child.stderr.on('data', (chunk) => (out += String(chunk)))
    return { child, lines: () => out }
  }

  it('goes on in another process when the first was killed', async () => {
    await Promise.all(
      [1, 3].map(async (parallel) => {
        const bytes = randomBytes(2 * mib)
        const file = join(folder, `killed-${parallel}`)
        await writeFile(file, bytes)
        const first = clientProcess(file, 20, parallel)
        await eventually(() => expect(first.lines()).toContain('accepted'))
        first.child.kill('SIGKILL')
        await once(first.child, 'close')
        expect(first.lines()).not.toContain('ended')
        const second = clientProcess(file, 0, parallel)
        await once(second.child, 'close')
        await expectStored(endOf(second.lines()), bytes)
      }),
    )
  })

  it('outlasts a server that is killed in the middle, and one that stops in order', async () => {
    const port = { FAIRLEAD_PORT: new URL(gateway.url).port }
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const sent = [
        { chunkSize: 300_000 },
        { chunkSize: 300_000, parallelUploads: 3 },
        { ...deferred, chunkSize: 300_000 },
      ]
      let accepted = 0
      let killed: Promise<unknown> | undefined
      const onChunkComplete = (size: number): void => {
        accepted += size
        if (accepted > 3 * mib) killed ??= gateway.stop(signal).then(() => gateway.start(port))
      }
      const all = sent.map(async (options) => {
        const bytes = randomBytes(4 * mib)
        const source = 'uploadLengthDeferred' in options ? streamed(bytes) : bytes
        const ended = await run(source, { ...clientOptions(gateway), ...options, onChunkComplete })
        return { ended, bytes }
      })
      const results = await Promise.all(all)
      expect(killed).toBeDefined()
      await killed
      for (const { ended, bytes } of results) await expectStored(ended, bytes)
    }
  })
}

describe('on disk', () => {
  clientSuite(disk)
})

const s3 = s3Place()
afterAll(() => s3.close())
describe.skipIf(s3.missing)('on S3', () => {
  clientSuite(s3, 'tus: { relativeLocation: true }')
})
