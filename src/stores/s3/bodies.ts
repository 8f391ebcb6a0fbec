import { Readable } from 'node:stream'
import type { MultipartOptions } from './multipart.ts'
import { request } from './requests.ts'

/** Bytes that can be had again for another try. */
export type Content = () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** Sends a body, again when the store is away or busy. Its memory may be given to others when this is settled. */
export async function sendBody<T>(
  content: Content,
  ask: (body: Readable, abortSignal: AbortSignal) => Promise<T>,
  { message, signal }: MultipartOptions,
): Promise<T> {
  async function sendOnce(deadline: AbortSignal, alive: () => void): Promise<T> {
    const body = Readable.from(watched(content, alive), { objectMode: false })
    // The SDK does not see that a body breaks off.
    const broken = new AbortController()
    body.once('error', (error) => broken.abort(error))
    try {
      return await ask(body, AbortSignal.any([deadline, broken.signal]))
    } catch (error) {
      throw body.errored ?? error
    } finally {
      body.destroy()
    }
  }
  return request(message, sendOnce, { signal })
}

async function* watched(content: Content, onTaken: () => void): AsyncGenerator<Uint8Array> {
  for await (const piece of content()) {
    onTaken()
    yield piece
  }
  onTaken()
}
