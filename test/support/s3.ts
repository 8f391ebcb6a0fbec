import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { z } from 'zod'
import { type RawBucket, rawBucket } from './s3-raw.ts'
import type { S3Connection } from './s3-server.ts'

const connection = z.object({
  endpoint: z.string(),
  region: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
})

/** Why the S3 suites cannot run here, for `describe.skipIf`; nothing when they can. Never set in CI: there the run fails instead. */
export function missingS3(): string | undefined {
  const provided = inject('s3')
  return provided.kind === 'missing' ? provided.reason : undefined
}

/** The server that all test files share; the first who asks waits until it has started. */
export async function sharedS3(): Promise<S3Connection> {
  const provided = inject('s3')
  if (provided.kind === 'missing') throw new Error(provided.reason)
  if (provided.kind === 'given') return provided.connection
  const response = await fetch(provided.url)
  if (!response.ok) throw new Error(await response.text())
  return connection.parse(await response.json())
}

/** A new bucket of a random name, seen through a client that is not the driver's. */
export async function newBucket(server: S3Connection): Promise<RawBucket> {
  const bucket = rawBucket(server, `fairlead-test-${randomBytes(8).toString('hex')}`)
  await bucket.create()
  return bucket
}
