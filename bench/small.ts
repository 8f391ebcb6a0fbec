/**
 * What many small requests cost: 10 KiB raw uploads over 1, 16 and 64 keep-alive connections, and JSON creations over 16, beside a bare
 * node:http server and the same clients. Every measurement has a fresh server; the load comes from a process of its own.
 *
 *     node bench/small.ts [--seconds 4] [--rounds 3] [--node-flags=--cpu-prof] [--log-level info]
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { type Kind, kinds, serve } from './processes.ts'

const bodyBytes = 10 * 1024
/** Seconds of the same load before the measurement begins: the compiler of a fresh process is at work then. */
const warmUpSeconds = 1.5
const cases = [
  { name: '10 KiB raw ×1', request: 'raw', connections: 1 },
  { name: '10 KiB raw ×16', request: 'raw', connections: 16 },
  { name: '10 KiB raw ×64', request: 'raw', connections: 64 },
  { name: 'JSON create ×16', request: 'json', connections: 16 },
] as const
type Case = (typeof cases)[number]

interface Answered {
  readonly requests: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

interface Measured extends Answered {
  /** Milliseconds of the server's processor time for one request. */
  readonly cpu: number
}

function requestBytes(kind: string, key: string): Buffer {
  const credentials = key === '' ? '' : `x-api-key: ${key}\r\n`
  const [path, headers, body] =
    kind === 'raw'
      ? ['/v1/uploads', 'x-file-name: small.bin\r\n', randomBytes(bodyBytes)]
      : [
          '/api/v1/uploads',
          'Content-Type: application/json\r\n',
          Buffer.from('{"filename":"small.bin","category":"other","size_bytes":10240}'),
        ]
  const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${credentials}${headers}Content-Length: ${body.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), body])
}

/** Each connection sends its next request when it has the whole answer to the last. */
async function load(port: number, key: string, kind: string, connections: number, seconds: number): Promise<Answered> {
  const bytes = requestBytes(kind, key)
  const took: number[] = []
  const began = performance.now()
  const end = began + seconds * 1_000
  async function client(): Promise<void> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    await new Promise<void>((resolve, reject) => {
      let answer = ''
      let sent = performance.now()
      socket.setEncoding('latin1').on('error', reject)
      socket.on('data', (text: string) => {
        answer += text
        const head = answer.indexOf('\r\n\r\n')
        if (head < 0) return
        const length = /content-length: (\d+)/i.exec(answer)?.[1]
        if (length === undefined ? !answer.endsWith('0\r\n\r\n') : answer.length < head + 4 + Number(length)) return
        if (!answer.startsWith('HTTP/1.1 201')) return reject(new Error(answer))
        const now = performance.now()
        took.push(now - sent)
        if (now >= end) return resolve()
        answer = ''
        sent = now
        socket.write(bytes)
      })
      socket.write(bytes)
    })
    socket.destroy()
  }
  await Promise.all(Array.from({ length: connections }, client))
  took.sort((a, b) => a - b)
  const at = (part: number) => took[Math.floor(took.length * part)] ?? NaN
  return { requests: took.length, seconds: (performance.now() - began) / 1_000, p50: at(0.5), p99: at(0.99) }
}

async function measure(kind: Kind, { request, connections }: Case): Promise<Measured> {
  const flags = values['node-flags']?.split(' ') ?? []
  const server = await serve(kind, flags, { FAIRLEAD_LOG_LEVEL: values['log-level'] })
  const drive = async (seconds: number): Promise<Answered> => {
    const args = ['--load', String(server.port), server.key, request, String(connections), String(seconds)]
    const [answered] = await once(fork(import.meta.filename, args, { execArgv: [] }), 'message')
    return answered
  }
  try {
    await drive(warmUpSeconds)
    const before = await server.figures()
    const answered = await drive(Number(values.seconds))
    const after = await server.figures()
    return { ...answered, cpu: ((after.cpuSeconds - before.cpuSeconds) * 1_000) / answered.requests }
  } finally {
    await server.close()
  }
}

async function compare(rounds: number): Promise<void> {
  console.log('                          requests/s    p50 ms    p99 ms    CPU ms')
  for (const one of cases) {
    if (values.only !== undefined && !one.name.includes(values.only)) continue
    const found = new Map<Kind, Measured[]>(kinds.map((kind) => [kind, []]))
    for (let round = 0; round < rounds; round++)
      for (const kind of kinds) if (kind !== values.without) found.get(kind)?.push(await measure(kind, one))
    const rows = [...found].flatMap(([kind, all]) => (all.length === 0 ? [] : [[kind, middle(all)] as const]))
    for (const [kind, { rate, p50, p99, cpu }] of rows)
      console.log(
        `${one.name.padEnd(17)}${kind.padEnd(8)}${cells(rate.toFixed(0), p50.toFixed(2), p99.toFixed(2), cpu.toFixed(3))}`,
      )
    const [gateway, bare] = [rows[0]?.[1], rows[1]?.[1]]
    if (!gateway || !bare) continue
    const ratio = (of: keyof typeof bare) => (gateway[of] / bare[of]).toFixed(2)
    console.log(`${''.padEnd(17)}${'ratio'.padEnd(8)}${cells(ratio('rate'), ratio('p50'), ratio('p99'), ratio('cpu'))}`)
  }
}

const cells = (...texts: string[]): string => texts.map((text) => text.padStart(10)).join('')

function middle(all: readonly Measured[]) {
  const median = (of: (one: Measured) => number): number =>
    all.map(of).toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? NaN
  return {
    rate: median((one) => one.requests / one.seconds),
    p50: median((one) => one.p50),
    p99: median((one) => one.p99),
    cpu: median((one) => one.cpu),
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    without: { type: 'string' },
    'node-flags': { type: 'string' },
    'log-level': { type: 'string', default: 'info' },
    load: { type: 'boolean', default: false },
  },
})
const [port, key = '', request = '', connections, seconds] = positionals
if (values.load) process.send?.(await load(Number(port), key, request, Number(connections), Number(seconds)))
else await compare(Number(values.rounds))
