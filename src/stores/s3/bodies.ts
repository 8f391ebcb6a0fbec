import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { PutObjectCommand, type S3Client, UploadPartCommand } from '@aws-sdk/client-s3'
import { provenObject, provenPart } from './acknowledged.ts'
import { type MultipartOptions, objectType, type Target } from './multipart.ts'
import { request } from './requests.ts'

/** Bytes that can be had again for another try. */
export type Content = () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export type PartTarget = Target & { readonly UploadId: string; readonly PartNumber: number }

/** Sends all of an object; resolves when the store has proved that it has it. */
export async function sendObject(
  client: S3Client,
  target: Target,
  content: Content,
  size: number,
  options: MultipartOptions,
): Promise<void> {
  const headers = { ...target, ContentLength: size, ContentType: objectType }
  const { answer, md5 } = await sendBody(
    content,
    (Body, abortSignal) => client.send(new PutObjectCommand({ ...headers, Body }), { abortSignal }),
    options,
  )
  await provenObject(client, target, answer, { md5, size }, options)
}

/** Sends a part, and returns its ETag. */
export async function sendPart(
  client: S3Client,
  target: PartTarget,
  content: Content,
  size: number,
  options: MultipartOptions,
): Promise<string> {
  const headers = { ...target, ContentLength: size }
  const { answer, md5 } = await sendBody(
    content,
    (Body, abortSignal) => client.send(new UploadPartCommand({ ...headers, Body }), { abortSignal }),
    options,
  )
  return provenPart(answer, md5, options.message)
}

/** Sends a body, again when the store is away or busy. Its memory may be given to others when this is settled. */
async function sendBody<T>(
  content: Content,
  ask: (body: Readable, abortSignal: AbortSignal) => Promise<T>,
  { message, signal }: MultipartOptions,
): Promise<{ readonly answer: T; readonly md5: string }> {
  async function sendOnce(deadline: AbortSignal, alive: () => void) {
    const hash = createHash('md5')
    const body = Readable.from(watched(content, hash, alive), { objectMode: false })
    // The SDK does not see that a body breaks off.
    const broken = new AbortController()
    body.once('error', (error) => broken.abort(error))
    try {
      const answer = await ask(body, AbortSignal.any([deadline, broken.signal]))
      return { answer, md5: hash.digest('hex') }
    } catch (error) {
      throw body.errored ?? error
    } finally {
      body.destroy()
    }
  }
  return request(message, sendOnce, { signal })
}

async function* watched(content: Content, hash: Hash, onTaken: () => void): AsyncGenerator<Uint8Array> {
  for await (const piece of content()) {
    onTaken()
    hash.update(piece)
    yield piece
  }
  onTaken()
}
