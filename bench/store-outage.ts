/**
 * The store fails in every way, one after another, while clients upload, confirm, delete and download. Prints what they were told,
 * and whether everything came right afterwards.
 *
 *     node bench/store-outage.ts [--seconds 50] [--clients 12] [--memory 64MiB] [--downloads redirect|proxy] [--only black]
 *     [--tus] [--seed 1]: with resumable uploads only
 *
 * In the end the real server is killed and started on its data, unless `--only` names something else.
 */
import { parseArgs } from 'node:util'
import type { ChaosResult } from '../test/support/chaos.ts'
import { tusClientele } from '../test/support/chaos-tus.ts'
import { s3Chaos } from '../test/support/chaos-stores.ts'
import { type Outage, outage, outages } from '../test/support/outage.ts'
import { startS3Server } from '../test/support/s3-server.ts'
import { printResult } from './chaos-table.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '50' },
    clients: { type: 'string', default: '12' },
    memory: { type: 'string' },
    downloads: { type: 'string', default: 'redirect' },
    only: { type: 'string', default: '' },
    tus: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
  },
})

const clients = Number(values.clients)
const largestBytes = 20 * 1024 * 1024
const server = await startS3Server({ objects: 'disk' })
const killed: Outage = async () => {
  await server.stop('SIGKILL')
  return () => server.start()
}
const all: readonly (readonly [string, Outage])[] = [...Object.entries(outages), ['is killed, with all it has', killed]]
try {
  const result = await outage({
    store: await s3Chaos({
      server,
      presignTtl: 20,
      settle: 10,
      memory: values.memory,
      downloads: values.downloads === 'proxy' ? 'proxy' : 'redirect',
    }),
    outages: all
      .filter(([name]) => name.includes(values.only))
      .map(([name, begin]) => [name, begin, Number(values.seconds)] as const),
    clients,
    largestBytes,
    ...(values.tus && {
      company: (crew) => tusClientele(crew, { uploads: null, clients, largestBytes, seed: values.seed }),
    }),
    largeShare: 0.06,
    report: (line) => console.log(line),
  })
  printTallies(result)
  printResult(result)
} finally {
  await server.close()
}

function printTallies({ tallies }: ChaosResult): void {
  console.log(`\n${'request'.padEnd(26)}${'answer'.padEnd(12)}${'times'.padStart(8)}${'slowest ms'.padStart(12)}`)
  for (const [what, kinds] of [...tallies].toSorted(([a], [b]) => a.localeCompare(b)))
    for (const [status, { times, slowestMs }] of [...kinds].toSorted(([a], [b]) => a.localeCompare(b)))
      console.log(
        `${what.padEnd(26)}${status.padEnd(12)}${String(times).padStart(8)}${slowestMs.toFixed(0).padStart(12)}`,
      )
  console.log()
}
