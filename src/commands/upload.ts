import { describeValue } from '../../config/error.ts'
import { parsePublicUrl, parseSize } from '../../config/values.ts'
import { checkId, type Command, type Input, text, UsageError } from './command.ts'
import type { UploadOptions } from './upload/files.ts'
import { interruptedCode } from './upload/report.ts'

const defaultUrl = 'http://127.0.0.1:8080'
const defaultParallel = 3
const maxParallel = 20
/** Bytes: with less, the requests would be more than the file. */
const minChunkSize = 64 * 1024
const maxKeyLength = 8_192 // characters: a user's token is a key too

export const uploadCommands: readonly Command[] = [
  {
    usage: 'upload <file…> [--url U] [--key K] [--parallel N] [--chunk-size SIZE] [--category C] [--project P]',
    help: 'sends files to a server, resumably: run it again to go on. --url and --key: else FAIRLEAD_URL and FAIRLEAD_KEY; a key on the command line is seen by other users of this machine in its list of processes. --chunk-size 50MB: for proxies that limit bodies; --parallel: files at once, 3',
    flags: ['url', 'key', 'parallel', 'chunk-size', 'category', 'project'],
    async run(input) {
      const options = readOptions(input)
      const controller = new AbortController()
      const interrupt = (): void => {
        // It stays: what listens beside it, in tus-js-client, would take its absence for a reason to end the process.
        if (controller.signal.aborted) process.exit(interruptedCode)
        controller.abort()
      }
      process.on('SIGINT', interrupt)
      try {
        // The other commands need not load what only this one uses.
        const { uploadFiles } = await import('./upload/files.ts')
        return await uploadFiles(input.words, options, controller.signal)
      } finally {
        process.off('SIGINT', interrupt)
      }
    },
  },
]

function readOptions(input: Input): UploadOptions {
  const url = text(input, 'url') ?? (process.env['FAIRLEAD_URL'] || defaultUrl)
  const base = parsePublicUrl(url)
  if (base === undefined)
    throw new UsageError(
      `--url (or FAIRLEAD_URL) takes an address such as https://files.example.org; got ${describeValue(url)}.`,
    )
  const key = text(input, 'key') ?? process.env['FAIRLEAD_KEY'] ?? ''
  if (key === '') throw new UsageError('A key is needed: in FAIRLEAD_KEY, or by --key.')
  if (key.length > maxKeyLength || !/^[!-~]+$/.test(key))
    throw new UsageError('A key has no spaces and no other characters than those of ASCII.')
  const parallel = text(input, 'parallel') ?? String(defaultParallel)
  if (!/^[1-9]\d?$/.test(parallel) || Number(parallel) > maxParallel)
    throw new UsageError(`--parallel takes 1 to ${maxParallel}; got ${describeValue(parallel)}.`)
  const chunk = text(input, 'chunk-size')
  const chunkSize = chunk === undefined ? Infinity : parseSize(chunk)
  if (chunkSize === undefined || chunkSize < minChunkSize)
    throw new UsageError(`--chunk-size takes a size from 64KiB, such as 50MB; got ${describeValue(chunk)}.`)
  const project = text(input, 'project')
  return {
    url: base,
    key,
    parallel: Number(parallel),
    chunkSize,
    category: text(input, 'category') ?? null,
    project: project === undefined ? null : checkId(project, '--project'),
    json: input.flags['json'] === true,
  }
}
