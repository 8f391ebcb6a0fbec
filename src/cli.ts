import { parseArgs } from 'node:util'
import { ConfigError, oneLine } from '../config/error.ts'
import { type Command, UsageError } from './commands/command.ts'
import { doctorCommands } from './commands/doctor.ts'
import { keyCommands } from './commands/keys.ts'
import { serveCommands } from './commands/serve.ts'
import { uploadCommands } from './commands/upload.ts'
import { workspaceCommands } from './commands/workspaces.ts'
import { UploadError } from './errors.ts'

const commands: readonly Command[] = [
  ...serveCommands,
  ...keyCommands,
  ...workspaceCommands,
  ...doctorCommands,
  ...uploadCommands,
]

/** The words with which a command's usage begins: `keys create [--workspace W]` is called by `keys create`. */
const nameOf = (command: Command): string[] =>
  /^[a-z-]+(?: [a-z-]+)?(?= |$)/.exec(command.usage.replace(/ [[<-].*$/, ''))?.[0].split(' ') ?? []

const wordsOf = (args: readonly string[]): string => {
  const words = args.filter((arg) => !arg.startsWith('-'))
  return (words.length > 0 ? words : args).slice(0, 2).join(' ')
}

/** Runs one command: prints what it has to say, and sets the exit code. Errors are one line on stderr. */
export async function main(args: readonly string[]): Promise<void> {
  const json = args.includes('--json')
  try {
    if (args.length === 0 || args.includes('--help') || args[0] === 'help' || args[0] === '-h') {
      process.stdout.write(help())
      return
    }
    const command = commands.find((one) => nameOf(one).every((word, i) => args[i] === word))
    if (!command) throw new UsageError(`There is no command "${wordsOf(args)}": see "fairlead help".`)
    const output = await command.run(readInput(command, args))
    if (!output) return
    process.exitCode = output.exitCode ?? 0
    const said = json ? JSON.stringify(output.json) : output.text
    process.stdout.write(said === '' ? '' : `${said}\n`, () => {
      if (output.abandons === true) process.exit()
    })
  } catch (error) {
    process.exitCode = error instanceof UsageError ? 2 : 1
    const known = error instanceof UsageError || error instanceof ConfigError || error instanceof UploadError
    const message = error instanceof Error ? error.message : String(error)
    if (json) process.stdout.write(`${JSON.stringify({ error: oneLine(message) })}\n`)
    process.stderr.write(`fairlead: ${oneLine(message)}\n`)
    if (!known && process.env['FAIRLEAD_LOG_LEVEL'] === 'debug')
      process.stderr.write(`${String(error instanceof Error && error.stack)}\n`)
  }
}

function readInput(command: Command, args: readonly string[]) {
  const name = nameOf(command)
  const strings = (command.flags ?? []).map((flag) => [flag, { type: 'string' }] as const)
  const switches = [...(command.switches ?? []), 'json'].map((flag) => [flag, { type: 'boolean' }] as const)
  try {
    const { values, positionals } = parseArgs({
      args: args.slice(name.length),
      options: Object.fromEntries([...strings, ...switches]),
      allowPositionals: true,
    })
    const expected = command.usage.match(/<[^>]+>/g)?.length ?? 0
    const more = command.usage.includes('…>')
    if (more ? positionals.length < expected : positionals.length !== expected)
      throw new UsageError(`It takes ${expected}${more ? ' or more' : ''} words: fairlead ${command.usage}`)
    const flags: Record<string, string | boolean | undefined> = {}
    for (const [flag, value] of Object.entries(values)) if (!Array.isArray(value)) flags[flag] = value
    return { words: positionals, flags }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(
      `${error instanceof Error ? error.message.split('.')[0] : String(error)}: fairlead ${command.usage}`,
    )
  }
}

function help(): string {
  const lines = commands.map((command) => `  fairlead ${command.usage}\n      ${command.help}`)
  return `Fairlead, an upload gateway.\n\n${lines.join('\n')}\n\nEvery command takes --json. Settings: uploads.config.ts and FAIRLEAD_… variables, see docs/configuration.md.\n`
}
