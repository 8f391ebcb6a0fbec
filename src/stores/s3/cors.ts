import { createHash } from 'node:crypto'
import { type CORSRule, GetBucketCorsCommand, PutBucketCorsCommand, type S3Client } from '@aws-sdk/client-s3'
import type { ClientTerms } from '../../uploads/diagnosis.ts'
import { answered } from './requests.ts'

/** Milliseconds for one request. */
const askMs = 8_000
/** Seconds for which a browser may remember the answer to a preflight. */
const preflightSeconds = 3_600
/** Headers that the PUT to an upload URL may have to carry. */
const putHeaders = ['content-type', 'content-md5', 'content-disposition', 'x-amz-checksum-sha256']
/** Those that a script adds to read a part, or what has changed. */
const getHeaders = ['range', 'if-range', 'if-none-match']
const exposed = ['ETag', 'Content-Length', 'Content-Range', 'Content-Disposition', 'Accept-Ranges']
/** A page that was sent on from the gateway to the store comes to it from nowhere. */
const redirectedOrigin = 'null'

/** What a page has to be let do. */
export interface Wish {
  readonly origin: string
  readonly method: 'PUT' | 'GET'
  readonly headers: readonly string[]
}

type CorsTerms = Pick<ClientTerms, 'origins' | 'downloads'>

/** A page that may be anybody's, where any may come. */
const anyPage = 'https://any-page.example'

export function wishes({ origins, downloads }: CorsTerms): Wish[] {
  const pages = origins.map((origin) => (origin === '*' ? anyPage : origin))
  const readers = downloads ? [...pages, redirectedOrigin] : []
  return [
    ...pages.map((origin) => ({ origin, method: 'PUT', headers: putHeaders }) as const),
    ...readers.map((origin) => ({ origin, method: 'GET', headers: getHeaders }) as const),
  ]
}

/**
 * Our rules. Servers take the first rule that fits, some by the origin alone: what is for certain pages goes before what is for all.
 * Whoever has a download URL may read anyway, so scripts of every page may: from the gateway they come as `null`.
 */
function ownRules(id: string, { origins, downloads }: CorsTerms): { first: CORSRule[]; last: CORSRule[] } {
  const any = origins.includes('*')
  const common = { ExposeHeaders: exposed, MaxAgeSeconds: preflightSeconds }
  const pages: CORSRule = {
    ...common,
    ID: id,
    AllowedOrigins: [...origins],
    AllowedMethods: downloads ? ['PUT', 'GET', 'HEAD'] : ['PUT'],
    AllowedHeaders: downloads ? [...putHeaders, ...getHeaders] : putHeaders,
  }
  const readers: CORSRule = {
    ...common,
    ID: `${id}-downloads`,
    AllowedOrigins: ['*'],
    AllowedMethods: ['GET', 'HEAD'],
    AllowedHeaders: getHeaders,
  }
  return any ? { first: [], last: [pages] } : { first: [pages], last: downloads ? [readers] : [] }
}

/** The bucket's rules; nothing: the server does not tell. @throws whatever the SDK throws */
export async function readCors(client: S3Client, bucket: string): Promise<readonly CORSRule[] | undefined> {
  try {
    const { CORSRules } = await client.send(new GetBucketCorsCommand({ Bucket: bucket }), {
      abortSignal: AbortSignal.timeout(askMs),
    })
    return CORSRules ?? []
  } catch (error) {
    if (answered(error, 'NoSuchCORSConfiguration')) return []
    if (answered(error, 'NotImplemented', 501, 'MethodNotAllowed', 405)) return undefined
    throw error
  }
}

/** Puts our rules in the place of those that we have put before; others stay. @throws whatever the SDK throws */
export async function setCors(client: S3Client, bucket: string, id: string, terms: CorsTerms): Promise<void> {
  const others = ((await readCors(client, bucket)) ?? []).filter(({ ID }) => ID !== id && ID !== `${id}-downloads`)
  const { first, last } = ownRules(id, terms)
  const command = new PutBucketCorsCommand({
    Bucket: bucket,
    CORSConfiguration: { CORSRules: [...first, ...others, ...last] },
  })
  // The SDK sends a CRC32, which only AWS is known to take here; the MD5 is what every server knows.
  command.middlewareStack.add(
    (next) => (args) => {
      const { request } = args
      if (hasBody(request)) request.headers['content-md5'] = createHash('md5').update(request.body).digest('base64')
      return next(args)
    },
    { step: 'build' },
  )
  await client.send(command, { abortSignal: AbortSignal.timeout(askMs) })
}

const hasBody = (request: unknown): request is { body: string; headers: Record<string, string> } =>
  typeof request === 'object' && request !== null && 'body' in request && typeof request.body === 'string'

const fits = (pattern: string, text: string): boolean => {
  const [head = '', tail] = pattern.toLowerCase().split('*')
  const lower = text.toLowerCase()
  return tail === undefined
    ? lower === head
    : lower.length >= head.length + tail.length && lower.startsWith(head) && lower.endsWith(tail)
}

/** What those rules do not let that page do; nothing when they do. */
export function missingIn(rules: readonly CORSRule[], wish: Wish): string | undefined {
  const forOrigin = rules.filter(({ AllowedOrigins = [] }) => AllowedOrigins.some((one) => fits(one, wish.origin)))
  const page = pageText(wish.origin)
  if (forOrigin.length === 0) return `${page} may do nothing`
  const forMethod = forOrigin.filter(({ AllowedMethods = [] }) => AllowedMethods.includes(wish.method))
  if (forMethod.length === 0) return `${page} may not ${wish.method}`
  const lacking = forMethod.map(({ AllowedHeaders = [] }) =>
    wish.headers.filter((header) => !AllowedHeaders.some((one) => fits(one, header))),
  )
  const whole = forMethod.filter((_, i) => lacking[i]?.length === 0)
  if (whole.length === 0) return `${page} may not ${wish.method} with the headers ${lacking[0]?.join(', ')}`
  if (!whole.some(({ ExposeHeaders = [] }) => ExposeHeaders.some((one) => fits(one, 'ETag'))))
    return `${page} may ${wish.method}, but not see the ETag`
  return undefined
}

export function pageText(origin: string): string {
  if (origin === redirectedOrigin) return 'a page that the gateway sends on to a download (origin "null")'
  return origin === anyPage ? 'a page of any origin' : `a page of ${origin}`
}
