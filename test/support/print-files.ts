import { basename } from 'node:path'
import { clientOf } from './client.ts'
import { startGateway } from './gateway.ts'
import { send, sendings } from './send-files.ts'

// Prints a table of the samples: what was declared, what the record says, how they are served.
// Usage: node test/support/print-files.ts

const gateway = await startGateway()
console.log('| file | name | declared | record | width × height | seconds | served | bytes |')
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |')
for (const sending of sendings) {
  const { facts, served, exact, ...sent } = await send(clientOf(gateway, gateway.key), sending)
  const size = facts.width === null ? '' : `${facts.width} × ${facts.height}`
  const how = `${served.contentType}, ${served.disposition}${served.sandboxed ? ', sandbox' : ''}`
  console.log(
    `| ${basename(sent.path)} | ${sent.name} | ${sent.declared ?? ''} | ${sent.mimetype} | ${size} | ${facts.duration ?? ''} | ${how} | ${exact ? 'exact' : 'WRONG'} |`,
  )
}
await gateway.close()
