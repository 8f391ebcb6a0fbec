import { parentPort } from 'node:worker_threads'
import { blockReader } from './block-reader.ts'
import type { Found } from './facts.ts'
import { probeImage } from './images.ts'
import { probeMedia } from './media.ts'
import type { FromWorker, Kind, ToWorker } from './protocol.ts'

const probes = { image: probeImage, media: probeMedia }
const waiting = new Map<number, { resolve(bytes: Uint8Array): void; reject(error: Error): void }>()
let reads = 0

const port = parentPort
if (port === null) throw new Error('This file runs in a worker.')
const send = (message: FromWorker): void => port.postMessage(message)

function read(job: number, start: number, end: number): Promise<Uint8Array> {
  const id = ++reads
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  waiting.set(id, { resolve, reject })
  send({ type: 'read', job, read: id, start, end })
  return promise
}

async function probe(job: number, kind: Kind, size: number): Promise<void> {
  const found: Found = {}
  let reason: string | undefined
  try {
    await probes[kind](
      blockReader(size, (start, end) => read(job, start, end)),
      found,
    )
  } catch (error) {
    reason = String(error)
  }
  send({ type: 'found', job, found, reason })
}

port.on('message', (message: ToWorker) => {
  if (message.type === 'probe') {
    void probe(message.job, message.kind, message.size)
    return
  }
  const answer = waiting.get(message.read)
  waiting.delete(message.read)
  if (message.type === 'bytes') answer?.resolve(message.bytes)
  else answer?.reject(new Error(message.reason))
})

send({ type: 'ready' })
