import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../config/error.ts'
import { loadSecret } from '../config/secret.ts'

let root = ''
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-secret-'))
})
afterAll(() => rm(root, { recursive: true }))

const folder = (): Promise<string> => mkdtemp(join(root, 'data-'))

async function refusal(dataDir: string): Promise<string> {
  const error: unknown = await loadSecret(dataDir, null).catch((thrown: unknown) => thrown)
  if (!(error instanceof ConfigError)) throw new Error('it was not refused', { cause: error })
  expect(error.message).not.toMatch(/\p{Cc}/u)
  return error.message
}

const loadInChild = async (dataDir: string): Promise<string> => {
  const code = `import { loadSecret } from ${JSON.stringify(new URL('../config/secret.ts', import.meta.url).href)}
    const { bytes } = await loadSecret(${JSON.stringify(dataDir)}, null)
    process.stdout.write(Buffer.from(bytes).toString('hex'))`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return (await Array.fromAsync(child.stdout)).join('')
}

describe('signing secret', () => {
  it('is made once, for its owner only', async () => {
    const dataDir = join(await folder(), 'a/data')
    const first = await loadSecret(dataDir, null)
    expect(first.bytes).toHaveLength(32)
    expect(first.warning).toBeNull()
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(dataDir, 'secret'))).mode & 0o777).toBe(0o600)
    expect(await readdir(dataDir)).toEqual(['secret'])
    expect(await loadSecret(dataDir, null)).toEqual(first)
  })

  it('is the same in processes that start at once', async () => {
    const dataDir = join(await folder(), 'data')
    const secrets = await Promise.all(Array.from({ length: 4 }, () => loadInChild(dataDir)))
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(new Set(secrets).size).toBe(1)
    expect(await readdir(dataDir)).toEqual(['secret'])
  })

  it('is the configured one when there is one', async () => {
    const dataDir = await folder()
    expect(Buffer.from((await loadSecret(dataDir, 'configured')).bytes).toString()).toBe('configured')
    expect(await readdir(dataDir)).toEqual([])
  })

  it('that others may read is a warning', async () => {
    const dataDir = await folder()
    await writeFile(join(dataDir, 'secret'), 'ab'.repeat(32), { mode: 0o644 })
    const { bytes, warning } = await loadSecret(dataDir, null)
    expect(Buffer.from(bytes).toString('hex')).toBe('ab'.repeat(32))
    expect(warning).toContain('others may read it')
  })

  it.each(['\n', 'ab'.repeat(31), 'zz'.repeat(32), 'ab'.repeat(5000)])(
    'of other content stops the start',
    async (content) => {
      const dataDir = await folder()
      await writeFile(join(dataDir, 'secret'), content, { mode: 0o600 })
      const line = await refusal(dataDir)
      expect(line).toContain('restore it from a backup')
      expect(line).not.toContain(content.slice(0, 16))
    },
  )

  it('that cannot be made or read stops the start', async () => {
    const dataDir = await folder()
    await writeFile(join(dataDir, 'file'), '')
    expect(await refusal(join(dataDir, 'file'))).toContain('set FAIRLEAD_SECRET')
    await mkdir(join(dataDir, 'secret'))
    expect(await refusal(dataDir)).toContain('is not a signing secret')
  })
})
