import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildBinary } from '../../binary/build.ts'
import { clientOf } from '../support/client.ts'
import { expectEverything } from './everything.ts'

const exec = promisify(execFile)
const patienceMs = 120_000
/** Milliseconds in which the first request must be answered, on a machine with whatever else to do: it prints what it took. */
const firstAnswerMs = 20_000
const config = `
import { defineConfig, type Plugin } from 'fairlead'
import { mediaInfo, quota, sniffType } from 'fairlead/plugins'

const own: Plugin = {
  name: 'own',
  beforeCreate(draft, ctx) {
    if (draft.filename === 'refused.txt') ctx.reject('validation_failed', 'Not this one.')
  },
}
export default defineConfig({ server: { port: 0, logLevel: 'warn' }, plugins: [sniffType(), quota(), mediaInfo(), own] })
`

let workshop: string
let program: string
let folder: string
let running: ChildProcess | undefined
/** By default with nothing in the environment, but that the test's own temporary folder is the system's. */
const run = (...args: string[]) => exec('env', ['-i', `TMPDIR=${workshop}`, program, ...args], { cwd: folder })

async function serve(env: readonly string[] = [`TMPDIR=${workshop}`]) {
  const began = performance.now()
  const child = spawn('env', ['-i', ...env, program, 'serve'], { cwd: folder })
  running = child
  let out = ''
  let err = ''
  child.stderr.on('data', (chunk) => (err += String(chunk)))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      out += String(chunk)
      const found = /listening on (\S+)\n/.exec(out)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once('exit', (code) => reject(new Error(`It ended with ${code}:\n${out}${err}`)))
  })
  const { status } = await fetch(`${url}/healthz`)
  return { child, url, status, firstMs: Math.round(performance.now() - began) }
}

async function end(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
}

async function newKey(): Promise<string> {
  const { stdout } = await run('keys', 'create', '--workspace', 'w', '--json')
  const { key, workspace_id: workspace } = JSON.parse(stdout)
  expect(workspace).toBe('w')
  return String(key)
}

/** What was unpacked in a place. */
async function unpacked(place: string): Promise<string[]> {
  const entries = await readdir(place, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

const builds = process.platform === 'linux' && process.arch === 'x64'

describe.skipIf(!builds)('the one file', () => {
  beforeAll(async () => {
    workshop = await mkdtemp(join(tmpdir(), 'fairlead-binary-'))
    folder = join(workshop, 'elsewhere')
    program = join(folder, 'fairlead')
    await mkdir(folder)
    await buildBinary(program)
    await writeFile(join(folder, 'uploads.config.ts'), config)
  }, patienceMs)
  afterEach(() => void running?.kill('SIGKILL'))
  afterAll(() => rm(workshop, { recursive: true, force: true }))

  it('does everything, in an empty folder with an empty environment', { timeout: patienceMs }, async () => {
    const { child, url, status, firstMs } = await serve()
    process.stdout.write(`${Math.round((await stat(program)).size / 1e6)} MB, first answer after ${firstMs} ms\n`)
    expect(status).toBe(200)
    expect(firstMs).toBeLessThan(firstAnswerMs)
    const key = await newKey()
    await expectEverything({ url, key })
    const refused = await clientOf({ url }, key)('POST', '/v1/uploads', {
      headers: { 'x-file-name': 'refused.txt', 'Content-Type': 'text/plain' },
      body: 'text',
    })
    expect(refused.json()).toMatchObject({ detail: 'Not this one.' })
    const { stdout } = await run('doctor', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ ok: true })
    await end(child)
    const again = await serve()
    process.stdout.write(`first answer after ${again.firstMs} ms, with everything unpacked\n`)
    await end(again.child)
  })

  it('unpacks where the environment says, for this user alone', { timeout: patienceMs }, async () => {
    const cache = join(workshop, 'cache')
    await exec('env', ['-i', `XDG_CACHE_HOME=${cache}`, program, 'help'])
    const home = join(workshop, 'home')
    await exec('env', ['-i', `HOME=${home}`, program, 'help'])
    const [byCache, byHome] = [await unpacked(join(cache, 'fairlead')), await unpacked(join(home, '.cache/fairlead'))]
    expect(byCache.length).toBeGreaterThan(0)
    expect(byHome.map((path) => path.slice(join(home, '.cache').length))).toEqual(
      byCache.map((path) => path.slice(cache.length)),
    )
    for (const path of [join(cache, 'fairlead'), ...byCache]) expect((await stat(path)).mode & 0o077).toBe(0)
  })

  it('replaces what is half written or not its own', { timeout: patienceMs }, async () => {
    const cache = join(workshop, 'cache-spoiled')
    const help = () => exec('env', ['-i', `XDG_CACHE_HOME=${cache}`, program, 'help'])
    await help()
    const natives = (await unpacked(cache)).filter((path) => /\.(node|so\.)/.test(path))
    const whole = await Promise.all(natives.map((path) => readFile(path)))
    const [linked = '', cut = '', other = ''] = natives
    await rm(linked)
    await symlink('/dev/null', linked)
    await truncate(cut, 4_096)
    await writeFile(other, Buffer.alloc((await stat(other)).size))
    await Promise.all([help(), help(), help()])
    expect(natives.length).toBe(3)
    for (const [i, path] of natives.entries()) expect(whole[i]?.equals(await readFile(path))).toBe(true)
    expect((await unpacked(cache)).length).toBeGreaterThan(natives.length)
    expect((await unpacked(cache)).filter((path) => /-[0-9a-f]{12}$/.test(path))).toEqual([])
  })

  it('does not unpack where others may write', { timeout: patienceMs }, async () => {
    const cache = join(workshop, 'cache-open')
    await mkdir(join(cache, 'fairlead'), { recursive: true })
    await chmod(join(cache, 'fairlead'), 0o777)
    const ended = exec('env', ['-i', `XDG_CACHE_HOME=${cache}`, 'TMPDIR=/dev/null', program, 'help'])
    await expect(ended).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^fairlead: .*XDG_CACHE_HOME.*\n$/),
    })
    expect(await unpacked(cache)).toEqual([])
  })

  it('runs under another name and from another folder', { timeout: patienceMs }, async () => {
    const other = join(workshop, 'renamed')
    await copyFile(program, other)
    const { stdout } = await exec('env', ['-i', `TMPDIR=${workshop}`, other, 'help'], { cwd: workshop })
    expect(stdout).toContain('fairlead serve')
  })
})
