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

export interface StormOptions {
  /** Bytes of the few largest bodies. */
  readonly largestBytes: number
  /** Share of the bodies that are as large. @default 0.02 */
  readonly largeShare?: number
  /** @default the disk */
  readonly store?: ChaosStore
  readonly excused?: Crew['excused']
  readonly report?: (line: string) => void
}

export interface ChaosOptions extends StormOptions {
  readonly clients: number
}

/** Those who work while the storm is on. */
export interface Company {
  /** Goes on until the storm is over, or its work is done. */
  work(over: AbortSignal): Promise<void>
  /** Holds the server to everything that it has promised, when all is quiet. */
  hold(): Promise<void>
}

export interface Kills {
  /** `null`: until the work is done. */
  readonly kills: number | null
  /** Seconds between a start and the next kill: at least, at most. */
  readonly secondsBetween: readonly [number, number]
  /** Share of the kills that are a SIGTERM, which lets requests end for a moment. @default 0 */
  readonly gentle?: number
}

export interface KillOptions extends ChaosOptions, Kills {}

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
  /** Nobody is at work any more. */
  readonly idle: AbortSignal
}

const diagnosis = z.object({ findings: z.array(z.string()), removed_orphans: z.number() })

/**
 * Clients upload, confirm, delete, download and hang up, while the server is killed and started again; nobody waits for anybody.
 * Then everything that was acknowledged must be there byte for byte, and nothing else.
 */
export const chaos = (options: KillOptions): Promise<KillResult> => killing(options, clientele(options.clients))

/** So many clients, each of which does one thing after the other. */
export const clientele =
  (hands: number) =>
  (crew: Crew): Company => {
    const atWork = clients(crew)
    return {
      async work(over) {
        const act = async (): Promise<void> => {
          while (!over.aborted) await atWork.act()
        }
        await Promise.all(Array.from({ length: hands }, act))
      },
      hold: () => holdToPromises(crew),
    }
  }

/** The company at work, while the server is killed and started again. */
export async function killing(options: StormOptions & Kills, company: (crew: Crew) => Company): Promise<KillResult> {
  let slowestStartMs = 0
  let kill = 0
  const weather = async ({ gateway, breach, count, known, breaches, idle }: Weather): Promise<void> => {
    const port = { FAIRLEAD_PORT: new URL(gateway.url).port }
    const [least, most] = options.secondsBetween
    while (options.kills === null ? !idle.aborted : kill < options.kills) {
      const pause = 1_000 * (least + Math.random() * (most - least))
      if (options.kills === null) await sleep(pause, undefined, { signal: idle }).catch(() => {})
      else await sleep(pause)
      kill++
      const signal = Math.random() < (options.gentle ?? 0) ? 'SIGTERM' : 'SIGKILL'
      const ended = await gateway.stop(signal)
      if (signal === 'SIGTERM' && ended !== 0) breach(`SIGTERM ended the server with ${ended}.`)
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
  }
  const result = await storm(options, company, weather)
  return { ...result, kills: kill, slowestStartMs: Math.round(slowestStartMs) }
}

/** The company at work until the weather is over; then all that was promised is looked at. */
export async function storm(
  options: StormOptions,
  company: (crew: Crew) => Company,
  weather: (at: Weather) => Promise<void>,
): Promise<ChaosResult> {
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
    const idle = new AbortController()
    const hired = company(crew)
    const working = hired.work(ending.signal).finally(() => idle.abort())
    const at = { gateway, breach, count, known: () => book.size, breaches: () => breaches.length, idle: idle.signal }
    await Promise.all([weather(at).finally(() => ending.abort()), working])
    const { dataDir } = gateway
    await untilNothing(() => undecided(dataDir), store.idleWithinMs, breach)
    await hired.hold()
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
