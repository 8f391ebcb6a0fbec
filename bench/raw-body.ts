/**
 * What receiving and storing a body costs: our intake and disk store, without (`stored`) and with the digest (`hashed`), against node's
 * own `pipeline` into a file (`bare`), which is not even synced, and into one that is (`synced`). Server and load are processes of
 * their own, and each measurement has a fresh server. On a machine with other work the best rate says more than the median.
 *
 *     node bench/raw-body.ts [rounds] [MiB of a body]
 */
import { fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { diskStore } from '../src/stores/disk.ts'
import { intake } from '../src/uploads/receive.ts'

const mib = 1024 * 1024
const modes = ['bare', 'synced', 'stored', 'hashed'] as const
type Mode = (typeof modes)[number]

interface Figures {
  readonly rate: number
  readonly cpuSeconds: number
  readonly peakMib: number
  readonly baseMib: number
}

const { positionals } = parseArgs({ allowPositionals: true })
const [first = '3', second = '1024', third = ''] = positionals
if (first === 'server') await serve(modes.find((mode) => mode === second) ?? 'bare', third)
else if (first === 'load') await load(Number(second), Number(third), Number(positionals[3]))
else await compare(Number(first), Number(second))

async function serve(mode: Mode, directory: string): Promise<void> {
  const store = diskStore({ directory })
  await store.recover()
  let bodies = 0

  async function keep(body: IncomingMessage): Promise<void> {
    const name = `${(bodies++ % 256).toString(16).padStart(2, '0')}/${randomBytes(8).toString('hex')}`
    if (mode === 'bare' || mode === 'synced')
      return pipeline(body, createWriteStream(join(directory, name), { flush: mode === 'synced' }))
    const hash = createHash('sha256')
    const writer = store.write(name)
    const source = intake(body, { limit: Infinity, idleTimeoutMs: 10_000 })
    await source.headBytes(4_100)
    await source.drain(async (chunks) => {
      const written = writer.write(chunks)
      if (mode === 'hashed') for (const chunk of chunks) hash.update(chunk)
      await written
    })
    hash.digest()
    await writer.finish()
  }

  const server = createServer({ requestTimeout: 0 }, (body, response) => {
    keep(body).then(
      () => response.end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  process.on('message', () => void memory().then((peakMib) => process.send?.({ peakMib, cpu: cpuSeconds() })))
  process.send?.({ port: portOf(server.address()), baseMib: await memory(), cpu: cpuSeconds() })
}

async function load(port: number, bodies: number, bytes: number): Promise<void> {
  const block = randomBytes(mib)
  const send = async (): Promise<void> => {
    const sending = request({ port, method: 'PUT', headers: { 'content-length': bytes } })
    const answered = once(sending, 'response')
    for (let left = bytes; left > 0; left -= mib)
      if (!sending.write(left < mib ? block.subarray(0, left) : block)) await once(sending, 'drain')
    sending.end()
    const [response] = await answered
    if (response.statusCode !== 200) throw new Error(`The server answered ${response.statusCode}.`)
    await once(response.resume(), 'end')
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: bodies }, send))
  process.send?.({ seconds: (performance.now() - start) / 1000 })
}

async function measure(mode: Mode, bodies: number, bytes: number): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), 'raw-body-'))
  const server = fork(import.meta.filename, ['server', mode, directory])
  try {
    const [{ port, baseMib, cpu: before }] = await once(server, 'message')
    const [{ seconds }] = await once(fork(import.meta.filename, ['load', port, bodies, bytes].map(String)), 'message')
    server.send('figures')
    const [{ peakMib, cpu }] = await once(server, 'message')
    return { rate: (bodies * bytes) / mib / seconds, cpuSeconds: cpu - before, peakMib, baseMib }
  } finally {
    server.kill()
    await rm(directory, { recursive: true, force: true })
  }
}

async function compare(rounds: number, size: number): Promise<void> {
  for (const bodies of [1, 8]) {
    const bytes = Math.ceil(size / bodies) * mib
    const found = new Map<Mode, Figures[]>(modes.map((mode) => [mode, []]))
    for (let i = 0; i < rounds; i++) for (const mode of modes) found.get(mode)?.push(await measure(mode, bodies, bytes))
    console.log(`\n${bodies} × ${bytes / mib} MiB`)
    const bare = best(found.get('bare') ?? [])
    for (const [mode, figures] of found) {
      console.log(
        `${mode.padEnd(6)}  best ${best(figures).toFixed(0).padStart(4)} MiB/s (${(best(figures) / bare).toFixed(2)} of bare)` +
          `  median ${median(figures, 'rate').toFixed(0).padStart(4)} MiB/s, CPU ${median(figures, 'cpuSeconds').toFixed(2)} s` +
          `  peak ${Math.max(...figures.map((one) => one.peakMib)).toFixed(0)} MiB (base ${median(figures, 'baseMib').toFixed(0)})`,
      )
    }
  }
}

function best(figures: readonly Figures[]): number {
  return Math.max(...figures.map((one) => one.rate))
}

function median(figures: readonly Figures[], of: keyof Figures): number {
  const sorted = figures.map((one) => one[of]).toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

async function memory(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8')
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024
}

function portOf(address: unknown): number {
  return typeof address === 'object' && address !== null && 'port' in address ? Number(address.port) : 0
}
