import { BlockList, isIP } from 'node:net'
import type { IncomingMessage } from 'node:http'
import type { Config } from '../../config/load.ts'
import { parseCidr } from '../../config/values.ts'

/** `false`: nobody · `true`: whoever connects · a number: that many hops · else the addresses and networks of the proxies. */
type TrustProxy = Config['server']['trustProxy']

export interface Origin {
  /** The address of the client itself. */
  readonly ip: string
  /** Scheme and host as the client asked for them, such as `https://files.example.org`. */
  readonly url: string
  /** What paths begin with, where the public address has a path of its own; else empty. */
  readonly path: string
}

const hostPattern = /^(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i

/** Whether connections from this address bring other clients' requests. */
export function proxyTest(trust: TrustProxy): (address: string) => boolean {
  const trusted = trustTest(trust)
  return (address) => trusted(address, 0)
}

/** Where a request came from and which address it asked for. Forwarded headers count only when a trusted proxy sent them. */
export function originReader(publicUrl: string | null, trust: TrustProxy): (req: IncomingMessage) => Origin {
  const publicPath = publicUrl === null ? '' : new URL(publicUrl).pathname.replace(/\/$/, '')
  const trusted = trustTest(trust)

  return (req) => {
    const peer = req.socket.remoteAddress ?? ''
    const forwarded = trusted(peer, 0)
    let ip = peer
    if (forwarded) {
      const hops = list(req.headers['x-forwarded-for']).toReversed()
      for (const [index, address] of hops.entries()) {
        ip = address
        if (!trusted(address, index + 1)) break
      }
    }
    if (publicUrl !== null) return { ip, url: publicUrl, path: publicPath }
    const header = (name: string): string | undefined => (forwarded ? list(req.headers[name])[0] : undefined)
    const scheme = header('x-forwarded-proto') === 'https' ? 'https' : 'http'
    const host = header('x-forwarded-host') ?? req.headers.host ?? ''
    return { ip, url: `${scheme}://${hostPattern.test(host) ? host : 'localhost'}`, path: '' }
  }
}

const list = (header: string | string[] | undefined): string[] =>
  String(header ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

function trustTest(trust: TrustProxy): (address: string, hop: number) => boolean {
  const proxies = new BlockList()
  if (typeof trust === 'object')
    for (const { address, prefix, family } of trust.flatMap((cidr) => parseCidr(cidr) ?? []))
      proxies.addSubnet(address, prefix, family)

  return (address, hop) => {
    if (typeof trust === 'boolean') return trust
    if (typeof trust === 'number') return hop < trust
    const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
    return isIP(plain) !== 0 && proxies.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
  }
}
