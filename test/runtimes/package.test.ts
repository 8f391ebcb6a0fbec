import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientOf, withRecords } from '../support/client.ts'
import { projectRoot, startGateway } from '../support/gateway.ts'
import { expectEverything } from './everything.ts'
import { documentedHosts, expectContinue, expectOwnRoutes, runningHost } from './hosts.ts'

const exec = promisify(execFile)
const patienceMs = 120_000
/** What `npm pack` and its build need of the repository. */
const sources = ['bin', 'config', 'page', 'plugins', 'src', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
const npx = ['npx', '--no', 'fairlead']
/** Koa comes with the package. */
const besides = ['express@5.3.0', 'fastify@5.12.8', '@types/express@5.0.6', '@types/koa@3.0.3', '@types/node@24.19.2']

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

describe('the package', () => {
  it('holds what runs, compiled, with its types, and nothing else', () => {
    expect(packed).toContain('dist/src/index.d.ts')
    expect(packed).toContain('dist/page/page.js')
    expect(packed).toContain('dist/docs/swagger-ui-bundle.js')
    expect(packed.filter((path) => /(?<!\.d)\.ts$|^(src|plugins|config|page|test|bench)\//.test(path))).toEqual([])
    expect(packed.length).toBeLessThan(600)
  })

  it('brings no package that reports installations', async () => {
    expect(await readdir(join(folder, 'node_modules'))).not.toContain('@scarf')
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

  describe('beside other servers', () => {
    let place: string
    beforeAll(async () => {
      place = join(folder, 'hosts')
      await mkdir(place)
      await writeFile(join(place, 'package.json'), '{ "private": true, "type": "module" }')
      await exec('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...besides], { cwd: place })
      await writeFile(join(place, 'program.ts'), program)
      await cp(join(projectRoot, 'examples/plugin/word-count.ts'), join(place, 'word-count.ts'))
      for (const { name, text } of await documentedHosts()) await writeFile(join(place, `${name}.ts`), text)
    }, patienceMs)

    it.each([
      ['nodenext', 'nodenext'],
      ['bundler', 'preserve'],
    ])('has types for who embeds it, configures it or writes a plugin: %s', async (moduleResolution, module) => {
      const options = {
        target: 'es2024',
        strict: true,
        noEmit: true,
        types: ['node'],
        allowImportingTsExtensions: true,
        // What `@types/koa` means: newer versions of that package bring other types.
        paths: { 'content-disposition': ['./node_modules/@types/content-disposition'] },
      }
      const file = join(place, `tsconfig.${moduleResolution}.json`)
      await writeFile(file, JSON.stringify({ compilerOptions: { ...options, module, moduleResolution } }))
      const tsc = join(projectRoot, 'node_modules/typescript/bin/tsc')
      const ended = await exec(process.execPath, [tsc, '-p', file]).catch(({ stdout }: { stdout: string }) => ({
        stdout,
      }))
      expect(ended.stdout).toBe('')
    })

    it.each([
      ['node', ''],
      ['express', '/uploads'],
      ['koa', '/uploads'],
      ['fastify', '/uploads'],
    ])('answers inside of %s, as the documentation has it', { timeout: patienceMs }, async (name, path) => {
      const env = { FAIRLEAD_DATA_DIR: join(folder, `data-${name}`) }
      await runningHost(join(place, `${name}.ts`), path, env, async (url) => {
        const { stdout } = await exec(npx[0] ?? '', [...npx.slice(1), 'keys', 'create', '--json'], {
          cwd: folder,
          env: { ...process.env, ...env },
        })
        const key = /op_live_\w+/.exec(stdout)?.[0] ?? ''
        await expectEverything({ url: `${url}${path}`, key })
        await expectContinue(url, path, key)
        if (path !== '') await expectOwnRoutes(url)
      })
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
