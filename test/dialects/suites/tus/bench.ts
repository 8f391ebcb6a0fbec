import { afterAll, beforeAll } from 'vitest'
import type { TestGateway } from '../../../support/gateway.ts'
import type { Place, PlaceOptions } from '../../../support/places.ts'
import { type Tus, tusOf } from '../../../support/tus.ts'
import { type Verdicts, verdicts } from '../../../support/verdicts.ts'

/** Bytes of the largest file at `main`: enough for three parts of S3. */
export const largest = 24 * 1024 * 1024
/** … and at `tight`. */
export const tightest = 300_000
export const expirySeconds = 3
/** Where clients reach `tight`, as it believes. */
export const publicUrl = 'https://files.example.org/gateway'

/** A gateway and a client of it. */
export interface Spot {
  readonly gateway: () => TestGateway
  readonly tus: Tus
}

export interface Bench {
  readonly place: Place
  readonly verdicts: () => Verdicts
  /** As installations are. */
  readonly main: Spot
  /** Takes small files only, has a public address, and no patience with bodies. */
  readonly tight: Spot
  /** Uploads expire soon, answers wait for a second, and whoever asks is taken for a proxy. */
  readonly brief: Spot
  /** What was wrong with the headers of some answer. */
  readonly breaches: readonly string[]
}

/** The gateways of one place on which all the suites of the protocol work. */
export function tusBench(place: Place): Bench {
  const breaches: string[] = []
  let told: Verdicts
  const gateways = new Map<string, TestGateway>()
  beforeAll(async () => {
    told = await verdicts()
    const start = async (name: string, options: PlaceOptions): Promise<void> =>
      void gateways.set(name, await place.start({ plugins: `sniffType(), quota(), ${told.plugin}`, ...options }))
    await Promise.all([
      start('main', { env: { FAIRLEAD_MAX_FILE_SIZE: String(largest) } }),
      start('tight', {
        more: `categories: { other: {}, small: { maxSize: 10 }, picture: { types: ['image/png'] } }, server: { bodyIdleTimeout: 1 }`,
        env: { FAIRLEAD_MAX_FILE_SIZE: String(tightest), FAIRLEAD_PUBLIC_URL: publicUrl },
      }),
      start('brief', {
        more: `tus: { expiry: ${expirySeconds} }, sweep: { interval: 1 }, pipeline: { syncBudget: 1 }`,
        env: { FAIRLEAD_TRUST_PROXY: 'true' },
      }),
    ])
  })
  afterAll(async () => {
    await Promise.all([...gateways.values()].map((gateway) => gateway.close()))
    await told.close()
  })

  const spot = (name: string): Spot => {
    const gateway = (): TestGateway => {
      const found = gateways.get(name)
      if (!found) throw new Error('The gateway has not started.')
      return found
    }
    return { gateway, tus: tusOf(gateway, breaches) }
  }
  return { place, verdicts: () => told, main: spot('main'), tight: spot('tight'), brief: spot('brief'), breaches }
}
