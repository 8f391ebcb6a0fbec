/** What the measurements share: the gateway and a bare server as processes of their own, and what the kernel says about them. */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

export const mib = 1024 * 1024
const root = join(import.meta.dirname, '..')
/** Clock ticks of /proc/<pid>/stat in a second: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100
const startPollMs = 20

const config = `
import { quota } from '${root}/plugins/quota.ts'
import { sniffType } from '${root}/plugins/sniff-type.ts'
export default { plugins: [sniffType(), quota()] }
`

export const kinds = ['gateway', 'bare'] as const
/** `tus`: plain @tus/server. */
export type Kind = (typeof kinds)[number] | 'tus'

export interface Served {
  readonly port: number
  /** Empty for the bare server. */
  readonly key: string
  figures(): Promise<Figures>
  close(): Promise<void>
}

export interface Figures {
  readonly cpuSeconds: number
  /** Highest resident size so far, and the size now. */
  readonly peakMib: number
  readonly residentMib: number
  /** What the kernel was asked to bring to the disk. */
  readonly writtenMib: number
}

/** A fresh server in a folder of its own. @param flags for node, such as `--cpu-prof` */
export async function serve(
  kind: Kind,
  flags: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), `fairlead-bench-`))
  const started =
    kind === 'gateway' ? await startGateway(folder, flags, env) : await startOther(kind, folder, flags, env)
  const { child } = started
  return {
    ...started,
    figures: () => figures(child.pid ?? 0),
    async close() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** As the program ships: log lines of level `info`, here into a file. */
async function startGateway(folder: string, flags: readonly string[], env: Record<string, string>) {
  await writeFile(join(folder, 'uploads.config.ts'), config)
  const child = spawn(process.execPath, [...flags, join(root, 'bin/fairlead.js'), 'serve'], {
    cwd: folder,
    env: { ...process.env, FAIRLEAD_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', openSync(join(folder, 'log'), 'w')],
  })
  let out = ''
  child.stdout?.on('data', (chunk) => (out += String(chunk)))
  while (!/op_live_\w{32}[^]*curl/.test(out)) {
    if (child.exitCode !== null) throw new Error(`The gateway ended: ${await readFile(join(folder, 'log'), 'utf8')}`)
    await new Promise((resolve) => setTimeout(resolve, startPollMs))
  }
  const port = Number(/listening on \S+:(\d+)/.exec(out)?.[1])
  return { child, port, key: /op_live_\w{32}/.exec(out)?.[0] ?? '' }
}

async function startOther(kind: 'bare' | 'tus', folder: string, flags: readonly string[], env: Record<string, string>) {
  const [file, args] =
    kind === 'bare'
      ? [import.meta.filename, ['bare', folder]]
      : [join(import.meta.dirname, 'tus-baseline.ts'), [folder]]
  const child = fork(file, args, { execArgv: [...flags], env: { ...process.env, ...env } })
  const [port] = await once(child, 'message')
  return { child, port: Number(port), key: '' }
}

async function figures(pid: number): Promise<Figures> {
  const read = (name: string) => readFile(`/proc/${pid}/${name}`, 'utf8')
  const [status, stat, io] = await Promise.all([read('status'), read('stat'), read('io')])
  // The name of the program may hold spaces, and ends with the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    peakMib: kib('VmHWM'),
    residentMib: kib('VmRSS'),
    writtenMib: Number(/^write_bytes: (\d+)/m.exec(io)?.[1]) / mib,
  }
}

/** What node itself can do with a body: into a file, and nothing else. `/json` answers with as little as a creation would. */
async function bare(folder: string): Promise<void> {
  let files = 0
  const server = createServer({ requestTimeout: 0 }, (req, res) => {
    if (req.url === '/api/v1/uploads') {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString())
        res.writeHead(201, { 'Content-Type': 'application/json' }).end(JSON.stringify({ data: body }))
      })
      return
    }
    pipeline(req, createWriteStream(join(folder, `file-${files++}`))).then(
      () => res.writeHead(201).end('{}'),
      () => res.destroy(),
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  process.send?.(typeof address === 'object' ? address?.port : 0)
}

if (process.argv[2] === 'bare' && process.argv[1] === import.meta.filename) await bare(process.argv[3] ?? tmpdir())
