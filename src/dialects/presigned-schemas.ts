import { z } from 'zod'
import { extra, facts, measures, timestamp, wholeBytes } from '../http/api.ts'
import { sample } from '../http/api-examples.ts'
import { isMimeType } from '../uploads/names.ts'
import { codePoints, maxFilenameLength, nameFault } from '../uploads/policy.ts'
import type { Checksum } from '../uploads/upload.ts'
import { isContentType } from './dialect.ts'
import { tusOfferSchema } from './tus-offer.ts'

/** Bytes of `metadata` as JSON. */
export const maxMetadataBytes = 4_096
const maxContextLength = 255 // characters
const maxMimeLength = 255 // characters
const defaultPage = 50
const maxPage = 100

export const filename = z
  .string()
  .superRefine((name, ctx) => {
    const length = codePoints(name.trim())
    const bound = { origin: 'string', inclusive: true, input: name } as const
    if (length === 0) return ctx.addIssue({ code: 'too_small', minimum: 1, ...bound })
    if (length > maxFilenameLength) return ctx.addIssue({ code: 'too_big', maximum: maxFilenameLength, ...bound })
    const fault = nameFault(name)
    if (fault !== undefined) ctx.addIssue({ code: 'custom', message: fault })
  })
  .meta({
    description: `1 to ${maxFilenameLength} characters after trimming; no control characters, no \`/\` or \`\\\`.`,
    examples: ['film.mp4'],
  })

export const contentType = z.string().max(maxMimeLength).refine(isContentType, 'This is not a media type.')

/** Characters of the longest digest that clients write, in hex. */
export const longestDigest = 64

/** What is wrong with a digest that is none. */
export const digestFault = (digest: string, otherwise: string): string =>
  /^(?:[0-9a-f]{32}|[0-9a-f]{64})$/i.test(digest)
    ? `This digest is written in hex: send its ${digest.length / 2} bytes in base64.`
    : otherwise

/** `sha256:` or `md5:` and the base64 of exactly that digest. */
const checksum = z
  .string()
  .max('sha256:'.length + longestDigest)
  .transform((text, ctx): Checksum => {
    const [, algorithm, digest = ''] = /^(sha256|md5):(.*)$/s.exec(text) ?? []
    const bytes = Buffer.from(digest, 'base64')
    if (bytes.toString('base64') === digest) {
      if (algorithm === 'sha256' && bytes.length === 32) return { algorithm, digest }
      if (algorithm === 'md5' && bytes.length === 16) return { algorithm, digest }
    }
    const message = digestFault(digest, 'A checksum is "sha256:" or "md5:" and the base64 of that digest.')
    ctx.addIssue({ code: 'custom', message })
    return z.NEVER
  })
  .meta({ description: '`sha256:` or `md5:` and the base64 of the digest.' })

const contextFields = {
  context_type: z
    .string()
    .min(1)
    .max(maxContextLength)
    .nullish()
    .meta({ description: 'What the file belongs to in your application. Goes together with `context_id`.' }),
  context_id: z.string().min(1).max(maxContextLength).nullish(),
}
export type ContextFields = z.infer<z.ZodObject<typeof contextFields>>
const together = (body: ContextFields): boolean => (body.context_type == null) === (body.context_id == null)
const togetherFault = {
  message: 'context_type and context_id go together.',
  path: ['context_id'],
  // Whatever is wrong elsewhere: every fault is told at once.
  when: ({ value }: { value: unknown }) => typeof value === 'object' && value !== null,
}

/** Records of zod lose the key `__proto__`, which in JSON is one like any other. */
const metadata = z
  .unknown()
  .transform((value, ctx): Record<string, string> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      ctx.addIssue({ code: 'invalid_type', expected: 'record', input: value })
      return z.NEVER
    }
    const texts: [string, string][] = []
    for (const [key, text] of Object.entries(value)) {
      if (typeof text === 'string') texts.push([key, text])
      else ctx.addIssue({ code: 'invalid_type', expected: 'string', input: text, path: [key] })
    }
    if (Buffer.byteLength(JSON.stringify(value)) > maxMetadataBytes)
      ctx.addIssue({ code: 'custom', message: `metadata has more than ${maxMetadataBytes} bytes.` })
    return Object.fromEntries(texts)
  })
  .meta({
    override: { type: 'object', additionalProperties: { type: 'string' } },
    description: `Kept and given back as it is; ${maxMetadataBytes} bytes as JSON at most.`,
  })

export const createSchema = (categories: readonly string[]) =>
  z
    .object({
      filename,
      category: z.enum(categories),
      content_type: contentType
        .nullish()
        .meta({ description: 'The PUT must carry the same. What the bytes are decides in the end.' }),
      size_bytes: wholeBytes.nullish().meta({ description: 'The PUT takes exactly so many bytes.' }),
      checksum: checksum.nullish(),
      ...contextFields,
      metadata: metadata.nullish(),
    })
    .refine(together, togetherFault)

export const confirmSchema = z.object(contextFields).refine(together, togetherFault)

const statusSchema = z.enum(['pending', 'processing', 'confirmed', 'rejected', 'expired'])

export const listSchema = z.strictObject({
  status: statusSchema.optional(),
  category: z.string().max(64).optional(),
  project_id: z.string().max(64).optional(),
  content_type: z
    .string()
    .max(maxMimeLength)
    .refine((type) => isMimeType(type.replace(/\/\*$/, '/any')), 'This is not a media type, nor one like image/*.')
    .optional()
    .meta({ description: 'Exact, or such as `image/*`.' }),
  created_after: z.iso.datetime({ offset: true }).optional().meta({
    description: 'RFC 3339; only uploads created later. Times are shown to the second and compared to the millisecond.',
  }),
  limit: z.coerce.number().int().min(1).max(maxPage).default(defaultPage),
  cursor: z.guid().optional().meta({ description: '`meta.next_cursor` of the page before.' }),
})

export const usageSchema = z.object({ range: z.enum(['7d', '30d', '90d']).default('30d') })

const metaFields = { request_id: z.string(), timestamp }

/** What every success of this API is wrapped in. */
export const answer = (data: z.ZodType, more: Record<string, z.ZodType> = {}): z.ZodType =>
  z.strictObject({ data, meta: z.strictObject({ ...metaFields, ...more }) })
export const answerExample = (data: unknown, more: object = {}) => ({
  data,
  meta: { request_id: 'req_5f0c2d8e7a1b4c39', timestamp: sample.updatedAt, ...more },
})

export const uploadSchema = z
  .strictObject({
    id: z.uuid(),
    user_id: z.string(),
    workspace_id: z.string(),
    filename: z.string(),
    category: z.string().nullable(),
    content_type: z.string().meta({ description: 'A guess from the name until the bytes were looked at.' }),
    format: z.string().nullable().meta({ description: 'Short name, such as `jpeg`.' }),
    size_bytes: wholeBytes.nullable().meta({ description: 'As declared until the bytes are there.' }),
    received_bytes: wholeBytes,
    status: statusSchema,
    download_url: z
      .url()
      .nullable()
      .meta({ description: 'Signed; works without credentials until it expires. `null` until `confirmed`.' }),
    context_type: z.string().nullable(),
    context_id: z.string().nullable(),
    project_id: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    ...measures,
    ...facts,
    charset: z.string().nullable().meta({ description: 'Character encoding of text, such as `utf-8`.' }),
    extra,
    rejection: z
      .strictObject({
        code: z.string().meta({ description: 'An `error_code`.' }),
        detail: z.string(),
      })
      .nullable()
      .meta({ description: 'Why the file was refused, when `status` is `rejected`.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Upload', description: 'One file. What is not known yet is `null`.' })

export type UploadView = z.infer<typeof uploadSchema>

export const uploadExample: UploadView = {
  id: sample.id,
  user_id: 'ann',
  workspace_id: 'default',
  filename: sample.filename,
  category: 'image',
  content_type: sample.contentType,
  format: 'jpeg',
  size_bytes: sample.size,
  received_bytes: sample.size,
  status: 'confirmed',
  download_url: sample.downloadUrl,
  context_type: 'album',
  context_id: '7',
  project_id: null,
  metadata: { taken_by: 'ann' },
  width: sample.width,
  height: sample.height,
  duration: null,
  sha256: sample.sha256,
  codecs: null,
  pages: null,
  charset: null,
  extra: { 'sniff-type': { declared: 'image/jpeg', byName: 'image/jpeg', found: 'image/jpeg', corrected: false } },
  rejection: null,
  created_at: sample.createdAt,
  updated_at: sample.updatedAt,
}
const pendingExample: UploadView = {
  ...uploadExample,
  received_bytes: 0,
  status: 'pending',
  download_url: null,
  width: null,
  height: null,
  sha256: null,
  extra: {},
  updated_at: sample.createdAt,
}

export const createdSchema = z.strictObject({
  upload: uploadSchema,
  upload_url: z.url().meta({ description: 'PUT the bytes here; no credentials are needed.' }),
  upload_headers: z
    .record(z.string(), z.string())
    .meta({ description: 'The PUT must carry these, exactly. May be empty.' }),
  tus: tusOfferSchema.optional(),
})

export const createdExample: z.infer<typeof createdSchema> = {
  upload: pendingExample,
  upload_url: `${sample.gateway}/presigned/upload/${sample.id}?expires=1795254300&signature=Zr7Qm2Xc9LkV0bTnYp4sHd8fGjW1eUaI6oRtKxB3vNM`,
  upload_headers: { 'Content-Type': sample.contentType },
}

export const usageSummarySchema = z
  .strictObject({
    range: z.enum(['7d', '30d', '90d']),
    period: z.strictObject({ start: timestamp, end: timestamp }),
    storage: z.strictObject({
      used_bytes: wholeBytes,
      reserved_bytes: wholeBytes.meta({
        description:
          'What unfinished uploads hold: what they have declared, or, of a tus upload to which nobody comes back, what they have; bytes of parts count once.',
      }),
      quota_bytes: wholeBytes.nullable().meta({ description: '`null`: no limit.' }),
      percent: z.number().min(0).nullable().meta({ description: 'Of the quota, to hundredths.' }),
    }),
    uploads: z.strictObject({
      total: z.int().min(0),
      pending: z.int().min(0),
      processing: z.int().min(0),
      confirmed: z.int().min(0),
      rejected: z.int().min(0),
      expired: z.int().min(0),
    }),
    daily: z
      .array(z.strictObject({ date: z.iso.date(), uploads: z.int().min(0), bytes: wholeBytes }))
      .meta({ description: 'Days, in UTC, on which uploads were finished.' }),
  })
  .meta({ id: 'UsageSummary' })

export const whoamiSchema = z.strictObject({
  user_id: z.string(),
  workspace_id: z.string(),
  scopes: z.array(z.enum(['uploads:read', 'uploads:write'])),
  key_name: z.string().nullable(),
})

export const createExample = (categories: readonly string[]): z.input<ReturnType<typeof createSchema>> => ({
  filename: sample.filename,
  category: categories.find((one) => one === uploadExample.category) ?? categories[0] ?? '',
  content_type: sample.contentType,
  size_bytes: sample.size,
  context_type: uploadExample.context_type,
  context_id: uploadExample.context_id,
  metadata: uploadExample.metadata,
})

export const usageExample: z.infer<typeof usageSummarySchema> = {
  range: '30d',
  period: { start: '2026-10-23T00:00:00Z', end: sample.updatedAt },
  storage: { used_bytes: sample.size, reserved_bytes: 0, quota_bytes: 10_737_418_240, percent: 0 },
  uploads: { total: 1, pending: 0, processing: 0, confirmed: 1, rejected: 0, expired: 0 },
  daily: [{ date: '2026-11-21', uploads: 1, bytes: sample.size }],
}

export const whoamiExample: z.infer<typeof whoamiSchema> = {
  user_id: 'ann',
  workspace_id: 'default',
  scopes: ['uploads:read', 'uploads:write'],
  key_name: 'web shop',
}
