import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { expectDownload, expectEverything, expectRaw, sample } from '../runtimes/everything.ts'
import { type Client, clientOf, sha256 } from '../support/client.ts'
import { startGarageAdmin } from '../support/garage-admin.ts'
import { projectRoot } from '../support/gateway.ts'
import { freePort } from '../support/ports.ts'
import { workspaceOf } from '../support/presigned.ts'
import { rawBucket } from '../support/s3-raw.ts'
import { startS3Server } from '../support/s3-server.ts'

const buildMs = 600_000
const startMs = 120_000
const lookMs = 250
const mostOutputBytes = 64 * 1024 * 1024
const origin = 'https://app.example.org'

const standIns = process.env['FAIRLEAD_TEST_STAND_INS'] !== undefined

/** Why compose.yaml cannot be tried here; nothing when it can. */
function missingEngine(): string | undefined {
  try {
    execFileSync('docker', ['info'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'no engine answers: see test/engine/run.sh'
  }
}

const ports = { FAIRLEAD_PUBLISH: await freePort(), TEST_S3_PORT: await freePort(), TEST_TLS_PORT: await freePort() }
const work = await mkdtemp(join(tmpdir(), 'fairlead-compose-'))
const behind = join(work, 'behind')
const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(PATH|HOME|DOCKER_.*|XDG_RUNTIME_DIR)$/.test(name)),
  ),
  ...Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, String(port)])),
  TEST_BEHIND: behind,
  FAIRLEAD_S3_PUBLIC_ENDPOINT: `http://127.0.0.1:${ports.TEST_S3_PORT}`,
  COMPOSE_PROJECT_NAME: `fairlead-test-${randomBytes(4).toString('hex')}`,
  COMPOSE_FILE: [join(projectRoot, 'compose.yaml'), join(import.meta.dirname, 'compose.override.yaml')].join(':'),
}

/** Types what users type. */
const type = (line: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const args = ['--norc', '-euo', 'pipefail', '-c', line]
    execFile('bash', args, { cwd: work, env, maxBuffer: mostOutputBytes }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${line}\n${stdout}${stderr}`))
      else resolve(stdout)
    })
  })
const compose = (profile: string) => (line: string) => type(`docker compose --profile ${profile} ${line}`)

const container = z.object({
  Service: z.string(),
  State: z.string(),
  Health: z.string(),
  ExitCode: z.number(),
  Publishers: z.array(z.object({ URL: z.string(), PublishedPort: z.number() })).nullable(),
})
const containersOf = async (profile: string): Promise<z.infer<typeof container>[]> =>
  (await compose(profile)('ps --all --format json'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => container.parse(JSON.parse(line)))

/** Waits until the engine takes the service for healthy. */
async function healthy(profile: string, service: string): Promise<void> {
  const end = Date.now() + startMs
  for (;;) {
    const found = (await containersOf(profile)).find(({ Service }) => Service === service)
    if (found?.Health === 'healthy') return
    if (Date.now() > end) throw new Error(`${service}: ${JSON.stringify(found)}\n${await compose(profile)('logs')}`)
    await sleep(lookMs)
  }
}

/** Starts a profile; returns the key that its first start printed. */
async function started(profile: string, service: string): Promise<string> {
  await compose(profile)('up -d')
  await healthy(profile, service)
  return /op_live_[0-9A-Za-z]{32}/.exec(await compose(profile)(`logs ${service}`))?.[0] ?? ''
}

const settings = z.object({
  Config: z.object({ User: z.string() }),
  HostConfig: z.object({
    ReadonlyRootfs: z.boolean(),
    CapDrop: z.array(z.string()),
    SecurityOpt: z.array(z.string()),
    Init: z.boolean(),
  }),
})

/** Sends a film; returns what looks whether it is still there. */
async function film(call: Client): Promise<() => Promise<void>> {
  const bytes = await sample('media/end.mp4')
  const id = await expectRaw(call, bytes)
  return () => expectDownload(call, id, bytes)
}

/** What runs in place of Garage: a real S3 server and an administration API, behind two sockets. */
async function startBehind(): Promise<() => Promise<void>> {
  await mkdir(behind)
  const server = await startS3Server()
  const admin = await startGarageAdmin({
    path: join(behind, 'admin.sock'),
    failures: 2,
    importKey: (id, secret) => server.addKey(id, secret),
    createBucket: (name) => rawBucket(server, name).create(),
  })
  const { port } = new URL(server.endpoint)
  const relay = createServer((client) => {
    const there = connect(Number(port), '127.0.0.1')
    client.on('error', () => there.destroy()).pipe(there)
    there.on('error', () => client.destroy()).pipe(client)
  }).listen(join(behind, 's3.sock'))
  await once(relay, 'listening')
  for (const name of ['admin.sock', 's3.sock']) await chmod(join(behind, name), 0o777)
  return async () => {
    admin.close()
    relay.close()
    await server.close()
  }
}

const missing = missingEngine()
describe.skipIf(missing)(`compose.yaml${missing === undefined ? '' : ` (${missing})`}`, () => {
  // An engine of somebody's may have another image of that name.
  beforeAll(async () => {
    if (!standIns) await compose('s3')('build')
  }, buildMs)
  afterEach(async () => {
    await type('docker compose --profile plain --profile s3 --profile caddy down --volumes --timeout 1')
  }, startMs)
  afterAll(() => rm(work, { recursive: true, force: true }))

  it(
    's3: files in the bucket, secrets of its own that nobody prints',
    async () => {
      const endBehind = standIns ? await startBehind() : async () => {}
      try {
        if (!standIns) await mkdir(behind)
        const gateway = { url: `http://127.0.0.1:${ports.FAIRLEAD_PUBLISH}`, key: await started('s3', 'fairlead-s3') }
        await expectEverything(gateway)
        const call = clientOf(gateway, gateway.key)
        const same = await film(call)

        // As a browser sends it: past the gateway.
        const bytes = await sample('types/picture.webp')
        const there = workspaceOf(call)
        const created = await there.made({ filename: 'a.webp', content_type: 'image/webp', size_bytes: bytes.length })
        expect(new URL(created.upload_url).origin).toBe(env.FAIRLEAD_S3_PUBLIC_ENDPOINT)
        const asked = { Origin: origin, 'Access-Control-Request-Method': 'PUT' }
        const preflight = await fetch(created.upload_url, { method: 'OPTIONS', headers: asked })
        expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([200, origin])
        const put = await fetch(created.upload_url, {
          method: 'PUT',
          headers: created.upload_headers,
          body: new Uint8Array(bytes),
        })
        expect(put.status).toBe(200)
        expect((await there.confirm(created.upload.id)).status).toBe(200)
        expect(await there.view(created.upload.id)).toMatchObject({ status: 'confirmed', width: 40, height: 30 })

        const secret = await compose('s3')('exec -T fairlead-s3 cat /run/secrets/s3/secret-access-key')
        expect(secret).toMatch(/^[0-9a-f]{64}\n$/)
        expect(await compose('s3')('logs')).not.toContain(secret.trim())
        const tasks = (await containersOf('s3')).filter(({ State }) => State === 'exited')
        expect(tasks.map(({ Service, ExitCode }) => `${Service} ${ExitCode}`).toSorted()).toEqual([
          'garage-secrets 0',
          'garage-setup 0',
        ])

        await compose('s3')('down')
        await started('s3', 'fairlead-s3')
        expect(await compose('s3')('exec -T fairlead-s3 cat /run/secrets/s3/secret-access-key')).toBe(secret)
        await same()
        // 127.0.0.1 is where clients find the store; to a container it is its own.
        const doctor = await compose('s3')('exec -T fairlead-s3 fairlead doctor')
        expect(doctor).toContain(`Not tried: from here ${env.FAIRLEAD_S3_PUBLIC_ENDPOINT} leads somewhere else.`)
        expect(doctor).toContain('Nothing is wrong.')
        const lacking = compose('s3')(
          'exec -T -e FAIRLEAD_CORS_ORIGINS=https://other.example.org fairlead-s3 fairlead doctor --dry-run',
        )
        await expect(lacking).rejects.toThrow(/By the CORS rules of the bucket.*other\.example\.org/)
      } finally {
        await endBehind()
      }
    },
    buildMs,
  )

  it(
    'plain: everything works, without rights, and comes again after a crash',
    async () => {
      const gateway = { url: `http://127.0.0.1:${ports.FAIRLEAD_PUBLISH}`, key: await started('plain', 'fairlead') }
      await expectEverything(gateway)
      expect(await compose('plain')('logs fairlead')).toContain(`curl ${gateway.url}/v1/uploads`)
      const same = await film(clientOf(gateway, gateway.key))
      const [inspected] = z
        .array(settings)
        .parse(JSON.parse(await type('docker inspect $(docker compose --profile plain ps --quiet fairlead)')))
      expect(inspected).toEqual({
        Config: { User: '1000:1000' },
        HostConfig: { ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges:true'], Init: true },
      })
      const inside = compose('plain')
      await inside(`exec -T fairlead sh -c 'touch /data/x /tmp/x && rm /data/x && ! touch /app/x'`)
      expect(await inside('exec -T fairlead fairlead doctor')).toContain('Nothing is wrong.')
      const others = (await containersOf('plain')).flatMap(({ Publishers }) => Publishers ?? [])
      expect(others.filter(({ URL: address, PublishedPort: port }) => port > 0 && address !== '127.0.0.1')).toEqual([])

      const before = await inside('ps --quiet fairlead')
      await inside(`exec -T fairlead sh -c 'kill -9 -1'`).catch(() => {}) // also the shell that says so
      await expect
        .poll(() => type(`docker inspect --format '{{.RestartCount}}' ${before}`), { timeout: startMs })
        .toBe('1\n')
      await healthy('plain', 'fairlead')
      await same()
    },
    startMs,
  )

  it(
    'plain: the backup that docs/deployment.md tells of comes back',
    async () => {
      const url = `http://127.0.0.1:${ports.FAIRLEAD_PUBLISH}`
      const key = await started('plain', 'fairlead')
      const same = await film(clientOf({ url }, key))
      const page = await readFile(join(projectRoot, 'docs/deployment.md'), 'utf8')
      const section = page.slice(page.indexOf('## Backup'), page.indexOf('## Upgrade'))
      const [save = '', restore = ''] = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block)
      await type(save)
      await compose('plain')('down --volumes')
      expect(await type(restore)).toContain('Nothing is wrong.')
      await healthy('plain', 'fairlead')
      await same()
    },
    startMs,
  )

  it(
    'caddy: everything works behind TLS, and only there',
    async () => {
      const key = await started('caddy', 'fairlead-caddy')
      const root = join(work, 'root.crt')
      await expect
        .poll(
          () =>
            compose('caddy')(`cp caddy:/data/caddy/pki/authorities/local/root.crt ${root}`).then(
              () => true,
              () => false,
            ),
          {
            timeout: startMs,
          },
        )
        .toBe(true)
      const url = `https://localhost:${ports.TEST_TLS_PORT}`
      const trusted = getCACertificates('default')
      setDefaultCACertificates([...trusted, await readFile(root, 'utf8')])
      try {
        await expect
          .poll(
            () =>
              fetch(`${url}/readyz`).then(
                ({ status }) => status,
                () => 0,
              ),
            { timeout: startMs },
          )
          .toBe(200)
        await expectEverything({ url, key })
      } finally {
        setDefaultCACertificates(trusted)
      }
      const big = join(work, 'big.bin')
      const bytes = randomBytes(64 * 1024 * 1024)
      await writeFile(big, bytes)
      const curl = `curl -sS --fail --http2 --cacert ${root} -H 'Authorization: Bearer ${key}'`
      const sent = await type(`${curl} -H 'x-file-name: big.bin' -X POST -T ${big} ${url}/v1/uploads`)
      const { fileUrl } = z.object({ data: z.object({ fileUrl: z.url() }) }).parse(JSON.parse(sent)).data
      expect(new URL(fileUrl).origin).toBe(url)
      expect(await type(`${curl} '${fileUrl}' | sha256sum`)).toContain(sha256(bytes))
      const published = (await containersOf('caddy')).filter(({ Publishers }) =>
        (Publishers ?? []).some(({ PublishedPort: port }) => port > 0),
      )
      expect(published.map(({ Service }) => Service)).toEqual(['caddy'])
    },
    startMs,
  )
})
