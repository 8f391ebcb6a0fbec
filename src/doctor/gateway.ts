import type { Config } from '../../config/load.ts'
import { ask, connectionCode, connectionFault, httpUrl, read, seenFromHere } from '../connection.ts'
import { type Check, failed, passed } from '../uploads/diagnosis.ts'
import type { Records } from '../uploads/records.ts'
import { doctorWorkspace, withTemporaryKey } from './account.ts'
import { probeBodies } from './body-probe.ts'
import { presignedTrip, rawTrip } from './trips.ts'
import { textIn } from './visitor.ts'

/** How somebody answers at an address. */
type Knock =
  | { readonly kind: 'ours' }
  | { readonly kind: 'silent'; readonly error: unknown }
  | { readonly kind: 'moved'; readonly to: string }
  /** A Fairlead server that has nothing at this path. */
  | { readonly kind: 'astray'; readonly status: number }
  | { readonly kind: 'other'; readonly status: number }

/** Uploads to the server that runs, as a client does: at its public URL, or else at its own address. */
export async function* checkGateway(
  records: Records,
  config: Config,
  { dryRun }: { readonly dryRun: boolean },
): AsyncGenerator<Check> {
  const { publicUrl } = config.server
  const own = ownAddress(config)
  const base = publicUrl ?? own
  if (base === undefined) {
    yield passed('gateway', 'Not tried: the server listens on any port, and FAIRLEAD_PUBLIC_URL is not set.')
    return
  }
  const found = await knock(base)
  if (found.kind !== 'ours') {
    yield await absent(found, publicUrl, own)
    return
  }
  yield passed('gateway', `It answers at ${base}.`)
  const ready = await readiness(base)
  yield ready
  if (dryRun || !ready.ok) return
  yield* await visit(records, config, base)
}

/** With a key of its own. */
async function visit(records: Records, config: Config, base: string): Promise<Check[]> {
  return withTemporaryKey(records, config, async (key) => {
    const known = await acquaintance(base, key)
    if (!known.ok || known.detail !== undefined) return [known]
    const bodies = config.server.publicUrl === null ? [] : [await probeBodies(base, key, config.limits.maxFileSize)]
    return [known, ...bodies, await rawTrip(base, key, config), await presignedTrip(base, key, config)]
  })
}

/** Where the server listens, seen from this machine. */
function ownAddress({ server: { host, port } }: Config): string | undefined {
  if (port === 0) return undefined
  return seenFromHere(httpUrl(host, port))
}

async function knock(base: string): Promise<Knock> {
  try {
    const answer = await ask(`${base}/healthz`)
    const { status } = answer
    if (status >= 300 && status < 400) return { kind: 'moved', to: whereTo(base, answer.headers.get('location')) }
    const { json } = read(answer)
    if (!answer.headers.has('x-request-id')) return { kind: 'other', status }
    if (status === 200 && json['status'] === 'ok') return { kind: 'ours' }
    return { kind: status === 404 && json['errorCode'] === 'NOT_FOUND' ? 'astray' : 'other', status }
  } catch (error) {
    return { kind: 'silent', error }
  }
}

function whereTo(base: string, location: string | null): string {
  const to = location === null ? null : URL.parse(location, base)
  return to ? to.href.replace(/\/healthz.*$|[?#].*$/, '') : 'another address'
}

/** Nothing is wrong when the server is not running. */
async function absent(
  found: Exclude<Knock, { kind: 'ours' }>,
  publicUrl: string | null,
  own: string | undefined,
): Promise<Check> {
  const check = 'gateway'
  const refused = found.kind === 'silent' && connectionCode(found.error) === 'ECONNREFUSED'
  const gone = found.kind === 'other' && found.status >= 502 && found.status <= 504
  const inside = publicUrl !== null && own !== undefined ? await knock(own) : undefined
  const runs = inside?.kind === 'ours'
  if ((refused || gone) && !runs)
    return passed(check, `The server is not running: nothing was sent to ${publicUrl ?? own}.`)
  const setting = publicUrl === null ? 'FAIRLEAD_HOST and FAIRLEAD_PORT' : 'FAIRLEAD_PUBLIC_URL'
  const base = publicUrl ?? own
  const aside = runs ? ` The server itself answers at ${own}.` : ''
  if (found.kind === 'silent') {
    const { what, remedy } = connectionFault(found.error)
    return failed(check, { detail: `${base} ${what}.${aside}`, remedy: `${remedy} It is ${setting}.` })
  }
  if (found.kind === 'moved')
    return failed(check, {
      detail: `${base} sends clients on to ${found.to}, where uploads cannot follow.${aside}`,
      remedy: `Set ${setting} to the address where it ends, or let it serve uploads itself.`,
    })
  if (found.kind === 'astray')
    return failed(check, {
      detail: `A Fairlead server answers at ${base}, but has nothing there: the path of the address is another.${aside}`,
      remedy: `Correct the path in ${setting}, or let the proxy in front cut it off before it passes requests on.`,
    })
  return failed(check, {
    detail: gone
      ? `The proxy at ${base} answers ${found.status}.${aside}`
      : `Another program answers at ${base}: it is no Fairlead server (GET /healthz: ${found.status}).${aside}`,
    remedy: gone ? 'Let the proxy lead to the server; see its log.' : `Correct ${setting}, or stop that program.`,
  })
}

async function readiness(base: string): Promise<Check> {
  const check = 'gateway.ready'
  try {
    const { status } = await ask(`${base}/readyz`)
    if (status === 200) return passed(check)
    return failed(check, {
      detail: `The server at ${base} is not ready (GET /readyz: ${status}).`,
      remedy: 'See what is said of the store, and the log of the server.',
    })
  } catch (error) {
    const { what, remedy } = connectionFault(error)
    return failed(check, { detail: `${base}/readyz ${what}.`, remedy })
  }
}

/** Whether the server that answers is the one with these records. */
async function acquaintance(base: string, key: string): Promise<Check> {
  const check = 'gateway.key'
  try {
    const url = `${base}/api/v1/auth/whoami`
    const reply = read(await ask(url, { headers: { Authorization: `Bearer ${key}` } }))
    if (reply.status === 200 && textIn(reply.json['data'], 'workspace_id') === doctorWorkspace) return passed(check)
    if (reply.status === 429) return passed(check, 'Nothing was uploaded: there is a limit of requests.')
    if (reply.status !== 401)
      return failed(check, {
        detail: `${url} answers ${reply.status}, and not as the server would.`,
        remedy: 'See what stands in front of the server, and let it pass every path on.',
      })
    const other = await ask(url, { headers: { 'x-api-key': key } })
    return failed(
      check,
      other.status === 200
        ? {
            detail: `A proxy at ${base} does not pass the Authorization header on.`,
            remedy: 'Let it pass that header on (Apache: CGIPassAuth; no authentication of its own).',
          }
        : {
            detail: `A Fairlead server answers at ${base}, but not the one with these records: it does not know a key that was made here.`,
            remedy:
              'Run the doctor with the same FAIRLEAD_DATA_DIR, FAIRLEAD_DATABASE_URL and configuration file as the server, or correct FAIRLEAD_PUBLIC_URL.',
          },
    )
  } catch (error) {
    const { what, remedy } = connectionFault(error)
    return failed(check, { detail: `${base} ${what}.`, remedy })
  }
}
