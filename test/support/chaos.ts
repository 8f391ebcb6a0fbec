import { createHash, randomBytes, randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { projectRoot, startGateway, type TestGateway } from './gateway.ts'
import { inventory } from './inventory.ts'
import { type Answer, type Sending, type Wire, wire } from './wire.ts'

const kib = 1024
const mib = 1024 * kib
/** Acknowledged files beyond which clients delete more than they upload. */
const manyFiles = 400
/** Milliseconds within which the server must be idle once the clients have gone. */
const idleWithinMs = 30_000
const pollMs = 200
/** One kill of so many comes while the server starts. */
const killsWhileStarting = 5

/** Every upload URL outlives the run; what no record knows is an orphan after a second, and the sweep comes round every second. */
const config = `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default {
  plugins: [sniffType(), quota()],
  presign: { ttl: 86400 },
  sweep: { interval: 1, orphanGrace: 1 },
}
`

export interface ChaosOptions {
  readonly kills: number
  /** Seconds between a start and the next kill: at least, at most. */
  readonly secondsBetween: readonly [number, number]
  readonly clients: number
  /** Bytes of the few largest bodies. */
  readonly largestBytes: number
  readonly report?: (line: string) => void
}

export interface ChaosResult {
  readonly kills: number
  /** How often each thing was done, and how often nobody knows how it ended. */
  readonly counts: Readonly<Record<string, number>>
  readonly slowestStartMs: number
  /** Each of them is a bug. Empty: the server kept every promise. */
  readonly breaches: readonly string[]
}

/** What the server has promised about one upload. */
interface Promised {
  readonly id: string
  /** `stored`: a PUT was acknowledged; `ready`: the file was; `deleted`: nothing may ever answer again. */
  state: 'created' | 'stored' | 'ready' | 'deleted'
  /** SHA-256 of the bytes that may be there: more than one only when a PUT of others had no answer. */
  readonly digests: Set<string>
  /** A delete was sent whose answer was lost. */
  maybeDeleted: boolean
  /** A confirm was sent whose answer was lost. */
  maybeReady: boolean
  /** Somebody works on it. */
  busy: boolean
}

const rawAnswer = z.object({ data: z.object({ assetId: z.string(), size: z.number() }) })
const created = z.object({ data: z.object({ upload: z.object({ id: z.string() }), upload_url: z.string() }) })
const shown = z.object({ data: z.object({ status: z.string() }) })
const diagnosis = z.object({
  findings: z.array(z.string()),
  removed_orphans: z.number(),
  checked: z.object({ jobs_waiting: z.number() }),
})

/**
 * Clients upload, confirm, delete, download and hang up, while the server is killed and started again; nobody waits for anybody.
 * Then everything that was acknowledged must be there byte for byte, and nothing else.
 */
export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  // The many starts share what the first one has compiled.
  const compiled = await mkdtemp(join(tmpdir(), 'fairlead-compiled-'))
  const env = { FAIRLEAD_LOG_LEVEL: 'warn', NODE_COMPILE_CACHE: compiled }
  const gateway = await startGateway({ config, env })
  try {
    return await storm(gateway, options)
  } finally {
    await gateway.close()
    await rm(compiled, { recursive: true, force: true })
  }
}

async function storm(gateway: TestGateway, options: ChaosOptions): Promise<ChaosResult> {
  const breaches: string[] = []
  const counts: Record<string, number> = {}
  const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1)
  const origin = gateway.url
  const connection = wire(origin, gateway.key)
  const book = new Map<string, Promised>()
  const ending = new AbortController()
  const crew = clients({ connection, book, count, breach: (text) => breaches.push(text), ...options })

  const working = Array.from({ length: options.clients }, async () => {
    while (!ending.signal.aborted) await crew.act()
  })
  let slowestStartMs = 0
  for (let kill = 1; kill <= options.kills; kill++) {
    const [least, most] = options.secondsBetween
    await sleep(1_000 * (least + Math.random() * (most - least)))
    await gateway.stop('SIGKILL')
    const port = { FAIRLEAD_PORT: new URL(origin).port }
    if (kill % killsWhileStarting === 0) {
      const starting = gateway.start(port).catch(() => count('killed while starting'))
      await sleep(100 + Math.random() * 400)
      await gateway.stop('SIGKILL')
      await starting
    }
    const began = performance.now()
    await gateway.start(port)
    slowestStartMs = Math.max(slowestStartMs, performance.now() - began)
    for (const finding of (await doctor(gateway, '--dry-run')).findings) breaches.push(`After kill ${kill}: ${finding}`)
    options.report?.(`kill ${kill}: ${book.size} uploads known, ${breaches.length} breaches`)
  }
  ending.abort()
  await Promise.all(working)

  await untilIdle(gateway, breaches)
  await settle(connection, book, breaches, count)
  await untilIdle(gateway, breaches)
  const { removed_orphans: orphans, findings } = await doctor(gateway)
  if (orphans > 0) breaches.push(`The doctor had to remove ${orphans} orphans.`)
  breaches.push(...findings)
  connection.close()
  const code = await gateway.stop('SIGTERM')
  if (code !== 0) breaches.push(`SIGTERM ended the server with ${code}.`)
  const found = await inventory(gateway.dataDir)
  breaches.push(...found.breaches)
  for (const { filename, state } of found.uploads) {
    if (state === 'expired') count('interrupted by a kill')
    else if (filename.startsWith('cut-')) breaches.push(`A body that was cut became an upload that is ${state}.`)
  }
  counts['objects in the end'] = found.objects
  return { kills: options.kills, counts, slowestStartMs: Math.round(slowestStartMs), breaches }
}

interface Crew {
  readonly connection: Wire
  readonly book: Map<string, Promised>
  readonly largestBytes: number
  readonly count: (what: string) => void
  readonly breach: (text: string) => void
}

/** What a client may do next: something at random, to its end. */
function clients({ connection, book, largestBytes, count, breach }: Crew) {
  const pool = randomBytes(largestBytes + mib)

  /** Bytes that no other file has, of any size: most are small, a few are large. */
  function file(): { readonly bytes: Uint8Array; readonly sha256: string } {
    const most = [1, 200, 10 * kib, 256 * kib, 256 * kib, mib, 4 * mib][randomInt(7)] ?? 1
    const size = Math.random() < 0.02 ? largestBytes : 1 + randomInt(most)
    const at = randomInt(mib)
    const bytes = pool.subarray(at, at + size)
    return { bytes, sha256: sha256(bytes) }
  }

  /** Sends, and looks at what may not be whatever happens: an answer nobody expects. */
  async function ask(what: string, sending: Sending, expected: readonly number[]): Promise<Answer | undefined> {
    const answer = await connection.send(sending)
    count(answer ? what : `${what}, no answer`)
    if (answer && !expected.includes(answer.status))
      breach(`${what} was answered by ${answer.status}: ${answer.bytes.subarray(0, 300).toString()}`)
    return answer && expected.includes(answer.status) ? answer : undefined
  }

  async function raw(): Promise<void> {
    const { bytes, sha256: digest } = file()
    const body = { body: bytes, chunked: Math.random() < 0.5, ...(Math.random() < 0.2 && { pauseMs: 1 }) }
    const headers = { 'x-file-name': 'raw.bin' }
    const answer = await ask('raw upload', { method: 'POST', path: '/v1/uploads', headers, ...body }, [201])
    if (!answer) return
    const { assetId, size } = rawAnswer.parse(answer.json()).data
    if (size !== bytes.length) breach(`An upload of ${bytes.length} bytes was acknowledged with ${size}.`)
    book.set(assetId, promised(assetId, 'ready', [digest]))
  }

  async function cutRaw(): Promise<void> {
    const { bytes } = file()
    count('raw upload cut by the client')
    await connection.send({
      method: 'POST',
      path: '/v1/uploads',
      headers: { 'x-file-name': 'cut-raw.bin' },
      body: bytes,
      chunked: Math.random() < 0.5,
      cutAfter: randomInt(bytes.length),
    })
  }

  async function presigned(): Promise<void> {
    const first = file()
    const declared = Math.random() < 0.5
    const checksum = `sha256:${Buffer.from(first.sha256, 'hex').toString('base64')}`
    const draft = {
      filename: 'presigned.bin',
      category: 'other',
      size_bytes: declared ? first.bytes.length : undefined,
    }
    const body = Buffer.from(JSON.stringify(declared ? { ...draft, checksum } : draft))
    const json = { 'Content-Type': 'application/json' }
    const made = await ask('create', { method: 'POST', path: '/api/v1/uploads', headers: json, body }, [201])
    if (!made) return
    const { upload, upload_url: path } = created.parse(made.json()).data
    const entry = promised(upload.id, 'created', [])
    entry.busy = true
    book.set(upload.id, entry)
    const chance = Math.random()
    await put(entry, path, first, chance < 0.15)
    if (chance > 0.7) await put(entry, path, declared ? first : file(), chance > 0.9)
    if (chance > 0.2 && entry.state === 'stored') await confirm(entry)
    entry.busy = false
  }

  async function put(entry: Promised, path: string, { bytes, sha256: digest }: ReturnType<typeof file>, cut: boolean) {
    const sending = { method: 'PUT', path, body: bytes, chunked: Math.random() < 0.3 }
    if (cut) {
      count('PUT cut by the client')
      await connection.send({ ...sending, cutAfter: randomInt(bytes.length) })
      return
    }
    const before = new Set(entry.digests)
    entry.digests.add(digest)
    if (!(await ask('PUT', sending, [200]))) return
    // What an earlier one brought is replaced, unless nobody knows when that one ended.
    if (entry.state === 'stored' && before.size === 1 && !before.has(digest))
      for (const old of before) entry.digests.delete(old)
    entry.state = 'stored'
  }

  async function confirm(entry: Promised): Promise<void> {
    const answer = await ask('confirm', { method: 'POST', path: `/api/v1/uploads/${entry.id}/confirm` }, [200])
    if (answer) entry.state = 'ready'
    else entry.maybeReady = true
  }

  /** A delete while the bytes are still on their way. */
  async function deleteDuringPut(): Promise<void> {
    const body = Buffer.from(JSON.stringify({ filename: 'doomed.bin', category: 'other' }))
    const json = { 'Content-Type': 'application/json' }
    const made = await ask('create', { method: 'POST', path: '/api/v1/uploads', headers: json, body }, [201])
    if (!made) return
    const { upload, upload_url: path } = created.parse(made.json()).data
    const entry = promised(upload.id, 'created', [])
    entry.busy = true
    book.set(upload.id, entry)
    const { bytes, sha256: digest } = file()
    entry.digests.add(digest)
    const putting = connection.send({ method: 'PUT', path, body: bytes, pauseMs: 1 })
    await sleep(Math.random() * 30)
    await remove(entry, 'delete during a PUT')
    await putting
    entry.busy = false
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
    const answer = await ask(
      what,
      { method: 'DELETE', path: path + entry.id },
      entry.maybeDeleted ? [right, 404] : [right],
    )
    if (answer) entry.state = 'deleted'
    else entry.maybeDeleted = true
  }

  async function download(): Promise<void> {
    const entry = pick(({ state, maybeDeleted }) => state === 'ready' && !maybeDeleted)
    if (!entry) return raw()
    entry.busy = true
    const hangUp = Math.random() < 0.2 ? { hangUpAfter: randomInt(mib) } : {}
    const path = `/api/v1/uploads/${entry.id}/download`
    const answer = await ask('download', { method: 'GET', path, ...hangUp }, [200])
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
      if (chance < 0.55) return raw()
      if (chance < 0.8) return presigned()
      if (chance < 0.85) return cutRaw()
      if (chance < 0.9) return deleteDuringPut()
      return download()
    },
  }
}

/** Holds the server to everything that it has promised. */
async function settle(
  connection: Wire,
  book: ReadonlyMap<string, Promised>,
  breaches: string[],
  count: (what: string) => void,
): Promise<void> {
  for (const entry of book.values()) {
    const path = `/api/v1/uploads/${entry.id}`
    const look = await connection.send({ method: 'GET', path })
    const about = `Upload ${entry.id} (${entry.state})`
    if (look?.status === 404 && (entry.state === 'deleted' || entry.maybeDeleted)) {
      count('deleted in the end')
      continue
    }
    if (look?.status !== 200 || entry.state === 'deleted') {
      breaches.push(`${about} is answered by ${look?.status}.`)
      continue
    }
    const { status } = shown.parse(look.json()).data
    const allowed = entry.state === 'ready' ? ['confirmed'] : entry.maybeReady ? ['pending', 'confirmed'] : ['pending']
    if (!allowed.includes(status)) breaches.push(`${about} shows ${status}.`)
    if (status === 'pending') {
      const confirmed = await connection.send({ method: 'POST', path: `${path}/confirm` })
      const right = entry.state === 'stored' ? [200] : entry.digests.size > 0 ? [200, 409] : [409]
      if (!right.includes(confirmed?.status ?? 0)) breaches.push(`The confirm of ${about} gave ${confirmed?.status}.`)
      count(`confirmed in the end: ${confirmed?.status}`)
      if (confirmed?.status !== 200) continue
    }
    const file = await connection.send({ method: 'GET', path: `${path}/download` })
    if (file?.status !== 200 || !entry.digests.has(sha256(file.bytes))) breaches.push(`${about} has other bytes.`)
    count('downloaded in the end')
  }
}

async function untilIdle(gateway: TestGateway, breaches: string[]): Promise<void> {
  for (const end = Date.now() + idleWithinMs; Date.now() < end; await sleep(pollMs))
    if ((await doctor(gateway, '--dry-run')).checked.jobs_waiting === 0) return
  breaches.push(`Jobs still wait after ${idleWithinMs} ms.`)
}

async function doctor(gateway: TestGateway, ...flags: string[]): Promise<z.infer<typeof diagnosis>> {
  const { json, stderr } = await gateway.run('doctor', ...flags)
  const read = diagnosis.safeParse(json)
  if (!read.success) throw new Error(`The doctor said nothing: ${stderr}`)
  return read.data
}

const promised = (id: string, state: Promised['state'], digests: readonly string[]): Promised => ({
  id,
  state,
  digests: new Set(digests),
  maybeDeleted: false,
  maybeReady: false,
  busy: false,
})

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
