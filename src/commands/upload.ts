import { resolve } from 'node:path'
import { parsePublicUrl, parseSize } from '../../config/values.ts'
import { checkId, type Command, type Input, type Output, text, UsageError } from './command.ts'
import { bars } from './upload/bars.ts'
import { UploadFailure } from './upload/failure.ts'
import { httpStack, type Stack } from './upload/http-stack.ts'
import { findFile, type LocalFile } from './upload/local-file.ts'
import { patience } from './upload/patience.ts'
import { plain, type Progress, quiet, waitText } from './upload/progress.ts'
import { type Outcome, report } from './upload/report.ts'
import { sendFile, type Sending } from './upload/send.ts'
import { server } from './upload/server.ts'
import { stateFolder, storedUrls } from './upload/stored-urls.ts'

const defaultUrl = 'http://127.0.0.1:8080'
const defaultParallel = 3
const maxParallel = 20
/** Bytes: with less, the requests would be more than the file. */
const minChunkSize = 64 * 1024
const maxKeyLength = 8_192 // characters: a user's token is a key too

interface Options {
  readonly url: string
  readonly key: string
  readonly parallel: number
  readonly chunkSize: number
  readonly category: string | null
  readonly project: string | null
  readonly json: boolean
}

export const uploadCommands: readonly Command[] = [
  {
    usage: 'upload <file…> [--url U] [--key K] [--parallel N] [--chunk-size SIZE] [--category C] [--project P]',
    help: 'sends files to a server, resumably: run it again to go on. --url and --key: else FAIRLEAD_URL and FAIRLEAD_KEY; a key on the command line is seen by other users of this machine in its list of processes. --chunk-size 50MB: for proxies that limit bodies; --parallel: files at once, 3',
    flags: ['url', 'key', 'parallel', 'chunk-size', 'category', 'project'],
    async run(input) {
      const options = readOptions(input)
      const controller = new AbortController()
      const interrupt = (): void => {
        process.off('SIGINT', interrupt) // a second one ends the process at once
        controller.abort()
      }
      process.on('SIGINT', interrupt)
      try {
        return await uploadAll(input.words, options, controller.signal)
      } finally {
        process.off('SIGINT', interrupt)
      }
    },
  },
]

function readOptions(input: Input): Options {
  const url = text(input, 'url') ?? (process.env['FAIRLEAD_URL'] || defaultUrl)
  const base = parsePublicUrl(url)
  if (base === undefined)
    throw new UsageError(`--url takes an address such as https://files.example.org; got ${JSON.stringify(url)}.`)
  const key = text(input, 'key') ?? process.env['FAIRLEAD_KEY'] ?? ''
  if (key === '') throw new UsageError('A key is needed: in FAIRLEAD_KEY, or by --key.')
  if (key.length > maxKeyLength || !/^[!-~]+$/.test(key))
    throw new UsageError('A key has no spaces and no other characters than those of ASCII.')
  const parallel = text(input, 'parallel') ?? String(defaultParallel)
  if (!/^[1-9]\d?$/.test(parallel) || Number(parallel) > maxParallel)
    throw new UsageError(`--parallel takes 1 to ${maxParallel}; got ${JSON.stringify(parallel)}.`)
  const chunk = text(input, 'chunk-size')
  const chunkSize = chunk === undefined ? Infinity : parseSize(chunk)
  if (chunkSize === undefined || chunkSize < minChunkSize)
    throw new UsageError(`--chunk-size takes a size from 64KiB, such as 50MB; got ${JSON.stringify(chunk)}.`)
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

async function uploadAll(named: readonly string[], options: Options, signal: AbortSignal): Promise<Output> {
  const begun = Date.now()
  const files = await findFiles(named)
  const found = files.filter((file) => 'path' in file)
  const bytes = found.reduce((sum, { size }) => sum + size, 0)
  const progress = progressOf(options, { files: found.length, bytes })
  const stack = httpStack(options.url)
  try {
    for (const file of files) if ('failure' in file) progress.failed(file.named, file.failure.message)
    const outcomes = await sendAll(found, options, stack, progress, signal)
    return report(
      files.map((file) =>
        'failure' in file ? file : (outcomes.get(file) ?? { named: file.named, status: 'interrupted' }),
      ),
      Date.now() - begun,
    )
  } finally {
    progress.close()
    stack.close()
  }
}

type Failed = Extract<Outcome, { status: 'failed' }>

/** A file that is named twice is sent once. */
async function findFiles(named: readonly string[]): Promise<(LocalFile | Failed)[]> {
  const found = new Map<string, LocalFile | Failed>()
  for (const name of named) {
    const path = resolve(name)
    if (found.has(path)) continue
    try {
      found.set(path, await findFile(name))
    } catch (error) {
      if (!(error instanceof UploadFailure)) throw error
      found.set(path, { named: name, status: 'failed', failure: error })
    }
  }
  return [...found.values()]
}

const write = (line: string): void => void process.stderr.write(line)

function progressOf({ json }: Options, all: { readonly files: number; readonly bytes: number }): Progress {
  if (json) return quiet(write)
  return process.stderr.isTTY && process.env['TERM'] !== 'dumb' ? bars(process.stderr, all) : plain(write)
}

/** The server is asked first who we are: that it is not there, or not the right one, is told once and at once. */
async function begin(options: Options, stack: Stack, progress: Progress, signal: AbortSignal): Promise<Sending> {
  const to = server(options.url, options.key, signal)
  const patient = patience(signal, (why, ms) => progress.note(waitText(why, ms)))
  const stored = storedUrls(stateFolder(process.env), (why) =>
    progress.note(`Nothing can be gone on with later: ${why}`),
  )
  let workspace = await to.workspace()
  while (typeof workspace !== 'string') {
    await patient.wait(workspace)
    workspace = await to.workspace()
  }
  await stored.tidy()
  return { ...options, server: to, stack, stored, workspace, signal }
}

async function sendAll(
  files: readonly LocalFile[],
  options: Options,
  stack: Stack,
  progress: Progress,
  signal: AbortSignal,
): Promise<ReadonlyMap<LocalFile, Outcome>> {
  const outcomes = new Map<LocalFile, Outcome>()
  const left = files.values()
  async function work(sending: Sending): Promise<void> {
    for (const file of left) outcomes.set(file, await sendOne(file, sending, progress))
  }
  try {
    const sending = files.length === 0 ? undefined : await begin(options, stack, progress, signal)
    if (sending) await Promise.all(Array.from({ length: options.parallel }, () => work(sending)))
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return outcomes
}

async function sendOne(file: LocalFile, sending: Sending, progress: Progress): Promise<Outcome> {
  const { named } = file
  if (sending.signal.aborted) return { named, status: 'interrupted' }
  const shown = progress.file(named, file.size)
  try {
    const sent = await sendFile(file, sending, shown)
    shown.ends(true)
    return { named, status: sent.record?.status === 'processing' ? 'processing' : 'ready', sent }
  } catch (error) {
    shown.ends(false)
    if (sending.signal.aborted) return { named, status: 'interrupted' }
    if (!(error instanceof UploadFailure)) throw error
    progress.failed(named, error.message)
    return { named, status: 'failed', failure: error }
  }
}
