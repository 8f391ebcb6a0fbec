import { z } from 'zod'
import { extra, facts, measures, timestamp, wholeBytes } from '../http/api.ts'
import { sample } from '../http/api-examples.ts'
import type { Checksum } from '../uploads/upload.ts'
import { contentType, digestFault, filename, longestDigest } from './presigned-schemas.ts'
import { tusOfferSchema } from './tus-offer.ts'

/** Algorithms by the bytes of their digests. */
const algorithms = new Map<number, Checksum['algorithm']>([
  [16, 'md5'],
  [32, 'sha256'],
])
/** The base64 of a digest: its length tells which. */
const checksum = z
  .string()
  .max(longestDigest)
  .transform((digest, ctx): Checksum => {
    const bytes = Buffer.from(digest, 'base64')
    const algorithm = algorithms.get(bytes.length)
    // What an encoder would not write is no base64 to others.
    if (algorithm && bytes.toString('base64') === digest) return { algorithm, digest }
    const message = digestFault(digest, 'A checksum is the base64 of an MD5 or SHA-256 digest.')
    ctx.addIssue({ code: 'custom', message })
    return z.NEVER
  })
  .meta({ description: 'Base64 of the MD5 (16 bytes) or SHA-256 (32 bytes).' })

export const directSchema = z.object({
  blob: z.object({
    filename,
    content_type: contentType.meta({
      description: 'The PUT must carry the same. What the bytes are decides in the end.',
    }),
    byte_size: wholeBytes.meta({ description: 'The PUT takes exactly so many bytes.' }),
    checksum,
  }),
})

export const blobSchema = z
  .strictObject({
    id: z.int().min(1),
    key: z.uuid().meta({ description: 'The id of the upload in all other APIs of the gateway.' }),
    filename: z.string(),
    content_type: z.string().meta({ description: 'As declared until the bytes were looked at.' }),
    metadata: z
      .union([
        z.strictObject({}),
        z.strictObject({
          identified: z.literal(true),
          analyzed: z.literal(true),
          ...measures,
          ...facts,
          extra,
        }),
      ])
      .meta({ description: 'Empty until the bytes were looked at. `null`: there is none, or it is not known.' }),
    service_name: z.string(),
    byte_size: wholeBytes,
    checksum: z.string(),
    created_at: timestamp,
    signed_id: z.string().meta({ description: 'URL-safe; cannot be made up. Allows nothing without credentials.' }),
    direct_upload: z
      .strictObject({
        url: z.url().meta({ description: 'PUT the bytes here; no credentials are needed.' }),
        headers: z.record(z.string(), z.string()).meta({
          description:
            'The PUT must carry exactly these: `Content-Type`, `Content-Disposition`, and `Content-MD5` or `x-amz-checksum-sha256`. Beside the latter an empty `Content-MD5` may stand, where the gateway takes the bytes itself.',
        }),
      })
      .nullable()
      .meta({ description: '`null`: there is nothing to bring, or the record was only read.' }),
    tus: tusOfferSchema.optional(),
  })
  .meta({ id: 'Blob', description: 'One file, as Active Storage describes it.' })

export type BlobView = z.infer<typeof blobSchema>

const declared = {
  filename: sample.filename,
  content_type: sample.contentType,
  byte_size: sample.size,
  checksum: 'ixqZU8RhEpaoJ6v4xHgE1w==',
}
export const directExample: z.input<typeof directSchema> = { blob: declared }
export const pendingExample: BlobView = {
  id: 42,
  key: sample.id,
  ...declared,
  metadata: {},
  service_name: 'disk',
  created_at: sample.createdAt,
  signed_id: `blob.${sample.id}.Xw4nTq8Lr1ZcVb6Yk9PmHs2DfGjE0uAiOo5RtKxB3vQ`,
  direct_upload: {
    url: `${sample.gateway}/presigned/upload/${sample.id}?expires=1795254300&finish=arrival&signature=b8WcZ1Kp5LxQ0mTnVr4sYd7fHjG2eUaI9oRtXyB3kNM`,
    headers: {
      'Content-Type': sample.contentType,
      'Content-MD5': declared.checksum,
      'Content-Disposition': `attachment; filename=${sample.filename}`,
    },
  },
}
export const readyExample: BlobView = {
  ...pendingExample,
  metadata: {
    identified: true,
    analyzed: true,
    width: sample.width,
    height: sample.height,
    duration: null,
    sha256: sample.sha256,
    codecs: null,
    pages: null,
    extra: {},
  },
  direct_upload: null,
}
