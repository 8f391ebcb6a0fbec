import { execFileSync } from 'node:child_process'
import { chmod, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../config/error.ts'
import { type Config, loadConfig } from '../config/load.ts'
import { options } from '../config/schema.ts'
import { startGateway } from './support/gateway.ts'

let root = ''
let files = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-value-file-'))
})
afterAll(() => rm(root, { recursive: true }))

async function file(content: string | Uint8Array): Promise<string> {
  const path = join(root, `value-${files++}`)
  await writeFile(path, content)
  return path
}

const load = (env: Record<string, string>): Promise<Config> => loadConfig({ cwd: root, env })

/** The one line that stops the start. */
async function refusal(env: Record<string, string>): Promise<string> {
  const error: unknown = await load(env).catch((thrown: unknown) => thrown)
  if (!(error instanceof ConfigError)) throw new Error('it was not refused', { cause: error })
  expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
  expect(error.message).not.toContain(root)
  return error.message
}

const secret = 'correct-horse-battery-staple-0123456789'

describe('a variable that names a file', () => {
  it.each(options.flatMap(({ variable }) => variable ?? []))('%s_FILE is read', async (variable) => {
    const name = `${variable}_FILE`
    expect(await refusal({ [name]: join(root, 'none') })).toBe(`${name} names a file that does not exist.`)
    expect(await refusal({ [name]: await file('x'), [variable]: 'y' })).toBe(
      `${variable} and ${name} exclude each other: set one.`,
    )
  })

  it('gives what stands in it, without the line end', async () => {
    const {
      secret: first,
      s3,
      metrics,
      server,
      database,
      warnings,
    } = await load({
      FAIRLEAD_SECRET_FILE: await file(`${secret}\n`),
      FAIRLEAD_S3_ACCESS_KEY_ID_FILE: await file('GK0123\r\n'),
      FAIRLEAD_S3_SECRET_ACCESS_KEY_FILE: await file(' a/b+c= \n'),
      FAIRLEAD_METRICS_TOKEN_FILE: await file('sixteen-letters!'),
      FAIRLEAD_DATABASE_URL_FILE: await file('sqlite:/srv/a.db\n'),
      FAIRLEAD_PORT_FILE: await file('8081\n'),
    })
    expect(first).toBe(secret)
    expect(s3).toMatchObject({ accessKeyId: 'GK0123', secretAccessKey: ' a/b+c= ' })
    expect(metrics.token).toBe('sixteen-letters!')
    expect(database.path).toBe('/srv/a.db')
    expect(server.port).toBe(8081)
    expect(warnings).toEqual([])
  })

  it('loses one line end, not two', async () => {
    expect((await load({ FAIRLEAD_SECRET_FILE: await file(`${secret}\n\n`) })).secret).toBe(`${secret}\n`)
  })

  it('wins over the configuration file', async () => {
    const config = join(root, 'other.config.mjs')
    await writeFile(config, 'export default { server: { port: 1 } }')
    const { server } = await load({ FAIRLEAD_CONFIG: config, FAIRLEAD_PORT_FILE: await file('2') })
    expect(server.port).toBe(2)
  })

  it('may hold as much as 64 KiB', async () => {
    const largest = await file('s'.repeat(64 * 1024))
    expect((await load({ FAIRLEAD_SECRET_FILE: largest })).secret).toHaveLength(64 * 1024)
    await truncate(largest, 64 * 1024 + 1)
    expect(await refusal({ FAIRLEAD_SECRET_FILE: largest })).toBe(
      'FAIRLEAD_SECRET_FILE names a file of more than 64 KiB.',
    )
  })

  it('may hold nothing but a value that the option takes, and does not show it', async () => {
    expect(await refusal({ FAIRLEAD_SECRET_FILE: await file('too short\n') })).toBe(
      'FAIRLEAD_SECRET_FILE: got (hidden, 9 characters); it takes at least 32 characters.',
    )
    expect(await refusal({ FAIRLEAD_S3_BUCKET_FILE: await file('My Bucket') })).toMatch(
      /^FAIRLEAD_S3_BUCKET_FILE: got \(hidden, 9 characters\); it takes /,
    )
    expect(await refusal({ FAIRLEAD_SECRET_FILE: await file('') })).toContain('got (hidden, 0 characters)')
  })

  it.each([Buffer.from([0xff, ...Buffer.from(secret)]), `${secret}\0`])('must hold text (%#)', async (content) => {
    expect(await refusal({ FAIRLEAD_SECRET_FILE: await file(content) })).toBe(
      'FAIRLEAD_SECRET_FILE names a file that is not text in UTF-8.',
    )
  })

  it('must name a file, and the message does not say which: somebody may have written the secret there', async () => {
    const name = 'FAIRLEAD_SECRET_FILE'
    expect(await refusal({ [name]: `a\0b` })).toBe(`${name} names no file.`)
    expect(await refusal({ [name]: root })).toBe(`${name} names something that is not a file.`)
    expect(await refusal({ [name]: '/dev/zero' })).toBe(`${name} names something that is not a file.`)
    expect(await refusal({ [name]: join(await file(''), 'below') })).toBe(`${name} names a file that does not exist.`)
    expect(await refusal({ [name]: secret })).toBe(`${name} names a file that does not exist.`)
    expect(await refusal({ [name]: 'x'.repeat(5000) })).toBe(`${name} names a file that cannot be read (ENAMETOOLONG).`)
  })

  it('is not waited for when it is a pipe', async () => {
    const pipe = join(root, 'pipe')
    execFileSync('mkfifo', [pipe])
    expect(await refusal({ FAIRLEAD_SECRET_FILE: pipe })).toBe(
      'FAIRLEAD_SECRET_FILE names something that is not a file.',
    )
  })

  it.skipIf(process.getuid?.() !== 0)('must be readable', async () => {
    const path = await file(secret)
    await chmod(path, 0o600)
    await chmod(root, 0o755)
    process.seteuid?.(65_534)
    try {
      expect(await refusal({ FAIRLEAD_SECRET_FILE: path })).toBe(
        'FAIRLEAD_SECRET_FILE names a file that this user may not read.',
      )
    } finally {
      process.seteuid?.(0)
    }
  })

  it('that is misspelled is a warning', async () => {
    const { warnings } = await load({ FAIRLEAD_SECERT_FILE: await file(secret), FAIRLEAD_CONFIG_FILE: 'x' })
    expect(warnings[0]).toMatch(/^FAIRLEAD_CONFIG_FILE is not a known variable/)
    expect(warnings[1]).toBe('FAIRLEAD_SECERT_FILE is not a known variable; did you mean FAIRLEAD_SECRET_FILE?')
  })

  it('works for the program that ships, and shows up in no line of it', async () => {
    const token = 'metrics-token-of-a-file'
    await using gateway = await disposable({
      FAIRLEAD_SECRET_FILE: await file(`${secret}\n`),
      FAIRLEAD_METRICS_TOKEN_FILE: await file(`${token}\n`),
    })
    const asked = (bearer: string) =>
      fetch(`${gateway.url}/metrics`, { headers: { Authorization: `Bearer ${bearer}` } })
    expect((await asked(token)).status).toBe(200)
    expect((await asked(`${token}x`)).status).toBe(401)
    expect(gateway.out() + gateway.log()).not.toMatch(new RegExp(`${secret}|${token}`))
  })
})

async function disposable(env: Record<string, string>) {
  const gateway = await startGateway({ env })
  return { ...gateway, [Symbol.asyncDispose]: () => gateway.close() }
}
