import { type Config, loadConfig } from '../../config/load.ts'
import { openRecords } from '../drivers.ts'
import { answerToOwnName } from '../own-name.ts'
import type { Records } from '../uploads/records.ts'
import { isId, isPersonalWorkspace } from '../uploads/workspace-id.ts'

/** What the command line gave: words, and flags by name. */
export interface Input {
  readonly words: readonly string[]
  readonly flags: Readonly<Record<string, string | boolean | undefined>>
}

/** What a command has to say: for programs and for people. */
export interface Output {
  readonly json: unknown
  /** Empty: nothing is printed. */
  readonly text: string
  /** @default 0 */
  readonly exitCode?: number
  /** Something may go on that nobody waits for: the process ends when all is said. */
  readonly abandons?: boolean
}

export interface Command {
  /** Words that call it, then what it takes, as the help shows it: `<id>` is one word, `<file…>` one or more. */
  readonly usage: string
  readonly help: string
  /** Names of flags that take a value, and of those that do not. */
  readonly flags?: readonly string[]
  readonly switches?: readonly string[]
  /** Returns nothing when it has said everything itself. */
  run(input: Input): Promise<Output | undefined>
}

/** The command was called wrongly; the message is one line. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export function installation(): Promise<Config> {
  answerToOwnName()
  return loadConfig({ cwd: process.cwd(), env: process.env })
}

/** Runs with the installation's records open; works while the server runs. */
export async function withRecords<T>(work: (records: Records, config: Config) => Promise<T>): Promise<T> {
  const config = await installation()
  const records = await openRecords(config)
  try {
    return await work(records, config)
  } finally {
    await records.close()
  }
}

/** @throws {UsageError} when the text is no id of a workspace or project. */
export function checkId(id: string | undefined, what: string): string {
  if (id !== undefined && isId(id)) return id
  throw new UsageError(`${what} takes 1 to 64 letters, digits, "_" or "-"; got ${JSON.stringify(id ?? '')}.`)
}

/** @throws {UsageError} when the text is no id that a workspace may be given. */
export function checkWorkspaceName(id: string | undefined, what: string): string {
  const name = checkId(id, what)
  if (!isPersonalWorkspace(name)) return name
  throw new UsageError(`${what} takes no id that begins with "personal_": those belong to users; got "${name}".`)
}

export function text(input: Input, flag: string): string | undefined {
  const value = input.flags[flag]
  return typeof value === 'string' ? value : undefined
}

export const list = (value: string | undefined): string[] | undefined =>
  value
    ?.split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')

/** Columns, each as wide as its widest cell. */
export function table(cells: readonly (readonly string[])[]): string {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
