/**
 * What each thing that a client does costs in requests to the S3 server: counted on their way, by a proxy that clients do not use.
 * `later` is what jobs do afterwards; what they clear they look at once more when the upload URL has ended. Ends with 1 when something
 * costs more than it should.
 *
 *     node bench/s3-requests.ts
 */
import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { startGateway, projectRoot, type TestGateway } from '../test/support/gateway.ts'
import type { Seen } from '../test/support/s3-faults.ts'
import { type S3Proxy, startS3Proxy } from '../test/support/s3-proxy.ts'
import { rawBucket } from '../test/support/s3-raw.ts'
import { s3Variables, startS3Server } from '../test/support/s3-server.ts'
import { type Wire, wire } from '../test/support/wire.ts'

const kib = 1024
const mib = 1024 * kib
/** Milliseconds in which jobs have done what they can do at once. */
const jobsMs = 1_500
/** What only jobs ask for. */
const ofJobs: ReadonlySet<string> = new Set(['ListMultipartUploads', 'AbortMultipartUpload', 'DeleteObject'])
const media = join(projectRoot, 'test/samples/media')
/** Bytes that the facts about a film may cost. */
const mostFilmBytes = 2 * mib

const config = (downloads: 'redirect' | 'proxy'): string => `
import { defineConfig } from '${projectRoot}/src/index.ts'
export default defineConfig({ presign: { ttl: 60 }, s3: { downloads: '${downloads}' } })
`

const rawAnswer = z.object({ data: z.object({ assetId: z.string() }) })
const created = z.object({
  data: z.object({
    upload: z.object({ id: z.string() }),
    upload_url: z.string(),
    upload_headers: z.record(z.string(), z.string()),
  }),
})
const confirmed = z.object({
  data: z.object({ status: z.string(), width: z.number().nullable(), duration: z.number().nullable() }),
})

interface Place {
  readonly gateway: TestGateway
  readonly connection: Wire
  readonly proxy: S3Proxy
}

const headings = ['', 'requests', 'at most', 'bytes read', 'which', 'later']
const widths = [44, 9, 9, 12, 62, 0]
const print = (cells: readonly string[]): void =>
  console.log(cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(''))

async function measure<T>(
  { proxy }: Place,
  what: string,
  most: number,
  work: () => Promise<T>,
  mostBytes = Infinity,
): Promise<T> {
  proxy.reset()
  const result = await work()
  await sleep(jobsMs)
  const asked = proxy.seen().filter(({ operation }) => !ofJobs.has(operation))
  const later = proxy.seen().filter(({ operation }) => ofJobs.has(operation))
  const bytes = asked.reduce((sum, { operation, received }) => sum + (operation === 'GetObject' ? received : 0), 0)
  print([what, String(asked.length), String(most), String(bytes), inWords(asked), inWords(later)])
  if (asked.length > most || bytes > mostBytes) process.exitCode = 1
  return result
}

function inWords(asked: readonly Seen[]): string {
  const counts = new Map<string, number>()
  for (const { operation } of asked) counts.set(operation, (counts.get(operation) ?? 0) + 1)
  return [...counts].map(([operation, times]) => `${times} ${operation}`).join(', ')
}

async function raw({ connection }: Place, body: Uint8Array, chunked = false): Promise<string> {
  const headers = { 'x-file-name': 'raw.bin' }
  const answer = await connection.send({ method: 'POST', path: '/v1/uploads', headers, body, chunked })
  if (answer?.status !== 201) throw new Error(`${answer?.status} ${answer?.bytes.toString()}`)
  return rawAnswer.parse(answer.json()).data.assetId
}

/** Creates and PUTs; what it returns confirms. */
async function arrived(
  { connection }: Place,
  filename: string,
  body: Uint8Array,
  checksum?: string,
): Promise<() => Promise<z.infer<typeof confirmed>['data']>> {
  const draft = { filename, category: 'other', size_bytes: body.length, checksum }
  const json = { 'Content-Type': 'application/json' }
  const asked = Buffer.from(JSON.stringify(draft))
  const made = await connection.send({ method: 'POST', path: '/api/v1/uploads', headers: json, body: asked })
  const { upload, upload_url: path, upload_headers: headers } = created.parse(made?.json()).data
  const direct = wire(path)
  const put = await direct.send({ method: 'PUT', path, headers, body })
  direct.close()
  if (put?.status !== 200) throw new Error(`${put?.status} ${put?.bytes.toString()}`)
  return async () => {
    const answer = await connection.send({ method: 'POST', path: `/api/v1/uploads/${upload.id}/confirm` })
    return confirmed.parse(answer?.json()).data
  }
}

async function confirm(place: Place, what: string, most: number, confirming: Promise<() => Promise<unknown>>) {
  const now = await confirming
  return measure(place, `confirm: ${what}`, most, now)
}

/** A film of 1 GiB with its index at the end, as cameras write them: 900 kB of index, as a long film has. */
async function longFilm(): Promise<Buffer> {
  const content = await readFile(join(media, 'end.mp4'))
  const mdat = content.indexOf('mdat') - 4
  const moov = content.indexOf('moov') - 4
  const hole = 1024 * mib
  const free = Buffer.alloc(900_008)
  free.writeUInt32BE(free.length, 0)
  free.write('free', 4, 'latin1')
  const index = Buffer.concat([content.subarray(moov), free])
  index.writeUInt32BE(index.length, 0)
  const whole = Buffer.alloc(mdat + hole + index.length)
  content.copy(whole, 0, 0, mdat)
  whole.writeUInt32BE(hole, mdat)
  whole.write('mdat', mdat + 4, 'latin1')
  index.copy(whole, mdat + hole)
  return whole
}

const server = await startS3Server()
const bucket = rawBucket(server, `fairlead-requests-${randomBytes(6).toString('hex')}`)
await bucket.create()
const proxy = await startS3Proxy(server.endpoint)

async function open(downloads: 'redirect' | 'proxy'): Promise<Place> {
  const gateway = await startGateway({
    config: config(downloads),
    env: {
      FAIRLEAD_LOG_LEVEL: 'warn',
      ...s3Variables({ ...server, endpoint: proxy.endpoint }, bucket.name),
      FAIRLEAD_S3_PUBLIC_ENDPOINT: server.endpoint,
    },
  })
  return { gateway, connection: wire(gateway.url, gateway.key), proxy }
}

async function close({ gateway, connection }: Place): Promise<void> {
  connection.close()
  await gateway.close()
}

const download = ({ connection }: Place, id: string) =>
  connection.send({ method: 'GET', path: `/api/v1/uploads/${id}/download` })

const digest = (algorithm: string, bytes: Uint8Array): string =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('base64')}`

const redirecting = await open('redirect')
try {
  const small = randomBytes(10 * kib)
  const image = await readFile(join(media, 'still.png'))
  print(headings)
  const id = await measure(redirecting, 'raw, 10 KiB', 1, () => raw(redirecting, small))
  await measure(redirecting, 'raw, 8 MiB', 1, () => raw(redirecting, randomBytes(8 * mib)))
  const large = randomBytes(100 * mib)
  await measure(redirecting, 'raw, 100 MiB', 2 + 13, () => raw(redirecting, large))
  await measure(redirecting, 'raw, 100 MiB, length not announced', 2 + 13, () => raw(redirecting, large, true))
  await measure(redirecting, 'download, redirected', 0, () => download(redirecting, id))
  // Looked up, copied, the copy looked up, its first bytes read.
  await confirm(redirecting, '10 KiB', 4, arrived(redirecting, 'a.bin', small))
  await confirm(redirecting, '10 KiB, MD5 declared', 5, arrived(redirecting, 'a.bin', small, digest('md5', small)))
  const sha256 = digest('sha256', small)
  await confirm(redirecting, '10 KiB, SHA-256 declared', 6, arrived(redirecting, 'a.bin', small, sha256))
  await confirm(redirecting, 'image', 6, arrived(redirecting, 'a.png', image))
  const film = await arrived(redirecting, 'film.mp4', await longFilm())
  const facts = await measure(redirecting, 'confirm: film of 1 GiB, index at its end', 3 + 6, film, mostFilmBytes)
  console.log(`  ${JSON.stringify(facts)}`)
  if (facts.width === null || facts.duration === null) process.exitCode = 1
  await measure(redirecting, 'delete', 0, () =>
    redirecting.connection.send({ method: 'DELETE', path: `/v1/assets/${id}` }),
  )

  const proxying = await open('proxy')
  try {
    const other = await raw(proxying, small)
    await measure(proxying, 'download, through the gateway', 1, () => download(proxying, other))
  } finally {
    await close(proxying)
  }
} finally {
  await close(redirecting)
  await proxy.close()
  await server.close()
}
