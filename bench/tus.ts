/**
 * What the resumable endpoint costs, beside plain @tus/server with its own store: small uploads over many connections, large ones in one
 * PATCH, in 8 MiB PATCHes, and 64 at once. Every measurement has a fresh server; the load comes from a process of its own.
 *
 *     node bench/tus.ts [--rounds 3] [--seconds 4] [--only text] [--size 512] [--store disk|s3]
 *
 * `--size` in MiB. On S3 a real server is started, on the same disk and cores.
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { parseArgs } from 'node:util'
import { rawBucket } from '../test/support/s3-raw.ts'
import { s3Variables, startS3Server } from '../test/support/s3-server.ts'
import { mib, serve } from './processes.ts'

const kinds = ['gateway', 'tus'] as const
type Kind = (typeof kinds)[number]
const bucket = 'bench-tus'
const smallBytes = 10 * 1024
const warmUpSeconds = 1.5
const chunkType = 'application/offset+octet-stream'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    size: { type: 'string', default: '512' },
    store: { type: 'string', default: 'disk' },
    load: { type: 'boolean', default: false },
  },
})

interface Case {
  readonly name: string
  /** Bytes of one upload, and of one PATCH; `0`: all bytes come with the creation. */
  readonly bytes: number
  readonly chunk: number
  readonly connections: number
  /** As many uploads as that; absent: for some seconds. */
  readonly uploads?: number
}

const large = Number(values.size) * mib
const cases: readonly Case[] = [
  { name: '10 KiB with creation ×16', bytes: smallBytes, chunk: 0, connections: 16 },
  { name: '10 KiB with creation ×64', bytes: smallBytes, chunk: 0, connections: 64 },
  { name: '10 KiB POST + PATCH ×16', bytes: smallBytes, chunk: smallBytes, connections: 16 },
  { name: `${values.size} MiB, one PATCH`, bytes: large, chunk: large, connections: 1, uploads: 1 },
  { name: `${values.size} MiB in 8 MiB PATCHes`, bytes: large, chunk: 8 * mib, connections: 1, uploads: 1 },
  { name: '64 × 8 MiB at once', bytes: 8 * mib, chunk: 8 * mib, connections: 64, uploads: 64 },
]

interface Loaded {
  readonly uploads: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

/** Uploads one after another on each connection. */
async function load(port: number, key: string, one: Case, seconds: number): Promise<Loaded> {
  const agent = new Agent({ keepAlive: true, maxSockets: one.connections })
  const block = randomBytes(Math.min(mib, one.bytes))
  const took: number[] = []
  const began = performance.now()
  let left = one.uploads ?? Infinity

  async function send(method: string, path: string, headers: Record<string, string | number>, bytes: number) {
    const all = { authorization: `Bearer ${key}`, 'tus-resumable': '1.0.0', 'content-length': bytes, ...headers }
    const asking = request({ port, agent, method, path, headers: all })
    const answered = once(asking, 'response')
    for (let rest = bytes; rest > 0; rest -= block.length)
      if (!asking.write(rest < block.length ? block.subarray(0, rest) : block) && rest > block.length)
        await once(asking, 'drain')
    asking.end()
    const [response] = await answered
    await once(response.resume(), 'end')
    if (response.statusCode >= 300) throw new Error(`${method} was answered by ${response.statusCode}.`)
    return response
  }

  async function upload(): Promise<void> {
    const begin = performance.now()
    const all = one.chunk === 0
    const type: Record<string, string> = all ? { 'content-type': chunkType } : {}
    const made = await send('POST', '/files', { 'upload-length': one.bytes, ...type }, all ? one.bytes : 0)
    const { pathname } = new URL(made.headers.location, 'http://localhost')
    for (let at = all ? one.bytes : 0; at < one.bytes; at += one.chunk) {
      const headers = { 'upload-offset': at, 'content-type': chunkType }
      await send('PATCH', pathname, headers, Math.min(one.chunk, one.bytes - at))
    }
    took.push(performance.now() - begin)
  }

  async function client(): Promise<void> {
    while (left-- > 0 && (one.uploads !== undefined || performance.now() - began < seconds * 1_000)) await upload()
  }
  await Promise.all(Array.from({ length: one.connections }, client))
  took.sort((a, b) => a - b)
  const at = (part: number) => took[Math.floor(took.length * part)] ?? NaN
  return { uploads: took.length, seconds: (performance.now() - began) / 1_000, p50: at(0.5), p99: at(0.99) }
}

interface Measured extends Loaded {
  readonly cpuSeconds: number
  readonly peakMib: number
  readonly writtenMib: number
}

async function measure(kind: Kind, one: Case, env: Record<string, string>): Promise<Measured> {
  const server = await serve(kind, [], env)
  const drive = async (seconds: number): Promise<Loaded> => {
    const args = ['--load', `--size=${values.size}`, String(server.port), server.key, one.name, String(seconds)]
    const [loaded] = await once(fork(import.meta.filename, args, { execArgv: [] }), 'message')
    return loaded
  }
  try {
    if (one.uploads === undefined) await drive(warmUpSeconds)
    const before = await server.figures()
    const loaded = await drive(Number(values.seconds))
    const after = await server.figures()
    const { peakMib, writtenMib } = after
    return { ...loaded, peakMib, writtenMib, cpuSeconds: after.cpuSeconds - before.cpuSeconds }
  } finally {
    await server.close()
  }
}

async function compare(): Promise<void> {
  const s3 = values.store === 's3' ? await startS3Server({ objects: 'disk' }) : undefined
  if (s3) await rawBucket(s3, bucket).create()
  const env = s3 ? s3Variables(s3, bucket) : {}
  try {
    for (const one of cases.filter(({ name }) => name.includes(values.only))) await report(one, env)
  } finally {
    await s3?.close()
  }
}

async function report(one: Case, env: Record<string, string>): Promise<void> {
  const found = new Map<Kind, Measured[]>(kinds.map((kind) => [kind, []]))
  for (let round = 0; round < Number(values.rounds); round++)
    for (const kind of kinds) found.get(kind)?.push(await measure(kind, one, env))
  const rows = kinds.map((kind) => middle(found.get(kind) ?? [], one))
  console.log(`\n${one.name}`)
  for (const [i, row] of rows.entries())
    console.log(
      `  ${(kinds[i] ?? '').padEnd(8)}${row.rate.toFixed(0).padStart(7)} ${one.uploads ? 'MiB/s' : 'uploads/s'}` +
        `  CPU ${row.cpu.toFixed(2)} ${one.uploads ? 's/GiB' : 'ms'}  p50 ${row.p50.toFixed(1)} ms  p99 ${row.p99.toFixed(1)} ms` +
        `  peak ${row.peak.toFixed(0)} MiB  written ${row.written.toFixed(0)} MiB`,
    )
  const [gateway, plain] = rows
  if (gateway && plain)
    console.log(
      `  ratio   ${(gateway.rate / plain.rate).toFixed(2).padStart(7)}  CPU ${(gateway.cpu / plain.cpu).toFixed(2)}`,
    )
}

function middle(all: readonly Measured[], { uploads, bytes }: Case) {
  const median = (of: (one: Measured) => number): number =>
    all.map(of).toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? NaN
  const mibs = (one: Measured) => (one.uploads * bytes) / mib
  return {
    rate: median((one) => (uploads === undefined ? one.uploads : mibs(one)) / one.seconds),
    cpu: median((one) =>
      uploads === undefined ? (one.cpuSeconds * 1_000) / one.uploads : one.cpuSeconds / (mibs(one) / 1_024),
    ),
    p50: median((one) => one.p50),
    p99: median((one) => one.p99),
    peak: Math.max(...all.map((one) => one.peakMib)),
    written: median((one) => one.writtenMib),
  }
}

const [port, key = '', name = '', seconds] = positionals
const chosen = cases.find((one) => one.name === name)
if (values.load && chosen) process.send?.(await load(Number(port), key, chosen, Number(seconds)))
else await compare()
