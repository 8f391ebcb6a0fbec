import { pathToFileURL } from 'node:url'
import { folderKey, modulesKey, workerPath } from './manifest.ts'
import { unpack, unpackInto } from './unpack.ts'

// The first module of the one file. Everything else is loaded after the unpacking: it needs what is unpacked.

function provide(key: string, value: unknown): void {
  Object.defineProperty(globalThis, Symbol.for(key), { value })
}

async function start(args: readonly string[]): Promise<void> {
  const script = args.at(-1) ?? ''
  // The gateway starts its own executable with the path of a script, as it starts Node elsewhere.
  const isWorker = process.send !== undefined && script.endsWith(`/${workerPath}`)
  if (isWorker) {
    const folder = script.slice(0, -workerPath.length - 1)
    unpackInto(folder)
    provide(folderKey, `${pathToFileURL(folder).href}/`)
    await import('../plugins/media-info/worker.ts')
    return
  }
  provide(folderKey, `${pathToFileURL(unpack()).href}/`)
  const [{ main }, index, plugins] = await Promise.all([
    import('../src/cli.ts'),
    import('../src/index.ts'),
    import('../src/built-in-plugins.ts'),
  ])
  provide(modulesKey, { index, plugins })
  await main(args)
}

start(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`fairlead: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
