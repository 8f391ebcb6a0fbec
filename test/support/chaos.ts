import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Crew, clients } from './chaos-clients.ts'
import { holdToPromises, type Promised } from './chaos-promises.ts'
import { type ChaosStore, diskChaos } from './chaos-stores.ts'
import { startGateway, type TestGateway } from './gateway.ts'
import { inventory, undecided, workLeft } from './inventory.ts'
import { wire } from './wire.ts'

const pollMs = 200
/** One kill of so many comes while the server starts. */
const killsWhileStarting = 5

export interface ChaosOptions {
  readonly clients: number
  /** Bytes of the few largest bodies. */
  readonly largestBytes: number
  /** Share of the bodies that are as large. @default 0.02 */
  readonly largeShare?: number
  /** @default the disk */
  readonly store?: ChaosStore
  readonly excused?: Crew['excused']
  readonly report?: (line: string) => void
}

export interface KillOptions extends ChaosOptions {
  readonly kills: number
  /** Seconds between a start and the next kill: at least, at most. */
  readonly secondsBetween: readonly [number, number]
}

/** One kind of request, by what became of it. */
export interface Tally {
  times: number
  slowestMs: number
}

export interface ChaosResult {
  /** How often each thing was done, and how often nobody knows how it ended. */
  readonly counts: Readonly<Record<string, number>>
  /** By request, then by the answer's status, or `no answer`. */
  readonly tallies: ReadonlyMap<string, ReadonlyMap<string, Readonly<Tally>>>
  /** Each of them is a bug. Empty: the server kept every promise. */
  readonly breaches: readonly string[]
}

export interface KillResult extends ChaosResult {
  readonly kills: number
  readonly slowestStartMs: number
}

/** What befalls the server while the clients work. */
export interface Weather {
  readonly gateway: TestGateway
  readonly breach: (text: string) => void
  readonly count: (what: string) => void
  /** The uploads that the clients know. */
  readonly known: () => number
  readonly breaches: () => number
}

const diagnosis = z.object({ findings: z.array(z.string()), removed_orphans: z.number() })

/**
 * Clients upload, confirm, delete, download and hang up, while the server is killed and started again; nobody waits for anybody.
 * Then everything that was acknowledged must be there byte for byte, and nothing else.
 */
export async function chaos(options: KillOptions): Promise<KillResult> {
  let slowestStartMs = 0
  const result = await storm(options, async ({ gateway, breach, count, known, breaches }) => {
    const port = { FAIRLEAD_PORT: new URL(gateway.url).port }
    for (let kill = 1; kill <= options.kills; kill++) {
      const [least, most] = options.secondsBetween
      await sleep(1_000 * (least + Math.random() * (most - least)))
      await gateway.stop('SIGKILL')
      if (kill % killsWhileStarting === 0) {
        const starting = gateway.start(port).catch(() => count('killed while starting'))
        await sleep(100 + Math.random() * 400)
        await gateway.stop('SIGKILL')
        await starting
      }
      const began = performance.now()
      await gateway.start(port)
      slowestStartMs = Math.max(slowestStartMs, performance.now() - began)
      for (const finding of (await doctor(gateway, '--dry-run')).findings) breach(`After kill ${kill}: ${finding}`)
      options.report?.(`kill ${kill}: ${known()} uploads known, ${breaches()} breaches`)
    }
  })
  return { ...result, kills: options.kills, slowestStartMs: Math.round(slowestStartMs) }
}

/** The clients at work until the weather is over; then all that was promised is looked at. */
export async function storm(options: ChaosOptions, weather: (at: Weather) => Promise<void>): Promise<ChaosResult> {
  const store = options.store ?? diskChaos()
  // The many starts share what the first one has compiled.
  const compiled = await mkdtemp(join(tmpdir(), 'fairlead-compiled-'))
  const env = { FAIRLEAD_LOG_LEVEL: 'warn', NODE_COMPILE_CACHE: compiled, ...store.env }
  const gateway = await startGateway({ config: store.config, env })
  const connection = wire(gateway.url, gateway.key)
  const storeConnection = store.proxy && wire(store.proxy.endpoint)
  const breaches: string[] = []
  const counts: Record<string, number> = {}
  const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1)
  const breach = (text: string): void => void breaches.push(text)
  const tallies = new Map<string, Map<string, Tally>>()
  const book = new Map<string, Promised>()
  const crew: Crew = {
    connection,
    storeConnection,
    book,
    largestBytes: options.largestBytes,
    largeShare: options.largeShare ?? 0.02,
    presignTtlMs: store.presignTtlMs,
    excused: options.excused ?? (() => false),
    breach,
    count,
    note(what, answer, ms) {
      count(answer ? what : `${what}, no answer`)
      const status = answer ? String(answer.status) : 'no answer'
      const kinds = tallies.get(what) ?? new Map<string, Tally>()
      const tally = kinds.get(status) ?? { times: 0, slowestMs: 0 }
      tallies.set(what, kinds.set(status, tally))
      tally.times++
      tally.slowestMs = Math.max(tally.slowestMs, ms)
    },
  }
  try {
    const ending = new AbortController()
    const atWork = clients(crew)
    const working = Array.from({ length: options.clients }, async () => {
      while (!ending.signal.aborted) await atWork.act()
    })
    const known = () => book.size
    await weather({ gateway, breach, count, known, breaches: () => breaches.length }).finally(() => ending.abort())
    await Promise.all(working)
    const { dataDir } = gateway
    await untilNothing(() => undecided(dataDir), store.idleWithinMs, breach)
    await holdToPromises(crew)
    await untilNothing(() => workLeft(dataDir), store.idleWithinMs, breach)
    const code = await gateway.stop('SIGTERM')
    if (code !== 0) breach(`SIGTERM ended the server with ${code}.`)
    counts['objects in the end'] = await look({ dataDir, store, book, breach, count })
    const { removed_orphans: orphans, findings } = await doctor(gateway)
    if (orphans > 0) breach(`The doctor had to remove ${orphans} orphans.`)
    findings.forEach(breach)
    return { counts, tallies, breaches }
  } catch (error) {
    throw new Error(`The storm broke off. The server said:\n${gateway.log().slice(-4_000)}`, { cause: error })
  } finally {
    connection.close()
    storeConnection?.close()
    await gateway.close()
    await store.close()
    await rm(compiled, { recursive: true, force: true })
  }
}

interface Looking {
  readonly dataDir: string
  readonly store: ChaosStore
  readonly book: ReadonlyMap<string, Promised>
  readonly breach: (text: string) => void
  readonly count: (what: string) => void
}

/** At the records and the objects, past the program. Returns how many objects there are. */
async function look({ dataDir, store, book, breach, count }: Looking): Promise<number> {
  const found = await inventory(dataDir, store.shelf(dataDir))
  for (const text of found.breaches) {
    // Keys begin with the upload's id.
    const known = [...book.values()].find(({ id }) => text.includes(id.replaceAll('-', '')))
    breach(known ? `${text} It was ${known.state}: ${known.history.join(', ')}.` : text)
  }
  const once = new Set<string>()
  for (const { filename, state } of found.uploads) {
    if (state === 'expired') count('expired in the end')
    else if (filename.startsWith('cut-')) breach(`A body that was cut became an upload that is ${state}.`)
    else if (filename.startsWith('once-') && once.size === once.add(filename).size)
      breach(`${filename} was sent with an Idempotency-Key and is there twice.`)
  }
  return found.objects
}

async function untilNothing(
  left: () => readonly string[],
  withinMs: number,
  breach: (text: string) => void,
): Promise<void> {
  for (const end = Date.now() + withinMs; Date.now() < end; await sleep(pollMs)) if (left().length === 0) return
  breach(`After ${withinMs} ms: ${left().join(' ')}`)
}

async function doctor(gateway: TestGateway, ...flags: string[]): Promise<z.infer<typeof diagnosis>> {
  const { json, stderr } = await gateway.run('doctor', ...flags)
  const read = diagnosis.safeParse(json)
  if (!read.success) throw new Error(`The doctor said nothing: ${stderr}`)
  return read.data
}
