import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { relative, sep } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { folderKey } from './manifest.ts'

const nodeTarget = 'node24.11'
const folder = `globalThis[Symbol.for(${JSON.stringify(folderKey)})]`

/** The program in one script. `natives` are files that it loads from the folder, by their paths from the project's root. */
export async function bundleProgram(
  root: string,
  entry: string,
): Promise<{ readonly program: Uint8Array; readonly natives: readonly string[] }> {
  const natives = new Set<string>()
  const require = createRequire(entry)
  const places: Plugin = {
    name: 'places',
    setup(on) {
      // Our own files are where they would be below the folder, and find there what they look for.
      on.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const place = JSON.stringify(relative(root, path).replaceAll(sep, '/').replace(/\.ts$/, '.js'))
        const text = await readFile(path, 'utf8')
        return { contents: text.replaceAll('import.meta.url', `(${folder} + ${place})`), loader: 'ts' }
      })
      // These look for their native part in many places; there is one.
      on.onResolve({ filter: /^better-sqlite3$/ }, () => ({ path: require.resolve('better-sqlite3/linux-x64') }))
      on.onResolve({ filter: /^sharp$/ }, () => ({ path: require.resolve('sharp') }))
      on.onLoad({ filter: /[\\/]sharp[\\/]dist[\\/]sharp\.cjs$/ }, () => ({
        contents: "module.exports = require('@img/sharp-linux-x64/sharp.node')",
      }))
      on.onLoad({ filter: /\.node$/ }, ({ path }) => {
        // Wherever npm has put the packages, they are one folder; their parts find one another in it.
        const native = path.slice(path.lastIndexOf(`node_modules${sep}`)).replaceAll(sep, '/')
        natives.add(native)
        const own = `require('node:module').createRequire(${folder})`
        return { contents: `module.exports = ${own}(${JSON.stringify(`./${native}`)})`, loader: 'js' }
      })
    },
  }
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: nodeTarget,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
    absWorkingDir: root,
    plugins: [places],
  })
  return { program: onlyFile(result.outputFiles), natives: [...natives] }
}

/** A module of our own that runs by itself, from the folder. */
export async function bundleModule(path: string): Promise<Uint8Array> {
  const options = { bundle: true, write: false, platform: 'node', format: 'esm', target: nodeTarget } as const
  return onlyFile((await build({ ...options, entryPoints: [path] })).outputFiles)
}

function onlyFile(files: readonly { readonly contents: Uint8Array }[]): Uint8Array {
  const [file] = files
  if (!file) throw new Error('esbuild has written nothing.')
  return file.contents
}
