import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'

export type Verdict = 'accept' | 'refuse' | 'fail'

/** Says what becomes of files whose metadata has a `verdict`: the name under which the test decides, before or after they have come. */
export interface Verdicts {
  /** The plugin, as text of a configuration file. It waits until the test has decided. */
  readonly plugin: string
  /** A name that nobody else uses. */
  fresh(): string
  /** `fail` counts once: the next run waits for another decision. */
  decide(name: string, verdict: Verdict): void
  /** How often the plugin was asked. */
  runs(name: string): number
  /** How often the file was finished. */
  finished(name: string): number
  close(): Promise<void>
}

const pluginText = (folder: string): string => `{
  name: 'told',
  timeoutMs: 60_000,
  accepts: (upload) => Object.hasOwn(upload.metadata, 'verdict'),
  async beforeFinish(bytes, ctx) {
    const fs = process.getBuiltinModule('node:fs')
    const at = '${folder}/' + ctx.upload.metadata.verdict
    fs.appendFileSync(at + '.runs', '.')
    while (!fs.existsSync(at)) {
      ctx.signal.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const verdict = fs.readFileSync(at, 'utf8')
    if (verdict === 'refuse') ctx.reject('file_type_not_allowed', 'The test says no.')
    if (verdict !== 'fail') return
    fs.rmSync(at)
    throw new Error('The test says that it fails.')
  },
  afterFinish(bytes, ctx) {
    process.getBuiltinModule('node:fs').appendFileSync('${folder}/' + ctx.upload.metadata.verdict + '.finished', '.')
  },
}`

/** Bytes of a file that may not be there. */
const count = (file: string): number => (existsSync(file) ? readFileSync(file).length : 0)

export async function verdicts(): Promise<Verdicts> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-verdicts-'))
  return {
    plugin: pluginText(folder),
    fresh: () => randomUUID(),
    decide(name, verdict) {
      const file = join(folder, name)
      writeFileSync(`${file}.new`, verdict)
      renameSync(`${file}.new`, file) // so that nobody reads half of it
    },
    runs: (name) => count(join(folder, `${name}.runs`)),
    finished: (name) => count(join(folder, `${name}.finished`)),
    close: () => rm(folder, { recursive: true, force: true }),
  }
}
