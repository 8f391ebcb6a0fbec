import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type Company, killing, type KillResult, type Kills, type StormOptions } from './chaos.ts'
import type { Crew } from './chaos-clients.ts'
import { holdToPromises, promised, type Promised } from './chaos-promises.ts'
import { asker, Broken, tus } from './chaos-tus-ask.ts'
import { type FilePlan, filePlan } from './chaos-tus-plans.ts'
import { bring, type TusCrew } from './chaos-tus-upload.ts'
import { sha256 } from './client.ts'
import { dice, type Dice } from './dice.ts'

const mib = 1024 * 1024
/** Milliseconds in which a file is shown as confirmed whose end was acknowledged. */
const confirmedMs = 60_000
const lookMs = 100

export interface TusOptions {
  /** `null`: as long as the storm is on. */
  readonly uploads: number | null
  /** Uploads at the same time. */
  readonly clients: number
  /** What is drawn is the same for the same seed; when the kills come is not. */
  readonly seed: string
  /** Of the largest file. */
  readonly largestBytes: number
}

export interface TusChaosOptions extends TusOptions, StormOptions, Kills {}

export interface TusChaosResult extends KillResult {
  /** Bytes behind which an offset went back although they were acknowledged. */
  readonly lostBytes: number
}

const view = z.object({ data: z.object({ status: z.string(), size_bytes: z.number().nullable() }) })
const page = z.object({
  data: z.array(z.object({ id: z.string(), filename: z.string() })),
  meta: z.object({ next_cursor: z.string().nullable() }),
})
const usage = z.object({
  data: z.object({ storage: z.object({ used_bytes: z.number(), reserved_bytes: z.number() }) }),
})

/** Clients of the resumable protocol bring files through everything that can befall them, while the server is killed again and again. */
export async function tusChaos(options: TusChaosOptions): Promise<TusChaosResult> {
  let lostBytes = 0
  const result = await killing(options, (crew) => tusClientele(crew, options, (bytes) => (lostBytes += bytes)))
  return { ...result, lostBytes }
}

/** @param lost an offset went back behind what was acknowledged, by so many bytes */
export function tusClientele(
  given: Crew,
  { uploads, clients, seed, largestBytes }: TusOptions,
  lost: (bytes: number) => void = () => {},
): Company {
  const cast = dice(seed)
  const pool = cast.bytes(largestBytes + mib)
  /** Names of uploads whose creation had no answer, with how often that was so. */
  const unknown = new Map<string, number>()
  const sizes = new Map<string, number>()
  const crew: TusCrew = {
    ...given,
    lost,
    unknown: (name) => void unknown.set(name, (unknown.get(name) ?? 0) + 1),
  }
  const { connection, breach, count, book } = crew

  async function file(number: number): Promise<void> {
    const own = cast.fork(number)
    const plan = filePlan(`tus-${number}`, pool, largestBytes, own)
    const history: string[] = []
    try {
      const entry = plan.parts[0].partial
        ? await together(plan, own, history)
        : await bring(crew, plan.parts[0], history)
      if (entry.state !== 'ready') return
      sizes.set(entry.id, plan.bytes.length)
      await confirmed(entry, plan.bytes.length, history)
      count('files done')
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      breach(`File ${number} of ${plan.bytes.length} bytes: ${error.message} It had: ${history.join(' | ')}`)
    }
  }

  /** Partial uploads side by side, then the final one, which outlives them. */
  async function together({ parts, bytes }: FilePlan, own: Dice, history: string[]): Promise<Promised> {
    const ask = asker(crew, history)
    const entries = await Promise.all(parts.map((part) => bring(crew, part, history)))
    const concat = `final;${entries.map(({ id }) => `/files/${id}`).join(' ')}`
    const name = parts[0].name.replace(/-part-\d+$/, '')
    const headers = {
      'Upload-Concat': concat,
      'Upload-Metadata': `filename ${Buffer.from(`${name}.bin`).toString('base64')}`,
    }

    async function join(): Promise<string> {
      for (;;) {
        const statuses = [201, 423, 503]
        const answer = await ask('final', { method: 'POST', path: '/files', headers }, { statuses })
        if (answer?.status === 201) return String(answer.headers.location)
        await sleep(lookMs)
      }
    }

    const first = await Promise.all(Array.from({ length: own.chance(0.3) ? 2 : 1 }, join))
    const again = own.chance(0.5) ? [await join()] : []
    const made = new Set([...first, ...again])
    const [location = ''] = made
    const id = location.slice(location.lastIndexOf('/') + 1)
    if (made.size > 1) throw new Broken(`The same final upload was made as ${[...made].join(' and ')}.`)
    const entry = promised(id, 'ready', [sha256(bytes)])
    book.set(id, entry)
    count('made of parts')
    for (;;) {
      const sending = { method: 'HEAD', path: `/files/${id}` }
      const answer = await ask('HEAD of a final', sending, { statuses: [200, 423, 503] })
      if (answer?.status === 200) {
        const { 'upload-offset': offset, 'upload-length': length, 'upload-concat': said } = answer.headers
        if (Number(offset) !== bytes.length || Number(length) !== bytes.length || said !== concat)
          throw new Broken(`HEAD of the final says ${String(offset)} of ${String(length)}, ${String(said)}.`)
        break
      }
      await sleep(lookMs)
    }
    for (const part of entries) await removed(part, history)
    entry.history.push(...history)
    return entry
  }

  async function removed(entry: Promised, history: string[]): Promise<void> {
    const ask = asker(crew, history)
    for (;;) {
      const statuses = [204, 423, 503, ...(entry.maybeDeleted ? [404] : [])]
      const answer = await ask('DELETE of a part', { method: 'DELETE', path: `/files/${entry.id}` }, { statuses })
      if (answer?.status === 204 || answer?.status === 404) break
      entry.maybeDeleted ||= !answer
    }
    entry.state = 'deleted'
  }

  /** Whoever has heard that all bytes count may believe it. */
  async function confirmed({ id }: Promised, size: number, history: string[]): Promise<void> {
    const ask = asker(crew, history)
    let status = ''
    for (const end = performance.now() + confirmedMs; performance.now() < end; await sleep(lookMs)) {
      const answer = await ask('look', { method: 'GET', path: `/api/v1/uploads/${id}` }, { statuses: [200, 503] })
      if (answer?.status !== 200) continue
      const { data } = view.parse(answer.json())
      status = data.status
      if (status === 'confirmed' && data.size_bytes === size) return
      if (status !== 'processing') break
      count('processing after its end')
    }
    throw new Broken(`Upload ${id} of ${size} bytes is ${status}.`)
  }

  async function list(): Promise<z.infer<typeof page>['data']> {
    const found: z.infer<typeof page>['data'] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const answer = await connection.send({ method: 'GET', path: `/api/v1/uploads?limit=100${query}` })
      const { data, meta } = page.parse(answer?.json())
      found.push(...data)
      cursor = meta.next_cursor
    }
    return found
  }

  return {
    async work(over) {
      let next = 0
      const hands = async (): Promise<void> => {
        while (uploads === null ? !over.aborted : next < uploads) await file(next++)
      }
      await Promise.all(Array.from({ length: clients }, hands))
    },

    async hold() {
      for (const { id, filename } of await list()) {
        const entry = book.get(id)
        if (entry?.state === 'ready') continue
        const name = filename.replace(/\.bin$/, '')
        const left = unknown.get(name) ?? 0
        if (!entry && left === 0) breach(`Nobody has made ${filename} as ${id}.`)
        unknown.set(name, left - 1)
        const answer = await connection.send({ method: 'DELETE', path: `/files/${id}`, headers: tus })
        if (answer?.status !== 204) breach(`${filename} could not be deleted: ${answer?.status}.`)
        if (entry) entry.state = 'deleted'
        count('left by unanswered creations')
      }
      const answer = await connection.send({ method: 'GET', path: '/api/v1/usage/summary' })
      const { used_bytes: used, reserved_bytes: reserved } = usage.parse(answer?.json()).data.storage
      const sum = [...sizes.values()].reduce((total, size) => total + size, 0)
      if (used !== sum || reserved !== 0)
        breach(`${used} bytes are used and ${reserved} reserved, but ${sum} are there.`)
      await holdToPromises(crew)
    },
  }
}
