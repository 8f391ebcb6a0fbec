/** What differs between servers that speak S3. */
export interface S3Profile {
  /** The region that requests are signed for, where none is configured. */
  readonly region: string
  /** The bucket stands in the path and not in the host name. */
  readonly pathStyle: boolean
  /** All parts of an object but the last must have the same size. */
  readonly equalParts: boolean
  /** `x-amz-copy-source-if-match` is obeyed. Elsewhere the copy is looked at afterwards, for one request more. */
  readonly copyIfMatch: boolean
}

const selfHosted = { region: 'us-east-1', pathStyle: true, equalParts: false, copyIfMatch: false }

export const profiles = {
  // Buckets made since 2020 may be reached by their own host name only; AWS names us-east-1 where nothing else is said.
  aws: { region: 'us-east-1', pathStyle: false, equalParts: false, copyIfMatch: true },
  // R2 refuses parts of unequal size, and has one region, which it calls auto.
  r2: { region: 'auto', pathStyle: true, equalParts: true, copyIfMatch: true },
  // B2's endpoints name their region: it must be configured beside them when it is not this one.
  b2: { region: 'us-west-004', pathStyle: true, equalParts: false, copyIfMatch: false },
  // Ceph resolves host names of buckets only when its operator has told it the domain; radosgw 16 copies whatever the condition says.
  ceph: selfHosted,
  // Garage refuses signatures for any region but its own, which it calls garage unless its operator chose another.
  garage: { ...selfHosted, region: 'garage' },
  rustfs: selfHosted,
  seaweedfs: selfHosted,
  // Asks for the least that every server is known to do.
  generic: selfHosted,
} as const satisfies Readonly<Record<string, S3Profile>>

export type ProfileName = keyof typeof profiles

const hosts: readonly (readonly [RegExp, ProfileName])[] = [
  [/(^|\.)amazonaws\.com(\.cn)?$/, 'aws'],
  [/\.r2\.cloudflarestorage\.com$/, 'r2'],
  [/\.backblazeb2\.com$/, 'b2'],
]

/** The profile of a server whose host name tells what it is. No endpoint: AWS. */
export function profileOf(endpoint: string | undefined): ProfileName {
  if (endpoint === undefined) return 'aws'
  const host = new URL(endpoint).hostname
  return hosts.find(([pattern]) => pattern.test(host))?.[1] ?? 'generic'
}

/** The region that an endpoint's own name tells: `s3.eu-central-003.backblazeb2.com`, `s3.eu-west-1.amazonaws.com`. */
export const regionOf = (endpoint: string | undefined): string | undefined =>
  endpoint === undefined
    ? undefined
    : /^s3[.-]([a-z]{2}(?:-[a-z]+)+-\d{1,3})\.(?:backblazeb2\.com|amazonaws\.com(?:\.cn)?)$/.exec(
        new URL(endpoint).hostname,
      )?.[1]
