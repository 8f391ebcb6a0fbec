import { blockReader } from './block-reader.ts'
import type { Found } from './facts.ts'
import { endWithParent } from './guard.ts'
import { probeImage } from './images.ts'
import { probeMedia } from './media.ts'
import { probePdf } from './pdf.ts'
import type { FromProcess, Kind, ToProcess } from './protocol.ts'

type Answer = Exclude<ToProcess, { type: 'probe' }>

endWithParent()

const probes = { image: probeImage, media: probeMedia, document: probePdf }
const waiting = new Map<number, (answer: Answer) => void>()
let requests = 0

const send = (message: FromProcess): void => {
  process.send?.(message)
}

async function ask(message: (request: number) => FromProcess): Promise<Answer> {
  const request = ++requests
  const { promise, resolve } = Promise.withResolvers<Answer>()
  waiting.set(request, resolve)
  send(message(request))
  const answer = await promise
  if (answer.type === 'refused') throw new Error(answer.reason)
  return answer
}

async function probe(job: number, kind: Kind, size: number): Promise<void> {
  const found: Found = {}
  let reason: string | undefined
  const reader = blockReader(size, async (start, end) => {
    const answer = await ask((request) => ({ type: 'read', job, request, start, end }))
    return answer.type === 'bytes' ? answer.bytes : new Uint8Array()
  })
  const path = async () => {
    const answer = await ask((request) => ({ type: 'path', job, request }))
    return answer.type === 'path' ? answer.path : ''
  }
  try {
    await probes[kind]({ ...reader, path }, found)
  } catch (error) {
    reason = String(error)
  }
  send({ type: 'found', job, found, reason })
}

process.on('message', (message: ToProcess) => {
  if (message.type === 'probe') {
    void probe(message.job, message.kind, message.size)
    return
  }
  waiting.get(message.request)?.(message)
  waiting.delete(message.request)
})

send({ type: 'ready' })
