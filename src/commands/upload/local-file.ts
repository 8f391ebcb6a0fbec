import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { codeOf } from '../../errors.ts'
import { FileChanged, UploadFailure } from './failure.ts'

/** Bytes that are read at once. */
const readBytes = 256 * 1024

/** A file as it was when it was named. */
export interface LocalFile {
  /** As the command line has it. */
  readonly named: string
  /** Absolute. */
  readonly path: string
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Nanoseconds since 1970. */
  readonly modified: string
}

/** A range of a file, as the body of a request. */
export class FileSlice {
  /** Bytes; tus-js-client asks for it by this name. */
  readonly size: number
  readonly chunks: () => AsyncIterable<Buffer>

  constructor(size: number, chunks: () => AsyncIterable<Buffer>) {
    this.size = size
    this.chunks = chunks
  }
}

export interface OpenFile {
  /** Bytes. */
  readonly size: number
  /** End exclusive. */
  slice(start: number, end: number): FileSlice
  close(): Promise<void>
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'There is no such file.',
  ENOTDIR: 'There is no such file.',
  EACCES: 'It may not be read: permission denied.',
  EPERM: 'It may not be read: permission denied.',
}

function failReading(cause: unknown): never {
  const code = codeOf(cause) ?? 'unknown error'
  throw new UploadFailure(reasons[code] ?? `It cannot be read (${code}).`, { code: 'unreadable', cause })
}

/** @throws {UploadFailure} unless it is a file that can be read */
export async function findFile(named: string): Promise<LocalFile> {
  const path = resolve(named)
  const found = await stat(path, { bigint: true }).catch(failReading)
  if (found.isDirectory()) throw new UploadFailure('It is a directory.', { code: 'unreadable' })
  if (!found.isFile()) throw new UploadFailure('It is no regular file.', { code: 'unreadable' })
  await access(path, constants.R_OK).catch(failReading)
  return { named, path, name: basename(path), size: Number(found.size), modified: String(found.mtimeNs) }
}

/** @throws {UploadFailure} */
export async function openFile(file: LocalFile): Promise<OpenFile> {
  const handle = await open(file.path).catch(failReading)

  async function checkUnchanged(): Promise<void> {
    const now = await stat(file.path, { bigint: true }).catch(() => undefined)
    if (Number(now?.size) !== file.size || String(now?.mtimeNs) !== file.modified) throw new FileChanged()
  }

  async function* chunks(start: number, end: number): AsyncGenerator<Buffer> {
    await checkUnchanged()
    for (let at = start; at < end;) {
      const wanted = Math.min(readBytes, end - at)
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(wanted), 0, wanted, at).catch(failReading)
      if (bytesRead === 0) throw new FileChanged()
      at += bytesRead
      // All of it has been read, and its last bytes are still here: a mixture of two versions does not become an upload.
      if (at === file.size) await checkUnchanged()
      yield buffer.subarray(0, bytesRead)
    }
  }

  return {
    size: file.size,
    slice: (start, end) => new FileSlice(end - start, () => chunks(start, end)),
    close: () => handle.close(),
  }
}
