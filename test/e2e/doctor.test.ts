import { chmod, chown, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Config, loadConfig } from '../../config/load.ts'
import { checkGateway } from '../../src/doctor/gateway.ts'
import { openRecords } from '../../src/drivers.ts'
import { explainDisk } from '../../src/stores/disk/explain.ts'
import { storageUnavailable, UploadError } from '../../src/errors.ts'
import type { Records } from '../../src/uploads/records.ts'
import { certificate } from '../support/certificate.ts'
import { type Patient, patient, textsOf } from '../support/doctor.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { inventory } from '../support/inventory.ts'
import { freePort } from '../support/ports.ts'
import { type Relay, type RelayOptions, startRelay } from '../support/relay.ts'

const mib = 1024 * 1024
const nobody = 65_534
const made = z.object({ id: z.string(), key: z.string() })

/** Images are refused, orphans soon are some. */
const strict = `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default {
  plugins: [sniffType({ deny: ['image/*'] }), quota()],
  sweep: { orphanGrace: 1 },
}
`

let relays: Relay[] = []
async function relay(upstream: string | undefined, options?: RelayOptions): Promise<string> {
  const started = await startRelay(upstream, options)
  relays.push(started)
  return started.url
}
afterEach(async () => {
  for (const started of relays) await started.close()
  relays = []
})

describe('the doctor of a server on disk', () => {
  let gateway: TestGateway
  let near: Patient
  let records: Records
  beforeAll(async () => {
    gateway = await startGateway({ env: { FAIRLEAD_PORT: String(await freePort()), FAIRLEAD_TRUST_PROXY: 'true' } })
    near = await patient({ FAIRLEAD_PORT: new URL(gateway.url).port }, gateway.folder)
    records = await openRecords(await configured())
  })
  afterAll(async () => {
    await records.close()
    await gateway.close()
  })

  const configured = (env: Record<string, string> = {}): Promise<Config> =>
    loadConfig({
      cwd: gateway.folder,
      env: { FAIRLEAD_PORT: new URL(gateway.url).port, FAIRLEAD_DATA_DIR: gateway.dataDir, ...env },
    })

  const gatewayChecks = async (env?: Record<string, string>) =>
    Array.fromAsync(checkGateway(records, await configured(env), { dryRun: false }))

  /** Nothing but an empty workspace is left. */
  async function expectNoTrace(): Promise<void> {
    expect(await records.keys()).toMatchObject([{ name: 'first key' }])
    expect(await records.workspaces()).toMatchObject([
      { id: 'default' },
      { id: 'fairlead-doctor', used: 0, reserved: 0 },
    ])
    for (let tries = 0; (await inventory(gateway.dataDir)).breaches.length > 0; tries++) {
      if (tries > 100) break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(await inventory(gateway.dataDir)).toMatchObject({ uploads: [], objects: 0, breaches: [] })
  }

  it('only looks in a dry run', async () => {
    const seen = await near.doctor(['--dry-run'])
    expect(seen).toMatchObject({ ok: true, code: 0, failed: {} })
    expect(seen.checks.map(({ check }) => check)).toEqual([
      'records',
      'store.room',
      'objects',
      'jobs',
      'gateway',
      'gateway.ready',
    ])
    expect(await records.workspaces()).toMatchObject([{ id: 'default' }])
  })

  it('uploads and downloads, and leaves no trace', async () => {
    const seen = await near.doctor()
    expect(seen).toMatchObject({ ok: true, code: 0, findings: [], failed: {} })
    expect(seen.checks.map(({ check }) => check)).toEqual([
      'records',
      ...['room', 'write', 'stat', 'read', 'list', 'remove'].map((step) => `store.${step}`),
      'objects',
      'jobs',
      'gateway',
      ...['ready', 'key', 'raw', 'presigned'].map((step) => `gateway.${step}`),
    ])
    expect(seen.notes).toEqual({ gateway: `It answers at ${gateway.url}.` })
    expect(gateway.log()).toMatch(/"path":"\/v1\/uploads"/)
    await expectNoTrace()
  })

  it('tidies up after one that was killed', async () => {
    const { json } = await gateway.run('keys', 'create', '--workspace', 'fairlead-doctor', '--name', 'left')
    const { id, key } = made.parse(json)
    const headers = { 'x-api-key': key, 'x-file-name': 'left.txt' }
    expect((await fetch(`${gateway.url}/v1/uploads`, { method: 'POST', headers, body: 'left' })).status).toBe(201)
    const db = new Database(join(gateway.dataDir, 'fairlead.db'))
    db.prepare('update api_key set created_at = created_at - 3600000 where id = ?').run(id)
    db.prepare("update upload set created_at = created_at - 3600000 where workspace_id = 'fairlead-doctor'").run()
    db.close()
    expect((await near.doctor()).failed).toEqual({})
    await expectNoTrace()
  })

  it.each<[string, () => Promise<Record<string, string>>, string, RegExp]>([
    [
      'another program at the public URL',
      async () => ({ FAIRLEAD_PUBLIC_URL: await relay(undefined) }),
      'gateway',
      /no Fairlead server \(GET \/healthz: 404\).*itself answers at.*FAIRLEAD_PUBLIC_URL/,
    ],
    [
      'nothing at the public URL',
      async () => ({ FAIRLEAD_PUBLIC_URL: `http://127.0.0.1:${await freePort()}` }),
      'gateway',
      /refuses the connection \(ECONNREFUSED\)\. The server itself answers.*FAIRLEAD_PUBLIC_URL/,
    ],
    [
      'a redirect',
      async () => ({
        FAIRLEAD_PUBLIC_URL: await relay(undefined, {
          instead: (req, res) => Boolean(res.writeHead(301, { location: `https://new.example${req.url}` }).end()),
        }),
      }),
      'gateway',
      /sends clients on to https:\/\/new\.example, /,
    ],
    [
      'a proxy that limits bodies',
      async () => ({
        FAIRLEAD_PUBLIC_URL: await relay(gateway.url, {
          instead(req, res) {
            if (Number(req.headers['content-length'] ?? 0) < mib) return false
            res.writeHead(413, { 'content-type': 'text/html' }).end('<h1>Too large</h1>')
            return true
          },
        }),
      }),
      'gateway.bodies',
      /refuses bodies of 5368709120 bytes.*client_max_body_size/,
    ],
    [
      'a proxy that gathers bodies',
      async () => ({ FAIRLEAD_PUBLIC_URL: await relay(gateway.url, { gathers: true }) }),
      'gateway.bodies',
      /holds bodies back.*proxy_request_buffering off/,
    ],
    [
      'a proxy that takes the key away',
      async () => ({ FAIRLEAD_PUBLIC_URL: await relay(gateway.url, { send: { authorization: undefined } }) }),
      'gateway.key',
      /does not pass the Authorization header on/,
    ],
    [
      'a proxy that has only some paths',
      async () => ({
        FAIRLEAD_PUBLIC_URL: await relay(gateway.url, {
          instead: (req, res) => req.url === '/v1/uploads' && Boolean(res.writeHead(404).end('nothing')),
        }),
      }),
      'gateway.raw',
      /POST .*\/v1\/uploads: something that is not the server answers 404/,
    ],
    [
      'a proxy that changes files',
      async () => ({
        FAIRLEAD_PUBLIC_URL: await relay(gateway.url, {
          instead: (req, res) => /\/download\b/.test(req.url ?? '') && Boolean(res.end('smaller')),
        }),
      }),
      'gateway.raw',
      /not the bytes that were uploaded/,
    ],
  ])('names %s', async (_, env, check, says) => {
    expect(textsOf(await gatewayChecks(await env()), false)).toHaveProperty([check], expect.stringMatching(says))
    await expectNoTrace()
  })

  it('ends with 1, and a sentence for each fault', async () => {
    const seen = await near.doctor([], { FAIRLEAD_PUBLIC_URL: await relay(undefined) })
    expect(seen).toMatchObject({ ok: false, code: 1, findings: [expect.stringMatching(/Another program/)] })
    expect(seen.failed).toEqual({ gateway: seen.findings[0] })
  })

  it('knows its own server when only the path of the public URL is wrong', async () => {
    const astray = { FAIRLEAD_PUBLIC_URL: `${gateway.url}/uploads` }
    const said = textsOf(await gatewayChecks(astray), false)['gateway']
    expect(said).toMatch(/Fairlead server answers .*path.*FAIRLEAD_PUBLIC_URL/)
    expect(await near.text(['--dry-run'], astray)).toMatch(/ 1 finding\.\n$/)
  })

  it.each([
    [['--set-cors'], /s3 driver/],
    [['--set-cors', '--dry-run'], /leave one out/],
  ])('%j cannot be done here', async (flags, says) => {
    const { code, stderr } = await gateway.run('doctor', ...flags)
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(says) })
  })

  it('names the server of other records', async () => {
    const other = { FAIRLEAD_PUBLIC_URL: gateway.url, FAIRLEAD_DATA_DIR: join(gateway.folder, 'other') }
    expect((await near.doctor([], other)).failed['gateway.key']).toMatch(
      /not the one with these records.*FAIRLEAD_DATA/,
    )
  })

  it('names a proxy with TLS that does not say so, and one that is not trusted', async () => {
    certificates = await mkdtemp(join(tmpdir(), 'fairlead-tls-'))
    const { tls, authority } = await certificate(certificates)
    const [forgets, says] = [
      await relay(gateway.url, { tls }),
      await relay(gateway.url, { tls, send: { 'x-forwarded-proto': 'https' } }),
    ]
    const trusting = { NODE_EXTRA_CA_CERTS: authority }
    const [wrong, right, untrusted] = await Promise.all([
      near.doctor([], { ...trusting, FAIRLEAD_PUBLIC_URL: forgets }),
      near.doctor([], { ...trusting, FAIRLEAD_PUBLIC_URL: says }),
      near.doctor([], { FAIRLEAD_PUBLIC_URL: forgets }),
    ])
    expect(wrong.failed['gateway.raw']).toMatch(
      new RegExp(
        `URLs that begin with ${forgets.replace('https', 'http')}, .*FAIRLEAD_PUBLIC_URL.*FAIRLEAD_TRUST_PROXY`,
      ),
    )
    expect(right.failed).toEqual({})
    expect(untrusted.failed).toEqual({ gateway: expect.stringMatching(/not trusted here.*NODE_EXTRA_CA_CERTS/) })
    await expectNoTrace()
  })

  it('does not take a server that is not running for a fault', async () => {
    await gateway.stop()
    const alone = await near.doctor()
    expect(alone).toMatchObject({
      ok: true,
      code: 0,
      failed: {},
      notes: { gateway: expect.stringMatching(/not running/) },
    })
    const proxied = await relay(gateway.url, { instead: (_, res) => Boolean(res.writeHead(502).end('bad gateway')) })
    const gone = await gatewayChecks({ FAIRLEAD_PUBLIC_URL: proxied })
    expect(textsOf(gone, true)['gateway']).toMatch(/not running/)
    const other = createServer((_, res) => res.end('hello')).listen(Number(new URL(gateway.url).port), '127.0.0.1')
    await once(other, 'listening')
    expect(textsOf(await gatewayChecks(), false)['gateway']).toMatch(/Another program answers at .*FAIRLEAD_PORT/)
    other.close()
    other.closeAllConnections()
  })

  it('says who may not write to the disk', async () => {
    const asRoot = process.getuid?.() === 0
    const objects = join(gateway.dataDir, 'objects')
    if (asRoot) await give(gateway.folder, nobody)
    if (asRoot) await give(objects, 0)
    await chmod(join(objects, 'tmp'), 0o555)
    const { failed } = await near.doctor([], {}, asRoot ? nobody : undefined)
    await chmod(join(objects, 'tmp'), 0o700)
    expect(failed['store.room']).toMatch(/cannot be .*the file system forbids it \(EACCES\).*chown/)
    await rm(join(objects, 'tmp'), { recursive: true })
    expect((await near.doctor()).failed['store.room']).toMatch(/folder is missing \(ENOENT\).*Start the server/)
  })
})

describe('an installation with rules', () => {
  it('is no fault: quota, limit of requests, refused types, another doctor', async () => {
    const variables = {
      FAIRLEAD_PORT: String(await freePort()),
      FAIRLEAD_WORKSPACE_QUOTA: '10',
      FAIRLEAD_RATE_LIMIT: '2',
    }
    const gateway = await startGateway({ env: variables, config: strict })
    try {
      const near = await patient(variables, gateway.folder)
      const seen = await Promise.all([near.doctor(), near.doctor()])
      for (const { failed, ok, notes } of seen) {
        expect({ failed, ok }).toEqual({ failed: {}, ok: true })
        expect(notes['gateway.raw']).toMatch(/file_type_not_allowed/)
        expect(notes['gateway.presigned']).toMatch(/limit of requests/)
      }
      const trial = join(gateway.dataDir, 'objects/00/0-doctor.0123')
      const found = async (minutes: number): Promise<number> => {
        await writeFile(trial, 'of a doctor')
        await utimes(trial, Date.now() / 1_000, Date.now() / 1_000 - minutes * 60)
        return (await near.doctor(['--dry-run'])).findings.length
      }
      expect([await found(5), await found(120)]).toEqual([0, 1])
      expect((await gateway.run('keys', 'list')).json).toHaveLength(1)
      const used = { id: 'fairlead-doctor', used_bytes: 0, reserved_bytes: 0 }
      expect((await gateway.run('workspaces', 'list')).json).toContainEqual(expect.objectContaining(used))
    } finally {
      await gateway.close()
    }
  })
})

describe('what the disk says', () => {
  it.each([
    ['EROFS', /read-only \(EROFS\).*Mount it writable/],
    ['ENOSPC', /no room \(ENOSPC\).*more room/],
    ['EDQUOT', /no room/],
    ['EACCES', /forbids it \(EACCES\).*\/srv\/objects/],
    ['EMFILE', /ulimit/],
    ['EIO', /broken/],
  ])('%s', (code, says) => {
    const { detail, remedy } = explainDisk('/srv/objects', 'write', diskError(code))
    expect(`${detail} ${remedy}`).toMatch(says)
    expect(detail).toContain('Objects in /srv/objects cannot be written')
  })

  it('nearly full', () => {
    const { detail, remedy } = explainDisk('/srv/objects', 'write', storageUnavailable('The disk is nearly full.'))
    expect(`${detail} ${remedy}`).toMatch(/nearly full.*more room/)
  })
})

const diskError = (code: string) =>
  new UploadError('storage_failed', 'No.', { cause: Object.assign(new Error('x'), { code }) })

let certificates = ''
afterAll(() => rm(certificates, { recursive: true, force: true }))

/** The folder and all that is in it. */
async function give(folder: string, uid: number): Promise<void> {
  await chown(folder, uid, uid)
  for (const name of await readdir(folder, { recursive: true })) await chown(join(folder, name), uid, uid)
}
