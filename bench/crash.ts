/**
 * The server under load is killed again and again and started on the same data; then it must have kept every promise.
 *
 *     node bench/crash.ts [--kills 50] [--seconds-between 0.3-1.5] [--clients 12] [--store disk|s3]
 *
 * On S3: [--memory 64MiB] [--latency 0] milliseconds by which the store answers later, [--settle 2] and [--ttl 12] in seconds.
 */
import { parseArgs } from 'node:util'
import { chaos } from '../test/support/chaos.ts'
import { s3Chaos } from '../test/support/chaos-stores.ts'
import { startS3Server } from '../test/support/s3-server.ts'
import { printResult } from './chaos-table.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    'seconds-between': { type: 'string', default: '0.3-1.5' },
    clients: { type: 'string', default: '12' },
    store: { type: 'string', default: 'disk' },
    memory: { type: 'string' },
    latency: { type: 'string', default: '0' },
    settle: { type: 'string', default: '2' },
    ttl: { type: 'string', default: '12' },
  },
})
const [least = 0.3, most = least] = values['seconds-between'].split('-').map(Number)
const server = values.store === 's3' ? await startS3Server() : undefined
try {
  const store =
    server &&
    (await s3Chaos({
      server,
      presignTtl: Number(values.ttl),
      settle: Number(values.settle),
      memory: values.memory,
    }))
  store?.proxy?.slowDown(Number(values.latency))
  const result = await chaos({
    kills: Number(values.kills),
    secondsBetween: [least, most],
    clients: Number(values.clients),
    largestBytes: 20 * 1024 * 1024,
    ...(store && { store, largeShare: 0.06 }),
    report: (line) => console.log(line),
  })
  console.log(`\n${result.kills} kills, slowest start ${result.slowestStartMs} ms`)
  printResult(result)
} finally {
  await server?.close()
}
