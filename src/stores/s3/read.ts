import { Readable } from 'node:stream'
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { notFound, storageUnavailable } from '../../errors.ts'
import { type ByteRange, checkRange } from '../../uploads/object-store.ts'
import type { Target } from './multipart.ts'
import { answered, request } from './requests.ts'

/** Milliseconds without a byte from the store, while we wait for one, after which a download is given up. */
const readIdleMs = 30_000

/** Nothing comes where the object has no such bytes. */
export async function readObject(
  client: S3Client,
  target: Target,
  range: ByteRange | undefined,
  signal: AbortSignal | undefined,
): Promise<Readable> {
  if (range) checkRange(range)
  const command = new GetObjectCommand({
    ...target,
    ...(range && { Range: `bytes=${range.start}-${range.end - 1}` }),
  })
  const answer = await request(
    'The object could not be read.',
    (abortSignal) =>
      client.send(command, { abortSignal }).catch((error: unknown) => {
        if (answered(error, 'NoSuchKey', 404)) throw notFound()
        if (answered(error, 'InvalidRange', 416)) return undefined
        throw error
      }),
    { signal },
  )
  return answer?.Body instanceof Readable ? guarded(answer.Body, signal) : Readable.from([])
}

/**
 * The body of an answer. It fails when the store goes silent while somebody waits for its bytes; a reader that takes its time harms
 * nothing.
 */
function guarded(body: Readable, signal: AbortSignal | undefined): Readable {
  let waits = true
  const silent = setTimeout(() => {
    if (waits) body.destroy(new Error('The store has stopped sending.'))
  }, readIdleMs)
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body) {
        waits = false
        yield chunk
        waits = true
        silent.refresh()
      }
    } catch (cause) {
      signal?.throwIfAborted()
      throw storageUnavailable('The object could not be read to its end.', cause)
    }
  }
  const stream = Readable.from(chunks(), { objectMode: false })
  // Also while nobody waits for bytes, and so would hear of the body's end.
  const onAbort = (): void => {
    stream.destroy(signal?.reason)
    body.destroy()
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  return stream.once('close', () => {
    clearTimeout(silent)
    signal?.removeEventListener('abort', onAbort)
    body.destroy()
  })
}
