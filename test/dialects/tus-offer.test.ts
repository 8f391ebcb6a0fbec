import { Upload as TusUpload } from 'tus-js-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKeys, type Answer, type Client, clientOf, configText, sha256 } from '../support/client.ts'
import { type Blob, directBase } from '../support/direct.ts'
import { documentedClient } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { s3Place } from '../support/places.ts'
import { base, type Created, type View } from '../support/presigned.ts'

interface Offer {
  readonly endpoint: string
  readonly metadata: Readonly<Record<string, string>>
}

const mebibyte = 1024 * 1024
/** Bytes of one PUT to S3 at most. */
const largestPut = 5_000_000_000
const checksum = sha256(Buffer.from('whatever it is'), 'base64')

/** Creations that declare a size, as both APIs word them. */
function creationsOf(call: Client) {
  return {
    presigned: (size: number | undefined, more: object = {}, headers = {}): Promise<Answer> =>
      call('POST', base, { json: { filename: 'film.mp4', category: 'video', size_bytes: size, ...more }, headers }),
    direct: (size: number, headers = {}): Promise<Answer> => {
      const blob = { filename: 'film.mp4', content_type: 'video/mp4', byte_size: size, checksum }
      return call('POST', directBase, { json: { blob }, headers })
    },
  }
}
const presignedOffer = (answer: Answer): Offer | undefined => {
  expect(answer.status).toBe(201)
  return answer.json<{ data: Created & { tus?: Offer } }>().data.tus
}
const directOffer = (answer: Answer): Offer | undefined => {
  expect(answer.status).toBe(200)
  return answer.json<Blob & { tus?: Offer }>().tus
}

describe('above presign.multipartThreshold', () => {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await startGateway({ config: configText(undefined, `presign: { multipartThreshold: '1MiB' }`) })
    call = documentedClient(clientOf(gateway, gateway.key))
  })
  afterAll(() => gateway.close())

  it('a creation tells where tus is, and in its words what was declared', async () => {
    const { presigned, direct } = creationsOf(call)
    const endpoint = `${gateway.url}/files`
    const context = { context_type: 'album', context_id: '7' }
    const declared = { content_type: 'video/mp4', ...context, metadata: { name: 'mine', type: 'mine' } }
    expect(presignedOffer(await presigned(mebibyte + 1, declared))).toEqual({
      endpoint,
      metadata: { filename: 'film.mp4', filetype: 'video/mp4', category: 'video', ...context },
    })
    expect(presignedOffer(await presigned(mebibyte + 1))).toEqual({
      endpoint,
      metadata: { filename: 'film.mp4', category: 'video' },
    })
    expect(directOffer(await direct(mebibyte + 1))).toEqual({
      endpoint,
      metadata: { filename: 'film.mp4', filetype: 'video/mp4' },
    })
  })

  it('which a tus client takes as it is, for the same file', async () => {
    const { presigned } = creationsOf(call)
    const bytes = Buffer.alloc(mebibyte + 1, 'film')
    const declared = { filename: 'naïve – 文件.mp4', context_type: 'album', context_id: '7' }
    const made = await presigned(bytes.length, declared)
    const { endpoint = '', metadata = {} } = presignedOffer(made) ?? {}
    const { upload } = made.json<{ data: Created }>().data
    expect((await call('DELETE', `${base}/${upload.id}`)).status).toBe(200)
    const headers = { Authorization: `Bearer ${gateway.key}` }
    const id = await new Promise<string>((resolve, reject) => {
      const sending = new TusUpload(bytes, {
        endpoint,
        metadata,
        headers,
        onError: reject,
        onSuccess: () => resolve(new URL(sending.url ?? '').pathname.split('/').at(-1) ?? ''),
      })
      sending.start()
    })
    const { data } = (await call('GET', `${base}/${id}`)).json<{ data: View }>()
    expect(data).toMatchObject({ ...declared, category: 'video', size_bytes: bytes.length, status: 'confirmed' })
  })

  it('the PUT works all the same, and what was not used gives its bytes back', async () => {
    const { presigned } = creationsOf(call)
    const bytes = Buffer.alloc(mebibyte + 1)
    const made = (await presigned(bytes.length)).json<{ data: Created }>().data
    expect((await call('PUT', made.upload_url, { key: null, body: bytes })).status).toBe(200)
    const other = (await presigned(bytes.length)).json<{ data: Created }>().data
    const reserved = async () => {
      const { data } = (await call('GET', '/api/v1/usage/summary')).json<{
        data: { storage: { reserved_bytes: number } }
      }>()
      return data.storage.reserved_bytes
    }
    const before = await reserved()
    expect((await call('DELETE', `${base}/${other.upload.id}`)).status).toBe(200)
    expect(await reserved()).toBe(before - bytes.length)
  })

  it('a repetition tells it again; smaller files, and those of no declared size, are none', async () => {
    const { presigned, direct } = creationsOf(call)
    const once = { 'Idempotency-Key': 'large' }
    const first = await direct(2 * mebibyte, once)
    expect((await direct(2 * mebibyte, once)).bytes).toEqual(first.bytes)
    expect(directOffer(first)).toBeDefined()
    expect(directOffer(await direct(mebibyte))).toBeUndefined()
    expect(presignedOffer(await presigned(mebibyte))).toBeUndefined()
    expect(presignedOffer(await presigned(undefined))).toBeUndefined()
    const { signed_id: id } = first.json<Blob>()
    expect((await call('GET', `${directBase}/${id}`)).json()).not.toHaveProperty('tus')
  })
})

const s3 = s3Place()
describe.skipIf(s3.missing)('what one PUT to S3 cannot bring', () => {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await s3.start({
      env: { FAIRLEAD_MAX_FILE_SIZE: '6GB', FAIRLEAD_PUBLIC_URL: 'https://up.example.org/x' },
    })
    call = documentedClient(clientOf(gateway, gateway.key))
  })
  afterAll(async () => {
    await gateway?.close()
    await s3.close()
  })

  it('is refused with the way that takes it, and leaves nothing', async () => {
    const { presigned, direct } = creationsOf(call)
    for (const answer of [await presigned(largestPut + 1), await direct(largestPut + 1)]) {
      expect(answer.status).toBe(413)
      expect(answer.json()).toMatchObject({
        error_code: 'file_too_large',
        largest_put: largestPut,
        tus_endpoint: 'https://up.example.org/x/files',
      })
    }
    const { data } = (await call('GET', base)).json<{ data: unknown[] }>()
    expect(data).toEqual([])
  })

  it('and nothing is told of what it can bring, where nobody has asked for it', async () => {
    const { presigned, direct } = creationsOf(call)
    expect(presignedOffer(await presigned(largestPut))).toBeUndefined()
    expect(directOffer(await direct(largestPut))).toBeUndefined()
  })

  it('but not what no way takes', async () => {
    const { presigned, direct } = creationsOf(call)
    for (const answer of [await presigned(6_000_000_001), await direct(6_000_000_001)]) {
      expect(answer.status).toBe(413)
      expect(answer.json()).toEqual({
        detail: expect.stringContaining('6000000000'),
        error: 'File too large',
        error_code: 'file_too_large',
      })
    }
    const { reads } = await addKeys(gateway, { reads: { scopes: ['uploads:read'] } })
    const asked = creationsOf(documentedClient(clientOf(gateway, reads)))
    expect((await asked.direct(largestPut + 1)).json()).toMatchObject({ error_code: 'scope_missing' })
  })
})
