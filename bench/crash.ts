/**
 * The server under load is killed again and again and started on the same data; then it must have kept every promise.
 *
 *     node bench/crash.ts [--kills 50] [--seconds-between 0.3-1.5] [--clients 12]
 */
import { parseArgs } from 'node:util'
import { chaos } from '../test/support/chaos.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    'seconds-between': { type: 'string', default: '0.3-1.5' },
    clients: { type: 'string', default: '12' },
  },
})
const [least = 0.3, most = least] = values['seconds-between'].split('-').map(Number)
const { kills, counts, slowestStartMs, breaches } = await chaos({
  kills: Number(values.kills),
  secondsBetween: [least, most],
  clients: Number(values.clients),
  largestBytes: 20 * 1024 * 1024,
  report: (line) => console.log(line),
})
console.log(`\n${kills} kills, slowest start ${slowestStartMs} ms`)
for (const [what, times] of Object.entries(counts).toSorted(([a], [b]) => a.localeCompare(b)))
  console.log(`${String(times).padStart(8)}  ${what}`)
console.log(breaches.length === 0 ? '\nNo breach.' : `\n${breaches.length} breaches:\n${breaches.join('\n')}`)
process.exitCode = breaches.length === 0 ? 0 : 1
