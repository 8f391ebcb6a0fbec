/** Why no answer came, and what to do about it. Nothing in it is secret. */
export interface ConnectionFault {
  /** What follows the name of whom we called: `refuses the connection (ECONNREFUSED)`. */
  readonly what: string
  /** A sentence. */
  readonly remedy: string
}

type Entry = readonly [codes: RegExp, what: string, remedy: string]

const faults: readonly Entry[] = [
  [
    /^(ENOTFOUND|EAI_AGAIN|ENODATA)$/,
    'has a host name that is not known here',
    'Correct the address, or make the name known in DNS.',
  ],
  [/^ECONNREFUSED$/, 'refuses the connection', 'Start what should listen there, or correct the host and port.'],
  [
    /^(EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/,
    'cannot be reached over the network',
    'Check the address, the route and the firewall.',
  ],
  [
    /^(ETIMEDOUT|TimeoutError|AbortError|UND_ERR_CONNECT_TIMEOUT|UND_ERR_HEADERS_TIMEOUT)$/,
    'does not answer in time',
    'Check the host, the port and the firewalls on the way, and whether it is overloaded.',
  ],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, 'has a certificate that is not valid now', 'Renew it, or set the clock.'],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    'has a certificate for another name',
    'Use the host name that the certificate is for, or get one for this name.',
  ],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|^CERT_/,
    'has a certificate that is not trusted here',
    'Use one of a known authority, or name the file of your own authority in NODE_EXTRA_CA_CERTS.',
  ],
  [
    /^(EPROTO|ERR_SSL_.*)$/,
    'does not speak TLS as it should',
    'Where it speaks plain HTTP the address begins with http://, not https://.',
  ],
  [
    /^HPE_/,
    'does not answer with HTTP',
    'Correct the port; where it speaks TLS the address begins with https://, not http://.',
  ],
  [
    /^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    'breaks the connection off',
    'Correct the port, and http:// or https:// before it; otherwise see its own log.',
  ],
]

/** The code of what went wrong below HTTP, wherever in the error it stands. */
export function connectionCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if (error instanceof AggregateError && !('code' in error)) return connectionCode(error.errors[0])
  if ('code' in error && typeof error.code === 'string') return error.code
  return connectionCode(error.cause) ?? (/^(Timeout|Abort)Error$/.test(error.name) ? error.name : undefined)
}

export function connectionFault(error: unknown): ConnectionFault {
  const code = connectionCode(error)
  const found = faults.find(([codes]) => code !== undefined && codes.test(code))
  if (!found) return { what: `cannot be asked${code === undefined ? '' : ` (${code})`}`, remedy: 'Check its address.' }
  const [, what, remedy] = found
  return { what: `${what} (${code})`, remedy }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Its beginning, when it is long. */
  readonly body: Buffer
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array<ArrayBuffer> | string
  readonly signal?: AbortSignal
}

/** Milliseconds for a whole request. */
const askMs = 8_000
/** Bytes of an answer that are read. */
const mostBytes = 64 * 1024

/** One request, as a client would make it. No redirect is followed. @throws what `connectionFault` can read */
export async function ask(url: string, options: AskOptions = {}): Promise<Answer> {
  const signals = [AbortSignal.timeout(askMs), ...(options.signal ? [options.signal] : [])]
  const response = await fetch(url, { ...options, redirect: 'manual', signal: AbortSignal.any(signals) })
  return { status: response.status, headers: response.headers, body: await beginning(response, mostBytes) }
}

/** The first bytes of a body: so many, and what comes along with the last of them. */
export async function beginning({ body }: Response, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= most) break
  }
  return Buffer.concat(chunks)
}

/** An answer of the gateway, or of somebody in its place. */
export interface Reply extends Answer {
  readonly json: Readonly<Record<string, unknown>>
  /** Our own error code in lower case; nothing when it is no error of ours. */
  readonly code: string | undefined
}

export function read(answer: Answer): Reply {
  let json: Record<string, unknown> = {}
  try {
    const value: unknown = JSON.parse(answer.body.toString())
    if (isRecord(value)) json = value
  } catch {
    // It is somebody else's.
  }
  const named = json['error_code'] ?? json['errorCode'] ?? (Array.isArray(json['detail']) ? 'validation_failed' : '')
  const code = typeof named === 'string' && /^\w{1,64}$/.test(named) ? named.toLowerCase() : undefined
  return { ...answer, json, code }
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const httpUrl = (host: string, port: number | undefined): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}`

/** The address of a server for clients on its own machine: one that listens on every address has none that can be asked. */
export const seenFromHere = (url: string): string =>
  url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** Whether clients on this machine reach a server at an address that is somebody else's here: in a container, loopback is its own. */
export function isBeyondUs(forClients: string | undefined, forUs: string | undefined): boolean {
  if (forClients === undefined || forUs === undefined) return false
  return loopback.test(new URL(forClients).hostname) && !loopback.test(new URL(forUs).hostname)
}
