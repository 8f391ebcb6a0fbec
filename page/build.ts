import { cp, mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assetNames } from '../src/http/documentation.ts'

const source = fileURLToPath(new URL('.', import.meta.url))
/** Where `src/http/page.ts` looks for it. */
const target = fileURLToPath(new URL('../dist/page', import.meta.url))

/** Everything that the page needs, into local files; whoever opens it asks no other host. */
export async function buildPage(): Promise<void> {
  const { build } = await import('esbuild')
  await mkdir(target, { recursive: true })
  for (const file of ['index.html', 'icon.svg']) await cp(`${source}${file}`, `${target}/${file}`)
  // Copied, because as a dependency it would bring a package that reports installations.
  const swagger = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  for (const file of [...assetNames, 'LICENSE', 'NOTICE']) await cp(`${swagger}/${file}`, `${target}/docs/${file}`)
  await build({
    entryPoints: [`${source}page.ts`, `${source}page.css`],
    outdir: target,
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    logLevel: 'warning',
  })
}

/** Without the packages that only development needs: a gateway works without its page. */
const isAway = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && /^(?:ERR_)?MODULE_NOT_FOUND$/.test(String(error.code))

if (import.meta.main)
  await buildPage().catch((error: unknown) => {
    if (!isAway(error)) throw error
    process.stderr.write('The page at / is not built: the development packages are not installed.\n')
    process.exitCode = 1
  })
