import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { stillRunning, UploadError } from '../errors.ts'
import { demandScope, type Principal } from '../uploads/principal.ts'
import type { Claim, Records, StoredAnswer } from '../uploads/records.ts'
import type { Ctx } from './context.ts'

/** Characters of a key. */
const maxKeyLength = 255
/** Characters of an answer that is kept. A longer one is not: it would be made again from what the request has made. */
const maxAnswerLength = 256 * 1024

export interface MadeAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: there is none. */
  readonly body?: object
}

/** A request that makes something. */
export interface Making<T> {
  /** All that has to be the same when the request is repeated: a JSON value. */
  readonly asked: unknown
  /** Makes it; the claim must go into the same transaction as the record. */
  make(claim: Claim | null): Promise<T>
  /** What an attempt whose answer was lost has made, by its id; `undefined` when nothing is left of it. */
  recall(id: string): Promise<T | undefined>
  answer(made: T): MadeAnswer | Promise<MadeAnswer>
}

/** Answers a request that makes something; with an `Idempotency-Key`, once for all its repetitions. */
export type Once = <T>(ctx: Ctx, principal: Principal, making: Making<T>) => Promise<void>

/**
 * A key is claimed by the transaction that makes the upload, so a crash leaves both or neither. Which requests are still running only
 * this process knows, and nothing has to be freed when it dies (docs/decisions/012-idempotency.md).
 */
export function idempotency(records: Pick<Records, 'claimed' | 'answered' | 'release'>): Once {
  /** Fingerprints of the requests that have no answer yet. */
  const running = new Map<string, Uint8Array>()

  return async (ctx, principal, making) => {
    const key = keyOf(ctx.req)
    if (key === null) return send(ctx, stored(await making.answer(await making.make(null))))
    demandScope(principal, 'uploads:write') // a repetition may ask no more than the first request
    // Users may belong to several workspaces.
    const claim = { principal: principal.id, key, fingerprint: fingerprintOf([principal.workspaceId, making.asked]) }
    const name = JSON.stringify([claim.principal, key])
    const first = running.get(name)
    if (first) throw sameBytes(first, claim.fingerprint) ? stillRunning() : reused()
    running.set(name, claim.fingerprint)
    try {
      send(ctx, await answerOnce(claim, making))
    } finally {
      running.delete(name)
    }
  }

  async function answerOnce<T>(claim: Claim, making: Making<T>): Promise<StoredAnswer> {
    let earlier = await records.claimed(claim)
    const left = earlier?.answer === null ? await making.recall(earlier.made) : undefined
    if (earlier?.answer === null && left === undefined) {
      // Nothing is left of a request that failed: its key is free, also for another request.
      await records.release(claim, earlier.made)
      earlier = undefined
    }
    if (earlier && !sameBytes(earlier.fingerprint, claim.fingerprint)) throw reused()
    if (earlier?.answer) return earlier.answer
    const answer = stored(await making.answer(left ?? (await making.make(claim))))
    if (answer.body.length <= maxAnswerLength) await records.answered(claim, answer)
    return answer
  }
}

const stored = ({ status, headers = {}, body }: MadeAnswer): StoredAnswer => ({
  status,
  headers,
  body: body === undefined ? '' : JSON.stringify(body),
})

function send(ctx: Ctx, { status, headers, body }: StoredAnswer): void {
  ctx.status = status
  ctx.set(headers)
  if (body !== '') ctx.type = 'json'
  ctx.body = body
}

const reused = (): UploadError =>
  new UploadError('idempotency_key_reused', 'This Idempotency-Key was used before, for a different request.')

/**
 * The key of the request, if it has one. Clients send it as a structured field, which is a quoted string, or bare.
 *
 * @throws {UploadError} `validation_failed`
 */
function keyOf(req: IncomingMessage): string | null {
  const headers = req.headersDistinct['idempotency-key']
  if (headers === undefined) return null
  const [header = ''] = headers
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1]?.replaceAll(/\\(.)/g, '$1')
  const key = header.startsWith('"') ? (quoted ?? '') : header
  if (headers.length === 1 && key.length <= maxKeyLength && /^[ -~]+$/.test(key)) return key
  const msg = `An Idempotency-Key is 1 to ${maxKeyLength} printable ASCII characters, once, bare or as a quoted string.`
  throw new UploadError('validation_failed', msg, {
    faults: [{ loc: ['header', 'Idempotency-Key'], msg, type: 'value_error' }],
  })
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Equal for JSON values that are equal, whatever the order of their keys. */
function fingerprintOf(value: unknown): Uint8Array {
  const hash = createHash('sha256')
  // Without recursion: a client decides how deep the value is.
  const left = [value]
  while (left.length > 0) left.push(...addTo(hash, left.pop()))
  return hash.digest()
}

/** Adds what the value itself is; returns the values in it. */
function addTo(hash: Hash, value: unknown): unknown[] {
  if (Array.isArray(value)) {
    hash.update(`[${value.length}`)
    return value
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
    hash.update(`{${entries.length}`)
    return entries.flat()
  }
  hash.update(`${JSON.stringify(value)},`)
  return []
}
