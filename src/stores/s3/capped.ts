import { Readable } from 'node:stream'

/**
 * Bytes of an answer that the SDK reads whole: errors and lists, of which the longest has a thousand keys. Whatever is longer is no answer
 * of an S3 server. Objects are never read so.
 */
const largestAnswer = 4 * 1024 * 1024

/** Collects the body of an answer for the SDK; one that is too long breaks its connection. */
export async function collectCapped(body: unknown): Promise<Uint8Array> {
  if (!(body instanceof Readable)) throw new TypeError('The answer of the store is no stream.')
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop destroys the stream, and with it the connection.
  for await (const chunk of body) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('The answer of the store is no stream of bytes.')
    bytes += chunk.length
    if (bytes > largestAnswer) throw new Error(`The store answered more than ${largestAnswer} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
