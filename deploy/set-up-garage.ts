import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Config, loadConfig } from '../config/load.ts'
import { readValueFile } from '../config/value-file.ts'
import { setCors } from '../src/stores/s3/cors.ts'
import { s3Client } from '../src/stores/s3/requests.ts'

// Gives Garage the key and the bucket that this installation's configuration names, and lets its web pages send to the bucket.
// Run again it changes nothing. It takes the gateway's own variables, GARAGE_ADMIN_URL and GARAGE_ADMIN_TOKEN_FILE.

const startMs = 60_000 // for Garage to be there
const pauseMs = 500
const requestMs = 10_000

const admin = process.env['GARAGE_ADMIN_URL'] ?? 'http://garage:3903'
const token = readValueFile('GARAGE_ADMIN_TOKEN_FILE', process.env['GARAGE_ADMIN_TOKEN_FILE'] ?? '')

class GarageError extends Error {
  readonly status: number
  constructor(name: string, status: number, code: string, message: string) {
    super(`${name}: ${status} ${code}: ${message}`)
    this.status = status
  }
}

const refusal = z.object({ code: z.string(), message: z.string() })

/** One call of Garage's administration API, version 2. */
async function call(name: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${admin}/v2/${name}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(requestMs),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (answer.ok) return text === '' ? undefined : JSON.parse(text)
  const { data } = refusal.safeParse(isJson(text) ? JSON.parse(text) : undefined)
  throw new GarageError(name, answer.status, data?.code ?? 'unknown', data?.message ?? 'it says no more')
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Tries again what a server that is starting cannot do yet; what it refuses, it refuses for good. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const end = Date.now() + startMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const final = error instanceof GarageError && error.status < 500
      if (final || Date.now() > end) throw error
      await sleep(pauseMs)
    }
  }
}

const bucketInfo = z.object({ id: z.string().min(1) })

async function bucketId(name: string): Promise<string> {
  try {
    return bucketInfo.parse(await call(`GetBucketInfo?globalAlias=${encodeURIComponent(name)}`)).id
  } catch (error) {
    if (!(error instanceof GarageError && error.status === 404)) throw error
    return bucketInfo.parse(await call('CreateBucket', { globalAlias: name })).id
  }
}

async function importKey(accessKeyId: string, secretAccessKey: string): Promise<void> {
  await call('ImportKey', { accessKeyId, secretAccessKey, name: 'fairlead' }).catch((error: unknown) => {
    if (!(error instanceof GarageError && error.status === 409)) throw error // it has this key
  })
}

async function setUp({ s3, server }: Config): Promise<void> {
  const { accessKeyId = '', secretAccessKey = '', bucket = '', endpoint, region = 'garage' } = s3
  await patiently(() => importKey(accessKeyId, secretAccessKey))
  const permissions = { read: true, write: true, owner: true } // its owner may set the CORS rules
  await patiently(async () => call('AllowBucketKey', { bucketId: await bucketId(bucket), accessKeyId, permissions }))
  const client = s3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  })
  const terms = { origins: server.corsOrigins, downloads: s3.downloads === 'redirect' }
  if (terms.origins.length > 0) await patiently(() => setCors(client, bucket, 'fairlead', terms))
  client.destroy()
  process.stdout.write(`The bucket ${bucket} is ready.\n`)
}

await setUp(await loadConfig({ cwd: process.cwd(), env: process.env }))
