/**
 * Resumable uploads through cut connections, half-open ones, repetitions and deletes, while the server is killed every few seconds: all
 * must arrive byte for byte, no offset may go back behind what was acknowledged, and nothing may be left over.
 *
 *     node bench/tus-crash.ts [--uploads 200] [--seconds-between-kills 2..5] [--store disk|s3] [--seed N] [--largest 64MiB] [--clients 8]
 *         [--gentle 0] share of the kills that are a SIGTERM
 *
 * On S3: [--memory 64MiB] for parts, [--latency 0] milliseconds by which the store answers later, [--settle 2] in seconds,
 * [--objects memory|disk] where the store has them.
 */
import { parseArgs } from 'node:util'
import { s3Chaos } from '../test/support/chaos-stores.ts'
import { tusChaos } from '../test/support/chaos-tus.ts'
import { startS3Server } from '../test/support/s3-server.ts'
import { printResult } from './chaos-table.ts'

const { values } = parseArgs({
  options: {
    uploads: { type: 'string', default: '200' },
    'seconds-between-kills': { type: 'string', default: '2..5' },
    store: { type: 'string', default: 'disk' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    largest: { type: 'string', default: '64MiB' },
    clients: { type: 'string', default: '8' },
    gentle: { type: 'string', default: '0' },
    memory: { type: 'string' },
    latency: { type: 'string', default: '0' },
    settle: { type: 'string', default: '2' },
    objects: { type: 'string', default: 'memory' },
  },
})
const [least = 2, most = least] = values['seconds-between-kills'].split('..').map(Number)
console.log(`--seed ${values.seed}`)
const server =
  values.store === 's3' ? await startS3Server({ objects: values.objects === 'disk' ? 'disk' : 'memory' }) : undefined
try {
  const store =
    server && (await s3Chaos({ server, presignTtl: 1, settle: Number(values.settle), memory: values.memory }))
  store?.proxy?.slowDown(Number(values.latency))
  const result = await tusChaos({
    uploads: Number(values.uploads),
    clients: Number(values.clients),
    seed: values.seed,
    kills: null,
    gentle: Number(values.gentle),
    secondsBetween: [least, most],
    largestBytes: Number.parseInt(values.largest) * 1024 * 1024,
    ...(store && { store }),
    report: (line) => console.log(line),
  })
  const { counts, breaches, kills, lostBytes, slowestStartMs } = result
  const sum = (is: (what: string) => boolean): number =>
    Object.entries(counts).reduce((total, [what, times]) => total + (is(what) ? times : 0), 0)
  const wrong = breaches.filter((text) => /other bytes|not the digest/.test(text)).length
  const left = breaches.filter((text) => /belongs to no|still open|rows are left|orphans|reserved/.test(text)).length
  printResult(result)
  console.table({
    store: values.store,
    seed: values.seed,
    uploads: values.uploads,
    kills,
    'cut by the client': counts['cut by the client'],
    'left half-open': counts['left half-open'],
    'requests without an answer': sum((what) => what.endsWith(', no answer')),
    PATCHes: sum((what) => what.startsWith('PATCH')),
    'acknowledged bytes lost': lostBytes,
    'content wrong': wrong,
    'left over': left,
    breaches: breaches.length,
    'slowest start, ms': slowestStartMs,
  })
} finally {
  await server?.close()
}
