import { cp, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('.', import.meta.url))
/** Where `src/http/page.ts` looks for it. */
const target = fileURLToPath(new URL('../dist/page', import.meta.url))

/** Everything that the page needs, into local files; whoever opens it asks no other host. */
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
}

/** Without the packages that only development needs: a gateway works without its page. */
const isAway = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'

if (import.meta.main)
  await buildPage().catch((error: unknown) => {
    if (!isAway(error)) throw error
    process.stderr.write('The page at / is not built: the development packages are not installed.\n')
    process.exitCode = 1
  })
