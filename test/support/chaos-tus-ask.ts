import type { Crew } from './chaos-clients.ts'
import type { Answer, Sending } from './wire.ts'

/** Milliseconds in which every request must be answered; machines are busy. */
const answerMs = 180_000
export const tus = { 'Tus-Resumable': '1.0.0' }

/** The server did what it may not. */
export class Broken extends Error {}

interface Expected {
  readonly statuses: readonly number[]
  /** `X-HTTP-Method-Override` takes the place of the method. */
  readonly override?: boolean
  /** Somebody deletes it meanwhile: then it may be answered by 404. */
  readonly gone?: () => boolean
}

/** Asks in the name of one upload. Unanswered: `undefined`. @throws {Broken} another status, or none in time */
export function asker(crew: Crew, history: string[]) {
  return async (
    what: string,
    { headers, ...sending }: Sending,
    { statuses, override = false, gone = () => false }: Expected,
  ): Promise<Answer | undefined> => {
    const began = performance.now()
    const asked = new Date().toISOString().slice(11)
    const signals = [AbortSignal.timeout(answerMs), ...(sending.signal ? [sending.signal] : [])]
    const answer = await crew.connection.send({
      ...sending,
      method: override ? 'POST' : sending.method,
      headers: { ...tus, ...headers, ...(override && { 'X-HTTP-Method-Override': sending.method }) },
      signal: AbortSignal.any(signals),
    })
    const ms = performance.now() - began
    crew.note(what, answer, ms)
    const offset = answer?.headers['upload-offset']
    const told = answer ? `${answer.status}${offset === undefined ? '' : ` at ${String(offset)}`}` : 'no answer'
    history.push(`${asked} ${what}: ${told} after ${ms.toFixed(0)} ms`)
    if (!answer && ms >= answerMs && !sending.signal) throw new Broken(`${what} was not answered in ${answerMs} ms.`)
    if (answer && !statuses.includes(answer.status) && !(answer.status === 404 && gone()))
      throw new Broken(`${what} was answered by ${answer.status}: ${answer.bytes.subarray(0, 300).toString()}`)
    return answer
  }
}
