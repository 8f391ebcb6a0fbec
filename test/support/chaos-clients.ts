import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Promised, promised, shown } from './chaos-promises.ts'
import { sha256 } from './client.ts'
import type { Answer, Sending, Wire } from './wire.ts'

const kib = 1024
const mib = 1024 * kib
/** Acknowledged files beyond which clients delete more than they upload. */
const manyFiles = 400
/** Milliseconds before a URL of the store ends in which a PUT may come too late although it was begun in time. */
const urlMarginMs = 1_500
/** How often a request with an `Idempotency-Key` is sent until it is answered. */
const onceTries = 8

export interface Crew {
  readonly connection: Wire
  /** Past the gateway. Absent: there is no such way. */
  readonly storeConnection?: Wire | undefined
  /** Milliseconds for which an upload URL is good. */
  readonly presignTtlMs: number
  readonly book: Map<string, Promised>
  readonly largestBytes: number
  /** Share of the files that are as large as they may be. */
  readonly largeShare: number
  /** Every request, with what was answered, if it was, and how long it took. */
  readonly note: (what: string, answer: Answer | undefined, ms: number) => void
  /** What was done besides. */
  readonly count: (what: string) => void
  readonly breach: (text: string) => void
  /** An answer that means that the store has failed, where it may. */
  readonly excused: (answer: Answer, by: 'gateway' | 'store') => boolean
}

interface Bytes {
  readonly bytes: Uint8Array
  readonly sha256: string
}

/** An upload that somebody has made and brings the bytes of. */
interface Ticket {
  readonly entry: Promised
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly until: number
}

const rawAnswer = z.object({ data: z.object({ assetId: z.string(), size: z.number() }) })
const created = z.object({
  data: z.object({
    upload: z.object({ id: z.string() }),
    upload_url: z.string(),
    upload_headers: z.record(z.string(), z.string()),
  }),
})

/** What a client may do next: something at random, to its end. */
export function clients(crew: Crew) {
  const { connection, storeConnection, book, largestBytes, breach } = crew
  const pool = randomBytes(largestBytes + mib)
  const json = { 'Content-Type': 'application/json' }

  /** Bytes that no other file has, of any size: most are small, a few are large. */
  function file(size = anySize()): Bytes {
    const at = randomInt(mib)
    const bytes = pool.subarray(at, at + size)
    return { bytes, sha256: sha256(bytes) }
  }

  function anySize(): number {
    const most = [1, 200, 10 * kib, 256 * kib, 256 * kib, mib, 4 * mib][randomInt(7)] ?? 1
    return Math.random() < crew.largeShare ? largestBytes : 1 + randomInt(most)
  }

  /** Sends, and looks at what may not be whatever happens: an answer nobody expects. */
  async function ask(
    what: string,
    sending: Sending,
    expected: readonly number[],
    { by = 'gateway', entry }: { readonly by?: 'gateway' | 'store'; readonly entry?: Promised } = {},
  ): Promise<Answer | undefined> {
    const began = performance.now()
    const asked = new Date().toISOString().slice(11)
    const answer = await (by === 'store' && storeConnection ? storeConnection : connection).send(sending)
    const ms = performance.now() - began
    crew.note(what, answer, ms)
    entry?.history.push(`${asked} ${what}: ${answer?.status ?? 'no answer'} after ${ms.toFixed(0)} ms`)
    if (!answer || expected.includes(answer.status)) return answer
    if (!crew.excused(answer, by))
      breach(`${what} was answered by ${answer.status}: ${answer.bytes.subarray(0, 300).toString()}`)
    return undefined
  }

  async function raw(): Promise<void> {
    const { bytes, sha256: digest } = file()
    const body = { body: bytes, chunked: Math.random() < 0.5, ...(Math.random() < 0.2 && { pauseMs: 1 }) }
    const headers = { 'x-file-name': 'raw.bin' }
    const answer = await ask('raw upload', { method: 'POST', path: '/v1/uploads', headers, ...body }, [201])
    if (answer) keep(answer, bytes.length, digest)
  }

  /** Until it is answered: the server may make one file of it at most. */
  async function rawOnce(): Promise<void> {
    const { bytes, sha256: digest } = file(1 + randomInt(256 * kib))
    const key = randomBytes(8).toString('hex')
    const headers = { 'x-file-name': `once-${key}.bin`, 'Idempotency-Key': key }
    for (let tries = 0; tries < onceTries; tries++) {
      const sending = { method: 'POST', path: '/v1/uploads', headers, body: bytes }
      const answer = await ask('raw upload, once', sending, [201, 409])
      if (answer?.status === 201) return keep(answer, bytes.length, digest)
      await sleep(50)
    }
  }

  function keep(answer: Answer, size: number, digest: string): void {
    const { assetId, size: acknowledged } = rawAnswer.parse(answer.json()).data
    if (acknowledged !== size) breach(`An upload of ${size} bytes was acknowledged with ${acknowledged}.`)
    book.set(assetId, promised(assetId, 'ready', [digest]))
  }

  async function cutRaw(): Promise<void> {
    const { bytes } = file()
    crew.count('raw upload cut by the client')
    await connection.send({
      method: 'POST',
      path: '/v1/uploads',
      headers: { 'x-file-name': 'cut-raw.bin' },
      body: bytes,
      chunked: Math.random() < 0.5,
      cutAfter: randomInt(bytes.length),
    })
  }

  async function create(filename: string, declared?: Bytes): Promise<Ticket | undefined> {
    const draft = { filename, category: 'other' }
    const terms = declared && {
      size_bytes: declared.bytes.length,
      checksum: `sha256:${Buffer.from(declared.sha256, 'hex').toString('base64')}`,
    }
    const body = Buffer.from(JSON.stringify({ ...draft, ...terms }))
    const until = Date.now() + crew.presignTtlMs - urlMarginMs
    const made = await ask('create', { method: 'POST', path: '/api/v1/uploads', headers: json, body }, [201])
    if (!made) return undefined
    const { upload, upload_url: url, upload_headers: headers } = created.parse(made.json()).data
    const entry = promised(upload.id, 'created', [])
    entry.busy = true
    book.set(upload.id, entry)
    return { entry, url, headers, until }
  }

  async function presigned(): Promise<void> {
    const first = file()
    const declared = Math.random() < 0.5
    const ticket = await create('presigned.bin', declared ? first : undefined)
    if (!ticket) return
    const { entry } = ticket
    const chance = Math.random()
    if (storeConnection && declared && chance < 0.1) await putWrong(ticket, first)
    else {
      await put(ticket, first, chance < 0.15)
      if (chance > 0.7) await put(ticket, declared ? first : file(), chance > 0.9)
    }
    if (chance > 0.2 && entry.state === 'stored') await confirmSomehow(ticket, declared)
    else if (chance < 0.1 && entry.wrong) await confirm(entry)
    if (storeConnection && Math.random() < 0.1) await putLate(ticket, declared ? first : file())
    entry.busy = false
  }

  async function confirmSomehow(ticket: Ticket, declared: boolean): Promise<void> {
    const { entry } = ticket
    const chance = Math.random()
    if (chance < 0.15) await Promise.all([confirm(entry), confirm(entry)])
    else if (chance < 0.25) {
      const confirming = confirm(entry, [200, 404, 409])
      await sleep(Math.random() * 30)
      await remove(entry, 'delete during a confirm')
      await confirming
    } else if (chance < 0.35 && storeConnection && !declared) {
      const other = file()
      entry.digests.add(other.sha256)
      // One of both is confirmed, or what was looked at first has changed meanwhile and a second confirm is needed.
      const putting = ask('PUT during a confirm', sendingOf(ticket, other), [200, 403], { by: 'store', entry })
      await confirm(entry, [200, 409])
      await putting
    } else await confirm(entry)
  }

  const sendingOf = ({ url: path, headers }: Ticket, { bytes }: Bytes): Sending => ({
    method: 'PUT',
    path,
    headers,
    body: bytes,
    // Stores want a length.
    chunked: !storeConnection && Math.random() < 0.3,
  })

  async function put(ticket: Ticket, brought: Bytes, cut: boolean): Promise<void> {
    const { entry } = ticket
    const sending = sendingOf(ticket, brought)
    if (cut) {
      crew.count('PUT cut by the client')
      await (storeConnection ?? connection).send({ ...sending, cutAfter: randomInt(brought.bytes.length) })
      return
    }
    const before = new Set(entry.digests)
    entry.digests.add(brought.sha256)
    // A URL of the store may end while the gateway is away.
    const answer = await ask('PUT', sending, storeConnection ? [200, 403] : [200], { by: 'store', entry })
    if (answer?.status === 403 && Date.now() < ticket.until) breach('A PUT in time was refused.')
    if (answer?.status !== 200 || Date.now() > ticket.until) return
    // What an earlier one brought is replaced, unless nobody knows when that one ended.
    if (entry.state === 'stored' && before.size === 1 && !before.has(brought.sha256))
      for (const old of before) entry.digests.delete(old)
    entry.state = 'stored'
  }

  /** Other bytes than were declared: of another length, or only other ones. */
  async function putWrong(ticket: Ticket, declared: Bytes): Promise<void> {
    const sameLength = Math.random() < 0.5
    const bytes = Uint8Array.from(sameLength ? declared.bytes : [...declared.bytes.subarray(0, kib), 1])
    bytes[0] = 255 - (bytes[0] ?? 0)
    const sending = sendingOf(ticket, { bytes, sha256: '' })
    const answer = await ask('PUT of wrong bytes', sending, [200, 400, 403], { by: 'store', entry: ticket.entry })
    if (answer?.status === 200 && bytes.length !== declared.bytes.length) breach('A PUT of another length was taken.')
    ticket.entry.wrong = true
  }

  /** The URL still leads to the store, where nobody wants anything any more. */
  async function putLate(ticket: Ticket, brought: Bytes): Promise<void> {
    if (ticket.entry.state === 'ready' || ticket.entry.state === 'deleted')
      await ask('PUT afterwards', sendingOf(ticket, brought), [200, 403], { by: 'store', entry: ticket.entry })
  }

  async function confirm(entry: Promised, expected = entry.wrong ? [409, 410, 422] : [200]): Promise<void> {
    const path = `/api/v1/uploads/${entry.id}/confirm`
    const answer = await ask(entry.wrong ? 'confirm of wrong bytes' : 'confirm', { method: 'POST', path }, expected, {
      entry,
    })
    if (!answer) entry.maybeConfirmed = true
    else if (answer.status === 422) entry.state = 'rejected'
    else if (answer.status === 200 && entry.state !== 'deleted') {
      if (shown.parse(answer.json()).data.status === 'confirmed') entry.state = 'ready'
      else entry.maybeConfirmed = true
    }
  }

  /** A delete while the bytes are still on their way. */
  async function deleteDuringPut(): Promise<void> {
    const ticket = await create('doomed.bin')
    if (!ticket) return
    const brought = file()
    ticket.entry.digests.add(brought.sha256)
    const way = storeConnection ?? connection
    const putting = way.send({ ...sendingOf(ticket, brought), chunked: false, pauseMs: 1 })
    await sleep(Math.random() * 30)
    await remove(ticket.entry, 'delete during a PUT')
    const status = (await putting)?.status ?? 'no answer'
    ticket.entry.history.push(`${new Date().toISOString().slice(11)} the PUT has ended: ${status}`)
    ticket.entry.busy = false
  }

  async function removeSome(): Promise<void> {
    const entry = pick(() => true)
    if (!entry) return
    entry.busy = true
    await remove(entry, 'delete')
    entry.busy = false
  }

  async function remove(entry: Promised, what: string): Promise<void> {
    const [path, right] = Math.random() < 0.5 ? ['/v1/assets/', 204] : ['/api/v1/uploads/', 200]
    const expected = entry.maybeDeleted ? [right, 404] : [right]
    const answer = await ask(what, { method: 'DELETE', path: path + entry.id }, expected, { entry })
    if (answer) entry.state = 'deleted'
    else entry.maybeDeleted = true
  }

  async function download(): Promise<void> {
    const entry = pick(({ state, maybeDeleted }) => state === 'ready' && !maybeDeleted)
    if (!entry) return raw()
    entry.busy = true
    const hangUp = Math.random() < 0.2 ? { hangUpAfter: randomInt(mib) } : {}
    const path = `/api/v1/uploads/${entry.id}/download`
    let answer = await ask('download', { method: 'GET', path, ...hangUp }, storeConnection ? [200, 302] : [200])
    if (answer?.status === 302) {
      const sending = { method: 'GET', path: answer.headers.location ?? '', ...hangUp }
      answer = await ask('download from the store', sending, [200], { by: 'store', entry })
    }
    if (answer && !entry.digests.has(sha256(answer.bytes))) breach(`A download of ${entry.id} brought other bytes.`)
    entry.busy = false
  }

  function pick(wanted: (entry: Promised) => boolean): Promised | undefined {
    const free = [...book.values()].filter((entry) => entry.state !== 'deleted' && !entry.busy && wanted(entry))
    return free[Math.floor(Math.random() * free.length)]
  }

  return {
    act(): Promise<void> {
      const chance = Math.random()
      const live = [...book.values()].filter((entry) => entry.state !== 'deleted').length
      if (chance < (live > manyFiles ? 0.5 : 0.12)) return removeSome()
      if (chance < 0.5) return raw()
      if (chance < 0.55) return rawOnce()
      if (chance < 0.8) return presigned()
      if (chance < 0.85) return cutRaw()
      if (chance < 0.9) return deleteDuringPut()
      return download()
    },
  }
}
