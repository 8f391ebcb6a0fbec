/**
 * Many callers at once for the last bytes of a quota: exactly as many as fit may be told yes.
 *
 *     node bench/quota.ts [--callers 500] [--room 100] [--bytes 65536]
 */
import { parseArgs } from 'node:util'
import { rush } from '../test/support/rush.ts'

const { values } = parseArgs({
  options: {
    callers: { type: 'string', default: '500' },
    room: { type: 'string', default: '100' },
    bytes: { type: 'string', default: '65536' },
  },
})
const [callers, room, bytes] = [Number(values.callers), Number(values.room), Number(values.bytes)]
const { results, findings } = await rush({ callers, room, bytes })
for (const [way, found] of results) {
  const right =
    found.accepted === room &&
    found.refused === callers - room &&
    found.full.used === room * bytes &&
    found.emptied.used + found.emptied.reserved === 0 &&
    found.acceptedAgain === room
  console.log(
    `${way.padEnd(10)} ${found.accepted} accepted, ${found.refused} refused, ${found.other.length} otherwise in ` +
      `${found.seconds.toFixed(2)} s; emptied to ${found.emptied.used} + ${found.emptied.reserved} bytes, ` +
      `then ${found.acceptedAgain} accepted: ${right ? 'right' : 'WRONG'}`,
  )
  for (const text of [...new Set(found.other)].slice(0, 5)) console.log(`  ${text}`)
  if (!right) process.exitCode = 1
}
for (const finding of findings) console.log(finding)
if (findings.length > 0) process.exitCode = 1
