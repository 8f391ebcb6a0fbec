import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { ConfigError } from './error.ts'

/** A list of origins or a certificate is long; nothing that an option takes is longer. */
const largestFile = 64 * 1024 // bytes

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'names a file that does not exist',
  ENOTDIR: 'names a file that does not exist',
  EACCES: 'names a file that this user may not read',
  EPERM: 'names a file that this user may not read',
}

/**
 * The text of a small file, such as a secret that Docker, Kubernetes or systemd has put there, without the line end that editors add.
 *
 * @param name the variable that named the file. Messages say this and never the path: somebody may have put the secret itself there.
 * @throws {ConfigError} when it is no readable file of text.
 */
export function readValueFile(name: string, path: string): string {
  const bytes = readBytes(name, path)
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    if (!text.includes('\0')) return text.replace(/\r?\n$/, '')
  } catch {
    // what follows is said of both
  }
  throw new ConfigError(`${name} names a file that is not text in UTF-8.`)
}

function readBytes(name: string, path: string): Uint8Array {
  if (path === '' || path.includes('\0')) throw new ConfigError(`${name} names no file.`)
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) // a pipe without a writer would be waited for
    try {
      if (!fstatSync(file).isFile()) throw new ConfigError(`${name} names something that is not a file.`)
      const bytes = Buffer.alloc(largestFile + 1)
      let length = 0
      for (let read = -1; read !== 0 && length < bytes.length; length += read)
        read = readSync(file, bytes, { offset: length })
      if (length > largestFile) throw new ConfigError(`${name} names a file of more than ${largestFile / 1024} KiB.`)
      return bytes.subarray(0, length)
    } finally {
      closeSync(file)
    }
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new ConfigError(`${name} ${reasons[code] ?? `names a file that cannot be read (${code})`}.`, { cause })
  }
}
