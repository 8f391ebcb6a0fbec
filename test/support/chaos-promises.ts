import { z } from 'zod'
import type { Crew } from './chaos-clients.ts'
import { sha256 } from './client.ts'

/** Promises that are looked at side by side. */
const looksAtOnce = 8

/** What the server has promised about one upload. */
export interface Promised {
  readonly id: string
  /** `stored`: a PUT was acknowledged; `ready`: the file was; `rejected`, `deleted`: its bytes may never come again. */
  state: 'created' | 'stored' | 'ready' | 'rejected' | 'deleted'
  /** SHA-256 of the bytes that may be there: more than one only when a PUT of others had no answer. */
  readonly digests: Set<string>
  /** Bytes were acknowledged that are not what was declared: no confirm may take them. */
  wrong: boolean
  /** A delete was sent whose answer was lost. */
  maybeDeleted: boolean
  /** A confirm was sent whose answer was lost. */
  maybeConfirmed: boolean
  /** Somebody works on it. */
  busy: boolean
  /** What was asked of it and when, for whoever looks for the reason of a breach. */
  readonly history: string[]
}

export const shown = z.object({ data: z.object({ status: z.string() }) })

/** Holds the server to everything that it has promised, when all is quiet. */
export async function holdToPromises(crew: Crew): Promise<void> {
  const entries = crew.book.values()
  const hold = async (): Promise<void> => {
    for (const entry of entries) await holdTo(entry, crew)
  }
  await Promise.all(Array.from({ length: looksAtOnce }, hold))
}

async function holdTo(entry: Promised, { connection, storeConnection, count, breach }: Crew): Promise<void> {
  const path = `/api/v1/uploads/${entry.id}`
  const look = await connection.send({ method: 'GET', path })
  const about = `Upload ${entry.id} (${entry.state}: ${entry.history.join(', ')})`
  if (look?.status === 404 && (entry.state === 'deleted' || entry.maybeDeleted)) return count('deleted in the end')
  if (look?.status !== 200 || entry.state === 'deleted') return breach(`${about} is answered by ${look?.status}.`)
  const { status } = shown.parse(look.json()).data
  if (!mayShow(entry, storeConnection !== undefined).includes(status)) breach(`${about} shows ${status}.`)
  if (status === 'pending') {
    const confirmed = await connection.send({ method: 'POST', path: `${path}/confirm` })
    const right = entry.wrong ? [409, 410, 422] : entry.state === 'stored' ? [200] : [409, 410]
    if (entry.digests.size > 0) right.push(200)
    if (!right.includes(confirmed?.status ?? 0)) breach(`The confirm of ${about} gave ${confirmed?.status}.`)
    count(`confirmed in the end: ${confirmed?.status}`)
    if (confirmed?.status !== 200) return
  } else if (status !== 'confirmed') return
  let file = await connection.send({ method: 'GET', path: `${path}/download` })
  if (file?.status === 302) file = await storeConnection?.send({ method: 'GET', path: file.headers.location ?? '' })
  if (file?.status !== 200 || !entry.digests.has(sha256(file.bytes))) breach(`${about} has other bytes.`)
  count('downloaded in the end')
}

function mayShow(entry: Promised, pastGateway: boolean): readonly string[] {
  const { state, wrong, maybeConfirmed } = entry
  if (state === 'ready') return ['confirmed']
  if (state === 'rejected') return ['rejected']
  // Nobody has brought the bytes in time, as far as is known.
  const ended = pastGateway && state === 'created' ? ['expired'] : []
  return ['pending', ...ended, ...(maybeConfirmed ? [wrong ? 'rejected' : 'confirmed'] : [])]
}

export const promised = (id: string, state: Promised['state'], digests: readonly string[]): Promised => ({
  id,
  state,
  digests: new Set(digests),
  wrong: false,
  maybeDeleted: false,
  maybeConfirmed: false,
  busy: false,
  history: [],
})
