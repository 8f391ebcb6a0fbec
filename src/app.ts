import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { ConfigError } from '../config/error.ts'
import type { Config } from '../config/load.ts'
import { loadSecret } from '../config/secret.ts'
import { parseCidr } from '../config/values.ts'
import type { DialectDependencies } from './dialects/dialect.ts'
import { downloads } from './dialects/downloads.ts'
import { presigned } from './dialects/presigned.ts'
import { raw } from './dialects/raw.ts'
import { authenticator } from './http/authenticate.ts'
import { idempotency } from './http/idempotency.ts'
import { tokenVerifier } from './http/jwt.ts'
import { operations } from './http/operations.ts'
import { originReader, type TrustProxy } from './http/origin.ts'
import { limited } from './http/rate-limit.ts'
import { startHttpServer } from './http/server.ts'
import { lockFolder } from './folder-lock.ts'
import { objectJobs } from './jobs/objects.ts'
import { startSweep, type SweepDependencies } from './jobs/sweep.ts'
import { startWorker } from './jobs/worker.ts'
import { pluginRunner } from './pipeline/runner.ts'
import { sqliteRecords } from './records/sqlite.ts'
import { diskStore } from './stores/disk.ts'
import { largestPartSize } from './stores/s3/part-sizes.ts'
import { profileOf, profiles, regionOf } from './stores/s3/profiles.ts'
import { catalog as makeCatalog } from './uploads/catalog.ts'
import type { ObjectStore } from './uploads/object-store.ts'
import type { Records } from './uploads/records.ts'
import { uploadService } from './uploads/service.ts'
import { tokens as makeTokens } from './uploads/tokens.ts'
import { uploadUrls as makeUploadUrls } from './uploads/upload-url.ts'

const secondMs = 1_000

/** The drivers that the configuration names: here and nowhere else. */
export async function openRecords(config: Config): Promise<Records> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 })
  return sqliteRecords({ path: config.database.path, defaultQuota: config.limits.workspaceQuota })
}

export async function openStore(config: Config, records: Records): Promise<ObjectStore> {
  if (config.storage.driver === 'disk') return diskStore({ directory: config.storage.directory })
  const { s3, limits } = config
  const profile = s3.profile ?? profileOf(s3.endpoint)
  const least = largestPartSize(limits.maxFileSize, profiles[profile].equalParts)
  if (s3.memory < least)
    throw new ConfigError(
      `s3.memory is ${s3.memory} bytes; files of limits.maxFileSize need parts of ${least}: raise the one or lower the other.`,
    )
  const { s3Store } = await import('./stores/s3.ts') // only when it is needed: the SDK takes a while to load
  return s3Store({
    bucket: s3.bucket ?? '',
    prefix: `${await records.installation()}/`,
    profile,
    endpoint: s3.endpoint,
    publicEndpoint: s3.publicEndpoint,
    region: s3.region ?? regionOf(s3.endpoint),
    forcePathStyle: s3.forcePathStyle,
    ...(s3.accessKeyId !== undefined && s3.secretAccessKey !== undefined
      ? { credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey } }
      : {}),
    memoryBytes: s3.memory,
    largestObject: limits.maxFileSize,
  })
}

export const sweepDependencies = (config: Config, records: Records, store: ObjectStore): SweepDependencies => ({
  records,
  store,
  orphanGraceMs: config.sweep.orphanGrace * secondMs,
})

export interface Gateway {
  readonly url: string
  readonly records: Records
  /** Lets running requests end, then closes everything. */
  stop(): Promise<void>
}

/**
 * The whole server: opens the drivers, repairs what a crash has left, answers.
 *
 * @throws {ConfigError} in one line, when it cannot start as it is configured.
 */
export async function startGateway(config: Config, log: Logger): Promise<Gateway> {
  const secret = await loadSecret(config.dataDir, config.secret)
  if (secret.warning !== null) log.warn(secret.warning)
  const verifyToken = await tokenVerifier(config.jwt, log)
  const lock = lockFolder(config.dataDir)
  const records = await openRecords(config)
  const store = await openStore(config, records)
  await store.recover()

  for (const plugin of config.plugins)
    await plugin.setup?.({ log, directory: () => pluginFolder(config.dataDir, plugin.name) })
  const pipeline = pluginRunner({ plugins: config.plugins, store, log })
  const tokens = makeTokens(secret.bytes)
  let stopping = false
  const wakeJobs = () => worker.wake()
  const service = uploadService({
    records,
    store,
    pipeline,
    policy: {
      maxFileSize: config.limits.maxFileSize,
      categories: config.categories,
      projectMode: config.projects.mode,
    },
    bodyIdleMs: config.server.bodyIdleTimeout * secondMs,
    presignTtlMs: config.presign.ttl * secondMs,
    confirmWithinMs: config.presign.confirmWithin * secondMs,
    syncBudgetMs: config.pipeline.syncBudget * secondMs,
    wakeJobs,
    onError: (err, uploadId) => log.error({ err, uploadId }, 'a verdict could not be reached'),
  })
  await service.recover()
  const worker = startWorker(
    records,
    {
      ...objectJobs(store),
      verdict: ({ uploadId }) => service.resume(uploadId),
      'after-finish': async ({ uploadId, plugin }) => {
        const upload = await records.get(uploadId)
        if (upload) await pipeline.after('afterFinish', plugin, upload)
      },
      'after-terminate': ({ upload, plugin }) => pipeline.after('afterTerminate', plugin, upload),
    },
    log,
  )
  const sweeper = startSweep({
    ...sweepDependencies(config, records, store),
    service,
    intervalMs: config.sweep.interval * secondMs,
    keepEndedMs: config.sweep.keepEnded * secondMs,
    wakeJobs,
    log,
  })

  const dependencies: DialectDependencies = {
    service,
    catalog: makeCatalog({
      records,
      store,
      tokens,
      projectMode: config.projects.mode,
      downloadTtlMs: config.download.ttl * secondMs,
      redirect: config.s3.downloads === 'redirect',
    }),
    uploadUrls: makeUploadUrls({ records, store, tokens, ttlMs: config.presign.ttl * secondMs }),
    authenticate: limited(authenticator(records, config.keys.prefix, verifyToken), config.limits.requestsPerMinute),
    once: idempotency(records),
    categories: Object.keys(config.categories),
    inlinePdf: config.download.inlinePdf,
  }
  const server = await startHttpServer({
    host: config.server.host,
    port: config.server.port,
    corsOrigins: config.server.corsOrigins,
    origin: originReader(config.server.publicUrl, trustedProxies(config)),
    routes(routes) {
      operations(routes, records, store, () => stopping)
      for (const dialect of [presigned, raw, downloads]) dialect(routes, dependencies)
    },
    log,
  }).catch(async (cause: unknown) => {
    await close()
    throw new ConfigError(`Cannot listen on ${config.server.host}:${config.server.port}: ${String(cause)}`)
  })

  return {
    url: server.url,
    records,
    async stop() {
      stopping = true
      await server.stop(config.server.shutdownGrace * secondMs)
      await close()
    },
  }

  async function close(): Promise<void> {
    await Promise.all([worker.stop(), sweeper.stop()])
    await pipeline.close()
    await records.close()
    store.close?.()
    lock.release()
  }
}

async function pluginFolder(dataDir: string, name: string): Promise<string> {
  const folder = join(dataDir, 'plugins', name)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

function trustedProxies({ server: { trustProxy } }: Config): TrustProxy {
  return typeof trustProxy === 'object' ? trustProxy.flatMap((cidr) => parseCidr(cidr) ?? []) : trustProxy
}
