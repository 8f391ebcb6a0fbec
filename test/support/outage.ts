import { setTimeout as sleep } from 'node:timers/promises'
import { type ChaosOptions, type ChaosResult, clientele, type Company, storm, type Weather } from './chaos.ts'
import type { Crew } from './chaos-clients.ts'
import type { ChaosStore } from './chaos-stores.ts'
import type { Act, FaultOptions } from './s3-faults.ts'
import type { S3Proxy } from './s3-proxy.ts'

const pollMs = 250
/** Milliseconds in which a probe must have been answered, whatever the store does … */
const probeMs = 5_000
/** … and in which the server must be ready again when the store is back. */
const readyWithinMs = 10_000
/** Milliseconds in which every request must be answered: what is in front of a server waits no longer. */
const longestAnswerMs = 60_000
/** Milliseconds between two faults of a store that fails now and then. */
const flakyMs = 15

/** How the store fails; what it returns ends the failure. */
export type Outage = (proxy: S3Proxy) => Promise<() => Promise<void>>

const fault =
  (options: FaultOptions): Outage =>
  async (proxy) => {
    const broken = proxy.fault('any', { ...options, times: Infinity })
    return async () => broken.release()
  }

const flaws: readonly FaultOptions[] = (['before', 'after'] as const).flatMap((when) => [
  { act: 'cut', when },
  { act: { status: 500, code: 'InternalError' }, when },
  { act: { status: 503, code: 'SlowDown' }, when },
  { act: { delayMs: 300 }, when },
])

export const outages = {
  'refuses connections': async (proxy) => {
    await proxy.down()
    return () => proxy.up()
  },
  'takes requests and never answers': fault({ act: 'stall' }),
  'does what it is asked and never answers': fault({ act: 'stall', when: 'after' }),
  'answers 500': fault({ act: { status: 500, code: 'InternalError' } }),
  'answers 503 SlowDown': fault({ act: { status: 503, code: 'SlowDown' } }),
  'does what it is asked and answers 500': fault({ act: { status: 500, code: 'InternalError' }, when: 'after' }),
  'cuts its answers': fault({ act: 'cut', when: 'answering', bytes: 100 }),
  'fails now and then': async (proxy) => {
    const armed = setInterval(() => {
      const act: Act | undefined = flaws[Math.floor(Math.random() * flaws.length)]?.act
      const when = Math.random() < 0.5 ? 'before' : 'after'
      if (act) proxy.fault('any', { act, when })
    }, flakyMs)
    return async () => clearInterval(armed)
  },
} as const satisfies Record<string, Outage>

export interface OutageOptions extends Omit<ChaosOptions, 'store' | 'excused'> {
  readonly store: ChaosStore
  /** Who is at work. @default clients of all other kinds */
  readonly company?: (crew: Crew) => Company
  /** Each with how long it lasts, in seconds. */
  readonly outages: readonly (readonly [name: string, outage: Outage, seconds: number])[]
}

export interface OutageResult extends ChaosResult {
  /** By outage, then by status, how often the probe was answered so. */
  readonly ready: ReadonlyMap<string, Readonly<Record<string, number>>>
}

const excused: Crew['excused'] = ({ status, headers }, by) =>
  by === 'store' ? status >= 500 : status === 503 && headers['retry-after'] !== undefined

/**
 * Clients upload, confirm, delete and download while the store fails, comes back, and fails in another way. They must be told so and
 * nothing else, and soon; then everything that was acknowledged must be there, and nothing else.
 */
export async function outage(options: OutageOptions): Promise<OutageResult> {
  const { proxy } = options.store
  if (!proxy) throw new Error('Nobody stands between the server and this store.')
  const ready = new Map<string, Readonly<Record<string, number>>>()
  const result = await storm(
    { ...options, excused },
    options.company ?? clientele(options.clients),
    async (weather) => {
      for (const [name, begin, seconds] of options.outages) {
        await sleep(1_500)
        const end = await begin(proxy)
        const statuses = await probe(weather, seconds)
        ready.set(name, statuses)
        await end()
        if (!(await isReadyAgain(weather))) weather.breach(`${name}: not ready again after ${readyWithinMs} ms.`)
        options.report?.(`${name}, ${seconds} s: /readyz ${JSON.stringify(statuses)}, ${weather.breaches()} breaches`)
      }
      await sleep(1_000)
    },
  )
  return { ...result, ready, breaches: [...result.breaches, ...impatience(result)] }
}

/** Clients may wait for a body on its way in vain, and for nothing for long. */
function impatience({ tallies }: ChaosResult): string[] {
  return [...tallies].flatMap(([what, kinds]) =>
    [...kinds].flatMap(([status, { times, slowestMs }]) => {
      const withoutBody = /^(create|confirm|delete|creation$|DELETE|HEAD)/.test(what)
      const mute = status === 'no answer' && withoutBody ? [`${what} had no answer ${times} times.`] : []
      // What goes to the store directly is not ours to hasten.
      const ours = !/^PUT|from the store|half-open/.test(what)
      const slow =
        ours && slowestMs > longestAnswerMs ? [`${what} was answered by ${status} after ${slowestMs} ms.`] : []
      return [...mute, ...slow]
    }),
  )
}

async function probe({ gateway, breach }: Weather, seconds: number): Promise<Record<string, number>> {
  const statuses: Record<string, number> = {}
  for (const end = Date.now() + seconds * 1_000; Date.now() < end; await sleep(pollMs)) {
    const [alive, ready] = await Promise.all([statusOf(gateway.url, '/healthz'), statusOf(gateway.url, '/readyz')])
    if (alive !== '200') breach(`/healthz said ${alive}.`)
    statuses[ready] = (statuses[ready] ?? 0) + 1
  }
  return statuses
}

async function isReadyAgain({ gateway }: Weather): Promise<boolean> {
  for (const end = Date.now() + readyWithinMs; Date.now() < end; await sleep(pollMs))
    if ((await statusOf(gateway.url, '/readyz')) === '200') return true
  return false
}

const statusOf = (url: string, path: string): Promise<string> =>
  fetch(url + path, { signal: AbortSignal.timeout(probeMs) }).then(
    (answer) => String(answer.status),
    (error: unknown) => String(error),
  )
