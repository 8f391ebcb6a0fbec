import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { inventory } from '../support/inventory.ts'
import { wire } from '../support/wire.ts'

const config = (more = '') => `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default { plugins: [sniffType(), quota()], ${more} }
`
/** What many short runs of the program share, so that each need not be compiled again. */
const cache = join(tmpdir(), `fairlead-compiled-${process.pid}`)
const env = { NODE_COMPILE_CACHE: cache }
const program = join(projectRoot, 'bin/fairlead.js')
const keyPattern = /op_live_[0-9A-Za-z]{32}/g
const asset = z.object({ data: z.object({ assetId: z.string(), size: z.number() }) })
const failure = z.object({ error: z.string() })
const keyJson = z.object({ id: z.string(), key: z.string() })

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end; one that does not end fails the test. */
function run(
  file: string,
  args: readonly string[],
  options: { cwd: string; env?: Record<string, string> },
): Promise<Ended> {
  return new Promise((resolve) => {
    const variables = { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: cache, ...options.env }
    const child = execFile(file, args, { cwd: options.cwd, env: variables, timeout: 50_000 }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

const fairlead = (folder: string, args: readonly string[], variables: Record<string, string> = {}): Promise<Ended> =>
  run(process.execPath, [program, ...args], { cwd: folder, env: { FAIRLEAD_PORT: '0', ...variables } })

/** What a server that cannot start must do: end with 1 and say why, in one line. */
function expectOneLine(ended: Ended, saying: RegExp, code = 1): void {
  expect(ended.stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(saying)])
  expect(ended.code).toBe(code)
}

async function newFolder(text = config()): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-start-'))
  folders.push(folder)
  await writeFile(join(folder, 'uploads.config.ts'), text)
  return folder
}
const folders: string[] = [cache]
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

describe('the very first start', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startGateway({ config: config(), env })
  })
  afterAll(() => gateway.close())

  it('makes a secret that only its owner can read, the workspace default and one key', async () => {
    expect((await stat(gateway.dataDir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(gateway.dataDir, 'secret'))).mode & 0o777).toBe(0o600)
    expect((await gateway.run('workspaces', 'list')).json).toMatchObject([{ id: 'default', used_bytes: 0 }])
    expect((await gateway.run('keys', 'list')).json).toMatchObject([{ workspace_id: 'default', revoked_at: null }])
    expect(new Set(gateway.out().match(keyPattern))).toEqual(new Set([gateway.key]))
    expect(gateway.log()).not.toContain(gateway.key)
  })

  it('prints a curl line that works when it is pasted', async () => {
    const line = /^ *(curl .*)$/m.exec(gateway.out())?.[1] ?? ''
    const { stdout, code } = await run('sh', ['-c', line], { cwd: gateway.folder })
    expect(code).toBe(0)
    expect(asset.parse(JSON.parse(stdout)).data.size).toBe('Hello, Fairlead'.length)
  })

  it('says on one line of stdout where it listens, and does', async () => {
    const [line, ...others] = gateway.out().match(/^listening on .*$/gm) ?? []
    expect(others).toEqual([])
    expect(line).toBe(`listening on ${gateway.url}`)
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200)
  })

  it('ends with 0 at SIGTERM, and prints no key when it starts again', async () => {
    expect(await gateway.stop('SIGTERM')).toBe(0)
    await gateway.start()
    await sleep(100)
    expect(gateway.out()).toBe(`listening on ${gateway.url}\n`)
    expect((await gateway.run('keys', 'list')).json).toHaveLength(1)
  })

  it('comes back after kill -9 in the middle of an upload, with what was acknowledged and nothing else', async () => {
    const client = wire(gateway.url, gateway.key)
    const headers = { 'x-file-name': 'kept.txt' }
    const kept = await client.send({ method: 'POST', path: '/v1/uploads', headers, body: Buffer.from('kept') })
    const cut = client.send({ method: 'POST', path: '/v1/uploads', headers, body: Buffer.alloc(4 << 20), pauseMs: 20 })
    await until(async () => (await filesIn(join(gateway.dataDir, 'objects/tmp'))).length > 0)
    expect(await gateway.stop('SIGKILL')).toBe('SIGKILL')
    expect(await cut).toBeUndefined()
    client.close()
    await gateway.start()
    const { assetId } = asset.parse(kept?.json()).data
    const answer = await fetch(`${gateway.url}/api/v1/uploads/${assetId}/download`, {
      headers: { 'x-api-key': gateway.key },
    })
    expect(await answer.text()).toBe('kept')
    expect(await filesIn(join(gateway.dataDir, 'objects/tmp'))).toEqual([])
    expect((await gateway.run('doctor')).json).toMatchObject({ ok: true, checked: { uploads: 2 } })
    await until(async () => (await inventory(gateway.dataDir)).breaches.length === 0)
    expect((await inventory(gateway.dataDir)).uploads.map(({ state }) => state)).toEqual(['ready', 'ready', 'expired'])
  })
})

describe('SIGTERM during the start', () => {
  it('is not lost: what has just started ends with 0, also where the system would do nothing', async () => {
    const folder = await newFolder(`process.kill(process.pid, 'SIGTERM')\n${config()}`)
    const { code, stdout } = await fairlead(folder, ['serve'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^listening on /)
  })
})

describe('SIGTERM during an upload', () => {
  it('lets the upload end, and then exits with 0', async () => {
    const gateway = await startGateway({ config: config(), env })
    const client = wire(gateway.url, gateway.key)
    const uploading = client.send({
      method: 'POST',
      path: '/v1/uploads',
      headers: { 'x-file-name': 'slow.bin' },
      body: Buffer.alloc(2 << 20),
      pauseMs: 15,
    })
    await until(async () => (await filesIn(join(gateway.dataDir, 'objects/tmp'))).length > 0)
    const stopped = gateway.stop('SIGTERM')
    expect((await uploading)?.status).toBe(201)
    expect(await stopped).toBe(0)
    client.close()
    const { uploads, breaches } = await inventory(gateway.dataDir)
    await gateway.close()
    expect(breaches).toEqual([])
    expect(uploads.map(({ state }) => state)).toEqual(['ready'])
  })

  it('ends one that takes longer than the grace, and keeps nothing of it', async () => {
    const gateway = await startGateway({ config: config('server: { shutdownGrace: 1 }'), env })
    const client = wire(gateway.url, gateway.key)
    const body = Buffer.alloc(32 << 20)
    const headers = { 'x-file-name': 'endless.bin' }
    const uploading = client.send({ method: 'POST', path: '/v1/uploads', headers, body, pauseMs: 50 })
    await until(async () => (await filesIn(join(gateway.dataDir, 'objects/tmp'))).length > 0)
    const code = await gateway.stop('SIGTERM')
    expect(await uploading).toBeUndefined()
    client.close()
    const log = gateway.log()
    const { uploads } = await inventory(gateway.dataDir)
    await gateway.close()
    expect(code).toBe(0)
    expect(uploads).toEqual([])
    expect(log).not.toContain('"level":50')
  })
})

describe('a start that cannot be', () => {
  it('says that the port is taken', async () => {
    const folder = await newFolder()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = String(typeof address === 'object' ? address?.port : '')
    const ended = await fairlead(folder, ['serve'], { FAIRLEAD_PORT: port })
    other.close()
    expectOneLine(ended, new RegExp(`127\\.0\\.0\\.1:${port}.*EADDRINUSE`))
    expect(ended.stdout).toBe('')
  })

  it('says that another server has the folder, and leaves that one alone', async () => {
    const gateway = await startGateway({ config: config(), env })
    const ended = await fairlead(gateway.folder, ['serve'])
    const alive = await fetch(`${gateway.url}/readyz`)
    await gateway.close()
    expectOneLine(ended, /Another Fairlead server is running on .*data/)
    expect(alive.status).toBe(200)
  })

  it('says that the database is newer', async () => {
    const folder = await newFolder()
    await fairlead(folder, ['migrate'])
    const db = new Database(join(folder, 'data/fairlead.db'))
    db.pragma('user_version = 9999')
    db.close()
    for (const command of ['serve', 'migrate', 'doctor'])
      expectOneLine(await fairlead(folder, [command]), /version 9999/)
  })

  it.each([
    ['FAIRLEAD_PORT', '99999'],
    ['FAIRLEAD_MAX_FILE_SIZE', 'huge'],
    ['FAIRLEAD_LOG_LEVEL', 'loud'],
    ['FAIRLEAD_CONFIG', 'missing.ts'],
  ])('names the variable %s and its wrong value', async (variable, value) => {
    const ended = await fairlead(await newFolder(), ['serve'], { [variable]: value })
    expectOneLine(ended, new RegExp(variable === 'FAIRLEAD_CONFIG' ? value : `${variable}.*"?${value}`))
  })

  it('hides a secret that is too short', async () => {
    const ended = await fairlead(await newFolder(), ['serve'], { FAIRLEAD_SECRET: 'hunter2' })
    expectOneLine(ended, /FAIRLEAD_SECRET.*\(hidden, 7 characters\)/)
    expect(ended.stderr).not.toContain('hunter2')
  })

  it('names the option of the file', async () => {
    expectOneLine(await fairlead(await newFolder(config('limits: { maxFileSize: -1 }')), ['serve']), /maxFileSize/)
    expectOneLine(await fairlead(await newFolder(config('sevrer: {}')), ['serve']), /sevrer/)
    expectOneLine(await fairlead(await newFolder('export default {'), ['serve']), /uploads\.config\.ts/)
  })

  it('says that the folder cannot be written', async () => {
    const folder = await newFolder()
    await writeFile(join(folder, 'data'), 'a file where the folder should be')
    expectOneLine(await fairlead(folder, ['serve']), /data/)
  })

  it('says that the database cannot be opened', async () => {
    const FAIRLEAD_DATABASE_URL = 'sqlite:missing/folder/records.db'
    for (const command of ['serve', 'migrate'])
      expectOneLine(
        await fairlead(await newFolder(), [command], { FAIRLEAD_DATABASE_URL }),
        /missing\/folder\/records\.db \(FAIRLEAD_DATABASE_URL\) cannot be opened: ENOENT/,
      )
  })

  it('says on a Node that is too old which one it needs', async () => {
    const folder = await newFolder()
    const stub = join(folder, 'old.mjs')
    await writeFile(
      stub,
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '24.10.9' } })`,
    )
    const ended = await run(process.execPath, ['--import', stub, program, 'serve'], { cwd: folder })
    expectOneLine(ended, /needs Node\.js 24\.11 or newer and this is 24\.10\.9/)
    const system = await run('/bin/sh', ['-c', 'PATH=/usr/bin:/bin node --version'], { cwd: folder })
    if (!/^v(1\d|2[0-3])\./.test(system.stdout)) return
    const old = await run('/bin/sh', ['-c', `PATH=/usr/bin:/bin node ${program} serve`], { cwd: folder })
    expectOneLine(old, /needs Node\.js 24\.11/)
  })
})

describe('the command line, while the server runs', () => {
  let gateway: TestGateway
  const text = (...args: string[]) => fairlead(gateway.folder, args)
  const json = (...args: string[]) => fairlead(gateway.folder, [...args, '--json'])
  beforeAll(async () => {
    gateway = await startGateway({ config: config(), env })
  })
  afterAll(() => gateway.close())

  it('makes keys that work at once, and takes them back', async () => {
    const made = await json('keys', 'create', '--workspace', 'W', '--user', 'U', '--name', 'N')
    expect(made).toMatchObject({ code: 0, stderr: '' })
    const key: unknown = JSON.parse(made.stdout)
    expect(key).toMatchObject({ workspace_id: 'W', user_id: 'U', scopes: ['uploads:read', 'uploads:write'] })
    const { id, key: secret } = keyJson.parse(key)
    const asks = () => fetch(`${gateway.url}/api/v1/uploads`, { headers: { 'x-api-key': secret } })
    expect((await asks()).status).toBe(200)
    expect(await text('keys', 'revoke', id)).toMatchObject({ code: 0, stderr: '', stdout: `Key ${id} is revoked.\n` })
    expect((await asks()).status).toBe(401)
    const listed = await text('keys', 'list')
    expect(listed.stdout).toMatch(new RegExp(`^${id} .*revoked$`, 'm'))
    expect(listed.stdout).not.toContain(secret)
    expect(gateway.log()).not.toContain(secret)
  })

  it.each([
    [['workspaces', 'create', 'W2'], /^Workspace W2 is there\.$/m, { id: 'W2', used_bytes: 0, quota_bytes: null }],
    [['workspaces', 'set-quota', 'W2', '10GiB'], /10 GiB/, { quota_bytes: 10 * 2 ** 30 }],
    [
      ['workspaces', 'list'],
      /^default +0 B +0 B +no limit$/m,
      expect.arrayContaining([expect.objectContaining({ id: 'default' })]),
    ],
    [['projects', 'create', 'P'], /^Project P of workspace default is there\.$/m, { id: 'P', workspace_id: 'default' }],
    [['projects', 'list'], /^P$/m, [{ id: 'P', workspace_id: 'default' }]],
    [['usage', '--workspace', 'default'], /^Workspace default: 0 B used/, { workspace_id: 'default', used_bytes: 0 }],
    [['jobs', 'list'], /^0 jobs waiting\.$/m, { waiting: 0, failed: [] }],
    [['doctor'], /Nothing is wrong\.$/m, { ok: true, findings: [] }],
    [['migrate'], /^The database has version \d+\.$/m, { from: expect.any(Number), to: expect.any(Number) }],
  ])('%j for people and for programs', async (args, says, holds) => {
    const [people, programs] = await Promise.all([text(...args), json(...args)])
    expect(people).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(says) })
    expect(programs).toMatchObject({ code: 0, stderr: '' })
    expect(programs.stdout.trimEnd()).not.toContain('\n')
    const printed: unknown = JSON.parse(programs.stdout)
    expect({ printed }).toMatchObject({ printed: holds })
  })

  it.each([
    [['fly'], 2, /There is no command "fly/],
    [['keys', 'create', '--colour', 'red'], 2, /--colour/],
    [['keys', 'create', '--scopes', 'uploads:fly'], 2, /--scopes.*uploads:fly/],
    [['keys', 'create', '--expires', 'tomorrow'], 2, /--expires.*tomorrow/],
    [['keys', 'create', '--name'], 2, /--name/],
    [['keys', 'revoke', 'nobody'], 1, /There is no key "nobody"/],
    [['--colour'], 2, /There is no command "--colour/],
    [['workspaces', 'create', '../etc'], 2, /\.\.\/etc/],
    [['workspaces', 'set-quota', 'default', 'lots'], 2, /lots/],
    [['workspaces', 'set-quota', 'nowhere', '1'], 1, /There is no workspace "nowhere"/],
    [['usage', '--workspace', 'nowhere'], 1, /There is no workspace "nowhere"/],
    [['jobs', 'retry', 'x'], 2, /number/],
    [['serve', 'now'], 2, /serve/],
  ])('%j is wrong: exit code %i and one line', async (args, code, says) => {
    const ended = await json(...args)
    expectOneLine(ended, says, code)
    expect(failure.parse(JSON.parse(ended.stdout)).error).toMatch(says)
  })

  it('says what is wrong to people on stderr alone', async () => {
    const ended = await text('keys', 'revoke')
    expectOneLine(ended, /keys revoke <id>/, 2)
    expect(ended.stdout).toBe('')
  })

  it('lists every command', async () => {
    const { stdout, code } = await text('help')
    expect(code).toBe(0)
    for (const command of [
      'serve',
      'migrate',
      'keys create',
      'keys list',
      'keys revoke',
      'workspaces create',
      'usage',
      'doctor',
    ])
      expect(stdout).toContain(`fairlead ${command}`)
  })

  it('works through npm, as the documentation shows it', async () => {
    const args = [
      'run',
      '--silent',
      'fairlead',
      '--',
      'keys',
      'create',
      '--workspace',
      'W3',
      '--user',
      'U',
      '--name',
      'N',
      '--json',
    ]
    const variables = {
      FAIRLEAD_DATA_DIR: gateway.dataDir,
      FAIRLEAD_CONFIG: join(gateway.folder, 'uploads.config.ts'),
      HOME: gateway.folder,
    }
    const ended = await run('npm', args, { cwd: projectRoot, env: variables })
    expect(ended.code).toBe(0)
    expect(JSON.parse(ended.stdout)).toMatchObject({
      workspace_id: 'W3',
      user_id: 'U',
      key: expect.stringMatching(keyPattern),
    })
  })
})

/** Names of the files below a folder; none when there is no folder. */
const filesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await holds()) return
    await sleep(20)
  }
  throw new Error('It did not come to that in time.')
}
