/**
 * What large bodies cost: peak memory, rate and processor time of the program as it ships, beside a bare node:http server that pipes
 * each body into a file. Every measurement has a fresh server; the load comes from a process of its own, over raw sockets.
 *
 *     node bench/memory.ts [--mib 1024] [--rounds 1] [--s3] [--node-flags=…] [--env NAME=value]
 *
 * With `--s3` the gateway keeps its files in a real S3 server of its own, on the same disk and processors.
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { rawBucket } from '../test/support/s3-raw.ts'
import { type S3Server, s3Variables, startS3Server } from '../test/support/s3-server.ts'
import { type Figures, type Kind, kinds, mib, serve } from './processes.ts'

/** MiB that the peak may reach with so many bodies at once. */
const targets = new Map([
  [1, 200],
  [8, 300],
])

interface Measured extends Figures {
  readonly rate: number
}

async function load(port: number, key: string, bodies: number, bytes: number): Promise<void> {
  const block = randomBytes(mib)
  async function upload(): Promise<void> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    let answer = ''
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
    const answered = once(socket, 'data')
    const credentials = key === '' ? '' : `x-api-key: ${key}\r\n`
    socket.write(
      `POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\n${credentials}x-file-name: large.bin\r\nContent-Length: ${bytes}\r\n\r\n`,
    )
    for (let left = bytes; left > 0; left -= mib)
      if (!socket.write(left < mib ? block.subarray(0, left) : block)) await once(socket, 'drain')
    await answered
    if (!answer.startsWith('HTTP/1.1 201')) throw new Error(answer)
    socket.destroy()
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: bodies }, upload))
  process.send?.((performance.now() - began) / 1_000)
}

async function measure(
  kind: Kind,
  bodies: number,
  bytes: number,
  environment: Readonly<Record<string, string>>,
): Promise<Measured> {
  const env = Object.fromEntries(
    (values.env ?? []).map((pair) => [pair.split('=', 1)[0] ?? '', pair.slice(pair.indexOf('=') + 1)]),
  )
  const server = await serve(kind, values['node-flags']?.split(' ') ?? [], { ...environment, ...env })
  try {
    const before = await server.figures()
    const driver = fork(
      import.meta.filename,
      ['--load', String(server.port), server.key, String(bodies), String(bytes)],
      { execArgv: [] },
    )
    const [seconds] = await once(driver, 'message')
    const after = await server.figures()
    return {
      ...after,
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
      writtenMib: after.writtenMib - before.writtenMib,
      rate: (bodies * bytes) / mib / Number(seconds),
    }
  } finally {
    await server.close()
  }
}

async function compare(size: number, rounds: number, environment: Readonly<Record<string, string>>): Promise<void> {
  for (const [bodies, target] of targets) {
    const gib = (bodies * size) / 1024
    for (let round = 0; round < rounds; round++) {
      const found = new Map<Kind, Measured>()
      for (const kind of kinds) found.set(kind, await measure(kind, bodies, size * mib, environment))
      console.log(`\n${bodies} × ${size} MiB         MiB/s   CPU s/GiB   peak MiB   resident after   written MiB`)
      for (const [kind, one] of found)
        console.log(
          kind.padEnd(16) +
            [
              one.rate.toFixed(0),
              (one.cpuSeconds / gib).toFixed(2),
              one.peakMib.toFixed(0),
              one.residentMib.toFixed(0),
              one.writtenMib.toFixed(0),
            ]
              .map((text) => text.padStart(11))
              .join(''),
        )
      const [gateway, bare] = [found.get('gateway'), found.get('bare')]
      if (!gateway || !bare) continue
      const ratio = (of: keyof Measured) => (gateway[of] / bare[of]).toFixed(2).padStart(11)
      console.log(
        `${'ratio'.padEnd(16)}${ratio('rate')}${ratio('cpuSeconds')}${ratio('peakMib')}${ratio('residentMib')}${ratio('writtenMib')}`,
      )
      const kept = gateway.peakMib < target
      console.log(`target: below ${target} MiB: ${kept ? 'kept' : 'MISSED'}`)
      if (!kept) process.exitCode = 1
    }
  }
}

/** Makes the bucket, and what makes a gateway keep its files there. */
async function storedIn(server: S3Server): Promise<Readonly<Record<string, string>>> {
  const bucket = rawBucket(server, 'bench')
  await bucket.create()
  return s3Variables(server, bucket.name)
}

async function run(): Promise<void> {
  const server = values.s3 ? await startS3Server({ objects: 'disk' }) : undefined
  try {
    await compare(Number(values.mib), Number(values.rounds), server ? await storedIn(server) : {})
  } finally {
    await server?.close()
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mib: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '1' },
    'node-flags': { type: 'string' },
    env: { type: 'string', multiple: true },
    s3: { type: 'boolean', default: false },
    load: { type: 'boolean', default: false },
  },
})
const [port, key = '', bodies, bytes] = positionals
if (values.load) await load(Number(port), key, Number(bodies), Number(bytes))
else await run()
