import { execFileSync } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

const project = join(import.meta.dirname, '../..')

/** These tests run on Deno: `deno task test`. */
export const onDeno = 'deno' in process.versions

/** What runs the gateways: whatever runs the tests, unless `TEST_RUNTIME=deno` wants them on Deno, with clients on Node. */
export const gatewayRuntime: Runtime = onDeno || process.env['TEST_RUNTIME'] === 'deno' ? 'deno' : 'node'

/** What comes before the path of a script that may do everything, for the runtime of the tests. */
export const scriptArguments: readonly string[] = onDeno ? ['run', '--allow-all'] : []

export type Runtime = 'node' | 'deno'

let found: string | undefined
/** @throws when it is not installed and cannot be. */
export function denoPath(): string {
  const starter = join(project, 'node_modules/deno/bin.cjs')
  return (found ??= onDeno
    ? process.execPath
    : execFileSync(process.execPath, [starter, 'eval', '-p', 'Deno.execPath()'], { encoding: 'utf8' }).trim())
}

const denoJson = z.object({ tasks: z.object({ fairlead: z.string() }) })

/** The permissions that the tasks of `deno.json` give, such as `--allow-net=127.0.0.1:8080`. */
export function documentedPermissions(): string[] {
  const { tasks } = denoJson.parse(JSON.parse(readFileSync(join(project, 'deno.json'), 'utf8')))
  return tasks.fairlead.match(/--allow-[a-z]+(?:=[^\s$]+)?/g) ?? []
}

/** The same, with the places of a test instead of the project's: any port of this machine, and folders in that of temporary files. */
export function testPermissions(root: string): string[] {
  const modules = [join(root, 'node_modules'), realpathSync(join(root, 'node_modules'))]
  const places: Readonly<Record<string, readonly string[]>> = {
    '--allow-net': ['127.0.0.1'],
    '--allow-read': [root, tmpdir(), '/proc', ...modules],
    '--allow-write': [tmpdir()],
    '--allow-ffi': modules,
    '--allow-run': [denoPath()],
  }
  return documentedPermissions().map((flag) => {
    const [name = ''] = flag.split('=')
    const place = places[name]
    // The client of S3 says to the store what system it is on.
    if (name === '--allow-sys') return `${flag},osRelease`
    return place ? `${name}=${place.join(',')}` : flag
  })
}

/** What starts the program, and what comes before its path. */
export function launcher(
  runtime: Runtime,
  root: string,
  permissions?: readonly string[],
): readonly [program: string, args: readonly string[]] {
  if (runtime === 'node') return [process.execPath, []]
  return [denoPath(), ['run', '--no-prompt', ...(permissions ?? testPermissions(root))]]
}
