import { resolve } from 'node:path'
import type { Output } from '../command.ts'
import { bars } from './bars.ts'
import { UploadFailure } from './failure.ts'
import { httpStack, type Stack } from './http-stack.ts'
import { findFile, type LocalFile } from './local-file.ts'
import { patience } from './patience.ts'
import { plain, type Progress, quiet, waitText } from './progress.ts'
import { type Outcome, report } from './report.ts'
import { sendFile, type Sending } from './send.ts'
import { server } from './server.ts'
import { stateFolder, storedUrls } from './stored-urls.ts'

/** What the command line asks for. */
export interface UploadOptions {
  /** Without a slash at its end. */
  readonly url: string
  readonly key: string
  /** Files at once. */
  readonly parallel: number
  /** Bytes of one request; Infinity: the whole file. */
  readonly chunkSize: number
  readonly category: string | null
  readonly project: string | null
  /** Only programs read what is said. */
  readonly json: boolean
}

/** Uploads all that can be, and says what has become of each. @param signal interrupts it */
export async function uploadFiles(
  named: readonly string[],
  options: UploadOptions,
  signal: AbortSignal,
): Promise<Output> {
  const begun = Date.now()
  const files = await findFiles(named)
  const found = files.filter((file) => 'path' in file)
  const bytes = found.reduce((sum, { size }) => sum + size, 0)
  const progress = progressOf(options, { files: found.length, bytes })
  const stack = httpStack(options.url)
  try {
    for (const file of files) if ('failure' in file) progress.failed(file.named, file.failure.message)
    const sent = await sendAll(found, options, stack, progress, signal)
    const outcomes = files.map((file) =>
      'failure' in file ? file : (sent.get(file) ?? { named: file.named, status: 'interrupted' as const }),
    )
    await forgetAll(outcomes)
    return report(outcomes, Date.now() - begun)
  } finally {
    progress.close()
    stack.close()
  }
}

/** Of a command that was interrupted, or gave a file up, all addresses are kept: who runs it again sends nothing twice. */
async function forgetAll(outcomes: readonly Outcome[]): Promise<void> {
  if (outcomes.some(comesAgain)) return
  for (const outcome of outcomes) if ('sent' in outcome) await outcome.sent.forget()
}

const comesAgain = (outcome: Outcome): boolean =>
  outcome.status === 'interrupted' ||
  (outcome.status === 'failed' && outcome.failure.resumable && outcome.failure.code === null)

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

function progressOf({ json }: UploadOptions, all: { readonly files: number; readonly bytes: number }): Progress {
  if (json) return quiet(write)
  return process.stderr.isTTY && process.env['TERM'] !== 'dumb' ? bars(process.stderr, all) : plain(write)
}

/** The server is asked first who we are: that it is not there, or not the right one, is told once and at once. */
async function begin(options: UploadOptions, stack: Stack, progress: Progress, signal: AbortSignal): Promise<Sending> {
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
  options: UploadOptions,
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
    // Without its record: what the server has said to the last byte is its verdict, as a rule.
    return { named, status: (sent.record?.status ?? 'confirmed') === 'confirmed' ? 'ready' : 'processing', sent }
  } catch (error) {
    shown.ends(false)
    if (sending.signal.aborted) return { named, status: 'interrupted' }
    if (!(error instanceof UploadFailure)) throw error
    progress.failed(named, error.message)
    return { named, status: 'failed', failure: error }
  }
}
