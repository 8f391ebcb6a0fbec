import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf, eventually } from '../support/client.ts'
import { projectRoot, startGateway } from '../support/gateway.ts'
import { freePort } from '../support/ports.ts'
import { missingS3, newBucket, sharedS3 } from '../support/s3.ts'
import { startS3Proxy } from '../support/s3-proxy.ts'
import { type S3Connection, s3Variables } from '../support/s3-server.ts'

/** Milliseconds in which a start that cannot work has ended. */
const patienceMs = 55_000

describe.skipIf(missingS3())('a start with a store that is not as configured', () => {
  let server: S3Connection
  let folder: string
  beforeAll(async () => {
    server = await sharedS3()
    folder = await mkdtemp(join(tmpdir(), 'fairlead-start-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const serve = (variables: Readonly<Record<string, string>>) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const env = { PATH: process.env['PATH'] ?? '', FAIRLEAD_PORT: '0', FAIRLEAD_LOG_LEVEL: 'fatal', ...variables }
      const program = join(projectRoot, 'bin/fairlead.js')
      const child = execFile(
        process.execPath,
        [program, 'serve'],
        { cwd: folder, env, timeout: patienceMs },
        (_, ...said) => resolve({ code: child.exitCode, stdout: said[0], stderr: said[1] }),
      )
    })

  it.each<[string, () => Promise<Readonly<Record<string, string>>>, RegExp]>([
    [
      'a bucket that does not exist',
      async () => s3Variables(server, 'fairlead-no-such-bucket'),
      /fairlead-no-such-bucket/,
    ],
    [
      'a server that is not there',
      async () => s3Variables({ ...server, endpoint: `http://127.0.0.1:${await freePort()}` }, 'fairlead'),
      /FAIRLEAD_S3_ENDPOINT|127\.0\.0\.1/,
    ],
    [
      'a wrong secret',
      async () => s3Variables({ ...server, secretAccessKey: 'x'.repeat(40) }, 'fairlead'),
      /SECRET_ACCESS_KEY/,
    ],
  ])('%s: one line, no key, exit 1', async (_, variables, says) => {
    const { code, stdout, stderr } = await serve(await variables())
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(says)])
    expect(stderr).toMatch(/storage\.required|FAIRLEAD_STORAGE_REQUIRED/)
  })

  it('goes on without it where it need not be there, and works when it has come', async () => {
    const bucket = await newBucket(server)
    const name = `${bucket.name}-later`
    const gateway = await startGateway({ env: { ...s3Variables(server, name), FAIRLEAD_STORAGE_REQUIRED: 'false' } })
    try {
      const call = clientOf(gateway, gateway.key)
      expect((await call('GET', '/readyz', { key: null })).status).toBe(503)
    } finally {
      await gateway.close()
      await bucket.drop()
    }
  })

  it('an upload that the store has not kept is not acknowledged, and charges nothing', async () => {
    const bucket = await newBucket(server)
    const proxy = await startS3Proxy(server.endpoint)
    const gateway = await startGateway({ env: s3Variables({ ...server, endpoint: proxy.endpoint }, bucket.name) })
    try {
      const call = clientOf(gateway, gateway.key)
      proxy.fault('PutObject', { act: { status: 200, headers: {}, body: '' }, times: Infinity })
      const headers = { 'x-file-name': 'a.txt' }
      const answer = await call('POST', '/v1/uploads', { headers, body: 'hello' })
      expect(answer.status).toBeGreaterThanOrEqual(502)
      const { storage } = (await call('GET', '/api/v1/usage/summary')).json<{ data: { storage: object } }>().data
      expect(storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      proxy.reset()
      await eventually(async () =>
        expect((await call('POST', '/v1/uploads', { headers, body: 'hello' })).status).toBe(201),
      )
    } finally {
      await gateway.close()
      await proxy.close()
      await bucket.drop()
    }
  })
})
