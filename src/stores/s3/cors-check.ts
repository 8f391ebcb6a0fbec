import { setTimeout as sleep } from 'node:timers/promises'
import type { CORSRule, S3Client } from '@aws-sdk/client-s3'
import { type Answer, ask } from '../../connection.ts'
import { type Check, type ClientTerms, type Explanation, failed, passed } from '../../uploads/diagnosis.ts'
import { missingIn, pageText, readCors, setCors, type Wish, wishes } from './cors.ts'
import { explainError, type Place, saidIn } from './explain.ts'

/** Preflights after the rules were set: some servers take a moment to know them. */
const setTries = 5
/** Milliseconds between them. */
const settleMs = 1_000

export interface CorsPlace {
  readonly client: S3Client
  readonly bucket: string
  /** Names our rules among those of others. */
  readonly id: string
  readonly at: (actions: readonly string[]) => Place
  readonly outside: (actions: readonly string[]) => Place
}

/**
 * Whether browsers get through, which a real preflight tells; the bucket's rules tell why not.
 *
 * @param url where preflights go; nothing where none can be sent from here, and the rules must do
 */
export async function* checkCors(place: CorsPlace, url: string | undefined, terms: ClientTerms): AsyncGenerator<Check> {
  const { client, bucket, at, outside } = place
  if (terms.origins.length === 0) {
    yield passed('store.cors', 'Not looked at: server.corsOrigins allows no web pages.')
    return
  }
  if (terms.setCors) {
    const set = await put(place, terms)
    yield set
    if (!set.ok) return
  }
  const wanted = wishes(terms)
  let refused: readonly Wish[] = wanted
  let rules: Rules
  try {
    rules = await rulesOf(client, bucket)
    for (let tries = 1; ; tries++) {
      refused = url === undefined ? [] : await refusedOf(url, wanted)
      if (refused.length === 0 || !terms.setCors || tries === setTries) break
      await sleep(settleMs)
    }
  } catch (error) {
    yield failed('store.cors', explainError(error, outside(['s3:GetBucketCORS'])))
    return
  }
  const { known, note } = rules
  if (url === undefined) refused = wanted.filter((wish) => known && missingIn(known, wish) !== undefined)
  // What a script may see of an answer, no preflight tells.
  const lacking = known
    ? wanted.flatMap((wish) => {
        const reason = missingIn(known, wish)
        return reason !== undefined && (refused.includes(wish) || (known.length > 0 && reason.includes('ETag')))
          ? [reason]
          : []
      })
    : []
  if (lacking.length > 0)
    yield shutOut(terms, {
      detail: `By the CORS rules of the bucket ${bucket} ${listed(lacking)}.`,
      remedy: `Run "fairlead doctor --set-cors", which needs ${at(['s3:PutBucketCORS']).actions.join()}; without web pages set FAIRLEAD_CORS_ORIGINS to nothing.`,
    })
  else if (refused.length > 0)
    yield shutOut(terms, {
      detail: `${outside([]).url} refuses preflights: ${listed(refused.map(refusalText))}.${note === undefined ? '' : ` ${note}`}`,
      remedy: known
        ? 'The rules of the bucket are right: let the proxy in front of it pass OPTIONS requests on.'
        : 'Run "fairlead doctor --set-cors", or allow it in the configuration of the server itself.',
    })
  else yield passed('store.cors', url === undefined ? 'By the rules of the bucket alone, if it tells them.' : note)
}

/** Only where somebody has named web pages is it wrong that they do not get through; else it is worth knowing. */
const shutOut = (terms: ClientTerms, why: Explanation): Check =>
  terms.origins.includes('*') && !terms.setCors
    ? passed('store.cors', `Web pages cannot use it. ${why.detail} ${why.remedy}`)
    : failed('store.cors', why)

/** One sentence says a few of them. */
const mostListed = 4
const listed = (texts: readonly string[]): string => {
  const all = [...new Set(texts)]
  const more = all.length > mostListed ? [`${all.length - mostListed} more`] : []
  return [...all.slice(0, mostListed), ...more].join('; ')
}

const refusalText = ({ origin, method }: Wish): string => `${pageText(origin)} may not ${method}`

async function put(place: CorsPlace, terms: ClientTerms): Promise<Check> {
  try {
    await setCors(place.client, place.bucket, place.id, terms)
    return passed('store.set-cors', 'The CORS rules of the bucket were set.')
  } catch (error) {
    const said = saidIn(error)
    const missing = said?.code === 'NotImplemented' || said?.status === 501 || said?.status === 405
    return failed(
      'store.set-cors',
      missing
        ? {
            detail: 'The S3 server has no call to set CORS rules (NotImplemented).',
            remedy: "Allow your pages in the server's own configuration, or in a proxy in front of it.",
          }
        : explainError(error, place.at(['s3:PutBucketCORS', 's3:GetBucketCORS'])),
    )
  }
}

interface Rules {
  /** Nothing: they cannot be read. */
  readonly known: readonly CORSRule[] | undefined
  readonly note?: string
}

async function rulesOf(client: S3Client, bucket: string): Promise<Rules> {
  try {
    const known = await readCors(client, bucket)
    return known ? { known } : { known, note: 'The server does not tell its CORS rules: asked by preflight alone.' }
  } catch (error) {
    if (saidIn(error)?.status !== 403) throw error
    return { known: undefined, note: 'The CORS rules may not be read (s3:GetBucketCORS): asked by preflight alone.' }
  }
}

async function refusedOf(url: string, wanted: readonly Wish[]): Promise<readonly Wish[]> {
  const answers = await Promise.all(
    wanted.map((wish) =>
      ask(url, {
        method: 'OPTIONS',
        headers: {
          Origin: wish.origin,
          'Access-Control-Request-Method': wish.method,
          'Access-Control-Request-Headers': wish.headers.join(', '),
        },
      }),
    ),
  )
  return wanted.filter((wish, i) => !allows(answers[i], wish))
}

/** As a browser reads the answer to a preflight. */
function allows(answer: Answer | undefined, { origin, method, headers }: Wish): boolean {
  if (!answer || answer.status < 200 || answer.status > 299) return false
  const list = (name: string): string[] =>
    (answer.headers.get(name) ?? '').split(',').map((word) => word.trim().toLowerCase())
  const [allowed] = list('access-control-allow-origin')
  const methods = list('access-control-allow-methods')
  const names = list('access-control-allow-headers')
  return (
    (allowed === '*' || allowed === origin.toLowerCase()) &&
    (methods.includes('*') || methods.includes(method.toLowerCase()) || method === 'GET') &&
    (names.includes('*') || headers.every((header) => names.includes(header)))
  )
}
