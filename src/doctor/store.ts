import { randomBytes } from 'node:crypto'
import { UploadError } from '../errors.ts'
import {
  type Check,
  type ClientTerms,
  type Explanation,
  failed,
  newTrialKey,
  passed,
  type StoreStep,
} from '../uploads/diagnosis.ts'
import type { ObjectStore } from '../uploads/object-store.ts'
import { TooLong, within } from './within.ts'

/** Bytes of the object that is written and read. */
const trialBytes = 4_096

export interface StoreReport {
  readonly checks: readonly Check[]
  /** Whether it makes sense to ask the store anything more. */
  readonly usable: boolean
}

/** Writes, reads, lists and removes an object of its own, and does what clients do; of a dry run nothing is left but the looks. */
export async function checkStore(store: ObjectStore, terms: Omit<ClientTerms, 'keys'>): Promise<StoreReport> {
  const reached = await within(store.diagnosis?.reach?.() ?? Promise.resolve([])).catch((error: unknown) => [
    failed('store.reach', explain(store, 'reach', error)),
  ])
  if (reached.some(({ check, ok }) => check === 'store.reach' && !ok)) return { checks: reached, usable: false }
  const keys = [newTrialKey(), newTrialKey()] as const
  const checks = [...reached]
  const room = await step(store, 'store.room', 'write', () => store.check())
  checks.push(room)
  if (!room.ok) return { checks, usable: true }
  if (!terms.dryRun) {
    const trip = await roundTrip(store, keys[0])
    checks.push(...trip)
    if (trip.some(({ ok }) => !ok))
      return { checks, usable: trip.every(({ ok, check }) => ok || check !== 'store.list') }
  }
  try {
    for await (const check of store.diagnosis?.clients?.({ ...terms, keys }) ?? []) checks.push(check)
  } finally {
    if (!terms.dryRun) for (const key of keys) checks.push(...(await cleared(store, key)))
  }
  return { checks, usable: true }
}

/** Ends with the first step that fails: the others would say the same. */
async function roundTrip(store: ObjectStore, key: string): Promise<Check[]> {
  const bytes = randomBytes(trialBytes)
  const middle = { start: 1_000, end: 2_000 }
  const writer = store.write(key, { length: bytes.length })
  const steps: readonly (readonly [StoreStep, () => Promise<void>])[] = [
    [
      'write',
      async () => {
        await writer.write([bytes])
        await writer.finish()
      },
    ],
    ['stat', async () => expectThat((await store.stat(key))?.size === bytes.length)],
    ['read', async () => expectThat(bytes.subarray(middle.start, middle.end).equals(await store.bytes(key, middle)))],
    ['list', async () => expectThat(await isListed(store, key))],
    [
      'remove',
      async () => {
        await store.remove(key)
        expectThat((await store.stat(key)) === undefined)
      },
    ],
  ]
  const checks: Check[] = []
  for (const [name, work] of steps) {
    const check = await step(store, `store.${name}`, name, work)
    checks.push(check)
    if (check.ok) continue
    if (name === 'remove') return [...checks.slice(0, -1), staying(check, key)]
    await within(writer.abort()).catch(() => {}) // what could not be written can seldom be removed
    return [...checks, ...(await cleared(store, key))]
  }
  return checks
}

/** The store answered, and not what it was told. */
class Untrue extends Error {}

function expectThat(holds: boolean): void {
  if (!holds) throw new Untrue()
}

async function isListed(store: ObjectStore, key: string): Promise<boolean> {
  for await (const object of store.list()) if (object.key === key) return true
  return false
}

const untrue: Readonly<Record<StoreStep, string>> = {
  reach: 'The store answers something else than was asked.',
  write: 'The store says that it has written, and has not.',
  stat: 'The store does not know the object that was just written, or has another size of it.',
  read: 'The store gives other bytes than were written.',
  list: 'The store does not list the object that was just written.',
  remove: 'The store still has the object that was just removed.',
}

async function step(store: ObjectStore, check: string, name: StoreStep, work: () => Promise<void>): Promise<Check> {
  try {
    await within(work())
    return passed(check)
  } catch (error) {
    return failed(check, explain(store, name, error))
  }
}

/** Why the store did not do it, in its own words. */
export function explain(store: ObjectStore, name: StoreStep, error: unknown): Explanation {
  if (error instanceof Untrue)
    return { detail: untrue[name], remedy: 'See what keeps it: several servers, a cache or a proxy in between.' }
  if (error instanceof TooLong)
    return { detail: `The store did not ${name} within ${error.seconds} seconds.`, remedy: 'Look at its load and log.' }
  if (store.diagnosis) return store.diagnosis.explain(name, error)
  return { detail: `The store failed to ${name}: ${messageOf(error)}.`, remedy: 'Look at its log.' }
}

const messageOf = (error: unknown): string =>
  error instanceof UploadError && error.cause instanceof Error ? error.cause.message : String(error)

/** Says something only when an object stays. Nothing else is begun under these keys that its maker does not end. */
async function cleared(store: ObjectStore, key: string): Promise<Check[]> {
  const check = await step(store, 'store.clear', 'remove', () => store.remove(key))
  return check.ok ? [] : [staying(check, key)]
}

const staying = (check: Check, key: string): Check => ({
  ...check,
  detail: `${check.detail} The object ${key} of this check may stay for some hours.`,
})
