import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { extensions as offered } from '../src/dialects/tus-headers.ts'

const suites = join(import.meta.dirname, 'dialects/suites/tus')

interface Row {
  readonly statement: string
  readonly said: string
  /** Such as `locks: three follow one another, the newest wins`. */
  readonly tests: readonly string[]
}

let rows: Row[]
let extensions: string[]
let known: Set<string>
beforeAll(async () => {
  const page = await readFile(join(import.meta.dirname, '../docs/tus.md'), 'utf8')
  const [proved = ''] = page.split('## What a status means')
  rows = proved.split('\n').flatMap((line) => {
    const [, statement = '', said = '', tests] = line.split('|').map((cell) => cell.trim())
    if (tests === undefined || tests === 'Proved by' || /^-+$/.test(tests)) return []
    return [
      { statement, said, tests: [...tests.matchAll(/(\w+): `([^`]+)`/g)].map(([, file, name]) => `${file}: ${name}`) },
    ]
  })
  extensions = [...page.matchAll(/^## ([a-z-]+)$/gm)].flatMap(([, name]) => name ?? [])
  const files = await readdir(suites)
  const named = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(suites, file), 'utf8')
      const names = text.matchAll(/(?:\bit|^ *\]\)|\]\))\(\s*(['"`])(.+?)\1,/gm)
      return [...names].map(([, , name]) => `${basename(file, '.ts')}: ${name}`)
    }),
  )
  known = new Set(named.flat())
})

describe('the page about the protocol', () => {
  it('names a test for every statement', () => {
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.filter(({ said, tests }) => said === '' || tests.length === 0)).toEqual([])
  })

  it('names tests that exist', () => {
    const named = rows.flatMap(({ tests }) => tests)
    expect(named.filter((one) => !known.has(one))).toEqual([])
  })

  it('knows a test that exists from one that does not', () => {
    expect(known).toContain('locks: three follow one another, the newest wins')
    expect(known).toContain('appending: stores a file %s byte for byte')
    expect(known).not.toContain('locks: four follow one another')
  })

  it('says of every statement of the protocol how strong it is', () => {
    const silent = rows.findIndex(({ statement }) => statement === 'Success')
    const strengths = rows.slice(0, silent).map(({ statement }) => statement)
    expect(strengths.filter((strength) => !/^(MUST|SHOULD|SHALL)( NOT)?$|^MAY$/.test(strength))).toEqual([])
  })

  it('has a part for every extension that is offered', () => {
    expect(extensions.toSorted()).toEqual([...offered].toSorted())
  })
})
