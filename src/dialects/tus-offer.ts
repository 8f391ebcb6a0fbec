import { z } from 'zod'
import { UploadError } from '../errors.ts'
import { sample } from '../http/api-examples.ts'
import type { Ctx } from '../http/context.ts'
import type { Upload } from '../uploads/upload.ts'

/** Where uploads are created by tus. */
export const tusPath = '/files'

export const tusOfferSchema = z
  .strictObject({
    endpoint: z.url().meta({ description: 'Where a tus client creates the upload. It needs credentials.' }),
    metadata: z
      .record(z.string(), z.string())
      .meta({ description: 'What was declared, as tus clients take it; your own `metadata` goes beside it.' }),
  })
  .meta({
    id: 'TusOffer',
    description:
      'Only above `presign.multipartThreshold`: the file can come by tus instead, as a new upload. Delete this one first: it holds its size against the quota.',
  })
export type TusOffer = z.infer<typeof tusOfferSchema>

export const tusOfferExample: TusOffer = {
  endpoint: `${sample.gateway}${tusPath}`,
  metadata: { filename: sample.filename, filetype: sample.contentType },
}

/** A member for the answer to a creation, where the declared size is above the threshold; otherwise none. */
export function tusOffer(ctx: Ctx, upload: Upload, threshold: number | undefined): { readonly tus?: TusOffer } {
  if (threshold === undefined || (upload.declaredSize ?? 0) <= threshold) return {}
  const { filename, declaredType, category, context } = upload
  const metadata = {
    filename,
    ...(declaredType === null ? {} : { filetype: declaredType }),
    ...(category === null ? {} : { category }),
    ...(context === null ? {} : { context_type: context.type, context_id: context.id }),
  }
  return { tus: { endpoint: endpointOf(ctx), metadata } }
}

/** A file that only one PUT is too small for: the refusal says where else to go. */
export function orByTus(ctx: Ctx, error: unknown): never {
  if (!(error instanceof UploadError) || error.facts['largest_put'] === undefined) throw error
  const facts = { ...error.facts, tus_endpoint: endpointOf(ctx) }
  throw new UploadError(error.code, error.message, { cause: error, facts })
}

const endpointOf = (ctx: Ctx): string => `${ctx.state.origin.url}${tusPath}`
