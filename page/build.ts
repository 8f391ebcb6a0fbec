import { cp, mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('.', import.meta.url))
/** Where `src/http/static.ts` looks for them. */
const target = fileURLToPath(new URL('../dist/page', import.meta.url))
const docsTarget = fileURLToPath(new URL('../dist/docs', import.meta.url))
/** What `/docs` needs of Swagger UI, with its licence. As a package it would bring one that runs a script when it is installed. */
const swaggerFiles = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png', 'LICENSE', 'NOTICE']

/** Everything that the page at `/` and `/docs` need, into local files: a browser that opens them asks no other host. */
export async function buildPage(): Promise<void> {
  const { build } = await import('esbuild')
  await mkdir(target, { recursive: true })
  for (const file of ['index.html', 'icon.svg']) await cp(`${source}${file}`, `${target}/${file}`)
  await build({
    entryPoints: [`${source}page.ts`, `${source}page.css`],
    outdir: target,
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    logLevel: 'warning',
  })
  await mkdir(docsTarget, { recursive: true })
  const packageFile = createRequire(import.meta.url)
  for (const file of swaggerFiles) await cp(packageFile.resolve(`swagger-ui-dist/${file}`), `${docsTarget}/${file}`)
}

/** Without the packages that only development needs: a gateway works without its pages. */
const isAway = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(String(error.code))

if (import.meta.main)
  await buildPage().catch((error: unknown) => {
    if (!isAway(error)) throw error
    process.stderr.write('The pages at / and /docs are not built: the development packages are not installed.\n')
    process.exitCode = 1
  })
