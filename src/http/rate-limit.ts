import { createHmac, randomBytes } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { type ErrorCode, UploadError } from '../errors.ts'
import type { Authenticate } from './authenticate.ts'
import type { Ctx } from './context.ts'

/** Seconds of a window: it begins with the first request that is counted in it. */
const windowSeconds = 60
/** Refused requests of one address in a window, where no limit is set: more than people and their programs get wrong. */
const refusalsByDefault = 300
/** Requests that go on with an upload, for each request that is allowed: they count as one with its creation. */
const continuationsPerRequest = 100
/** Counters for addresses at most: those beyond share one. */
const addressCounters = 65_536
/** Groups of an IPv6 address that a customer of a provider usually has to himself: 64 bits. */
const networkGroups = 4
const groupsOfAddress = 8

/** What counts against the client's address. Whatever else goes wrong is no guess. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'unauthenticated',
  'api_key_reserved',
  'token_expired',
  'workspace_forbidden',
])

/**
 * Counts the requests of every principal, and the refused ones of every client address. An address that has used up its refusals gets
 * no other answer to wrong credentials until the window ends; valid ones pass: others may have the same address, and keys are too long
 * to be guessed.
 *
 * Requests that go on with an upload have a budget of their own, so that one in small pieces comes to its end.
 *
 * @param perMinute requests of one principal, and refusals of one address; 0: no limit of requests, and the usual one of refusals
 * @throws {UploadError} `rate_limited`, beside what `authenticate` throws
 */
export function limited(authenticate: Authenticate, perMinute: number): Authenticate {
  const policies = {
    requests: policy(perMinute),
    continuations: policy(perMinute * continuationsPerRequest),
    failures: policy(perMinute === 0 ? refusalsByDefault : perMinute),
  }
  const salt = randomBytes(32)

  /** Memory is bounded by the number of counters; which addresses share one nobody can foresee. */
  const counterOf = (ip: string): number =>
    createHmac('sha256', salt).update(networkOf(ip)).digest().readUInt32BE() % addressCounters

  /** @returns seconds until the window ends, when this one was too many */
  async function count(ctx: Ctx, name: keyof typeof policies, key: string | number): Promise<number | undefined> {
    const { limiter, points } = policies[name]
    const { consumedPoints, remainingPoints, msBeforeNext } = await consume(limiter, key)
    const seconds = Math.max(1, Math.ceil(msBeforeNext / 1_000))
    ctx.set('RateLimit-Policy', `"${name}";q=${points};w=${windowSeconds}`)
    ctx.set('RateLimit', `"${name}";r=${remainingPoints};t=${seconds}`)
    return consumedPoints > points ? seconds : undefined
  }

  async function refused(ctx: Ctx): Promise<void> {
    const seconds = await count(ctx, 'failures', counterOf(ctx.state.origin.ip))
    if (seconds !== undefined) throw tooMany('Too many requests from this address had no valid credentials.', seconds)
  }

  return async (ctx, workspace, kind = 'requests') => {
    const principal = await authenticate(ctx, workspace).catch(async (error: unknown) => {
      if (error instanceof UploadError && refusals.has(error.code)) await refused(ctx)
      throw error
    })
    if (perMinute === 0) return principal
    const seconds = await count(ctx, kind, principal.id)
    if (seconds !== undefined) throw tooMany(`More than ${policies[kind].points} ${kind} in a minute.`, seconds)
    return principal
  }
}

const policy = (points: number) => ({
  points,
  limiter: new RateLimiterMemory({ points, duration: windowSeconds }),
})

const tooMany = (message: string, retryAfter: number): UploadError =>
  new UploadError('rate_limited', message, { retryAfter })

/** What is left after this one; the limiter rejects with the same when it was one too many. */
const consume = (limiter: RateLimiterMemory, key: string | number): Promise<RateLimiterRes> =>
  limiter.consume(key).catch((spent: unknown) => {
    if (spent instanceof RateLimiterRes) return spent
    throw spent
  })

/** An IPv4 address, or the network of an IPv6 address: whoever has one of its addresses has them all. */
export function networkOf(ip: string): string {
  if (!isIPv6(ip)) return ip
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1]
  if (mapped !== undefined) return mapped
  const [head = '', tail] = ip.toLowerCase().split('::')
  const [left, right] = [groups(head), groups(tail ?? '')]
  const zeros = tail === undefined ? 0 : Math.max(0, groupsOfAddress - left.length - right.length)
  const all = [...left, ...Array<string>(zeros).fill('0'), ...right]
  return all
    .slice(0, networkGroups)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
