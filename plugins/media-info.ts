import { BudgetError, type ByteSource, type Plugin } from '../src/plugin.ts'
import { checkedFacts } from './media-info/facts.ts'
import { ParserFault, ParserProcess } from './media-info/parser-process.ts'
import type { Kind } from './media-info/protocol.ts'

const maxReadBytes = 64 * 1024 * 1024 // of one file
const maxReadCalls = 64 // of one file, each perhaps a request to a remote store
const maxPictureBytes = 256 * 1024 * 1024 // of a file that is opened by its path, for which a remote store is copied
const hookTimeoutMs = 60_000 // with the wait for its turn and for the store
const idleMs = 30_000
/** `.ts`, or `.js` where it is compiled. */
const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

export interface MediaInfoOptions {
  /** Milliseconds that the parser may work on one file. Waiting for its turn or for the store is not counted. @default 5_000 */
  readonly timeoutMs?: number
}

/**
 * Establishes the size, length, codecs and number of frames or pages of pictures, films, sounds and PDFs, from their headers;
 * nothing is decoded. The parsers run in a process of their own, which is killed when a file takes too long or too much memory.
 * A file that defeats them keeps `null`; it is not refused, nor is one when the parsers themselves fail.
 */
export function mediaInfo(options: MediaInfoOptions = {}): Plugin {
  const parsers = new ParserProcess({
    timeoutMs: options.timeoutMs ?? 5_000,
    idleMs,
    script: new URL(`media-info/worker${extension}`, import.meta.url),
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
      const job = { kind, size: bytes.size, read: capped(bytes), path: () => pathOf(bytes), signal: ctx.signal }
      const { found, reason, killed } = await parsers.run(job).catch((fault: unknown) => {
        if (!(fault instanceof ParserFault)) throw fault
        ctx.log.error({ plugin: 'media-info', uploadId: ctx.upload.id, err: fault }, 'the media parser failed')
        return { found: {}, reason: undefined, killed: false }
      })
      if (killed) ctx.log.warn({ contentType, size: bytes.size, reason }, 'the media parser was killed')
      else if (reason !== undefined)
        ctx.log.debug({ contentType, size: bytes.size, reason }, 'the media parser gave up')
      return { properties: { ...checkedFacts(found) } }
    },
    close: () => parsers.close(),
  }
}

function kindOf(contentType: string): Kind | undefined {
  if (contentType.startsWith('image/')) return 'image'
  if (contentType === 'application/pdf') return 'document'
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

async function pathOf(bytes: ByteSource): Promise<string> {
  if (bytes.size > maxPictureBytes) throw new BudgetError('The picture is too large to be opened.')
  return bytes.toFile()
}
