import { readdir, readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { join, posix } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'

interface Import {
  /** File that imports, from the project's root. */
  readonly from: string
  /** File from the project's root, `node:…` or the name of a package. */
  readonly to: string
}

const root = join(import.meta.dirname, '..')

/** Static imports and exports, types included, and dynamic ones with a text. */
const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g

function importsOf(from: string, text: string): Import[] {
  return [...text.matchAll(importPattern)].map(([, fixed, bare]) => {
    const target = fixed ?? bare ?? ''
    return { from, to: target.startsWith('.') ? posix.join(posix.dirname(from), target) : target }
  })
}

const isOurs = (path: string): boolean => /^(src|plugins|config|test|bench|bin)\//.test(path) || path.startsWith('..')
const isBuiltin = (name: string): boolean => name.startsWith('node:')
const isPackage = (name: string): boolean => !isOurs(name) && !isBuiltin(name)
const under = (folder: string) => (path: string) => path.startsWith(folder)
/** `plugins/media-info.ts` and everything below `plugins/media-info/` are one: `plugins/media-info`. */
const unit = (path: string): string => path.split('/').slice(0, 2).join('/').replace(/\.ts$/, '')
const isDriver = (path: string): boolean =>
  path.startsWith('src/stores/') || path.startsWith('src/lockers/') || /^src\/records\/(sqlite|postgres)/.test(path)

interface Rule {
  readonly what: string
  /** Whether the rule is about imports of this file. */
  about(from: string): boolean
  allows(one: Import): boolean
  /** Breaks the rule, and keeps to it. */
  readonly bad: readonly Import[]
  readonly good: readonly Import[]
}

const rules: readonly Rule[] = [
  {
    what: 'the domain imports itself, the errors, what Node has, uuid, and checksums',
    about: under('src/uploads/'),
    allows: ({ to }) =>
      to.startsWith('src/uploads/') ||
      to === 'src/errors.ts' ||
      isBuiltin(to) ||
      ['uuid', '@aws-sdk/checksums/crc'].includes(to),
    bad: [
      { from: 'src/uploads/service.ts', to: 'src/http/problem.ts' },
      { from: 'src/uploads/service.ts', to: 'koa' },
      { from: 'src/uploads/service.ts', to: 'src/records/records.ts' },
    ],
    good: [
      { from: 'src/uploads/service.ts', to: 'src/uploads/records.ts' },
      { from: 'src/uploads/service.ts', to: 'uuid' },
      { from: 'src/uploads/service.ts', to: 'node:crypto' },
    ],
  },
  {
    what: 'stores import neither one another nor the records',
    about: under('src/stores/'),
    allows: ({ from, to }) =>
      !to.startsWith('src/records/') && (!to.startsWith('src/stores/') || storeOf(from) === storeOf(to)),
    bad: [
      { from: 'src/stores/s3.ts', to: 'src/stores/disk.ts' },
      { from: 'src/stores/disk.ts', to: 'src/records/records.ts' },
    ],
    good: [
      { from: 'src/stores/s3.ts', to: 'src/stores/s3/sign.ts' },
      { from: 'src/stores/disk.ts', to: 'src/uploads/object-store.ts' },
    ],
  },
  {
    what: 'records import no store',
    about: under('src/records/'),
    allows: ({ to }) => !to.startsWith('src/stores/'),
    bad: [{ from: 'src/records/sqlite.ts', to: 'src/stores/disk.ts' }],
    good: [{ from: 'src/records/sqlite.ts', to: 'src/records/records.ts' }],
  },
  {
    what: 'plugins import the plugin contract, the names, packages and their own files',
    about: under('plugins/'),
    allows: ({ from, to }) =>
      to === 'src/plugin.ts' || to === 'src/uploads/names.ts' || !isOurs(to) || unit(from) === unit(to),
    bad: [
      { from: 'plugins/quota.ts', to: 'src/errors.ts' },
      { from: 'plugins/quota.ts', to: 'plugins/sniff-type/detect.ts' },
      { from: 'plugins/media-info/pool.ts', to: 'src/uploads/upload.ts' },
    ],
    good: [
      { from: 'plugins/media-info/pool.ts', to: 'plugins/media-info/protocol.ts' },
      { from: 'plugins/media-info.ts', to: 'plugins/media-info/protocol.ts' },
      { from: 'plugins/sniff-type.ts', to: 'file-type' },
    ],
  },
  {
    what: 'only drivers.ts knows which drivers exist',
    about: (from) => from.startsWith('src/') && !/^src\/(drivers\.ts|stores\/|records\/)/.test(from),
    allows: ({ to }) => !isDriver(to),
    bad: [
      { from: 'src/jobs/sweep.ts', to: 'src/stores/disk.ts' },
      { from: 'src/http/authenticate.ts', to: 'src/records/sqlite.ts' },
    ],
    good: [{ from: 'src/http/authenticate.ts', to: 'src/uploads/records.ts' }],
  },
  {
    what: 'dialects import no store, no records and no pipeline',
    about: under('src/dialects/'),
    allows: ({ to }) => !/^src\/(stores|records|pipeline)\//.test(to),
    bad: [
      { from: 'src/dialects/raw.ts', to: 'src/pipeline/runner.ts' },
      { from: 'src/dialects/raw.ts', to: 'src/records/records.ts' },
    ],
    good: [{ from: 'src/dialects/raw.ts', to: 'src/uploads/service.ts' }],
  },
  {
    what: 'what ships imports no test and no benchmark',
    about: (from) => /^(src|plugins|config)\//.test(from),
    allows: ({ to }) => !/^(test|bench)\//.test(to),
    bad: [{ from: 'src/app.ts', to: 'test/support/gateway.ts' }],
    good: [{ from: 'src/app.ts', to: 'config/load.ts' }],
  },
]

const storeOf = (path: string): string | undefined => /^src\/stores\/([^/.]+)/.exec(path)?.[1]
const breaks = (rule: Rule, one: Import): boolean => rule.about(one.from) && !rule.allows(one)

let imports: Import[]
let files: string[]
beforeAll(async () => {
  const found = await Promise.all(
    ['src', 'plugins', 'config'].map(async (folder) =>
      (await readdir(join(root, folder), { recursive: true })).map((name) => `${folder}/${name}`),
    ),
  )
  files = found.flat().filter((path) => path.endsWith('.ts'))
  const texts = await Promise.all(files.map((path) => readFile(join(root, path), 'utf8')))
  imports = files.flatMap((path, i) => importsOf(path, texts[i] ?? ''))
})

describe('imports', () => {
  it.each(rules)('$what', (rule) => {
    expect(rule.bad.filter((one) => !breaks(rule, one))).toEqual([])
    expect(rule.good.filter((one) => breaks(rule, one))).toEqual([])
    expect(imports.filter((one) => breaks(rule, one))).toEqual([])
  })

  it('lead to files that exist, by their whole names', () => {
    expect(imports.filter(({ to }) => isOurs(to) && !files.includes(to))).toEqual([])
  })

  it('name what Node has as node:…, and nothing else that begins so', () => {
    const bare = imports.filter(({ to }) => isPackage(to) && builtinModules.includes(to))
    expect(bare).toEqual([])
    expect(imports.filter(({ to }) => isBuiltin(to) && !builtinModules.includes(to.slice('node:'.length)))).toEqual([])
  })

  it('are found in every form in which they are written', () => {
    const text = `import a from './a.ts'
import {
  b,
  type C,
} from '../b.ts'
import type { D } from "node:fs"
import './e.ts'
export { f } from 'f'
export * from './g/g.ts'
const h = await import('./h.ts')
// a sentence that says to import things from 'nowhere' is none of them
`
    expect(importsOf('src/x/y.ts', text).map(({ to }) => to)).toEqual([
      'src/x/a.ts',
      'src/b.ts',
      'node:fs',
      'src/x/e.ts',
      'f',
      'src/x/g/g.ts',
      'src/x/h.ts',
    ])
  })
})
