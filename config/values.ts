import { isIP } from 'node:net'

const sizeUnits = {
  B: 1n,
  kB: 1000n,
  KB: 1000n,
  KiB: 1n << 10n,
  MB: 1000n ** 2n,
  MiB: 1n << 20n,
  GB: 1000n ** 3n,
  GiB: 1n << 30n,
  TB: 1000n ** 4n,
  TiB: 1n << 40n,
} as const
const isUnit = (text: string): text is keyof typeof sizeUnits => Object.hasOwn(sizeUnits, text)

/** Bytes of `5368709120`, `10GiB` or `1.5 TiB`; a fraction of a byte is dropped. At least 1, and at most 2^53 - 1. */
export function parseSize(text: string): number | undefined {
  const [, whole, fraction = '', unit = 'B'] = /^(\d{1,16})(?:\.(\d{1,6}))?(?: ?([A-Za-z]+))?$/.exec(text) ?? []
  if (whole === undefined || !isUnit(unit)) return undefined
  const bytes = (BigInt(whole + fraction) * sizeUnits[unit]) / 10n ** BigInt(fraction.length)
  return bytes >= 1n && bytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(bytes) : undefined
}

/** A whole number as an environment variable holds it; any other text stays as it is, and the schema refuses it. */
export const readNumber = (text: string): number | string => (/^(0|[1-9]\d*)$/.test(text) ? Number(text) : text)

/** `true` or `false` as an environment variable holds it; any other text stays, and the schema refuses it. */
export const readBoolean = (text: string): boolean | string =>
  text === 'true' || text === 'false' ? text === 'true' : text

/** Comma-separated, spaces around an entry do not count. */
export const readList = (text: string): string[] => text.split(',').map((entry) => entry.trim())

/** JSON as an environment variable holds it; any other text stays, and the schema refuses it. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export function readTrustProxy(text: string): boolean | number | string[] {
  if (text === 'true' || text === 'false') return text === 'true'
  const hops = readNumber(text)
  return typeof hops === 'number' ? hops : readList(text)
}

export interface Cidr {
  readonly address: string
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

/** `10.0.0.0/8`, `fd00::/8`, or a single address. */
export function parseCidr(text: string): Cidr | undefined {
  const [, address = '', digits] = /^([0-9a-f.:]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? []
  const version = isIP(address)
  if (version === 0) return undefined
  const bits = version === 4 ? 32 : 128
  const prefix = digits === undefined ? bits : Number(digits)
  return prefix <= bits ? { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' } : undefined
}

/** An address or name to listen on, without a port. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true
  const labels = text.split('.')
  const named = labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label))
  return named && text.length <= 253 && !/^\d+$/.test(labels.at(-1) ?? '') // 127.0.0.256 is no name
}

const httpUrl = (text: string): URL | undefined =>
  /^https?:\/\/[^\s\p{Cc}\\?#@]+$/iu.test(text) && URL.canParse(text) ? new URL(text) : undefined

/** An absolute http(s) URL without credentials, query or fragment; slashes at its end are dropped. */
export const parsePublicUrl = (text: string): string | undefined => httpUrl(text)?.href.replace(/\/+$/, '')

/** `*`, or an origin as a browser sends it. Applications send schemes of their own, such as `capacitor://localhost`. */
export function parseOrigin(text: string): string | undefined {
  if (text === '*') return text
  if (!/^https?:/i.test(text)) return /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9.:-]+$/.test(text) ? text : undefined
  const url = httpUrl(text)
  return url?.pathname === '/' ? url.origin : undefined
}

/** The path inside `sqlite:<path>`. Two slashes would make a host of the first folder, and a database in memory would forget all. */
export const parseSqliteUrl = (url: string): string | undefined =>
  /^sqlite:(?!\/\/[^/])(?!:memory:)([^\0]+)$/.exec(url)?.[1]

/** `.PDF` and `pdf` are one extension. */
export const parseExtension = (text: string): string | undefined =>
  /^\.?([a-z0-9][a-z0-9._+-]{0,31})$/.exec(text.toLowerCase())?.[1]

/** `image/png` or `image/*`. */
export const parseMediaType = (text: string): string | undefined =>
  /^[a-z0-9!#$&^_.+-]+\/(?:\*|[a-z0-9!#$&^_.+-]+)$/.exec(text.toLowerCase())?.[0]
