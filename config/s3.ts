import { z } from 'zod'
import { absent, day, httpUrl, oneOf, option, seconds, size, yesOrNo } from './option.ts'

/** S3 servers that differ from one another in what `src/stores/s3/profiles.ts` says. */
const profileNames = ['aws', 'r2', 'b2', 'ceph', 'garage', 'rustfs', 'seaweedfs', 'generic'] as const
const leastMemory = 16 * 1024 * 1024 // bytes
const someText = { type: z.string().min(1), takes: 'text that is not empty' }

/** The `s3` driver: where its server is, and how it is used. */
export const s3 = z.strictObject({
  bucket: absent(
    { type: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/), takes: 'the name of a bucket' },
    'none',
    { variable: 'FAIRLEAD_S3_BUCKET', meaning: 'Where the `s3` driver keeps the files. It must exist.' },
  ),
  endpoint: absent(httpUrl, "AWS's of the region", {
    variable: 'FAIRLEAD_S3_ENDPOINT',
    meaning: 'Address of the S3 server.',
  }),
  publicEndpoint: absent(httpUrl, '`s3.endpoint`', {
    variable: 'FAIRLEAD_S3_PUBLIC_ENDPOINT',
    meaning: 'Address of the same server as browsers reach it: presigned URLs begin with it.',
  }),
  region: absent({ type: z.string().regex(/^[A-Za-z0-9-]{1,64}$/), takes: 'the name of a region' }, "the profile's", {
    variable: 'FAIRLEAD_S3_REGION',
    meaning: 'Region that requests are signed for.',
  }),
  accessKeyId: absent(someText, 'as the AWS SDK finds it', {
    variable: 'FAIRLEAD_S3_ACCESS_KEY_ID',
    meaning: 'Goes with `s3.secretAccessKey`.',
  }),
  secretAccessKey: absent(someText, 'as the AWS SDK finds it', {
    variable: 'FAIRLEAD_S3_SECRET_ACCESS_KEY',
    secret: true,
    meaning:
      'Without the pair: the environment, the profile or the role of the machine, as the AWS SDK looks for them.',
  }),
  forcePathStyle: absent(yesOrNo, "the profile's", {
    variable: 'FAIRLEAD_S3_FORCE_PATH_STYLE',
    meaning: 'The bucket is in the path of URLs, not in the host name.',
  }),
  profile: absent(oneOf(profileNames), 'by the endpoint, else `generic`', {
    meaning: 'What the server is, where servers differ: see docs/s3.md.',
  }),
  downloads: option(oneOf(['redirect', 'proxy']), 'redirect', {
    meaning:
      'Whether a download by a signed address is sent on to a presigned URL of the store, or passes through the gateway as one with credentials in its headers always does.',
  }),
  settle: option(seconds(day), 600, {
    meaning:
      'After an upload that broke off the store is looked at once more so much later: a request that was given up may still have an effect.',
  }),
  memory: option({ type: size.type.pipe(z.int().min(leastMemory)), takes: 'bytes from 16 MiB' }, '64MiB', {
    meaning: 'Memory for bytes on their way to the S3 server: see docs/s3.md for what to give it.',
  }),
})
