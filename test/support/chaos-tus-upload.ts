import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Crew } from './chaos-clients.ts'
import { asker, Broken } from './chaos-tus-ask.ts'
import { promised, type Promised } from './chaos-promises.ts'
import { chunkSize, type Plan } from './chaos-tus-plans.ts'
import { sha256 } from './client.ts'
import type { Answer } from './wire.ts'

/** Milliseconds in which every upload must be done. */
const doneMs = 600_000
/** Milliseconds before what was refused for now is asked again. */
const againMs = 100
/** Half-open connections of one upload at most. */
const mostStalls = 3
/** Tries with the same bytes that get nowhere, after which fewer are sent: the next kill may come sooner than so many bytes are through. */
const mostTries = 3
const fewBytes = 1024 * 1024
/** "Ask again": somebody else is writing, or the store is away. */
const later = [423, 503]
const chunkType = 'application/offset+octet-stream'

export interface TusCrew extends Crew {
  /** An offset went back behind what was acknowledged, by so many bytes. */
  readonly lost: (bytes: number) => void
  /** A creation without an `Idempotency-Key` had no answer: nobody knows what it has made. */
  readonly unknown: (name: string) => void
}

/** Brings one upload to its end, whatever happens. Returns its entry in the book. @throws {Broken} */
export async function bring(crew: TusCrew, plan: Plan, history: string[]): Promise<Promised> {
  const { bytes, dice: cast, override, deleteAt } = plan
  const size = bytes.length
  const metadata = `filename ${Buffer.from(`${plan.name}.bin`).toString('base64')},chaos`
  const ask = asker(crew, history)
  const deadline = performance.now() + doneMs
  const hung = new AbortController()
  const background: Promise<unknown>[] = []
  let entry: Promised | undefined
  let at = 0
  /** The highest offset that was acknowledged, and the end of what was ever sent. */
  let acknowledged = 0
  let sentTo = 0
  /** The server knows the length. */
  let told = plan.length === 'first'
  /** Nobody else can have moved the offset since it was heard. */
  let certain = true
  /** What the next HEAD may say, where that is certain: a body with a checksum counts as a whole or not at all. */
  let either: readonly number[] | undefined
  let cuts = plan.cuts
  let stalls = 0
  let stuck = 0

  const path = (): string => `/files/${entry?.id}`
  const gone = (): boolean => entry?.busy === true

  /** The offset in an answer. @param floor what was acknowledged when it was asked for */
  function heard(answer: Answer, floor: number): number {
    const header = String(answer.headers['upload-offset'])
    const offset = /^\d+$/.test(header) ? Number(header) : NaN
    if (!Number.isSafeInteger(offset)) throw new Broken(`There is no Upload-Offset but ${header}.`)
    if (offset < floor) {
      crew.lost(floor - offset)
      throw new Broken(`The offset went back to ${offset} from ${floor}, which was acknowledged.`)
    }
    if (offset > sentTo) throw new Broken(`The offset is ${offset}, and only ${sentTo} bytes were sent.`)
    acknowledged = Math.max(acknowledged, offset)
    return offset
  }

  async function patience(): Promise<void> {
    if (performance.now() > deadline) throw new Broken(`It was not done in ${doneMs} ms.`)
    await sleep(againMs)
  }

  /** Goes on while something else does; what breaks there is heard in the end. */
  function beside(work: Promise<unknown>): void {
    work.catch(() => {})
    background.push(work)
  }

  function bodyOf(start: number, end: number) {
    const body = bytes.subarray(start, end)
    const summed = body.length > 0 && cast.chance(plan.checksums)
    const wrong = summed && cast.chance(0.15)
    const algorithm = cast.pick(['sha1', 'sha256', 'md5'])
    const sum = createHash(algorithm).update(body)
    if (wrong) sum.update('!')
    const headers: Record<string, string> = {
      'Content-Type': chunkType,
      ...(summed && { 'Upload-Checksum': `${algorithm} ${sum.digest('base64')}` }),
    }
    return { body, headers, summed, wrong, ...(plan.pauseMs > 0 && { pauseMs: plan.pauseMs }) }
  }

  async function create(): Promise<void> {
    const length: Record<string, string> = told ? { 'Upload-Length': String(size) } : { 'Upload-Defer-Length': '1' }
    const concat: Record<string, string> = plan.partial ? { 'Upload-Concat': 'partial' } : {}
    const key: Record<string, string> = plan.once ? { 'Idempotency-Key': randomUUID() } : {}
    let first = plan.withCreation && size > 0 ? chunkSize(plan, 0) : 0
    // It is a part of what has to be the same under one key.
    const chunked = cast.chance(0.15)
    for (let tries = 1; ; tries++) {
      if (!plan.once && tries > mostTries) first = 0
      const { headers, summed: _, wrong, ...sending } = bodyOf(0, first)
      const cut = first > 0 && cuts > 0 && cast.chance(0.3)
      if (cut) cuts--
      const end = cut ? cast.int(first) : first
      sentTo = plan.once ? Math.max(sentTo, end) : end
      const what = first > 0 ? 'creation with bytes' : 'creation'
      const answer = await ask(
        what,
        {
          method: 'POST',
          path: '/files',
          headers: { ...length, ...concat, ...key, 'Upload-Metadata': metadata, ...(first > 0 && headers) },
          ...(first > 0 && { ...sending, chunked }),
          ...(cut && { cutAfter: end }),
        },
        // The one before it may still be running.
        { statuses: [201, ...(wrong ? [460] : []), ...(plan.once && tries > 1 ? [409, 423] : []), 503] },
      )
      if (cut) crew.count('cut by the client')
      if (!answer && !plan.once) crew.unknown(plan.name)
      if (answer?.status === 460) crew.count('wrong checksum refused')
      if (answer?.status !== 201) {
        await patience()
        continue
      }
      // What was made by an earlier request may have been cut, and has its own bytes.
      certain = tries === 1 || !plan.once
      if (wrong && certain) throw new Broken('A wrong checksum was taken.')
      const id = /\/files\/([^/]+)$/.exec(answer.headers.location ?? '')?.[1]
      if (id === undefined) throw new Broken(`The Location is ${answer.headers.location}.`)
      entry = promised(id, 'created', [sha256(bytes)])
      entry.history.push(...history)
      crew.book.set(id, entry)
      at = first > 0 ? heard(answer, 0) : 0
      if (certain && at !== first) throw new Broken(`Of ${first} bytes with the creation ${at} were acknowledged.`)
      return
    }
  }

  /** HEAD until it is answered. */
  async function look(): Promise<void> {
    for (;;) {
      const floor = acknowledged
      const answer = await ask('HEAD', { method: 'HEAD', path: path() }, { statuses: [200, ...later], override })
      if (answer?.status !== 200) {
        await patience()
        continue
      }
      at = heard(answer, floor)
      if (either && !either.includes(at))
        throw new Broken(`The offset is ${at} after a body with a checksum that may end at ${either.join(' or ')}.`)
      either = undefined
      certain = false
      const { 'upload-length': length, 'upload-defer-length': deferred } = answer.headers
      if (length !== undefined && Number(length) !== size) throw new Broken(`The length is ${String(length)}.`)
      if ((length === undefined) !== (deferred === '1') || (length === undefined && told))
        throw new Broken(`Upload-Length is ${String(length)}, Upload-Defer-Length ${String(deferred)}.`)
      told = length !== undefined
      if (
        answer.headers['upload-metadata'] !== metadata ||
        (answer.headers['upload-concat'] === 'partial') !== plan.partial
      )
        throw new Broken(`HEAD says ${JSON.stringify(answer.headers)}.`)
      return
    }
  }

  /** HEAD while something else is going on. */
  async function lookBeside(): Promise<void> {
    await sleep(cast.int(60))
    const floor = acknowledged
    const sending = { method: 'HEAD', path: path() }
    const answer = await ask('HEAD beside a PATCH', sending, { statuses: [200, ...later], override, gone })
    if (answer?.status === 200) heard(answer, floor)
  }

  /** One body from where the upload is, and what befalls it. */
  async function step(): Promise<void> {
    const start = at
    const end = start + Math.min(chunkSize(plan, start), stuck > mostTries ? fewBytes : Infinity)
    const last = end === size
    const tell = !told && last && (plan.length === 'with the last bytes' || start === size)
    const { headers, summed, wrong, ...sending } = bodyOf(start, end)
    const from: Record<string, string> = {
      'Content-Type': chunkType,
      'Upload-Offset': String(start),
      ...(tell && { 'Upload-Length': String(size) }),
    }
    const patch = {
      ...sending,
      method: 'PATCH',
      path: path(),
      chunked: end > start && cast.chance(0.15),
      headers: { ...headers, ...from },
    }
    const cut = end > start && cuts > 0 && (last || cast.chance(0.4))
    const stall = !cut && end > start && stalls < mostStalls && cast.chance(0.06)
    const twin = !cut && !stall && !wrong && end > start && cast.chance(0.06)
    if (cast.chance(0.12)) beside(lookBeside())
    const stopAt = cut || stall ? start + cast.int(end - start) : end
    sentTo = Math.max(sentTo, stopAt)
    const sure = certain
    const floor = acknowledged
    const ways = { statuses: [204, 409, ...later, ...(wrong ? [460] : [])], override }
    certain = false
    if (sure && summed && !twin) either = wrong || stopAt < end ? [start] : [start, end]
    if (stall) {
      stalls++
      crew.count('left half-open')
      const signal = hung.signal
      // What is half there can never be a whole body.
      const half = { statuses: [408, 409, ...later], override, gone }
      beside(ask('PATCH, half-open', { ...patch, stallAfter: stopAt - start, signal }, half))
      await sleep(cast.int(400))
    } else if (twin) {
      const one = { ...patch, headers: from }
      const other = { ...one, body: bytes.subarray(start, start + 1 + cast.int(end - start)) }
      const both = await Promise.all([ask('PATCH, twin', one, ways), ask('PATCH, twin', other, ways)])
      const taken = both.filter((answer) => answer?.status === 204)
      if (taken.length > 1) throw new Broken('Two bodies were taken from the same offset.')
      for (const answer of taken) if (answer) heard(answer, floor)
    } else {
      const answer = await ask('PATCH', { ...patch, ...(cut && { cutAfter: stopAt - start }) }, ways)
      if (cut) {
        cuts--
        crew.count('cut by the client')
      }
      if (answer?.status === 460) crew.count('wrong checksum refused')
      if (answer?.status === 204) {
        if (wrong) throw new Broken('A wrong checksum was taken.')
        if (cut) throw new Broken('Half a body was taken for a whole one.')
        either = undefined
        if (heard(answer, floor) !== end) throw new Broken(`The PATCH did not end at ${end}.`)
        at = end
        told ||= tell
        certain = true
      } else if (answer?.status === 409 && sure)
        throw new Broken('409, although nobody else has written since the offset was told.')
    }
    if (!certain) {
      if (cast.chance(0.5)) await sleep(cast.int(200))
      await look()
    }
    stuck = at === start ? stuck + 1 : 0
  }

  /** A delete while it is under way, or beside a body. */
  async function remove(doomed: Promised): Promise<void> {
    doomed.busy = true
    if (at < size && cast.chance(0.5)) {
      const body = bytes.subarray(at, at + chunkSize(plan, at))
      sentTo = Math.max(sentTo, at + body.length)
      const headers = { 'Content-Type': chunkType, 'Upload-Offset': String(at) }
      const statuses = [204, 404, 409, 410, ...later]
      beside(ask('PATCH, deleted', { method: 'PATCH', path: path(), headers, body, pauseMs: 1 }, { statuses }))
      await sleep(cast.int(60))
    }
    const [method, where, right]: readonly [string, string, number] = cast.chance(0.5)
      ? ['DELETE', path(), 204]
      : ['DELETE', `/api/v1/uploads/${doomed.id}`, 200]
    for (;;) {
      const statuses = [right, ...later, ...(doomed.maybeDeleted ? [404] : [])]
      const answer = await ask('DELETE', { method, path: where }, { statuses, override: override && right === 204 })
      if (answer && !later.includes(answer.status)) break
      doomed.maybeDeleted ||= !answer
      await patience()
    }
    doomed.state = 'deleted'
    crew.count('deleted half way')
    await Promise.all(background)
    for (;;) {
      const answer = await ask(
        'HEAD after DELETE',
        { method: 'HEAD', path: path() },
        { statuses: [404, 503], override },
      )
      if (answer?.status === 404) return
      await patience()
    }
  }

  try {
    await create()
    if (!entry) throw new Broken('There is no upload.')
    if (!certain) await look()
    while (at < size || !told) {
      if (performance.now() > deadline) throw new Broken(`It was not done in ${doneMs} ms.`)
      if (deleteAt !== null && at >= deleteAt) {
        await remove(entry)
        return entry
      }
      await step()
    }
    hung.abort()
    await Promise.all(background)
    entry.state = 'ready'
    return entry
  } finally {
    hung.abort()
    await Promise.allSettled(background)
    entry?.history.splice(0, Infinity, ...history)
  }
}
