import { createHash, randomUUID } from 'node:crypto'
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { getRawAsset, getAsset } from 'node:sea'
import { type Manifest, manifestName, type Packed } from './manifest.ts'

const ownerOnly = 0o700
const othersMayWrite = 0o022

/**
 * Puts what cannot be loaded out of an executable, native code above all, into a folder that only this user can write.
 * What is there already is used when it is what it should be, byte for byte.
 *
 * @returns the folder
 * @throws {Error} when no place will do.
 */
export function unpack(): string {
  const failures: string[] = []
  for (const place of places()) {
    try {
      const folder = join(place, manifest().id)
      unpackInto(folder, [place, folder])
      return folder
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
    }
  }
  throw new Error(`There is no folder to unpack into, set XDG_CACHE_HOME to one: ${failures.join('; ')}`)
}

/** @param own folders that nobody else may be able to write */
export function unpackInto(folder: string, own: readonly string[] = [folder]): void {
  for (const one of own) {
    mkdirSync(one, { recursive: true, mode: ownerOnly })
    checkOwn(one)
  }
  for (const file of manifest().files) {
    const path = join(folder, file.path)
    if (isIntact(path, file)) continue
    mkdirSync(dirname(path), { recursive: true, mode: ownerOnly })
    write(path, file)
  }
}

function places(): string[] {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = process.env
  const found = isAbsolute(cache) ? [join(cache, 'fairlead')] : []
  if (isAbsolute(home)) found.push(join(home, '.cache', 'fairlead'))
  return [...found, join(tmpdir(), `fairlead-${process.getuid?.()}`)]
}

function manifest(): Manifest {
  return JSON.parse(getAsset(manifestName, 'utf8'))
}

/** In the system's temporary directory somebody else may have been first. */
function checkOwn(folder: string): void {
  const found = lstatSync(folder)
  if (!found.isDirectory()) throw new Error(`${folder} is no folder`)
  if (found.uid !== process.getuid?.() || (found.mode & othersMayWrite) !== 0)
    throw new Error(`${folder} is not this user's alone`)
}

function isIntact(path: string, { size, sha256 }: Packed): boolean {
  try {
    const found = lstatSync(path)
    if (!found.isFile() || found.size !== size) return false
    return createHash('sha256').update(readFileSync(path)).digest('hex') === sha256
  } catch {
    return false
  }
}

/** Another process may be at it, or have loaded the file: it is never written in place. */
function write(path: string, file: Packed): void {
  const own = `${path}.${randomUUID()}`
  try {
    writeFileSync(own, Buffer.from(getRawAsset(file.path)), { flag: 'wx', mode: 0o600 })
    renameSync(own, path)
  } catch (error) {
    rmSync(own, { force: true })
    throw error
  }
  if (!isIntact(path, file)) throw new Error(`${path} could not be written`)
}
