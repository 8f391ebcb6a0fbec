import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gatewayRuntime, launcher, type Runtime } from './runtime.ts'

const root = join(import.meta.dirname, '../..')
const startTimeoutMs = 15_000

export interface TestGateway {
  url: string
  readonly folder: string
  readonly dataDir: string
  /** The key that the first start printed. */
  readonly key: string
  pid: number
  /** What the server has written to stderr: its log lines. */
  log(): string
  out(): string
  /** Sends the signal and waits for the end; returns the exit code, or the signal's name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>
  /** Starts again on the same data. */
  start(env?: Record<string, string>): Promise<void>
  /** Runs a command of the program on the same data; returns what `--json` printed. */
  run(...args: string[]): Promise<{ code: number; json: unknown; stdout: string; stderr: string }>
  close(): Promise<void>
}

export interface GatewayOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Text of an `uploads.config.ts`; imports by absolute path, for which `projectRoot` stands. */
  readonly config?: string
  /** A copy of the project that runs instead of it. */
  readonly root?: string
  /** @default `gatewayRuntime` */
  readonly runtime?: Runtime
  /** What it may do on Deno. @default what `deno.json` says, with the places of a test */
  readonly permissions?: readonly string[]
  /** Words that run the program, instead of Node and the project's own. What they start ends with them. */
  readonly command?: readonly string[]
  /** Where it runs: a folder of the caller's own. Without it one is made for the test. */
  readonly folder?: string
}

export const projectRoot = root

/** The program that ships, as a process of its own, on any free port, in a folder of its own. */
export async function startGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'fairlead-test-')))
  const dataDir = join(folder, 'data')
  const home = options.root ?? root
  const [runtime, before] = launcher(options.runtime ?? gatewayRuntime, home, options.permissions)
  const [program = '', ...words] = options.command ?? [runtime, ...before, join(home, 'bin/fairlead.js')]
  if (options.config !== undefined) await writeFile(join(folder, 'uploads.config.ts'), options.config)
  const env: Record<string, string> = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    FAIRLEAD_PORT: '0',
    FAIRLEAD_DATA_DIR: dataDir,
    FAIRLEAD_LOG_LEVEL: 'debug',
    ...options.env,
  }
  let child: ChildProcess | undefined
  let out = ''
  let log = ''

  async function start(more: Record<string, string> = {}): Promise<void> {
    out = ''
    const started = spawn(program, [...words, 'serve'], {
      cwd: folder,
      env: { ...env, ...more },
      detached: options.command !== undefined, // a group of its own, which can be ended as a whole
    })
    child = started
    started.stdout.on('data', (chunk) => (out += String(chunk)))
    started.stderr.on('data', (chunk) => (log += String(chunk)))
    gateway.pid = started.pid ?? 0
    gateway.url = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`The server did not start:\n${out}${log}`)), startTimeoutMs)
      const look = () => {
        const found = /listening on (http:\/\/\S+)\n/.exec(out)?.[1]
        if (found === undefined) return
        clearTimeout(timer)
        resolve(found)
      }
      started.stdout.on('data', look)
      started.once('exit', (code) => {
        clearTimeout(timer)
        reject(new Error(`The server ended with ${code}:\n${out}${log}`))
      })
    })
  }

  async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    const running = child
    if (!running || running.exitCode !== null || running.signalCode !== null) return running?.exitCode ?? 0
    const ended = new Promise<number | string>((resolve) =>
      running.once('exit', (code, by) => resolve(code ?? by ?? '')),
    )
    // Deno takes a child that it has sent a signal itself for ended by it, whatever the child made of it.
    process.kill(options.command === undefined ? gateway.pid : -gateway.pid, signal)
    return ended
  }

  function run(...args: string[]) {
    type Ran = Awaited<ReturnType<TestGateway['run']>>
    return new Promise<Ran>((resolve) => {
      execFile(program, [...words, ...args, '--json'], { cwd: folder, env }, (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error ? 1 : 0
        const json: unknown = stdout === '' ? undefined : JSON.parse(stdout)
        resolve({ code, json, stdout, stderr })
      })
    })
  }

  const gateway = { url: '', folder, dataDir, key: '', pid: 0, log: () => log, out: () => out, stop, start, run, close }
  async function close(): Promise<void> {
    await stop('SIGKILL')
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
  }
  await start()
  // The key comes a moment after the line that says where the server listens.
  for (let tries = 0; tries < 100 && !/op_live_\w+/.test(out); tries++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  gateway.key = /op_live_[0-9A-Za-z]{32}/.exec(out)?.[0] ?? ''
  return gateway
}
