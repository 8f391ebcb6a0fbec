import { execFile } from 'node:child_process'
import { mkdtemp, open, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

const program = join(projectRoot, 'bin/fairlead.js')

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts the server where it must not start. */
function serve(folder: string, env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const variables = { PATH: process.env['PATH'] ?? '', FAIRLEAD_PORT: '0', ...env }
    const child = execFile(
      process.execPath,
      [program, 'serve'],
      { cwd: folder, env: variables, timeout: 50_000 },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

function expectOneLine({ code, stdout, stderr }: Ended, saying: RegExp): void {
  expect(stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(saying)])
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
}

describe('a start without the records, or without the secret, of before', () => {
  let gateway: TestGateway
  let database: string
  beforeEach(async () => {
    gateway = await startGateway({ config: 'export default { plugins: [] }' })
    database = join(gateway.dataDir, 'fairlead.db')
    const headers = { 'x-api-key': gateway.key, 'x-file-name': 'a.txt', 'content-type': 'text/plain' }
    const answer = await fetch(`${gateway.url}/v1/uploads`, { method: 'POST', headers, body: 'hello' })
    if (answer.status !== 201) throw new Error(`The upload was answered ${answer.status}.`)
    await gateway.stop('SIGTERM')
  })
  afterEach(() => gateway.close())

  it('is refused when the database was emptied, again and again, and makes nothing', async () => {
    await truncate(database)
    for (let i = 0; i < 2; i++) expectOneLine(await serve(gateway.folder), /fairlead\.db is empty.*backup.*begin anew/)
    expect((await stat(database)).size).toBe(0)
  })

  it('is refused when the database is gone, by every command', async () => {
    for (const name of await readdir(gateway.dataDir))
      if (name.startsWith('fairlead.db')) await rm(join(gateway.dataDir, name))
    expectOneLine(await serve(gateway.folder), /fairlead\.db is missing.*backup.*begin anew/)
    expect((await gateway.run('keys', 'list')).code).toBe(1)
    expect(await readdir(gateway.dataDir)).not.toContain('fairlead.db')
  })

  it('is refused when the files are there, and records and secret are new', async () => {
    const FAIRLEAD_DATA_DIR = await mkdtemp(join(tmpdir(), 'fairlead-lost-'))
    const objects = join(gateway.dataDir, 'objects')
    const config = `export default { plugins: [], storage: { directory: '${objects}' } }`
    await writeFile(join(gateway.folder, 'uploads.config.ts'), config)
    for (let i = 0; i < 2; i++)
      expectOneLine(
        await serve(gateway.folder, { FAIRLEAD_DATA_DIR }),
        /store \(disk\) holds objects.*backup.*begin anew/,
      )
    await rm(FAIRLEAD_DATA_DIR, { recursive: true })
  })

  it('is refused when the secret is gone, and makes no new one', async () => {
    await rm(join(gateway.dataDir, 'secret'))
    expectOneLine(await serve(gateway.folder), /secret is missing.*backup.*FAIRLEAD_SECRET.*make a new one/)
    expect(await readdir(gateway.dataDir)).not.toContain('secret')
    await gateway.start({ FAIRLEAD_SECRET: 'a secret of the operator, kept elsewhere' })
  })

  /** Writes over all pages of the file that begin behind so much of it. */
  async function damage(part: number): Promise<void> {
    const { size } = await stat(database)
    await using file = await open(database, 'r+')
    const junk = Buffer.alloc(4_096, 0xa5)
    const first = Math.max(1, Math.floor((size * part) / junk.length))
    for (let at = first * junk.length; at < size; at += junk.length) await file.write(junk, 0, junk.length, at)
  }

  it('is refused when pages of the database were overwritten', async () => {
    await damage(0)
    expectOneLine(await serve(gateway.folder), /fairlead\.db.*(damaged|malformed).*restore the database from a backup/)
  })

  it('is not what damage waits for: a running server answers 503 with the remedy, and ends well', async () => {
    await gateway.start()
    const headers = { 'x-api-key': gateway.key, 'x-file-name': 'a'.repeat(200) }
    for (let i = 0; i < 400; i++)
      await (await fetch(`${gateway.url}/v1/uploads`, { method: 'POST', headers, body: `hello ${i}` })).text()
    await gateway.stop('SIGTERM')
    await gateway.start()
    await damage(0.6)
    // What another process writes makes the server read its pages again.
    expect((await gateway.run('keys', 'create', '--workspace', 'other', '--user', 'u', '--name', 'n')).code).toBe(0)
    const answer = await fetch(`${gateway.url}/api/v1/uploads?limit=100`, { headers })
    expect({ status: answer.status, text: await answer.text() }).toEqual({
      status: 503,
      text: expect.stringMatching(/damaged.*backup/),
    })
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(503)
    expect(await gateway.stop('SIGTERM')).toBe(0)
  })

  it('goes well with a data directory that is a symbolic link', async () => {
    const link = join(gateway.folder, 'link')
    const target = await mkdtemp(join(tmpdir(), 'fairlead-target-'))
    await symlink(target, link)
    const other = await startGateway({ env: { FAIRLEAD_DATA_DIR: link } })
    expect((await fetch(`${other.url}/readyz`)).status).toBe(200)
    await other.close()
    await rm(target, { recursive: true })
  })
})
