import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { missingForS3Server, type S3Connection, type S3Server, startS3Server } from './s3-server.ts'

export type ProvidedS3 =
  /** Asking this URL starts the server, if nobody has asked before, and answers with an `S3Connection`. */
  | { readonly kind: 'started'; readonly url: string }
  | { readonly kind: 'given'; readonly connection: S3Connection }
  | { readonly kind: 'missing'; readonly reason: string }

declare module 'vitest' {
  interface ProvidedContext {
    readonly s3: ProvidedS3
  }
}

/**
 * One S3 server for the whole run, started when the first test file wants it: runs without one need not wait.
 * Vitest calls this before the first file, and what it returns after the last.
 */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = givenServer()
  if (given) {
    project.provide('s3', { kind: 'given', connection: given })
    return undefined
  }
  const required = Boolean(process.env['CI'])
  if (missingForS3Server() !== undefined && (required || process.env['FAIRLEAD_TEST_INSTALL'])) install()
  const reason = missingForS3Server()
  if (reason !== undefined) {
    if (required) throw new Error(`The S3 tests cannot run, and CI wants them: ${reason}`)
    console.warn(`S3 tests are skipped: ${reason}, or TEST_S3_ENDPOINT for a server that runs already.`)
    project.provide('s3', { kind: 'missing', reason })
    return undefined
  }

  let starting: Promise<S3Server> | undefined
  const broker = createServer((_request, response) => {
    starting ??= startS3Server()
    starting.then(
      ({ endpoint, region, accessKeyId, secretAccessKey }) =>
        response.end(JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey })),
      (error: unknown) => response.writeHead(500).end(String(error)),
    )
  }).listen(0, '127.0.0.1')
  await once(broker, 'listening')
  const address = broker.address()
  if (address === null || typeof address === 'string') throw new Error('The broker has no port.')
  project.provide('s3', { kind: 'started', url: `http://127.0.0.1:${address.port}` })
  return async () => {
    broker.close()
    broker.closeAllConnections()
    await starting?.then((server) => server.close())
  }
}

function givenServer(): S3Connection | undefined {
  const endpoint = process.env['TEST_S3_ENDPOINT']
  if (!endpoint) return undefined
  const accessKeyId = process.env['TEST_S3_ACCESS_KEY_ID']
  const secretAccessKey = process.env['TEST_S3_SECRET_ACCESS_KEY']
  if (!accessKeyId || !secretAccessKey)
    throw new Error('TEST_S3_ENDPOINT wants TEST_S3_ACCESS_KEY_ID and TEST_S3_SECRET_ACCESS_KEY beside it.')
  return { endpoint, accessKeyId, secretAccessKey, region: process.env['TEST_S3_REGION'] ?? 'us-east-1' }
}

function install(): void {
  if (process.getuid?.() !== 0) return
  try {
    execFileSync(join(import.meta.dirname, 'install-s3-server.sh'), { stdio: ['ignore', 'ignore', 'inherit'] })
  } catch (error) {
    console.warn(`The S3 server could not be installed: ${String(error)}`)
  }
}
