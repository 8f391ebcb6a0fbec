import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { Dicer } from '@fastify/busboy'
import { UploadError } from '../errors.ts'
import { checkOf, type ExpectedDigest, mismatch } from '../uploads/digests.ts'
import { ClientGone } from '../uploads/ingest.ts'
import { type Pace, watchPace } from '../uploads/pace.ts'
import {
  boundaryOf,
  invalidMultipart,
  maxPartHeaderBytes,
  maxPartHeaders,
  type PartHead,
  partHead,
} from './multipart-headers.ts'

/** Bytes of a field's value at most. */
export const maxFieldBytes = 64 * 1024
/** Parts that are no files at most, those that nobody knows included. */
export const maxFields = 100
/** Bytes of parts that nobody knows, all together. */
const maxUnknownBytes = 1024 * 1024
/** Bytes before the first part and after the last one, and of the delimiters. */
const maxPaddingBytes = 64 * 1024
/** Bytes of a file that wait for whoever reads it. */
const fileBufferBytes = 256 * 1024
/** No chunk that the parser has kept back is longer than a delimiter. */
const longestDelimiter = 80

/** One file of a form. It must be read, or stopped by ending the form, before the next part comes. */
export interface FilePart {
  readonly kind: 'file'
  /** As it was sent, perhaps with a path. */
  readonly filename: string
  readonly contentType: string | null
  readonly digests: readonly ExpectedDigest[]
  readonly stream: Readable
}

export interface FieldPart {
  readonly kind: 'field'
  readonly name: string
  readonly value: string
}

export interface FormOptions {
  /** Name of the parts that are files. */
  readonly file: string
  /** Names of the other parts; those with other names are skipped. */
  readonly fields: readonly string[]
  readonly maxFiles: number
  /** What the request says of the form as a whole. */
  readonly digests: readonly ExpectedDigest[]
  /** Milliseconds without a byte, while we are reading, after which the body is given up. */
  readonly idleTimeoutMs: number
  /** The slowest that a body may come. @default any pace is good enough */
  readonly lowestPace?: Pace | undefined
}

/** What the bytes of the part that is just coming go to. */
interface Sink {
  write(bytes: Buffer): void
  end(): void
}

/**
 * The parts of a form, one after another, in the order in which they were sent. Busboy's parser finds them; it is handed a chunk only when
 * the last one was taken, so it never has to hold back and nothing piles up (docs/decisions/016-form.md).
 *
 * A file's stream is destroyed with the reason when the form breaks. Leaving the loop stops reading; the rest stays where it is.
 *
 * @throws {UploadError} `invalid_multipart`, `unsupported_media_type`, `checksum_mismatch`, `too_many_files`, `body_too_large`, `request_timeout` · {ClientGone}
 */
export async function* formParts(req: IncomingMessage, options: FormOptions): AsyncGenerator<FilePart | FieldPart> {
  const boundary = boundaryOf(req.headers['content-type'] ?? '')
  const parser = new Dicer({ boundary, ...headerLimits })
  takeEmptyParts(parser)
  const found: (FilePart | FieldPart)[] = []
  const seen = new Set<string>()
  const check = checkOf(options.digests)
  let files = 0
  let fields = 0
  let unknownBytes = 0
  /** Bytes that were sent and are of no part. */
  let padding = 0
  let file: Readable | undefined
  /** The file has enough for now. */
  let fileIsFull = false
  let failure: Error | undefined
  let whole = false
  let wake: (() => void) | undefined

  const onSilence = (): void =>
    fail(new UploadError('request_timeout', 'Nothing of the body has come for too long, or too little.'))
  const idle = setTimeout(() => {
    if (!req.isPaused()) onSilence()
  }, options.idleTimeoutMs)
  const pace = watchPace(options.lowestPace, () => req.isPaused(), onSilence)

  function fail(reason: Error): void {
    failure ??= reason
    req.pause()
    file?.destroy(failure)
    wake?.()
  }

  function sinkOf(head: PartHead): Sink {
    const { name, filename } = head
    if (name === options.file && filename?.trim()) {
      if (++files > options.maxFiles)
        throw new UploadError('too_many_files', `A form has at most ${options.maxFiles} files.`)
      return fileSink(filename, head)
    }
    if (++fields > maxFields) throw new UploadError('body_too_large', `A form has at most ${maxFields} fields.`)
    if (name === options.file) return noFileSink
    if (!options.fields.includes(name)) return unknownSink
    return fieldSink(name, head.contentType)
  }

  function fileSink(filename: string, { contentType, digests }: PartHead): Sink {
    const stream = new Readable({ highWaterMark: fileBufferBytes, read: feed })
    // Whoever has given the file up does not listen any more.
    stream.on('error', () => {})
    file = stream
    found.push({ kind: 'file', filename, contentType, digests, stream })
    return {
      write: (bytes) => void (fileIsFull = !stream.push(bytes)),
      end() {
        stream.push(null)
        file = undefined
        fileIsFull = false
      },
    }
  }

  function fieldSink(name: string, contentType: string | null): Sink {
    const chunks: Buffer[] = []
    let size = 0
    return {
      write(bytes) {
        size += bytes.length
        if (size > maxFieldBytes)
          throw new UploadError('body_too_large', `The field ${name} has more than ${maxFieldBytes} bytes.`)
        chunks.push(Buffer.from(bytes))
      },
      end() {
        const value = textOf(name, Buffer.concat(chunks), contentType)
        // A field of a page that nobody has filled in says nothing.
        if (value.trim() === '') return
        if (seen.has(name)) throw faultyField(name, 'The field is there more than once.')
        seen.add(name)
        found.push({ kind: 'field', name, value })
      },
    }
  }

  /** What browsers send for an input in which no file was chosen. */
  const noFileSink: Sink = {
    write() {
      throw faultyField(options.file, 'A file needs a file name.')
    },
    end() {},
  }

  const unknownSink: Sink = {
    write(bytes) {
      unknownBytes += bytes.length
      if (unknownBytes > maxUnknownBytes)
        throw faultyField(options.file, `Files go in parts of this name; what else there is has too many bytes.`)
    },
    end() {},
  }

  /** Errors of ours must not go through the parser: it would stay between two states. */
  const guarded =
    <A extends unknown[]>(work: (...args: A) => void) =>
    (...args: A): void => {
      if (failure) return
      try {
        work(...args)
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
      }
    }

  parser.on('part', (part) => {
    let sink: Sink | undefined
    padding -= maxPartHeaderBytes
    part.on('error', () => {})
    part.on(
      'header',
      guarded((header) => (sink = sinkOf(partHead(headerOf(header))))),
    )
    const take = guarded((bytes: Buffer | null) => {
      if (!sink) throw invalidMultipart('The headers of a part do not end.')
      if (bytes === null) return sink.end()
      padding -= bytes.length
      // The parser may write over what it had kept back.
      sink.write(bytes.length < longestDelimiter ? Buffer.from(bytes) : bytes)
    })
    part.push = (bytes: Buffer | null) => {
      take(bytes)
      return true
    }
  })
  parser.on('error', (cause) => fail(invalidMultipart('The form ends without its last boundary.', cause)))

  const onData = guarded((chunk: Buffer) => {
    idle.refresh()
    pace.came(chunk.length)
    padding += chunk.length
    check?.update(chunk)
    parser.write(chunk)
    if (padding > maxPaddingBytes)
      return fail(invalidMultipart('There is too much between the parts, or the headers of a part do not end.'))
    if (mustWait()) {
      pace.held()
      req.pause()
    }
    wake?.()
  })
  const onEnd = guarded(() => {
    parser.end()
    // By then the parser has said whether it has seen the end.
    setImmediate(() => {
      whole = true
      wake?.()
    })
  })
  const onCut = (): void => {
    if (!req.readableEnded) fail(new ClientGone('The client closed the connection before the end of the body.'))
  }

  /** There is a part that nobody has taken, or enough of the file. */
  const mustWait = (): boolean => found.length > 0 || fileIsFull

  function feed(this: Readable): void {
    if (this === file) fileIsFull = false
    goOn()
  }

  function goOn(): void {
    if (failure || mustWait() || !req.isPaused()) return
    idle.refresh()
    req.resume()
  }

  req.on('data', onData).on('end', onEnd).on('close', onCut).on('error', onCut)
  try {
    if (req.destroyed) onCut()
    for (;;) {
      if (failure) throw failure
      const next = found.shift()
      if (next) {
        goOn()
        yield next
        continue
      }
      if (whole) {
        const wrong = await check?.wrong()
        if (wrong) throw new UploadError('checksum_mismatch', mismatch(wrong))
        return
      }
      goOn()
      await new Promise<void>((resolve) => {
        wake = resolve
        if (found.length > 0 || failure || whole) resolve()
      })
    }
  } finally {
    clearTimeout(idle)
    pace.stop()
    req.off('data', onData).off('end', onEnd).off('close', onCut)
    if (!whole) req.pause()
    failure ??= new UploadError('upload_state_conflict', 'The form was given up.')
    file?.destroy(failure)
  }
}

/** One more than is allowed, and twice as much, so that what is cut there is seen to be too much. */
const headerLimits = { maxHeaderPairs: maxPartHeaders + 1, maxHeaderSize: 2 * maxPartHeaderBytes }

/** What the parser reads the headers of a part with. */
interface HeaderReader {
  readonly finished: boolean
  readonly buffer: string
  push(text: string): void
  reset(): void
}

/** At the parser's edge: its types do not say what is in it. */
const isHeaderReader = (found: unknown): found is HeaderReader =>
  typeof found === 'object' && found !== null && 'buffer' in found && 'push' in found && 'reset' in found

/**
 * A part may be nothing but headers: then the line break that begins the next delimiter is the one that ends them (RFC 2046, section
 * 5.1.1). The parser has taken that one for the delimiter by then, and would have no headers.
 */
function takeEmptyParts(parser: Dicer): void {
  const reader: unknown = Reflect.get(parser, '_hparser')
  if (!isHeaderReader(reader)) throw new Error('The parser of forms is another than this was written for.')
  const reset = reader.reset.bind(reader)
  reader.reset = () => {
    if (!reader.finished && reader.buffer.endsWith('\r\n')) reader.push('\r\n')
    reset()
  }
}

/** The parser's types do not say what is in it. */
const headerOf = (header: object): Record<string, string[]> =>
  Object.fromEntries(Object.entries(header).map(([name, values]) => [name, [values].flat().map(String)]))

export const faultyField = (name: string, msg: string): UploadError =>
  new UploadError('validation_failed', msg, { faults: [{ loc: ['body', name], msg, type: 'value_error' }] })

/** In the charset that the part names, else UTF-8. */
function textOf(name: string, bytes: Buffer, contentType: string | null): string {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType ?? '')?.[1] ?? 'utf-8'
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes)
  } catch {
    throw faultyField(name, `The value is not valid in its charset, ${charset.slice(0, 40)}.`)
  }
}
