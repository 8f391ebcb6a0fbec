import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { projectRoot, startGateway, type TestGateway } from './gateway.ts'
import { type Answer, type Wire, wire } from './wire.ts'

const config = `
import { quota } from '${projectRoot}/plugins/quota.ts'
import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default { plugins: [sniffType(), quota()] }
`

/** How a caller asks for room: by a declared size that is held, by a body with a length, by a body without one. */
export type Way = 'presigned' | 'declared' | 'chunked'
export const ways: readonly Way[] = ['presigned', 'declared', 'chunked']

export interface RushOptions {
  /** Callers that come at once. */
  readonly callers: number
  /** How many of them the quota has room for. */
  readonly room: number
  /** Bytes of each file. */
  readonly bytes: number
}

export interface RushResult {
  readonly accepted: number
  readonly refused: number
  /** What else was answered. */
  readonly other: readonly string[]
  /** When everything that was accepted is there. */
  readonly full: Counters
  /** After everything was deleted. */
  readonly emptied: Counters
  /** Of as many as there is room for, once more. */
  readonly acceptedAgain: number
  readonly seconds: number
}

export interface Rush {
  readonly results: ReadonlyMap<Way, RushResult>
  /** What the doctor says in the end. */
  readonly findings: readonly string[]
}

interface Counters {
  readonly used: number
  readonly reserved: number
}

const createdKey = z.object({ key: z.string() })
const created = z.object({ data: z.object({ upload: z.object({ id: z.string() }), upload_url: z.string() }) })
const rawAnswer = z.object({ data: z.object({ assetId: z.string() }) })
const refusal = z.object({ bytes_left: z.number() })
const usage = z.object({
  data: z.object({ storage: z.object({ used_bytes: z.number(), reserved_bytes: z.number() }) }),
})
const diagnosis = z.object({ findings: z.array(z.string()) })

/** Many callers for the last bytes of a quota, each way in a workspace of its own. */
export async function rush(options: RushOptions): Promise<Rush> {
  const gateway = await startGateway({ config, env: { FAIRLEAD_LOG_LEVEL: 'warn' } })
  try {
    const keys = await Promise.all(ways.map((way) => workspace(gateway, way, options.room * options.bytes)))
    const results = new Map<Way, RushResult>()
    for (const [i, way] of ways.entries()) {
      const connection = wire(gateway.url, keys[i] ?? '')
      results.set(way, await rushOne(connection, way, options))
      connection.close()
    }
    return { results, findings: diagnosis.parse((await gateway.run('doctor', '--dry-run')).json).findings }
  } finally {
    await gateway.close()
  }
}

/** Returns its key. */
async function workspace(gateway: TestGateway, id: string, quota: number): Promise<string> {
  const { key } = createdKey.parse((await gateway.run('keys', 'create', '--workspace', id)).json)
  await gateway.run('workspaces', 'set-quota', id, String(quota))
  return key
}

async function rushOne(connection: Wire, way: Way, { callers, room, bytes }: RushOptions): Promise<RushResult> {
  const began = performance.now()
  const answers = await all(callers, () => ask(connection, way, bytes))
  const seconds = (performance.now() - began) / 1_000
  const accepted = answers.filter((answer) => answer?.status === 201)
  const refused = answers.filter(isRefusal)
  const other = answers.filter((answer) => answer?.status !== 201 && !isRefusal(answer))
  const ids = await Promise.all(accepted.map((answer) => finish(connection, way, answer, bytes)))
  const full = await counters(connection)

  await Promise.all(ids.map((id) => connection.send({ method: 'DELETE', path: `/api/v1/uploads/${id}` })))
  const emptied = await counters(connection)
  const again = await all(room, () => ask(connection, way, bytes))
  return {
    accepted: accepted.length,
    refused: refused.length,
    other: other.map((answer) => (answer ? `${answer.status} ${answer.bytes.toString()}` : 'no answer')),
    full,
    emptied,
    acceptedAgain: again.filter((answer) => answer?.status === 201).length,
    seconds,
  }
}

function ask(connection: Wire, way: Way, bytes: number): Promise<Answer | undefined> {
  if (way !== 'presigned') {
    const headers = { 'x-file-name': 'rush.bin' }
    const body = randomBytes(bytes)
    return connection.send({ method: 'POST', path: '/v1/uploads', headers, body, chunked: way === 'chunked' })
  }
  return connection.send({
    method: 'POST',
    path: '/api/v1/uploads',
    headers: { 'Content-Type': 'application/json' },
    body: Buffer.from(JSON.stringify({ filename: 'rush.bin', category: 'other', size_bytes: bytes })),
  })
}

/** Brings what was only announced. Returns the id. */
async function finish(connection: Wire, way: Way, answer: Answer | undefined, bytes: number): Promise<string> {
  if (way !== 'presigned') return rawAnswer.parse(answer?.json()).data.assetId
  const { upload, upload_url: path } = created.parse(answer?.json()).data
  await connection.send({ method: 'PUT', path, body: randomBytes(bytes) })
  await connection.send({ method: 'POST', path: `/api/v1/uploads/${upload.id}/confirm` })
  return upload.id
}

function isRefusal(answer: Answer | undefined): boolean {
  if (answer?.status !== 413) return false
  const body = answer.json()
  const code = z
    .object({ error_code: z.string() })
    .or(z.object({ errorCode: z.string() }))
    .safeParse(body)
  const name = code.data && ('error_code' in code.data ? code.data.error_code : code.data.errorCode)
  return name?.toLowerCase() === 'quota_exceeded' && refusal.safeParse(body).success
}

async function counters(connection: Wire): Promise<Counters> {
  const answer = await connection.send({ method: 'GET', path: '/api/v1/usage/summary' })
  const { used_bytes: used, reserved_bytes: reserved } = usage.parse(answer?.json()).data.storage
  return { used, reserved }
}

const all = <T>(count: number, work: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, work))
