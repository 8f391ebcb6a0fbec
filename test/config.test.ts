import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { safeParse } from 'zod'
import { configurationPage, withOptions } from '../config/docs.ts'
import { ConfigError } from '../config/error.ts'
import { type Config, loadConfig } from '../config/load.ts'
import { options } from '../config/schema.ts'
import { valueAt } from '../config/fault.ts'
import type { Plugin } from '../src/plugin.ts'

let root = ''
let folders = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead-config-'))
  await writeFile(join(root, 'package.json'), '{"type":"module"}')
})
afterAll(() => rm(root, { recursive: true }))

/** A new working directory, with a configuration file when its text is given. */
async function folder(text?: string): Promise<string> {
  const path = join(root, String(folders++))
  await mkdir(path)
  if (text !== undefined) await writeFile(join(path, 'uploads.config.ts'), text)
  return path
}

const load = async (env: Record<string, string> = {}, text?: string): Promise<Config> =>
  loadConfig({ cwd: await folder(text), env })

async function failure(promise: Promise<unknown>): Promise<ConfigError> {
  const error: unknown = await promise.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ConfigError)) throw error
  expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
  expect(error.message.length).toBeLessThan(500)
  return error
}
const message = async (promise: Promise<unknown>): Promise<string> => (await failure(promise)).message

const long = 'x'.repeat(32)

interface Case {
  readonly pick: (config: Config) => unknown
  /** Text and the value that it becomes. */
  readonly good: Readonly<Record<string, unknown>>
  /** Texts that stop the start. */
  readonly bad: readonly string[]
  /** Variables that this one needs beside it. */
  readonly beside?: Readonly<Record<string, string>>
}

const pem = '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----'
const badUrls = ['s3.example.com', 'ftp://x', 'https://u:pw@x', 'https://x/?a', 'https://x/#b']

const variables: Readonly<Record<string, Case>> = {
  FAIRLEAD_HOST: {
    pick: (config) => config.server.host,
    good: { '0.0.0.0': '0.0.0.0', '::': '::', 'files.example.com': 'files.example.com', localhost: 'localhost' },
    bad: ['127.0.0.1:8080', 'http://x', '127.0.0.256', '[::1]', 'a b', '-a', 'a..b'],
  },
  FAIRLEAD_PORT: {
    pick: (config) => config.server.port,
    good: { 0: 0, 65535: 65_535 },
    bad: ['abc', '-1', '65536', '80.5', '1e3', '0x50', ' 80', '80\r', '99999999999999999999'],
  },
  FAIRLEAD_PUBLIC_URL: {
    pick: (config) => config.server.publicUrl,
    good: { 'https://Up.example.com/': 'https://up.example.com', 'http://x:8080/files/': 'http://x:8080/files' },
    bad: [
      'up.example.com',
      'ftp://x',
      'https://x/?a',
      'https://x/#',
      'https://u:pw@x',
      'https://',
      'https:x',
      'https://a b',
    ],
  },
  FAIRLEAD_PUBLISH: {
    pick: (config) => config.server.publishedPort,
    good: { 1: 1, 65535: 65_535 },
    bad: ['0', 'abc', '65536', '80.5'],
  },
  FAIRLEAD_TRUST_PROXY: {
    pick: (config) => config.server.trustProxy,
    good: { true: true, false: false, 2: 2, '10.0.0.0/8, ::1': ['10.0.0.0/8', '::1'] },
    bad: ['yes', '-1', '65', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', '10.0.0.0/8,', 'proxy.local', '1.5', 'TRUE'],
  },
  FAIRLEAD_CORS_ORIGINS: {
    pick: (config) => config.server.corsOrigins,
    good: {
      '*': ['*'],
      '': [],
      'https://a.example.com, http://b:3000': ['https://a.example.com', 'http://b:3000'],
      'https://A.example.com:443/,capacitor://localhost': ['https://a.example.com', 'capacitor://localhost'],
    },
    bad: ['a.example.com', 'https://a/path', '*,https://a', 'https://a,,https://b', 'null', 'https://a?b'],
  },
  FAIRLEAD_LOG_LEVEL: {
    pick: (config) => config.server.logLevel,
    good: {
      fatal: 'fatal',
      error: 'error',
      warn: 'warn',
      info: 'info',
      debug: 'debug',
      trace: 'trace',
      silent: 'silent',
    },
    bad: ['INFO', 'verbose', '30'],
  },
  FAIRLEAD_DATA_DIR: {
    pick: (config) => config.dataDir,
    good: { '/srv/fairlead': '/srv/fairlead' },
    bad: ['a\0b'],
  },
  FAIRLEAD_SECRET: { pick: (config) => config.secret, good: { [long]: long }, bad: [long.slice(1)] },
  FAIRLEAD_SECRET_PREVIOUS: {
    pick: (config) => config.secretPrevious,
    good: { [long]: long },
    bad: [long.slice(1)],
  },
  FAIRLEAD_DATABASE_URL: {
    pick: (config) => config.database.path,
    good: { 'sqlite:/srv/a.db': '/srv/a.db', 'sqlite:///srv/a.db': '/srv/a.db' },
    bad: ['sqlite:', '/srv/a.db', 'sqlite::memory:', 'sqlite://data/a.db', 'postgres://u:pw@h/db', 'mysql://h/db'],
  },
  FAIRLEAD_STORAGE: { pick: (config) => config.storage.driver, good: { disk: 'disk' }, bad: ['S3', 'Disk'] },
  FAIRLEAD_STORAGE_REQUIRED: {
    pick: (config) => config.storage.required,
    good: { true: true, false: false },
    bad: ['maybe'],
  },
  FAIRLEAD_S3_BUCKET: {
    pick: (config) => config.s3.bucket,
    good: { 'my-files': 'my-files', 'a.b.c': 'a.b.c' },
    bad: ['ab', 'Upper', 'a/b', '-a-', 'a'.repeat(64)],
  },
  FAIRLEAD_S3_ENDPOINT: {
    pick: (config) => config.s3.endpoint,
    good: { 'http://127.0.0.1:9000/': 'http://127.0.0.1:9000' },
    bad: badUrls,
  },
  FAIRLEAD_S3_PUBLIC_ENDPOINT: {
    pick: (config) => config.s3.publicEndpoint,
    good: { 'https://s3.example.com': 'https://s3.example.com' },
    bad: badUrls,
  },
  FAIRLEAD_S3_REGION: {
    pick: (config) => config.s3.region,
    good: { 'eu-central-1': 'eu-central-1', auto: 'auto' },
    bad: ['a b', 'eu_1'],
  },
  FAIRLEAD_S3_ACCESS_KEY_ID: {
    pick: (config) => config.s3.accessKeyId,
    good: { AKIA: 'AKIA' },
    bad: [],
    beside: { FAIRLEAD_S3_SECRET_ACCESS_KEY: 's' },
  },
  FAIRLEAD_S3_SECRET_ACCESS_KEY: {
    pick: (config) => config.s3.secretAccessKey,
    good: { 'a/b+c': 'a/b+c' },
    bad: [],
    beside: { FAIRLEAD_S3_ACCESS_KEY_ID: 'k' },
  },
  FAIRLEAD_S3_FORCE_PATH_STYLE: {
    pick: (config) => config.s3.forcePathStyle,
    good: { true: true, false: false },
    bad: ['yes', '1', 'True'],
  },
  FAIRLEAD_S3_DOWNLOADS: {
    pick: (config) => config.s3.downloads,
    good: { proxy: 'proxy', redirect: 'redirect' },
    bad: ['Proxy', 'true'],
  },
  FAIRLEAD_JWT_JWKS_URL: {
    pick: (config) => config.jwt.jwksUrl,
    good: { 'https://id.example.com/.well-known/jwks.json': 'https://id.example.com/.well-known/jwks.json' },
    bad: badUrls,
  },
  FAIRLEAD_JWT_PUBLIC_KEY: {
    pick: (config) => config.jwt.publicKey,
    good: { [pem]: pem, [pem.replaceAll('\n', '\\n')]: pem },
    bad: ['MCow', pem.replaceAll('PUBLIC', 'PRIVATE'), pem.slice(0, 40)],
  },
  FAIRLEAD_JWT_ISSUER: {
    pick: (config) => config.jwt.issuer,
    good: { 'https://id.example.com': 'https://id.example.com' },
    bad: [],
  },
  FAIRLEAD_JWT_AUDIENCE: { pick: (config) => config.jwt.audience, good: { 'a, b': ['a', 'b'] }, bad: ['a,'] },
  FAIRLEAD_JWT_AUTHORIZED_PARTIES: {
    pick: (config) => config.jwt.authorizedParties,
    good: { 'https://a.example.com,https://b.example.com': ['https://a.example.com', 'https://b.example.com'] },
    bad: [','],
  },
  FAIRLEAD_JWT_ALGORITHMS: {
    pick: (config) => config.jwt.algorithms,
    good: { 'RS256, ES256': ['RS256', 'ES256'] },
    bad: ['HS256', 'RS256,', 'none'],
  },
  FAIRLEAD_MAX_FILE_SIZE: {
    pick: (config) => config.limits.maxFileSize,
    good: { 1: 1, '10GiB': 10 * 2 ** 30 },
    bad: ['0', '-1', '5 apples', '10 gib', '9007199254740992', '9999999TiB'],
  },
  FAIRLEAD_WORKSPACE_QUOTA: {
    pick: (config) => config.limits.workspaceQuota,
    good: { '500MB': 5e8 },
    bad: ['0', 'none'],
  },
  FAIRLEAD_OPEN_UPLOADS: {
    pick: (config) => config.limits.openUploads,
    good: { 1: 1, 10000000: 10_000_000 },
    bad: ['0', '1.5', 'off', '10000001'],
  },
  FAIRLEAD_BARE_RECORDS: {
    pick: (config) => config.limits.bareRecords,
    good: { 1: 1, 10000000: 10_000_000 },
    bad: ['0', '1.5', 'off', '10000001'],
  },
  FAIRLEAD_RATE_LIMIT: {
    pick: (config) => config.limits.requestsPerMinute,
    good: { 0: 0, 600: 600 },
    bad: ['-1', '1.5', 'off', '1000001'],
  },
  FAIRLEAD_PRESIGN_TTL: {
    pick: (config) => config.presign.ttl,
    good: { 1: 1, 604800: 604_800 },
    bad: ['0', '1.5', '15m', '604801', 'Infinity', 'NaN'],
  },
  FAIRLEAD_TUS_EXPIRY: {
    pick: (config) => config.tus.expiry,
    good: { 1: 1, 7776000: 7_776_000 },
    bad: ['0', '1.5', '1d', '7776001'],
  },
  FAIRLEAD_TUS_HOLD_FOR: {
    pick: (config) => config.tus.holdFor,
    good: { 1: 1, 7776000: 7_776_000 },
    bad: ['0', '1.5', '1d', '7776001'],
  },
  FAIRLEAD_TUS_PARTS_PER_UPLOAD: {
    pick: (config) => config.tus.partsPerUpload,
    good: { 1: 1, 10000: 10_000 },
    bad: ['0', '1.5', 'off', '10001'],
  },
  FAIRLEAD_TUS_TIMES_PER_PART: {
    pick: (config) => config.tus.timesPerPart,
    good: { 1: 1, 10000: 10_000 },
    bad: ['0', '1.5', 'off', '10001'],
  },
  FAIRLEAD_METRICS_TOKEN: {
    pick: (config) => config.metrics.token,
    good: { 'sixteen-letters!': 'sixteen-letters!' },
    bad: ['too-short'],
  },
  FAIRLEAD_CATEGORIES: {
    pick: (config) => ({ ...config.categories }),
    good: {
      '{"image":{"types":["image/*"],"maxSize":"1kB"},"other":{}}': {
        image: { types: ['image/*'], maxSize: 1_000 },
        other: {},
      },
    },
    bad: ['image', '[1]', '{"image":{"type":["image/*"]}}', '{'],
  },
  FAIRLEAD_PLUGINS: {
    pick: (config) => config.plugins.map(({ name }) => name),
    good: { 'quota, sniff-type': ['quota', 'sniff-type'] },
    bad: ['virus', 'quota,', '[]', 'constructor'],
  },
}

/** Texts of which every option takes at least one that is not its default. */
const candidates = [
  '/srv/x',
  'sqlite:/srv/x.db',
  pem,
  'https://x.example.com',
  '17',
  '25',
  '99MiB',
  'true',
  'false',
  '127.0.0.3',
  'proxy',
  'registered',
  's3',
  'ceph',
  'RS512',
  'debug',
  '{"x":{}}',
  'quota',
  'ab',
  'a.b',
  long,
]

describe('environment', () => {
  it('has no variable in the table above that the schema does not know', () => {
    expect(options.map(({ variable }) => variable)).toEqual(expect.arrayContaining(Object.keys(variables)))
  })

  it('has one variable for each option', () => {
    const named = options.filter(({ path }) => !path.includes('<name>')).map(({ variable }) => variable)
    expect(named).toEqual(named.map(() => expect.stringMatching(/^FAIRLEAD_[A-Z0-9_]+$/)))
    expect(new Set(named).size).toBe(named.length)
  })

  const settable = options.filter(({ variable }) => variable !== undefined)
  it.each(settable.map((option) => [option.variable ?? '', option] as const))(
    '%s sets its option',
    async (name, option) => {
      const beside = {
        FAIRLEAD_S3_BUCKET: 'files',
        ...(name.includes('ACCESS_KEY') && { FAIRLEAD_S3_ACCESS_KEY_ID: 'k', FAIRLEAD_S3_SECRET_ACCESS_KEY: 's' }),
      }
      const before = valueAt(await load(beside), option.path)
      const set = await Promise.all(
        candidates.map(async (text) => {
          const value = option.read ? option.read(text) : text
          if (!safeParse(option.type, value).success) return undefined
          return valueAt(await load({ ...beside, [name]: text }), option.path)
        }),
      )
      expect(set).toContainEqual(expect.toSatisfy((value) => value !== undefined && !isDeepStrictEqual(value, before)))
    },
  )

  const emptiable = settable.flatMap(({ variable = '' }) => (variable === 'FAIRLEAD_CORS_ORIGINS' ? [] : variable))
  it.each(emptiable)('%s that is empty is as if unset', async (name) => {
    const cwd = await folder()
    const json = async (env: Record<string, string>) => JSON.stringify(await loadConfig({ cwd, env }))
    expect(await json({ [name]: '', [`${name}_FILE`]: '' })).toBe(await json({}))
  })

  it('gives way to the file where it is empty', async () => {
    const text = 'export default { server: { port: 1 } }'
    expect((await load({ FAIRLEAD_PORT: '' }, text)).server.port).toBe(1)
    expect((await load({ FAIRLEAD_CONFIG: '' }, text)).server.port).toBe(1)
  })

  for (const [name, { pick, good, bad, beside }] of Object.entries(variables)) {
    it.each(Object.entries(good))(`${name}=%j is taken`, async (text, value) => {
      expect(pick(await load({ ...beside, [name]: text }))).toEqual(value)
    })

    it.each(bad)(`${name}=%j stops the start`, async (text) => {
      const takes = options.find(({ variable }) => variable === name)?.takes ?? ''
      const line = await message(load({ ...beside, [name]: text }))
      expect(line).toMatch(new RegExp(`^${name}: got `))
      expect(line).toContain(`it takes ${takes}`)
    })
  }

  it('says what it got, in one line, cut', async () => {
    expect(await message(load({ FAIRLEAD_PORT: 'eight\n\u202E80' }))).toContain(
      'got "eight\\u{a}\\u{202e}80"; it takes',
    )
    const line = await message(load({ FAIRLEAD_STORAGE: 'y'.repeat(5000) }))
    expect(line).toContain(`"${'y'.repeat(80)}…"`)
  })

  it('says what the options ask of one another', async () => {
    expect(await message(load({ FAIRLEAD_STORAGE: 's3' }))).toContain('set FAIRLEAD_S3_BUCKET')
    const half = 'FAIRLEAD_S3_ACCESS_KEY_ID and FAIRLEAD_S3_SECRET_ACCESS_KEY go together'
    expect(await message(load({ FAIRLEAD_S3_ACCESS_KEY_ID: 'k' }))).toContain(half)
    expect(await message(load({ FAIRLEAD_S3_SECRET_ACCESS_KEY: 'hush-hush' }))).toContain(half)
    const keys = { FAIRLEAD_JWT_PUBLIC_KEY: pem, FAIRLEAD_JWT_JWKS_URL: 'https://id.example.com/jwks' }
    expect(await message(load(keys))).toContain('exclude each other')
  })

  it('hides the metrics token', async () => {
    expect(await message(load({ FAIRLEAD_METRICS_TOKEN: 'hush-hush' }))).toBe(
      'FAIRLEAD_METRICS_TOKEN: got (hidden, 9 characters); it takes at least 16 characters.',
    )
  })

  it('says that there is no other driver', async () => {
    expect(await message(load({ FAIRLEAD_DATABASE_URL: 'postgres://h/d' }))).toContain('no other database driver')
  })

  it('warns of what changes nothing, without values', async () => {
    const { warnings } = await load({
      FAIRLEAD_PROT: '1',
      FAIRLEAD_ZZZZZZ: '1',
      FAIRLEAD_CONFIG_X: '1',
      // For `fairlead upload`.
      FAIRLEAD_KEY: 'op_live_x',
      FAIRLEAD_URL: 'https://files.example.com',
      OTHER: '1',
    })
    expect(warnings).toEqual([
      'FAIRLEAD_CONFIG_X is not a known variable; did you mean FAIRLEAD_CONFIG?',
      'FAIRLEAD_PROT is not a known variable; did you mean FAIRLEAD_PORT?',
      'FAIRLEAD_ZZZZZZ is not a known variable',
    ])
  })
})

describe('a server that nothing limits', () => {
  const brakes = expect.stringMatching(/FAIRLEAD_WORKSPACE_QUOTA.*FAIRLEAD_RATE_LIMIT/)
  it.each([
    [{ FAIRLEAD_HOST: '0.0.0.0' }],
    [{ FAIRLEAD_HOST: '::' }],
    [{ FAIRLEAD_PUBLIC_URL: 'https://files.example.com' }],
  ])('is warned of once where others can reach it: %j', async (env) => {
    expect((await load(env)).warnings).toEqual([brakes])
  })

  it.each([
    [{}],
    [{ FAIRLEAD_HOST: '::1', FAIRLEAD_PUBLIC_URL: 'http://localhost:8080' }],
    [{ FAIRLEAD_HOST: '0.0.0.0', FAIRLEAD_WORKSPACE_QUOTA: '1GiB' }],
    [{ FAIRLEAD_HOST: '0.0.0.0', FAIRLEAD_RATE_LIMIT: '600' }],
  ])('is not warned of here: %j', async (env) => {
    expect((await load(env)).warnings).toEqual([])
  })
})

describe('secrets in messages', () => {
  it('hides FAIRLEAD_SECRET', async () => {
    const line = await message(load({ FAIRLEAD_SECRET: 'correct horse' }))
    expect(line).toBe('FAIRLEAD_SECRET: got (hidden, 13 characters); it takes at least 32 characters.')
    expect(await message(load({}, 'export default { secret: "correct horse" }'))).not.toContain('horse')
    expect(await message(load({}, 'export default { secret: ["correct horse"] }'))).not.toContain('horse')
    expect(await message(load({ FAIRLEAD_SECRET_PREVIOUS: 'correct horse' }))).toContain('(hidden, 13 characters)')
    expect(await message(load({}, 'export default { secretPrevious: "correct horse" }'))).not.toContain('horse')
  })

  it.each([
    'postgres://user:hunter2@db.example.com/fairlead',
    'postgres://user:hunter2/@:hunter2@db/fairlead',
    'postgres://:hunter2@db/fairlead',
    'postgres://us@er://hunter2@db/fairlead',
    'user:hunter2@db/fairlead',
    'postgres:user:hunter2@db',
    'postgres://db:5432/fairlead?password=hunter2@hunter2&x=1',
    "host=db password = 'a hunter2'",
    'postgres://user:x\nhunter2@db',
  ])('hides the password of %j', async (url) => {
    const line = await message(load({ FAIRLEAD_DATABASE_URL: url }))
    expect(line).toMatch(/\(hidden, \d+ characters\)/)
    expect(line).not.toContain('hunter2')
    const text = JSON.stringify(url)
    expect(await message(load({}, `export default { database: { url: ${text} } }`))).not.toContain('hunter2')
    expect(await message(load({}, `export default { database: ${text} }`))).not.toContain('hunter2')
    expect(await message(load({}, `export default [${text}]`))).not.toContain('hunter2')
  })

  it('shows the rest of the URL', async () => {
    const line = await message(load({ FAIRLEAD_DATABASE_URL: 'postgres://user:hunter2@db.example.com/fairlead' }))
    expect(line).toContain('got "postgres://user:(hidden, 7 characters)@db.example.com/fairlead"')
  })
})

describe('configuration file', () => {
  it('gives every default without a file', async () => {
    const cwd = await folder()
    const config = await loadConfig({ cwd, env: {} })
    expect(config.plugins.map(({ name }) => name)).toEqual(['sniff-type', 'quota', 'media-info'])
    expect(config).toMatchObject({
      server: {
        host: '127.0.0.1',
        port: 8080,
        publicUrl: null,
        trustProxy: false,
        corsOrigins: ['*'],
        logLevel: 'info',
      },
      dataDir: join(cwd, 'data'),
      secret: null,
      database: { path: join(cwd, 'data/fairlead.db') },
      storage: { driver: 'disk', directory: join(cwd, 'data/objects') },
      limits: { maxFileSize: 5 * 2 ** 30, workspaceQuota: null },
      presign: { ttl: 900, confirmWithin: 86_400 },
      sweep: { interval: 30, orphanGrace: 3600, keepEnded: 604_800 },
      warnings: [],
    })
    expect(Object.keys(config.categories)).toContain('other')
  })

  it('begins relative paths at the working directory, and the rest at the data directory', async () => {
    const cwd = await folder('export default { storage: { directory: "files" }, plugins: [] }')
    const config = await loadConfig({ cwd, env: { FAIRLEAD_DATA_DIR: 'kept' } })
    expect(config.dataDir).toBe(join(cwd, 'kept'))
    expect(config.database.path).toBe(join(cwd, 'kept/fairlead.db'))
    expect(config.storage.directory).toBe(join(cwd, 'files'))
    const moved = await loadConfig({ cwd, env: { FAIRLEAD_DATABASE_URL: 'sqlite:db/a.db' } })
    expect(moved.database).toEqual({ url: 'sqlite:db/a.db', path: join(cwd, 'db/a.db') })
  })

  it('ships with the default plugins', async () => {
    const shipped = await loadConfig({ cwd: join(import.meta.dirname, '..'), env: {} })
    const bare = await loadConfig({ cwd: await folder(), env: {} })
    expect(shipped.plugins.map(({ name }) => name)).toEqual(bare.plugins.map(({ name }) => name))
  })

  it('gives way to the environment', async () => {
    const text = 'export default { server: { port: 1, host: "::1" }, presign: { ttl: 1 } }'
    const config = await load({ FAIRLEAD_PORT: '2', FAIRLEAD_PRESIGN_TTL: '2' }, text)
    expect(config.server).toMatchObject({ port: 2, host: '::1' })
    expect(config.presign.ttl).toBe(2)
  })

  it('is found by FAIRLEAD_CONFIG, relative to the working directory', async () => {
    const cwd = await folder('export default { server: { port: 1 } }')
    await writeFile(join(cwd, 'other.ts'), 'export default { server: { port: 2 } }')
    const config = await loadConfig({ cwd, env: { FAIRLEAD_CONFIG: 'other.ts' } })
    expect(config.server.port).toBe(2)
  })

  it('stops the start where FAIRLEAD_CONFIG names none', async () => {
    expect(await message(load({ FAIRLEAD_CONFIG: 'missing.ts' }))).toContain(
      'FAIRLEAD_CONFIG: got "missing.ts"; it takes the path',
    )
  })

  it('takes sizes, a set of categories of its own, and normalizes them', async () => {
    const text = `export default {
      limits: { maxFileSize: 100 },
      categories: { image: { extensions: ['.PNG', 'jpg'], types: ['Image/*'], maxSize: '1.5 KiB' } },
    }`
    const { limits, categories } = await load({}, text)
    expect(limits.maxFileSize).toBe(100)
    expect(categories).toEqual({ image: { extensions: ['png', 'jpg'], types: ['image/*'], maxSize: 1536 } })
    expect(categories['constructor']).toBeUndefined()
  })

  it.each([
    ['server: { prot: 1 }', 'server.prot in uploads.config.ts is not an option; did you mean port?'],
    ['port: 1', 'port in uploads.config.ts is not an option; did you mean server.port?'],
    ['zzzz: 1', 'zzzz in uploads.config.ts is not an option; known here: server, dataDir, secret, secretPrevious'],
    [
      'categories: { image: { extension: [] } }',
      'categories.image.extension in uploads.config.ts is not an option; did you mean extensions?',
    ],
    [
      'categories: { Image: {} }',
      'categories.Image in uploads.config.ts: got "Image"; it takes names of 1 to 64 of a-z',
    ],
    [
      'categories: { image: { maxSize: "5 apples" } }',
      'categories.image.maxSize in uploads.config.ts: got "5 apples"; it takes bytes',
    ],
    [
      'categories: { image: { types: ["*/*"] } }',
      'categories.image.types[0] in uploads.config.ts: got "*/*"; it takes a list of media types',
    ],
    [
      'server: { port: "8080" }',
      'server.port in uploads.config.ts: got "8080"; it takes a whole number from 0 to 65535.',
    ],
    ['server: { port: null }', 'server.port in uploads.config.ts: got null; it takes'],
    ['server: 5', 'server in uploads.config.ts: got 5; it takes an object with host, port, publicUrl'],
    [
      'server: { trustProxy: ["10.0.0.0/99"] }',
      'server.trustProxy[0] in uploads.config.ts: got "10.0.0.0/99"; it takes true, false',
    ],
    ['limits: { maxFileSize: 1.5 }', 'limits.maxFileSize in uploads.config.ts: got 1.5; it takes bytes'],
    ['sweep: { interval: 31 }', 'sweep.interval in uploads.config.ts: got 31; it takes whole seconds from 1 to 30.'],
    ['keys: { prefix: "O" }', 'keys.prefix in uploads.config.ts: got "O"; it takes 2 to 8'],
    [
      'plugins: [function sniffType() {}]',
      'plugins[0] in uploads.config.ts: got the function sniffType; it takes a list of plugin objects',
    ],
    [
      'plugins: [{ name: "a/b" }]',
      'plugins[0].name in uploads.config.ts: got "a/b"; it takes a list of plugin objects',
    ],
    ['plugins: [{ name: "a", beforeFinish: 1 }]', 'plugins[0].beforeFinish in uploads.config.ts: got 1; it takes'],
  ])('refuses %s', async (text, expected) => {
    expect(await message(load({}, `export default { ${text} }`))).toContain(expected)
  })

  it('is checked even where the environment wins', async () => {
    const text = 'export default { server: { port: "x" } }'
    expect(await message(load({ FAIRLEAD_PORT: '1' }, text))).toMatch(/^server\.port in uploads\.config\.ts/)
  })

  it.each([
    ['throw new Error("no\\nluck")', 'uploads.config.ts cannot be loaded: Error: no'],
    ['export default {', 'uploads.config.ts cannot be loaded: '],
    ['import "./missing.ts"', 'uploads.config.ts cannot be loaded: '],
    ['export const config = {}', 'uploads.config.ts has no default export'],
    ['export default 5', 'The default export in uploads.config.ts is not an object.'],
  ])('with %j is one line', async (text, expected) => {
    expect(await message(load({}, text))).toContain(expected)
  })

  it('is frozen, but for the plugins', async () => {
    const plugin: Plugin & { count: number } = { name: 'counter', count: 0 }
    const config = await loadConfig({ cwd: root, env: {}, config: { plugins: [plugin] } })
    for (const part of [
      config,
      config.server,
      config.server.corsOrigins,
      config.categories,
      config.plugins,
      config.warnings,
    ]) {
      expect(part).toSatisfy(Object.isFrozen)
    }
    expect(config.plugins[0]).toBe(plugin)
    expect(plugin).not.toSatisfy(Object.isFrozen)
  })
})

describe('docs/configuration.md', () => {
  it('lists every option as the schema has it (else run: node config/docs.ts)', async () => {
    const page = await readFile(configurationPage, 'utf8')
    expect(withOptions(page)).toBe(page)
    for (const { path, variable, fallback } of options) {
      for (const text of [path.join('.'), variable ?? '', fallback]) expect(page).toContain(text)
    }
    expect(page).toContain('FAIRLEAD_CONFIG')
  })
})
