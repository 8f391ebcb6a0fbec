import { connectionFault } from '../../connection.ts'
import { UploadError } from '../../errors.ts'
import type { Explanation } from '../../uploads/diagnosis.ts'

/** What an S3 server has said: its code and status, never its text, which may quote what was signed. */
export interface Said {
  readonly status: number
  /** Absent: it was no answer of an S3 server. */
  readonly code?: string | undefined
  /** The region that the server names as the right one. */
  readonly region?: string | undefined
}

/** Where the request went, for the sentences. */
export interface Place {
  readonly url: string
  /** How the configuration calls that address. */
  readonly variable: 'FAIRLEAD_S3_ENDPOINT' | 'FAIRLEAD_S3_PUBLIC_ENDPOINT'
  readonly bucket: string
  readonly region: string
  readonly pathStyle: boolean
  /** IAM actions that the request needs. */
  readonly actions: readonly string[]
}

const codePattern = /^[A-Za-z][A-Za-z0-9.]{1,63}$/
const regionPattern = /^[A-Za-z0-9-]{1,64}$/
/** Names that the SDK gives to what has no code of its own. */
const nameless = new Set(['Error', 'UnknownError', 'Unknown', 'NotFound', 'SyntaxError'])

/** The server's answer behind an error of the SDK; nothing when there was none. */
export function saidIn(error: unknown): Said | undefined {
  if (error instanceof UploadError) return error.cause === undefined ? undefined : saidIn(error.cause)
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined
  const { $metadata: metadata } = error
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined
  const status = Number(metadata.httpStatusCode)
  const region = 'Region' in error && typeof error.Region === 'string' ? error.Region : undefined
  const code = nameless.has(error.name) || !codePattern.test(error.name) ? undefined : error.name
  return { status, code, ...(region !== undefined && regionPattern.test(region) && { region }) }
}

/** The answer to a request that was sent without the SDK. */
export function saidBy(status: number, body: string): Said {
  const inside = (name: string) => new RegExp(`<${name}>([^<]{1,64})</${name}>`).exec(body)?.[1]
  const [code, region] = [inside('Code'), inside('Region')]
  return {
    status,
    code: code !== undefined && codePattern.test(code) ? code : undefined,
    region: region !== undefined && regionPattern.test(region) ? region : undefined,
  }
}

type Tell = (said: Said, place: Place) => Explanation

const clock: Tell = (_, { url }) => ({
  detail: `The S3 server at ${url} says that the clocks differ too much (RequestTimeTooSkewed).`,
  remedy: 'Set the clock of this machine, or of the server, by NTP.',
})
const region: Tell = (said, { url, region: ours, variable }) => ({
  detail: `The S3 server at ${url} takes no requests for the region ${ours} (${said.code ?? said.status}).`,
  remedy:
    said.region !== undefined && said.region !== ours
      ? `Set FAIRLEAD_S3_REGION=${said.region}.`
      : `Set FAIRLEAD_S3_REGION to the region of the bucket, and ${variable} to the address of that region.`,
})
const denied: Tell = (said, { bucket, actions }) => ({
  detail: `The S3 server does not allow it (${said.code ?? said.status}).`,
  remedy: `Allow the access key ${actions.join(' and ')} on the bucket ${bucket}.`,
})
const credentials: Tell = (said) => ({
  detail: `The S3 server does not know the access key (${said.code}).`,
  remedy: 'Correct FAIRLEAD_S3_ACCESS_KEY_ID, or whatever the AWS SDK takes the credentials from.',
})
const busy: Tell = (said, { url }) => ({
  detail: `The S3 server at ${url} cannot now (${said.code ?? said.status}).`,
  remedy: 'Look at its own log and load, and try again.',
})
const full: Tell = (said) => ({
  detail: `The S3 server has no room (${said.code}).`,
  remedy: 'Raise the quota of the bucket or its user, or add storage.',
})

const byCode: Readonly<Record<string, Tell>> = {
  NoSuchBucket: (_, { bucket, url }) => ({
    detail: `There is no bucket ${bucket} at ${url} (NoSuchBucket).`,
    remedy: 'Create it, or correct FAIRLEAD_S3_BUCKET.',
  }),
  SignatureDoesNotMatch: (_, { url, region: ours, variable }) => ({
    detail: `The S3 server at ${url} does not accept the signature (SignatureDoesNotMatch).`,
    remedy:
      variable === 'FAIRLEAD_S3_ENDPOINT'
        ? `Correct FAIRLEAD_S3_SECRET_ACCESS_KEY; if it is right, FAIRLEAD_S3_REGION (now ${ours}), or a proxy in between that changes the Host header or the path.`
        : 'Let the proxy at that address keep the Host header and the path as they come, or correct FAIRLEAD_S3_PUBLIC_ENDPOINT.',
  }),
  RequestTimeTooSkewed: clock,
  RequestExpired: clock,
  InvalidAccessKeyId: credentials,
  ExpiredToken: credentials,
  InvalidToken: credentials,
  AccessDenied: denied,
  AllAccessDisabled: denied,
  AccountProblem: denied,
  PermanentRedirect: region,
  TemporaryRedirect: region,
  AuthorizationHeaderMalformed: region,
  AuthorizationQueryParametersError: region,
  IllegalLocationConstraintException: region,
  SlowDown: busy,
  ServiceUnavailable: busy,
  InternalError: busy,
  QuotaExceeded: full,
  InsufficientStorage: full,
}

/** What an answer means that was not what we asked for. */
export function explainSaid(said: Said, place: Place): Explanation {
  const { status, code } = said
  const tell = code === undefined ? undefined : byCode[code]
  if (tell) return tell(said, place)
  if (code !== undefined && status === 403) return denied(said, place)
  if (code !== undefined)
    return {
      detail: `The S3 server at ${place.url} answers ${status} (${code}).`,
      remedy: 'Look the code up in the documentation of the server, and see its log.',
    }
  return {
    detail: `What answers at ${place.url} with ${status} is no S3 server, or a proxy in front of one.`,
    remedy: `Correct ${place.variable}${place.pathStyle ? '' : ', or set FAIRLEAD_S3_FORCE_PATH_STYLE=true'}.`,
  }
}

/** Why a request of the SDK, or one without it, has failed. */
export function explainError(error: unknown, place: Place): Explanation {
  const said = saidIn(error)
  if (said) return explainSaid(said, place)
  const cause = error instanceof UploadError && error.cause !== undefined ? error.cause : error
  if (cause instanceof Error && /Credentials/.test(cause.name))
    return {
      detail: 'There are no credentials for the S3 server.',
      remedy:
        'Set FAIRLEAD_S3_ACCESS_KEY_ID and FAIRLEAD_S3_SECRET_ACCESS_KEY, or give the machine a role or an AWS profile.',
    }
  const { what, remedy } = connectionFault(cause)
  const byName = place.pathStyle ? '' : ' Where buckets have no host names: FAIRLEAD_S3_FORCE_PATH_STYLE=true.'
  return {
    detail: `The S3 server at ${place.url} ${what}.`,
    remedy: `${remedy} The address is ${place.variable}.${byName}`,
  }
}
