import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GetBucketCorsCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { s3Client } from '../src/stores/s3/requests.ts'
import { startGarageAdmin } from './support/garage-admin.ts'
import { projectRoot } from './support/gateway.ts'
import { missingS3, newBucket, sharedS3 } from './support/s3.ts'

// What compose.yaml runs before Garage and the gateway start.

let root = ''
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-deploy-'))
})
afterAll(() => rm(root, { recursive: true }))

/** A file with that line; returns its path. */
const write = async (name: string, text: string): Promise<string> => {
  await writeFile(join(root, name), `${text}\n`)
  return join(root, name)
}

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Root with one right, as in compose.yaml. */
const onlyChown = ['setpriv', '--bounding-set=-all,+chown', '--inh-caps=-all', '--no-new-privs'] as const

interface How {
  readonly env?: Readonly<Record<string, string>>
  readonly by?: readonly string[]
}

const script = (name: string, args: readonly string[], { env = {}, by = [] }: How = {}): Promise<Ran> =>
  new Promise((resolve) => {
    const [program = '', ...rest] = [...by, process.execPath, join(projectRoot, 'deploy', name), ...args]
    execFile(program, rest, { cwd: projectRoot, env: { PATH: process.env['PATH'], ...env } }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, out, err }),
    )
  })

describe.skipIf(process.getuid?.() !== 0)('the secrets of the s3 profile', () => {
  it('are made once, each whole, for the user of the image alone', async () => {
    const folders = ['garage', 's3', 'data'].map((name) => join(root, name))
    for (const folder of folders) await mkdir(folder)
    // Several at once, as when somebody starts it twice.
    const ran = await Promise.all([1, 2, 3].map(() => script('make-secrets.ts', folders, { by: onlyChown })))
    expect(ran.map(({ code, err }) => ({ code, err }))).toEqual(ran.map(() => ({ code: 0, err: '' })))
    const shapes = {
      'garage/rpc-secret': /^[0-9a-f]{64}\n$/,
      'garage/admin-token': /^[0-9a-f]{64}\n$/,
      's3/access-key-id': /^GK[0-9a-f]{24}\n$/,
      's3/secret-access-key': /^[0-9a-f]{64}\n$/,
    }
    const texts = new Map<string, string>()
    for (const [name, shape] of Object.entries(shapes)) {
      const path = join(root, name)
      const text = await readFile(path, 'utf8')
      expect(text).toMatch(shape)
      texts.set(path, text)
      const { mode, uid, gid } = await stat(path)
      expect({ mode: mode & 0o777, uid, gid }).toEqual({ mode: 0o400, uid: 1_000, gid: 1_000 })
      for (const { out } of ran) expect(out).not.toContain(text.trim())
    }
    expect(new Set(texts.values()).size).toBe(4)
    expect(await readdir(join(root, 'garage'))).toEqual(['admin-token', 'rpc-secret'])
    const data = await stat(join(root, 'data'))
    expect({ mode: data.mode & 0o777, uid: data.uid }).toEqual({ mode: 0o700, uid: 1_000 })

    expect(await script('make-secrets.ts', folders, { by: onlyChown })).toEqual({ code: 0, out: '', err: '' })
    for (const [path, text] of texts) expect(await readFile(path, 'utf8')).toBe(text)
  })
})

describe.skipIf(missingS3())('setting up Garage', () => {
  it('imports the key, makes the bucket, allows web pages, and may run again', async () => {
    const server = await sharedS3()
    const bucket = await newBucket(server)
    const token = randomBytes(16).toString('hex')
    const admin = await startGarageAdmin({ token, failures: 2 })
    const env = {
      GARAGE_ADMIN_URL: admin.url,
      GARAGE_ADMIN_TOKEN_FILE: await write('token', token),
      FAIRLEAD_STORAGE: 's3',
      FAIRLEAD_S3_ENDPOINT: server.endpoint,
      FAIRLEAD_S3_REGION: server.region,
      FAIRLEAD_S3_BUCKET: bucket.name,
      FAIRLEAD_S3_ACCESS_KEY_ID_FILE: await write('id', server.accessKeyId),
      FAIRLEAD_S3_SECRET_ACCESS_KEY_FILE: await write('key', server.secretAccessKey),
      FAIRLEAD_CORS_ORIGINS: 'https://app.example.org',
    }
    try {
      const done = { code: 0, out: `The bucket ${bucket.name} is ready.\n`, err: '' }
      expect(await script('set-up-garage.ts', [], { env })).toEqual(done)
      const { accessKeyId, secretAccessKey } = server
      expect(admin.key()).toEqual({ accessKeyId, secretAccessKey, name: 'fairlead' })
      const permissions = { read: true, write: true, owner: true }
      const allowed = JSON.stringify({ bucketId: 'b1', accessKeyId, permissions })
      expect(admin.calls).toEqual(['ImportKey', 'GetBucketInfo', 'CreateBucket', 'AllowBucketKey', allowed])
      const { endpoint, region } = server
      const client = s3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
      const { CORSRules } = await client.send(new GetBucketCorsCommand({ Bucket: bucket.name }))
      client.destroy()
      expect(CORSRules?.[0]).toMatchObject({ AllowedOrigins: ['https://app.example.org'] })

      admin.calls.length = 0
      expect(await script('set-up-garage.ts', [], { env })).toEqual(done)
      expect(admin.calls).toEqual(['ImportKey', 'GetBucketInfo', 'AllowBucketKey', allowed])

      const refused = await script('set-up-garage.ts', [], {
        env: { ...env, GARAGE_ADMIN_TOKEN_FILE: await write('wrong', 'x') },
      })
      expect(refused.code).toBe(1)
      expect(refused.err).toContain('ImportKey: 403 AccessDenied')
      expect(refused.err).not.toContain(secretAccessKey)
    } finally {
      admin.close()
      await bucket.drop()
    }
  })
})
