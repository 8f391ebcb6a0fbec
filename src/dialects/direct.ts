import { z } from 'zod'
import { readJson, validate } from '../http/request.ts'
import type { NewUpload, Upload } from '../uploads/upload.ts'
import { type Dialect, dispositionOf, factsOf, isOpen, measuresOf, param, timeText } from './dialect.ts'
import { type BlobView, directSchema } from './direct-schemas.ts'
import { orByTus, tusOffer } from './tus-offer.ts'

/** Active Storage's way: create, PUT. Nobody confirms; whoever asks by signed id, or the gateway itself, finds that the bytes are there. */
export const direct: Dialect = (routes, deps) => {
  const { service, catalog, uploadUrls, authenticate, once, storeName, multipartThreshold } = deps
  const blobOf = (upload: Upload, directUpload: BlobView['direct_upload'], checksum?: string): BlobView => ({
    id: upload.number,
    key: upload.id,
    filename: upload.filename,
    content_type:
      upload.state === 'ready' ? upload.properties.contentType : (upload.declaredType ?? upload.properties.contentType),
    metadata: metadataOf(upload),
    service_name: storeName,
    byte_size: upload.size ?? upload.declaredSize ?? 0,
    checksum: checksum ?? upload.declaredChecksum?.digest ?? base64(upload.sha256),
    created_at: timeText(upload.createdAt),
    signed_id: catalog.signedId(upload),
    direct_upload: directUpload,
  })

  routes.post('/api/v1/upload/direct', async (ctx) => {
    const principal = await authenticate(ctx)
    const asked = await readJson(ctx, z.unknown())
    const { blob } = validate(directSchema, asked, 'body')
    const draft: NewUpload = {
      dialect: 'direct',
      filename: blob.filename.trim(),
      category: null,
      projectId: null,
      declaredType: blob.content_type,
      declaredSize: blob.byte_size,
      declaredChecksum: blob.checksum,
      context: null,
      metadata: {},
    }
    await once(ctx, principal, {
      asked: [draft.dialect, asked],
      make: async (claim) =>
        (await catalog.same(principal, blob.checksum, blob.byte_size)) ??
        service.create(principal, draft, claim, 'arrival').catch((error: unknown) => orByTus(ctx, error)),
      recall: (id) => service.recall(id),
      async answer(upload) {
        const open = isOpen(upload)
        // One blank for several: signatures are made of headers in which they count as one.
        const terms = { disposition: dispositionOf(upload.filename.replaceAll(/\s+/g, ' ')) }
        const url = open ? await uploadUrls.make(upload, ctx.state.origin.url, terms) : null
        const offer = open ? tusOffer(ctx, upload, multipartThreshold) : {}
        return { status: 200, body: { ...blobOf(upload, url, blob.checksum.digest), ...offer } }
      },
    })
  })

  routes.get('/api/v1/upload/direct/:signed_id', async (ctx) => {
    const principal = await authenticate(ctx)
    // Where the bytes go is told to the one who may write.
    ctx.body = blobOf(await service.settle(principal, catalog.idOf(param(ctx, 'signed_id'))), null)
  })
}

const metadataOf = (upload: Upload): BlobView['metadata'] =>
  upload.state === 'ready'
    ? { identified: true, analyzed: true, ...measuresOf(upload), ...factsOf(upload), extra: upload.extra }
    : {}

const base64 = (sha256: string | null): string => Buffer.from(sha256 ?? '', 'hex').toString('base64')
