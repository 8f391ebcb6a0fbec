import { BudgetError, type ByteSource, type Plugin } from '../src/plugin.ts'
import { checkedFacts } from './media-info/facts.ts'
import { workerPool } from './media-info/pool.ts'
import type { Kind } from './media-info/protocol.ts'

const maxReadBytes = 64 * 1024 * 1024 // of one file; enough to walk through a long animation
const maxReadCalls = 64 // of one file, each perhaps a request to a remote store
const hookTimeoutMs = 60_000 // with the wait for a worker and for the store
const idleMs = 30_000

export interface MediaInfoOptions {
  /** Milliseconds that the parser may work on one file. Waiting for a worker or for the store is not counted. @default 5_000 */
  readonly timeoutMs?: number
  /** Worker threads, each of which looks at one file at a time. @default 1 */
  readonly workers?: number
}

/**
 * Establishes the size, length, codecs and number of frames or pages of pictures, films and sounds, from their headers;
 * nothing is decoded. The parsers run in a worker thread that is stopped when a file takes too long.
 * A file that defeats them keeps `null`; it is not refused.
 */
export function mediaInfo(options: MediaInfoOptions = {}): Plugin {
  const pool = workerPool({
    timeoutMs: options.timeoutMs ?? 5_000,
    workers: options.workers ?? 1,
    idleMs,
    workerUrl: new URL('media-info/worker.ts', import.meta.url),
  })
  return {
    name: 'media-info',
    requires: ['contentType'],
    provides: ['width', 'height', 'duration', 'codecs', 'pages'],
    timeoutMs: hookTimeoutMs,
    accepts: (upload) => kindOf(upload.properties.contentType) !== undefined,
    async beforeFinish(bytes, ctx) {
      const { contentType } = ctx.upload.properties
      const kind = kindOf(contentType)
      if (kind === undefined) return undefined
      const { found, reason, killed } = await pool.run({
        kind,
        size: bytes.size,
        read: capped(bytes),
        signal: ctx.signal,
      })
      if (killed) ctx.log.warn({ contentType, size: bytes.size, reason }, 'the media parser was stopped')
      else if (reason !== undefined)
        ctx.log.debug({ contentType, size: bytes.size, reason }, 'the media parser gave up')
      return { properties: { ...checkedFacts(found) } }
    },
    close: () => pool.close(),
  }
}

function kindOf(contentType: string): Kind | undefined {
  if (contentType.startsWith('image/')) return 'image'
  return /^(?:audio\/|video\/|application\/(?:ogg|mp4)$)/.test(contentType) ? 'media' : undefined
}

/** Range reads of a file until it has asked for too much. */
function capped(bytes: ByteSource): (start: number, end: number) => Promise<Uint8Array> {
  let calls = 0
  let total = 0
  return async (start, end) => {
    calls++
    total += end - start
    if (calls > maxReadCalls || !(total <= maxReadBytes)) throw new BudgetError('The file asked for too many reads.')
    return bytes.bytes(start, end)
  }
}
