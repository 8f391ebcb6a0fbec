import { createHash, randomBytes } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3'
import { ask, isBeyondUs } from '../../connection.ts'
import { UploadError } from '../../errors.ts'
import {
  type Check,
  type ClientTerms,
  type Diagnosis,
  failed,
  passed,
  type StoreStep,
} from '../../uploads/diagnosis.ts'
import type { DirectAccess } from '../../uploads/object-store.ts'
import { explainClock, clockCheck } from './clock.ts'
import { checkCors } from './cors-check.ts'
import { explainError, explainSaid, type Place, saidBy, saidIn } from './explain.ts'
import type { Target } from './multipart.ts'

/** Milliseconds for the first request, … */
const reachMs = 5_000
/** … and for each that follows. */
const askMs = 8_000
/** Bytes of what is sent as a client would. */
const trialBytes = 4_096
/** Milliseconds for which the URLs of a trial are good. */
const urlMs = 120_000

/** IAM actions that each call of the port needs. */
const actionsOf: Readonly<Record<StoreStep, readonly string[]>> = {
  reach: ['s3:ListBucket'],
  write: ['s3:PutObject'],
  stat: ['s3:GetObject'],
  read: ['s3:GetObject'],
  list: ['s3:ListBucket'],
  remove: ['s3:DeleteObject', 's3:ListBucketMultipartUploads'],
}

export interface S3DiagnosisOptions {
  readonly client: S3Client
  readonly direct: DirectAccess
  readonly bucket: string
  readonly prefix: string
  readonly targetOf: (key: string) => Target
  readonly endpoint: string | undefined
  readonly publicEndpoint: string | undefined
  readonly region: string
  readonly pathStyle: boolean
}

/** What an operator wants to know of a bucket: is it there, does it let us and browsers in, does the clock agree? */
export function s3Diagnosis(options: S3DiagnosisOptions): Required<Diagnosis> {
  const { client, direct, bucket, prefix, region, pathStyle } = options
  const beyondUs = isBeyondUs(options.publicEndpoint, options.endpoint)
  const inside = options.endpoint ?? `https://s3.${region}.amazonaws.com`

  const at = (actions: readonly string[]): Place => ({
    url: inside,
    variable: 'FAIRLEAD_S3_ENDPOINT',
    bucket,
    region,
    pathStyle,
    actions,
  })
  const outside = (actions: readonly string[]): Place =>
    options.publicEndpoint === undefined
      ? at(actions)
      : { ...at(actions), url: options.publicEndpoint, variable: 'FAIRLEAD_S3_PUBLIC_ENDPOINT' }

  async function reach(): Promise<readonly Check[]> {
    const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 })
    const clock = clockCheck(command.middlewareStack)
    try {
      const { Name, KeyCount } = await client.send(command, { abortSignal: AbortSignal.timeout(reachMs) })
      // Anything may answer with 200 and nothing that we can read.
      if (Name === undefined && KeyCount === undefined)
        return [failed('store.reach', explainSaid({ status: 200 }, at([])))]
      return [passed('store.reach'), clock.check()]
    } catch (error) {
      const said = saidIn(error)
      if (said?.code === 'RequestTimeTooSkewed') return [failed('store.reach', explainClock(clock.skewMs()))]
      return [failed('store.reach', explainError(error, at(actionsOf.reach)))]
    }
  }

  /** Begins an object of parts, finds it among the unfinished, and ends it. */
  async function multipart(key: string): Promise<Check> {
    const target = options.targetOf(key)
    const send = { abortSignal: AbortSignal.timeout(askMs) }
    let actions = ['s3:PutObject']
    try {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand(target), send)
      try {
        actions = ['s3:ListBucketMultipartUploads']
        await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: target.Key }), send)
      } finally {
        const listed = actions
        actions = ['s3:AbortMultipartUpload']
        const abortSignal = AbortSignal.timeout(askMs)
        await client.send(new AbortMultipartUploadCommand({ ...target, UploadId }), { abortSignal })
        actions = listed
      }
      return passed('store.multipart')
    } catch (error) {
      return failed('store.multipart', explainError(error, at(actions)))
    }
  }

  /** What a browser does with presigned URLs, and the gateway after it. */
  async function* presigned([key, copyKey]: ClientTerms['keys']): AsyncGenerator<Check> {
    const bytes = randomBytes(trialBytes)
    const checksum = { algorithm: 'md5', digest: createHash('md5').update(bytes).digest('base64') } as const
    const terms = { size: bytes.length, contentType: 'application/octet-stream', checksum, until: Date.now() + urlMs }
    const put = await viaUrl('store.presigned-put', ['s3:PutObject'], async () => {
      const { url, headers } = await direct.putUrl(key, terms)
      return { ...(await ask(url, { method: 'PUT', headers, body: bytes })), wanted: [200, 204] }
    })
    yield put
    if (!put.ok) return
    yield viaUrl('store.presigned-get', ['s3:GetObject'], async () => {
      const url = await direct.getUrl(key, {
        contentType: 'application/octet-stream',
        disposition: 'attachment',
        seconds: urlMs / 1_000,
      })
      const answer = await ask(url, { headers: { Range: 'bytes=1000-1999' } })
      return { ...answer, wanted: [206], bytes: bytes.subarray(1_000, 2_000) }
    })
    yield copy(key, copyKey, bytes.length)
  }

  async function viaUrl(
    check: string,
    actions: readonly string[],
    send: () => Promise<Awaited<ReturnType<typeof ask>> & { readonly wanted: number[]; readonly bytes?: Buffer }>,
  ): Promise<Check> {
    try {
      const { status, body, wanted, bytes } = await send()
      if (!wanted.includes(status))
        return failed(check, explainSaid(saidBy(status, body.toString('latin1')), outside(actions)))
      if (bytes === undefined || bytes.equals(body)) return passed(check)
      const { url, variable } = outside(actions)
      return failed(check, {
        detail: `What came from ${url} are not the bytes that were sent there.`,
        remedy: `See whether ${variable} is the same S3 server, and whether something in between changes bodies.`,
      })
    } catch (error) {
      return failed(check, explainError(error, outside(actions)))
    }
  }

  async function copy(key: string, copyKey: string, size: number): Promise<Check> {
    const actions = ['s3:GetObject', 's3:PutObject']
    try {
      const signal = AbortSignal.timeout(askMs)
      const from = await direct.arrived(key)
      if (from?.size !== size)
        return failed('store.copy', {
          detail: 'What was sent to the public address of the S3 server is not in the bucket.',
          remedy: 'Let FAIRLEAD_S3_PUBLIC_ENDPOINT lead to the same server as FAIRLEAD_S3_ENDPOINT.',
        })
      await direct.copy(from, copyKey, { signal })
      return passed('store.copy')
    } catch (error) {
      return failed('store.copy', explainError(error, at(actions)))
    }
  }

  return {
    reach,
    explain(step, error) {
      if (error instanceof UploadError && error.code === 'not_found')
        return {
          detail: `The S3 server at ${inside} does not have what was just written.`,
          remedy: 'See whether it is several servers that do not hold the same, or one that keeps nothing.',
        }
      return explainError(error, at(actionsOf[step]))
    },
    async *clients(terms) {
      if (!terms.dryRun) {
        yield multipart(terms.keys[0])
        if (beyondUs)
          yield passed('store.presigned-put', `Not tried: from here ${options.publicEndpoint} leads somewhere else.`)
        else yield* presigned(terms.keys)
      }
      yield* checkCors(
        { client, bucket, id: `fairlead-${prefix.replace(/\/$/, '')}`, at, outside },
        // Nobody sends anything there: a preflight asks, whatever is under the key.
        beyondUs ? undefined : (await direct.putUrl(terms.keys[0], { ...noTerms, until: Date.now() + urlMs })).url,
        terms,
      )
    },
  }
}

const noTerms = { size: null, contentType: null, checksum: null }
