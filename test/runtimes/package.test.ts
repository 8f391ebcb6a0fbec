import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf, withRecords } from '../support/client.ts'
import { projectRoot, startGateway } from '../support/gateway.ts'
import { expectEverything } from './everything.ts'

const exec = promisify(execFile)
const patienceMs = 120_000
/** What `npm pack` and its build need of the repository. */
const sources = ['bin', 'config', 'page', 'plugins', 'src', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
const npx = ['npx', '--no', 'fairlead']

/** A folder where somebody has installed the package, and nothing else. */
let folder: string
let workshop: string
let packed: string[]
beforeAll(async () => {
  workshop = await mkdtemp(join(tmpdir(), 'fairlead-pack-'))
  const copy = join(workshop, 'copy')
  folder = join(workshop, 'elsewhere')
  await Promise.all([mkdir(copy), mkdir(folder)])
  for (const name of sources) await cp(join(projectRoot, name), join(copy, name), { recursive: true })
  await symlink(join(projectRoot, 'node_modules'), join(copy, 'node_modules'))
  const { stdout } = await exec('npm', ['pack', '--json', '--pack-destination', workshop], { cwd: copy })
  packed = [...stdout.matchAll(/"path": "([^"]+)"/g)].map(([, path = '']) => path)
  const tarball = (await readdir(workshop)).find((name) => name.endsWith('.tgz')) ?? ''
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  await exec('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(workshop, tarball)], {
    cwd: folder,
  })
}, patienceMs)
afterAll(() => rm(workshop, { recursive: true, force: true }))

/** Runs a program of the folder's until it says where it listens, and what it prints as a key. */
async function running(file: string, env: Record<string, string>, work: (url: string) => Promise<void>) {
  const child = spawn(process.execPath, [file], { cwd: folder, env: { PATH: process.env['PATH'] ?? '', ...env } })
  let err = ''
  child.stderr.on('data', (chunk) => (err += String(chunk)))
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (chunk) => resolve(String(chunk).trim()))
      child.once('exit', () => reject(new Error(err)))
    })
    await work(url)
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
  } finally {
    child.kill('SIGKILL')
  }
}

describe('the package', () => {
  it('holds what runs, compiled, with its types, and nothing else', () => {
    expect(packed).toContain('dist/src/index.d.ts')
    expect(packed).toContain('dist/page/page.js')
    expect(packed.filter((path) => /(?<!\.d)\.ts$|^(src|plugins|config|page|test|bench)\//.test(path))).toEqual([])
    expect(packed.length).toBeLessThan(600)
  })

  it('serves by npx, in a folder with nothing but it', { timeout: patienceMs }, async () => {
    const gateway = await startGateway({ command: npx, folder })
    try {
      await expectEverything(gateway)
      expect(await gateway.run('doctor')).toMatchObject({ code: 0, json: { ok: true } })
      const made = await gateway.run('keys', 'create', '--workspace', 'w', '--user', 'u', '--name', 'n')
      expect(made).toMatchObject({ code: 0, json: { workspace_id: 'w', user_id: 'u' } })
    } finally {
      await gateway.close()
    }
  })

  it('runs a plugin from outside, which imports it by name', { timeout: patienceMs }, async () => {
    const place = join(folder, 'plugin')
    await cp(join(projectRoot, 'examples/plugin'), place, { recursive: true })
    const gateway = await startGateway({ command: npx, folder: place })
    try {
      const call = clientOf(gateway, gateway.key)
      const send = (text: string) =>
        call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.txt', 'Content-Type': 'text/plain' }, body: text })
      const refused = await send('word '.repeat(101))
      expect(refused.json()).toMatchObject({ type: 'BAD_REQUEST', words: 101 })
      const taken = await send('One two, three.')
      const { assetId } = taken.json<{ data: { assetId: string } }>().data
      const upload = await withRecords(gateway, (records) => records.get(assetId))
      expect(upload?.extra).toMatchObject({ 'word-count': { words: 3 } })
    } finally {
      await gateway.close()
    }
  })

  it('has types for who embeds it, configures it or writes a plugin', async () => {
    const place = join(folder, 'typed')
    await mkdir(place)
    await writeFile(join(place, 'program.ts'), program)
    await cp(join(projectRoot, 'examples/plugin/word-count.ts'), join(place, 'word-count.ts'))
    const options = {
      module: 'nodenext',
      target: 'es2024',
      strict: true,
      noEmit: true,
      types: ['node'],
      allowImportingTsExtensions: true,
    }
    const compilerOptions = { ...options, typeRoots: [join(projectRoot, 'node_modules/@types')] }
    await writeFile(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    const tsc = join(projectRoot, 'node_modules/typescript/bin/tsc')
    const ended = await exec(process.execPath, [tsc, '-p', place]).catch(({ stdout }: { stdout: string }) => ({
      stdout,
    }))
    expect(ended.stdout).toBe('')
  })

  it.each([
    ['node:http', 'http.ts', httpHost, ''],
    ['Koa, below a path of its own', 'koa.ts', koaHost, '/uploads'],
  ])('answers inside of %s', { timeout: patienceMs }, async (_what, file, text, path) => {
    await writeFile(join(folder, file), text)
    const dataDir = join(folder, `data-${file}`)
    await running(join(folder, file), { FAIRLEAD_DATA_DIR: dataDir }, async (url) => {
      const { stdout } = await exec(npx[0] ?? '', [...npx.slice(1), 'keys', 'create', '--json'], {
        cwd: folder,
        env: { ...process.env, FAIRLEAD_DATA_DIR: dataDir },
      })
      const key = /op_live_\w+/.exec(stdout)?.[0] ?? ''
      await expectEverything({ url: `${url}${path}`, key })
      const other = await fetch(`${url}/elsewhere`)
      expect({ status: other.status, text: path === '' ? '' : await other.text() }).toEqual(
        path === '' ? { status: 404, text: '' } : { status: 200, text: 'the host' },
      )
    })
  })
})

const program = `
import { createServer } from 'node:http'
import { createFairlead, defineConfig, type Plugin, type UserConfig } from 'fairlead'
import { mediaInfo, quota, sniffType } from 'fairlead/plugins'
import { wordCount } from './word-count.ts'

const config: UserConfig = defineConfig({
  limits: { maxFileSize: '20GiB' },
  plugins: [sniffType({ mode: 'reject' }), quota({ step: 1 }), mediaInfo(), wordCount({ maxWords: 1 })],
})
const { handler, close } = await createFairlead(config)
createServer(handler).on('close', () => void close())

// @ts-expect-error -- there is no such option
defineConfig({ nonsense: true })
// @ts-expect-error -- nor such a property
export const plugin: Plugin = { name: 'x', provides: ['nonsense'] }
`

const httpHost = `
import { createServer } from 'node:http'
import { createFairlead } from 'fairlead'

const fairlead = await createFairlead()
const server = createServer(fairlead.handler)
server.requestTimeout = 0
server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port))
process.on('SIGTERM', () => {
  server.close()
  server.closeIdleConnections()
  void fairlead.close()
})
`

const koaHost = `
import { createServer } from 'node:http'
import Koa from 'koa'
import { createFairlead } from 'fairlead'

const app = new Koa()
const server = createServer()
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = 'http://127.0.0.1:' + server.address().port
const fairlead = await createFairlead({ server: { publicUrl: url + '/uploads', shutdownGrace: 1 } })
app.use((ctx) => {
  if (!ctx.path.startsWith('/uploads/')) {
    ctx.body = 'the host'
    return
  }
  ctx.respond = false
  ctx.req.url = ctx.req.url.slice('/uploads'.length)
  fairlead.handler(ctx.req, ctx.res)
})
server.on('request', app.callback())
console.log(url)
process.on('SIGTERM', () => {
  server.close()
  server.closeIdleConnections()
  void fairlead.close()
})
`
