import { z } from 'zod'
import { jwt } from './jwt.ts'
import {
  absent,
  day,
  hour,
  httpUrl,
  listOptions,
  type Option,
  oneOf,
  option,
  parsed,
  path,
  seconds,
  size,
  whole,
  yesOrNo,
} from './option.ts'
import { builtInNames, pluginType } from './plugins.ts'
import { s3 } from './s3.ts'
import * as values from './values.ts'

const server = z.strictObject({
  host: option(
    { type: z.string().refine(values.isHost), takes: 'an IP address or a host name, without a port' },
    '127.0.0.1',
    { variable: 'FAIRLEAD_HOST', meaning: 'Address to listen on; `0.0.0.0` or `::` for every one.' },
  ),
  port: option(whole(0, 65_535), 8080, {
    variable: 'FAIRLEAD_PORT',
    meaning: 'Port to listen on; 0 takes any that is free.',
  }),
  publicUrl: option({ ...httpUrl, type: z.nullable(httpUrl.type) }, null, {
    variable: 'FAIRLEAD_PUBLIC_URL',
    meaning: 'Where clients reach the gateway; begins every URL that it hands out. Without it: what the request says.',
  }),
  publishedPort: absent(whole(1, 65_535), 'server.port', {
    variable: 'FAIRLEAD_PUBLISH',
    meaning: 'Port by which this machine reaches a gateway in a container: in the line that the first start prints.',
  }),
  trustProxy: option(
    {
      type: z.union([z.boolean(), z.int().min(0).max(64), z.array(z.string().refine(values.parseCidr)).min(1)]),
      takes: 'true, false, a number of hops from 0 to 64, or a list of addresses and CIDRs such as 10.0.0.0/8,::1',
      read: values.readTrustProxy,
    },
    false,
    {
      variable: 'FAIRLEAD_TRUST_PROXY',
      meaning: 'Whose `X-Forwarded-…` headers are believed: nobody, everybody, that many proxies, or those addresses.',
    },
  ),
  shutdownGrace: option(seconds(hour), 30, { meaning: 'How long running requests may go on after SIGTERM.' }),
  bodyIdleTimeout: option(seconds(hour), 60, {
    meaning: 'A request body from which nothing comes for this long is cut, and a download of which nothing is taken.',
  }),
  lowestRate: option(whole(0, 1024 * 1024), 500, {
    meaning:
      'Bytes a second that a request body must bring, and that a client must take of an answer, over each `server.rateWindow`; slower, it is cut. 0: no limit.',
  }),
  rateWindow: option(seconds(hour), 60, { meaning: 'Over how long `server.lowestRate` is taken.' }),
  connectionsPerAddress: option(whole(0, 10_000), 1_000, {
    meaning:
      'Connections that one address (of IPv6: one network of 64 bits) may hold at once; proxies of `server.trustProxy` may hold more. 0: no limit.',
  }),
  corsOrigins: option(
    {
      type: z.array(parsed(values.parseOrigin)).refine((origins) => origins.length === 1 || !origins.includes('*')),
      takes: '* alone, or a list of origins such as https://app.example.com; an empty list allows none',
      read: (text) => (text === '' ? [] : values.readList(text)),
    },
    ['*'],
    {
      variable: 'FAIRLEAD_CORS_ORIGINS',
      meaning: 'Web pages of these origins may call the gateway; with cookies too when they are listed, never by `*`.',
    },
  ),
  page: option(yesOrNo, true, { meaning: 'Whether `/` is a page to try the gateway with.' }),
  logLevel: option(oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']), 'info', {
    variable: 'FAIRLEAD_LOG_LEVEL',
    meaning: 'The least important lines that are logged.',
  }),
})

const database = z.strictObject({
  url: absent(
    {
      type: z.string().refine(values.parseSqliteUrl),
      takes: 'sqlite:<path>; this version has no other database driver',
    },
    'sqlite:<dataDir>/fairlead.db',
    {
      variable: 'FAIRLEAD_DATABASE_URL',
      meaning: 'Where the records are. A relative path begins at the working directory.',
    },
  ),
})

const storage = z.strictObject({
  driver: option(oneOf(['disk', 's3']), 'disk', { variable: 'FAIRLEAD_STORAGE', meaning: 'Where the files are.' }),
  directory: absent(path, '<dataDir>/objects', { meaning: 'Folder of the `disk` driver.' }),
  required: option(yesOrNo, true, {
    variable: 'FAIRLEAD_STORAGE_REQUIRED',
    meaning:
      'Whether a store that does not answer stops the start; otherwise the log says so, and `/readyz` until it does.',
  }),
})

const metrics = z.strictObject({
  token: absent({ type: z.string().min(16), takes: 'at least 16 characters' }, 'none', {
    variable: 'FAIRLEAD_METRICS_TOKEN',
    secret: true,
    meaning: 'What `/metrics` wants as `Authorization: Bearer …`. Without it and `metrics.port` there are no metrics.',
  }),
  port: absent(whole(0, 65_535), 'none', { meaning: 'Port of its own for `/metrics`, which asks for no token there.' }),
  host: option({ type: z.string().refine(values.isHost), takes: 'an IP address or a host name' }, '127.0.0.1', {
    meaning: 'Address of that port.',
  }),
})

const category = z.strictObject({
  extensions: absent(
    { type: z.array(parsed(values.parseExtension)).min(1), takes: 'a list of file name extensions such as pdf' },
    'any',
    { meaning: 'Endings that a name in this category may have.' },
  ),
  types: absent(
    {
      type: z.array(parsed(values.parseMediaType)).min(1),
      takes: 'a list of media types such as image/png or image/*',
    },
    'any',
    { meaning: 'Types that a file in this category may have.' },
  ),
  maxSize: absent(size, 'limits.maxFileSize', { meaning: 'The largest file in this category.' }),
})

const categoryNames = ['script', 'dictionary', 'document', 'image', 'audio', 'video', 'archive', 'data', 'other']

/** Everything that an installation may decide. */
export const configSchema = z.strictObject({
  server: server.prefault({}),
  dataDir: option(path, './data', {
    variable: 'FAIRLEAD_DATA_DIR',
    meaning: 'Folder for everything that the gateway keeps, unless another option says otherwise.',
  }),
  secret: option({ type: z.nullable(z.string().min(32)), takes: 'at least 32 characters' }, null, {
    variable: 'FAIRLEAD_SECRET',
    secret: true,
    meaning: 'Signs URLs and tokens. Without it: made at the first start and kept in `<dataDir>/secret`.',
  }),
  secretPrevious: option({ type: z.nullable(z.string().min(32)), takes: 'at least 32 characters' }, null, {
    secret: true,
    meaning:
      'The secret that was in force before `secret`: what it has signed stays good, and nothing new is signed with it. See docs/operations.md.',
  }),
  database: database.prefault({}),
  storage: storage.prefault({}),
  s3: s3.prefault({}),
  jwt: jwt.prefault({}),
  limits: z
    .strictObject({
      maxFileSize: option(size, '5GiB', { variable: 'FAIRLEAD_MAX_FILE_SIZE', meaning: 'The largest file.' }),
      workspaceQuota: option({ ...size, type: z.nullable(size.type) }, null, {
        variable: 'FAIRLEAD_WORKSPACE_QUOTA',
        meaning: 'What the files of one workspace may take together, where the workspace has no quota of its own.',
      }),
      filesPerBatch: option(whole(1, 1_000), 100, { meaning: 'Files that one form may bring.' }),
      openUploads: option(whole(1, 10_000_000), 5_000, {
        meaning: 'Uploads of one workspace that may be unfinished at a time.',
      }),
      bareRecords: option(whole(1, 10_000_000), 50_000, {
        meaning:
          'Records of one workspace that hold no bytes: unfinished, refused, expired and empty uploads. Beyond it new uploads push out the oldest refused and expired ones.',
      }),
      requestsPerMinute: option(whole(0, 1_000_000), 0, {
        variable: 'FAIRLEAD_RATE_LIMIT',
        meaning:
          'Requests a minute for each API key or user, and requests without valid credentials for each address; 0: no limit for keys and users, and 300 without valid credentials.',
      }),
    })
    .prefault({}),
  presign: z
    .strictObject({
      ttl: option(seconds(7 * day), 900, {
        variable: 'FAIRLEAD_PRESIGN_TTL',
        meaning: 'How long an `upload_url` is good.',
      }),
      confirmWithin: option(seconds(30 * day), day, { meaning: 'How long bytes that nobody confirms are kept.' }),
      multipartThreshold: absent(size, 'none', {
        meaning:
          'Above this declared size the answer to a presigned or direct creation also says how to bring the file by tus, in pieces that can be resumed.',
      }),
    })
    .prefault({}),
  tus: z
    .strictObject({
      expiry: option(seconds(90 * day), day, {
        variable: 'FAIRLEAD_TUS_EXPIRY',
        meaning: 'How long an unfinished tus upload is kept after something has come for it.',
      }),
      holdFor: option(seconds(90 * day), 300, {
        meaning:
          'How long an unfinished tus upload holds the bytes that it has declared and not sent, after something has come for it. Afterwards it holds what it has, and the next request reserves the rest again.',
      }),
      partsPerUpload: option(whole(1, 10_000), 1_000, {
        meaning: 'Parts that one final upload may name.',
      }),
      timesPerPart: option(whole(1, 10_000), 4, {
        meaning: 'How often a final upload may name the same part.',
      }),
      relativeLocation: option(yesOrNo, false, {
        meaning: 'A created tus upload is named by its path alone, without scheme and host.',
      }),
    })
    .prefault({}),
  download: z
    .strictObject({
      ttl: option(seconds(7 * day), hour, { meaning: 'How long a signed download URL is good.' }),
      inlinePdf: option(yesOrNo, true, {
        meaning: 'Browsers may show a PDF in place; otherwise they save it.',
      }),
    })
    .prefault({}),
  pipeline: z
    .strictObject({
      syncBudget: option(seconds(300), 10, {
        meaning: 'How long a request waits for the plugins; after it the answer says `processing`.',
      }),
    })
    .prefault({}),
  categories: option(
    {
      type: z.record(z.string().regex(/^[a-z0-9_-]{1,64}$/), category),
      takes:
        'names of 1 to 64 of a-z, 0-9, _ and -, each with { extensions?, types?, maxSize? }; in a variable as JSON',
      read: values.readJson,
    },
    Object.fromEntries(categoryNames.map((name) => [name, {}])),
    {
      meaning:
        'What clients may put a file under, and what it has to be like. Takes the place of the whole default set.',
    },
  ),
  dedupe: option(yesOrNo, false, {
    meaning:
      'The direct API gives the record of a finished file to whoever declares the same SHA-256 and size in the same workspace, instead of taking the bytes again. Both then have one file: deleting it deletes it for both.',
  }),
  projects: z
    .strictObject({
      mode: option(oneOf(['open', 'registered']), 'open', {
        meaning: 'Whether the first use of a project makes it, or an unknown project is refused.',
      }),
    })
    .prefault({}),
  keys: z
    .strictObject({
      prefix: option(
        { type: z.string().regex(/^[a-z][a-z0-9]{1,7}$/), takes: '2 to 8 of a-z and 0-9, a letter first' },
        'op',
        { meaning: 'How API keys begin: `op` makes `op_live_…`.' },
      ),
    })
    .prefault({}),
  metrics: metrics.prefault({}),
  sweep: z
    .strictObject({
      interval: option(seconds(30), 30, { meaning: 'How often background repair comes round.' }),
      orphanGrace: option(seconds(30 * day), hour, {
        meaning: 'Objects that no record knows are removed when they are older.',
      }),
      keepEnded: option(seconds(365 * day), 7 * day, {
        meaning: 'Records of rejected and expired uploads are forgotten after this.',
      }),
    })
    .prefault({}),
  plugins: absent(
    {
      type: z.array(pluginType),
      takes: `a list of plugin objects as their factories return them, such as sniffType(), or of names: ${builtInNames.join(', ')}`,
      read: values.readList,
    },
    'sniffType(), quota(), mediaInfo()',
    { meaning: 'What looks at files, in this order.' },
  ),
})

export type UserConfig = z.input<typeof configSchema>

/** Helps an editor; changes nothing. */
export const defineConfig = (config: UserConfig): UserConfig => config

export const options: readonly Option[] = listOptions(configSchema)
