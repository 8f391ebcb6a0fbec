import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmod,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { diskStore } from '../../src/stores/disk.ts'
import type { ObjectStore } from '../../src/uploads/object-store.ts'
import { objectStoreContract } from '../contracts/object-store.ts'
import { onDeno, scriptArguments } from '../support/runtime.ts'
import { canMount } from '../support/mounts.ts'

const mib = 1024 * 1024

objectStoreContract('disk', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'fairlead-disk-'))
  const store = diskStore({ directory })
  await store.recover()
  return {
    store,
    raw: {
      get: (key) => readFile(join(directory, key)).catch(() => undefined),
      put: (key, bytes) => writeFile(join(directory, key), bytes),
      async keys() {
        const files = await readdir(directory, { recursive: true })
        return files.filter((name) => name.includes('/') && !name.startsWith('tmp/'))
      },
      leftovers: () => readdir(join(directory, 'tmp')),
    },
    close: () => rm(directory, { recursive: true }),
  }
})

describe('disk', () => {
  const key = 'ab/object'
  let parent: string
  let directory: string
  let store: ObjectStore

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'fairlead-disk-'))
    directory = join(parent, 'new', 'store')
    store = diskStore({ directory })
    await store.recover()
  })
  afterEach(() => rm(parent, { recursive: true }))

  async function put(bytes: Uint8Array): Promise<void> {
    const writer = store.write(key)
    await writer.write([bytes])
    await writer.finish()
  }

  it('makes its directories, for itself only', async () => {
    await put(Buffer.from('bytes'))
    expect(await modeOf(directory)).toBe(0o700)
    expect(await modeOf(join(directory, 'tmp'))).toBe(0o700)
    expect(await modeOf(join(directory, 'ab'))).toBe(0o700)
    expect(await modeOf(join(directory, key))).toBe(0o600)
    expect(await readdir(directory)).toHaveLength(258)
  })

  it('leaves the mode of a directory that exists', async () => {
    await chmod(directory, 0o750)
    await store.recover()
    expect(await modeOf(directory)).toBe(0o750)
  })

  it('tells where an object is', async () => {
    await put(Buffer.from('bytes'))
    expect(String(await readFile(store.path?.(key) ?? ''))).toBe('bytes')
    expect(() => store.path?.('../object')).toThrow(TypeError)
  })

  it('empties tmp at recovery, whatever lies there', async () => {
    await writeFile(join(directory, 'tmp', 'ab-object.1'), 'half')
    await mkdir(join(directory, 'tmp', 'folder', 'folder'), { recursive: true })
    await writeFile(join(parent, 'foreign'), 'kept')
    await symlink(join(parent, 'foreign'), join(directory, 'tmp', 'link'))
    await store.recover()
    expect(await readdir(join(directory, 'tmp'))).toEqual([])
    expect(String(await readFile(join(parent, 'foreign')))).toBe('kept')
  })

  it('empties tmp at recovery of what a writer has left that was not ended', async () => {
    const writer = store.write(key)
    await writer.write([randomBytes(mib)])
    expect(await readdir(join(directory, 'tmp'))).toHaveLength(1)
    await store.recover()
    expect(await readdir(join(directory, 'tmp'))).toEqual([])
    await writer.abort()
  })

  it('lists no foreign names, directories or links', async () => {
    await put(Buffer.from('bytes'))
    await writeFile(join(directory, 'foreign'), '')
    await writeFile(join(directory, 'ab', 'Foreign'), '')
    await mkdir(join(directory, 'ab', 'folder'))
    await symlink(join(directory, key), join(directory, 'ab', 'link'))
    expect((await Array.fromAsync(store.list())).map((object) => object.key)).toEqual([key])
  })

  describe('symbolic links', () => {
    let outside: string
    beforeEach(async () => {
      outside = join(parent, 'outside')
      await mkdir(outside)
      await writeFile(join(outside, 'secret'), 'secret')
    })

    it('are not read', async () => {
      await symlink(join(outside, 'secret'), join(directory, key))
      await expect(store.read(key)).rejects.toMatchObject({ code: 'storage_failed' })
      await expect(store.bytes(key, { start: 0, end: 6 })).rejects.toMatchObject({ code: 'storage_failed' })
      expect(await store.stat(key)).toBeUndefined()
    })

    it('are replaced or removed, not what they point at', async () => {
      await symlink(join(outside, 'secret'), join(directory, key))
      await put(Buffer.from('bytes'))
      expect(String(await buffer(await store.read(key)))).toBe('bytes')
      await rm(join(directory, key))
      await symlink(join(outside, 'secret'), join(directory, key))
      await store.remove(key)
      expect(String(await readFile(join(outside, 'secret')))).toBe('secret')
    })

    it('are no directory for a finished object', async () => {
      await replaceByLink('ab')
      await expect(put(Buffer.from('bytes'))).rejects.toMatchObject({ code: 'storage_failed' })
      await expect(Array.fromAsync(store.list())).rejects.toMatchObject({ code: 'storage_failed' })
    })

    it('are left outside nothing when such an object is aborted', async () => {
      await replaceByLink('ab')
      const writer = store.write(key)
      await expect(writer.finish()).rejects.toMatchObject({ code: 'storage_failed' })
      await writer.abort()
      expect(await readdir(outside)).toEqual(['secret'])
      expect(await readdir(join(directory, 'tmp'))).toEqual([])
    })

    it.each(['ab', 'tmp'])('in place of %s keep the store from starting', async (name) => {
      await replaceByLink(name)
      await expect(store.recover()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: undefined })
      expect(await readdir(outside)).toEqual(['secret'])
    })

    async function replaceByLink(name: string): Promise<void> {
      await rename(join(directory, name), join(parent, name))
      await symlink(outside, join(directory, name))
    }
  })

  it('writes what exceeds one early sync, in calls of every size', async () => {
    const bytes = randomBytes(70 * mib)
    const writer = store.write(key)
    for (let at = 0; at < bytes.length; at += 3 * mib) {
      const part = bytes.subarray(at, at + 3 * mib)
      await writer.write([part.subarray(0, 17), part.subarray(17, mib), part.subarray(mib)])
    }
    await writer.finish()
    expect(Buffer.compare(await readFile(join(directory, key)), bytes)).toBe(0)
  })

  it.skipIf(process.platform !== 'linux')('leaks no file descriptor', async () => {
    await put(randomBytes(mib))
    const before = await openDescriptors()

    const unfinished = store.write('cd/one')
    const written = unfinished.write([randomBytes(mib)])
    await unfinished.abort()
    await written.catch(() => {})
    await store.write('cd/two').finish()
    await expect(store.bytes('cd/none', { start: 0, end: 1 })).rejects.toMatchObject({ code: 'not_found' })
    await store.bytes(key, { start: 0, end: 1 })
    await store.check()
    const whole = await store.read(key)
    await buffer(whole)
    const unread = await store.read(key)
    unread.destroy()
    await once(unread, 'close')
    const begun = await store.read(key)
    await once(begun, 'data')
    begun.destroy()
    await once(begun, 'close')
    const abort = new AbortController()
    const aborted = await store.read(key, undefined, abort.signal)
    const failed = once(aborted, 'error')
    abort.abort()
    await failed
    if (!aborted.closed) await once(aborted, 'close')
    // Deno (2.9) closes a folder only when all of it was read.
    for await (const object of store.list()) if (object.key === key && !onDeno) break

    expect(await openDescriptors()).toEqual(before)
  })

  it('says when its directory cannot be written', async () => {
    // Permissions would not stop root; a file in the place of a directory stops everybody.
    await rm(join(directory, 'tmp'), { recursive: true })
    await writeFile(join(directory, 'tmp'), '')
    await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed' })
    await expect(put(Buffer.from('bytes'))).rejects.toMatchObject({ code: 'storage_failed' })
  })

  it('says when its directory has gone', async () => {
    await rm(directory, { recursive: true })
    await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed' })
    await expect(put(Buffer.from('bytes'))).rejects.toMatchObject({ code: 'storage_failed' })
    await expect(Array.fromAsync(store.list())).rejects.toMatchObject({ code: 'storage_failed' })
  })

  it('cannot be made where a file is', async () => {
    await writeFile(join(parent, 'file'), '')
    const misplaced = diskStore({ directory: join(parent, 'file') })
    await expect(misplaced.recover()).rejects.toMatchObject({ code: 'storage_failed' })
  })

  it('asks to come again when file descriptors are short', async () => {
    const script = `
      import { openSync } from 'node:fs'
      import { diskStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/stores/disk.ts'))}
      const store = diskStore({ directory: process.argv[2] })
      await store.recover()
      try { for (;;) openSync('/dev/null') } catch {}
      const writer = store.write('${key}')
      const failure = await writer.write([new Uint8Array(10)]).catch((error) => error)
      await writer.abort()
      console.log(failure.code, failure.cause.code, failure.retryAfter > 0)`
    const file = join(parent, 'short.ts')
    await writeFile(file, script)
    const command = [process.execPath, ...scriptArguments, file, directory]
    const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 64 && exec "$0" "$@"', ...command])
    expect(stdout.trim()).toBe('storage_failed EMFILE true')
  })

  describe.skipIf(!canMount())('full or read-only (needs the right to mount)', () => {
    beforeEach(async () => {
      await mkdir(join(parent, 'small'))
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', join(parent, 'small')])
      store = diskStore({ directory: join(parent, 'small') })
      await store.recover()
    })
    afterEach(() => void execFileSync('umount', [join(parent, 'small')]))

    it('asks to come again, and leaves nothing', async () => {
      const writer = store.write(key)
      await writer.write([randomBytes(4 * mib)])
      const failure = await writer.write([randomBytes(8 * mib)]).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'storage_failed', retryAfter: 5 })
      await writer.abort()
      expect(await readdir(join(parent, 'small', 'tmp'))).toEqual([])
      await put(randomBytes(4 * mib))
      expect(await store.stat(key)).toMatchObject({ size: 4 * mib })
    })

    it('asks to come again when others have filled it', async () => {
      const writer = store.write(key)
      await writer.write([randomBytes(1)])
      const others = join(parent, 'small', 'others')
      await expect(writeFile(others, Buffer.alloc(9 * mib))).rejects.toMatchObject({ code: 'ENOSPC' })
      await expect(writer.write([randomBytes(mib / 2)])).rejects.toMatchObject({
        code: 'storage_failed',
        retryAfter: 5,
        cause: { code: 'ENOSPC' },
      })
      await writer.abort()
    })

    it('leaves a quarter of it free, so that records beside it can be written', async () => {
      const full = { code: 'storage_failed', retryAfter: 5 }
      const bytes = randomBytes(mib)
      const refusal = async (): Promise<unknown> => {
        for (let i = 0; i < 8; i++) {
          const writer = store.write(`ab/object${i}`)
          const failure: unknown = await writer.write([bytes]).then(
            () => writer.finish(),
            (error: unknown) => error,
          )
          if (failure !== undefined) return failure
        }
        return undefined
      }
      expect(await refusal()).toMatchObject({ ...full, message: 'The disk of the store is full.' })
      const kept = { note: async () => {}, keep: async () => {}, kept: async () => bytes }
      const growing = store.grow('ab/open', {
        ...kept,
        growth: { bytes: 0, note: null, pieces: [] },
        length: mib,
        coming: mib,
      })
      await expect(growing.write([bytes])).rejects.toMatchObject(full)
      await growing.abort()
      const sources = [{ key: 'ab/object0', size: mib }]
      await expect(store.concat(sources, 'ab/joined', kept)).rejects.toMatchObject(full)
      const { bavail, bsize } = await statfs(join(parent, 'small'))
      expect(bavail * bsize).toBeGreaterThanOrEqual(2 * mib)
    })

    it('says when it has become read-only', async () => {
      execFileSync('mount', ['-o', 'remount,ro', join(parent, 'small')])
      await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed', cause: { code: 'EROFS' } })
      await expect(put(Buffer.from('bytes'))).rejects.toMatchObject({ code: 'storage_failed' })
    })

    it('fails its check before nothing is left', async () => {
      await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: 5 })
    })
  })

  describe('a disk that misbehaves', () => {
    let handles: FileHandle
    beforeEach(async () => {
      await using handle = await open(parent)
      handles = Object.getPrototypeOf(handle)
    })
    afterEach(() => void vi.restoreAllMocks())

    it('may write less than it was given', async () => {
      vi.spyOn(handles, 'writev').mockImplementation(async function shortened(this: FileHandle, buffers) {
        const [first = Buffer.alloc(0)] = buffers.filter((chunk) => chunk.byteLength > 0)
        const { bytesWritten } = await this.write(first, 0, Math.min(100_003, first.byteLength))
        return { bytesWritten, buffers }
      })
      const bytes = randomBytes(3 * mib)
      const writer = store.write(key)
      await writer.write([bytes.subarray(0, 5), bytes.subarray(5, mib), Buffer.alloc(0), bytes.subarray(mib)])
      await writer.finish()
      expect(Buffer.compare(await readFile(join(directory, key)), bytes)).toBe(0)
    })

    it('reports only once that an early sync has failed', async () => {
      const failure = Object.assign(new Error('input/output error'), { code: 'EIO' })
      vi.spyOn(handles, 'datasync').mockRejectedValueOnce(failure)
      const writer = store.write(key)
      await writer.write([randomBytes(40 * mib)])
      await expect(writer.finish()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: 5, cause: failure })
      await writer.abort()
      expect(await store.stat(key)).toBeUndefined()
      expect(await readdir(join(directory, 'tmp'))).toEqual([])
    })

    it('may fail to sync the directory: the object goes again', async () => {
      vi.spyOn(handles, 'sync').mockRejectedValueOnce(new Error('input/output error'))
      const writer = store.write(key)
      await expect(writer.finish()).rejects.toMatchObject({ code: 'storage_failed', retryAfter: undefined })
      await writer.abort()
      expect(await store.stat(key)).toBeUndefined()
    })
  })
})

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

const openDescriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length
