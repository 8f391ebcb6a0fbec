import { readFile, writeFile } from 'node:fs/promises'
import { options } from './schema.ts'

export const configurationPage = new URL('../docs/configuration.md', import.meta.url)
const start = '<!-- options: written by `node config/docs.ts` -->\n'
const end = '<!-- end of options -->\n'

const cell = (text: string): string => text.replaceAll('|', '\\|')
/** Outside of code `<path>` would be HTML and `*` emphasis. */
const plain = (text: string): string => cell(text).replace(/[<*_]/g, '\\$&')
const code = (text: string): string => `\`${cell(text)}\``

/** A row for every option of the schema. */
function optionsTable(): string {
  const rows = options.map(({ path, variable, takes, fallback, meaning }) =>
    [code(path.join('.')), variable ? code(variable) : '', plain(takes), code(fallback), cell(meaning)].join(' | '),
  )
  const head = ['Option | Variable | It takes | Default | Meaning', '--- | --- | --- | --- | ---']
  return [...head, ...rows].map((row) => `| ${row} |\n`).join('')
}

/** The page with the table that belongs to the schema. */
export function withOptions(page: string): string {
  const [before, rest = ''] = page.split(start)
  const [, after] = rest.split(end)
  if (after === undefined) throw new Error('docs/configuration.md has lost the marks around its table.')
  return `${before}${start}\n${optionsTable()}\n${end}${after}`
}

if (import.meta.main) await writeFile(configurationPage, withOptions(await readFile(configurationPage, 'utf8')))
