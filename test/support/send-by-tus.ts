import { readFile } from 'node:fs/promises'
import { pause } from './client.ts'
import { clientOptions, run, urlStorage } from './tus-js-client.ts'

// Sends a file as a client process of its own, and prints how it ended. What it has begun is remembered in the storage file.
// Usage: node test/support/send-by-tus.ts <url> <key> <file> <storage file> <milliseconds before each request> <parallel uploads>

const [, , url = '', key = '', file = '', storage = '', wait = '0', parallel = '1'] = process.argv
const bytes = await readFile(file)
const ended = await run(bytes, {
  ...clientOptions({ url, key }),
  chunkSize: 200_000,
  parallelUploads: Number(parallel),
  urlStorage: urlStorage(storage),
  fingerprint: async () => file,
  onBeforeRequest: () => pause(Number(wait)),
  onChunkComplete: (_size, accepted) => console.log(JSON.stringify({ accepted })),
})
console.log(JSON.stringify({ ended }))
