import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { ConfigError } from '../config/error.ts'
import type { Config } from '../config/load.ts'
import { loadSecret, previousSecrets } from '../config/secret.ts'
import { openLocker, openRecords, openStore } from './drivers.ts'
import { dialects } from './dialects/all.ts'
import type { DialectDependencies } from './dialects/dialect.ts'
import { authenticator } from './http/authenticate.ts'
import { idempotency } from './http/idempotency.ts'
import { tokenVerifier } from './http/jwt.ts'
import type { ApiFacts } from './http/api.ts'
import { documentation } from './http/documentation.ts'
import { type HttpHandler, httpHandler, type Route } from './http/handler.ts'
import { measureRequests, metricsRoute, startMetricsServer } from './http/metrics.ts'
import { operations } from './http/operations.ts'
import { operationsApi, pageApi } from './http/operations-api.ts'
import { originReader, proxyTest } from './http/origin.ts'
import { page } from './http/page.ts'
import { limited } from './http/rate-limit.ts'
import { startHttpServer } from './http/server.ts'
import { needsItsSecret, prepareStore, refuseForeignStore } from './first-start.ts'
import { lockFolder } from './folder-lock.ts'
import { objectJobs } from './jobs/objects.ts'
import { startSweep, type SweepDependencies } from './jobs/sweep.ts'
import { startWorker } from './jobs/worker.ts'
import { pluginRunner } from './pipeline/runner.ts'
import { catalog as makeCatalog } from './uploads/catalog.ts'
import type { ObjectStore } from './uploads/object-store.ts'
import { processBudget } from './uploads/receive.ts'
import type { Records } from './uploads/records.ts'
import { uploadService } from './uploads/service.ts'
import { tokens as makeTokens } from './uploads/tokens.ts'
import { uploadUrls as makeUploadUrls } from './uploads/upload-url.ts'

const secondMs = 1_000

export const sweepDependencies = (config: Config, records: Records, store: ObjectStore): SweepDependencies => ({
  records,
  store,
  orphanGraceMs: config.sweep.orphanGrace * secondMs,
})

export interface Gateway {
  /** What is served; the documentation must tell of all of it. */
  readonly routes: readonly Route[]
  readonly records: Records
  /** Lets running requests end, then closes everything. */
  stop(): Promise<void>
}

export interface ListeningGateway extends Gateway {
  readonly url: string
}

export interface OpenGateway extends Gateway {
  readonly answer: HttpHandler['answer']
  /**
   * Listens where the configuration says. It is closed when that does not work.
   *
   * @throws {ConfigError}
   */
  listen(): Promise<ListeningGateway>
}

/** The whole server, on a port of its own. */
export const startGateway = async (config: Config, log: Logger): Promise<ListeningGateway> =>
  (await openGateway(config, log)).listen()

/**
 * Everything but the port: opens the drivers, repairs what a crash has left, answers.
 *
 * @throws {ConfigError} in one line, when it cannot start as it is configured.
 */
export async function openGateway(config: Config, log: Logger): Promise<OpenGateway> {
  const verifyToken = await tokenVerifier(config.jwt, log)
  const lock = lockFolder(config.dataDir)
  let metricsServer: Awaited<ReturnType<typeof startMetricsServer>> | undefined
  const { token, port: metricsPort, host: metricsHost } = config.metrics
  const wanted = token !== undefined || metricsPort !== undefined
  const metrics = wanted ? (await import('./metrics/metrics.ts')).startMetrics(log) : undefined
  const opened = await openRecords(config, { verify: true })
  const mayMake = !(await needsItsSecret(opened))
  const secret = await loadSecret(config.dataDir, config.secret, { mayMake })
  if (secret.warning !== null) log.warn(secret.warning)
  const records = metrics?.records(opened) ?? opened
  const files = await openStore(config, records)
  const store = metrics?.store(files) ?? files
  metrics?.bodyMemory('gathers', () => processBudget.heldBytes())
  metrics?.bodyMemory('store', () => store.heldBytes?.() ?? 0)
  const storeFault = await prepareStore(store, config.storage.required)
  if (storeFault === undefined) await refuseForeignStore(records, store)
  else log.error({}, storeFault)

  for (const plugin of config.plugins)
    await plugin.setup?.({ log, directory: () => pluginFolder(config.dataDir, plugin.name) })
  const plugins = metrics?.plugins(config.plugins) ?? config.plugins
  const pipeline = pluginRunner({ plugins, store, log })
  const tokens = makeTokens(secret.bytes, previousSecrets(config.secretPrevious))
  let stopping = false
  const bodyIdleMs = config.server.bodyIdleTimeout * secondMs
  const { lowestRate, rateWindow } = config.server
  const lowestPace = lowestRate === 0 ? undefined : { bytesPerSecond: lowestRate, windowMs: rateWindow * secondMs }
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
    bodyIdleMs,
    lowestPace,
    presignTtlMs: config.presign.ttl * secondMs,
    confirmWithinMs: config.presign.confirmWithin * secondMs,
    resumeWithinMs: config.tus.expiry * secondMs,
    holdMs: config.tus.holdFor * secondMs,
    partsPerUpload: config.tus.partsPerUpload,
    timesPerPart: config.tus.timesPerPart,
    locker: openLocker(),
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
      arrival: ({ uploadId }) => service.lookForArrival(uploadId),
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
    onCompared: metrics?.keptOrphans,
    log,
  })

  const facts: ApiFacts = {
    categories: Object.keys(config.categories),
    maxFileSize: config.limits.maxFileSize,
    filesPerBatch: config.limits.filesPerBatch,
    presignTtl: config.presign.ttl,
    downloadTtl: config.download.ttl,
  }
  const dependencies: DialectDependencies = {
    ...facts,
    service,
    catalog: makeCatalog({
      records: service.records,
      store,
      tokens,
      projectMode: config.projects.mode,
      downloadTtlMs: config.download.ttl * secondMs,
      redirect: config.s3.downloads === 'redirect',
      dedupe: config.dedupe,
    }),
    uploadUrls: makeUploadUrls({ records, store, tokens, ttlMs: config.presign.ttl * secondMs }),
    authenticate: limited(authenticator(records, config.keys.prefix, verifyToken), config.limits.requestsPerMinute),
    once: idempotency(records),
    storeName: store.name,
    multipartThreshold: config.presign.multipartThreshold,
    bodyIdleMs,
    lowestPace,
    relativeLocation: config.tus.relativeLocation,
    inlinePdf: config.download.inlinePdf,
  }
  if (metrics && metricsPort !== undefined) {
    metricsServer = await startMetricsServer(metrics, metricsHost, metricsPort).catch(
      cannotListen(metricsHost, metricsPort),
    )
    log.info({ url: metricsServer.url }, 'metrics')
  }
  const guides = dialects.flatMap(({ guide }) => guide ?? [])
  const handler = httpHandler({
    corsOrigins: config.server.corsOrigins,
    origin: originReader(config.server.publicUrl, config.server.trustProxy),
    routes(routes) {
      operations(routes, records, store, () => stopping)
      metricsRoute(routes, metrics, config.metrics)
      if (config.server.page) page(routes)
      const about = config.server.page ? [...operationsApi, ...pageApi] : operationsApi
      documentation(routes, [...dialects.flatMap(({ api }) => api(facts)), ...about], guides)
      for (const dialect of dialects) dialect.routes(routes, dependencies)
    },
    unread: { idleMs: bodyIdleMs, lowestPace },
    measure: metrics && measureRequests(metrics),
    log,
  })
  const open = {
    routes: handler.routes,
    records,
    answer: handler.answer,
    stop: () => stop((graceMs) => handler.stop(graceMs)),
  }
  return {
    ...open,
    async listen() {
      const connection = metrics?.connection
      const { host, port, corsOrigins, connectionsPerAddress, trustProxy } = config.server
      const isProxy = proxyTest(trustProxy)
      const asked = { host, port, corsOrigins, connectionsPerAddress, isProxy, connection }
      const server = await startHttpServer(handler, asked).catch(cannotListen(host, port))
      return { ...open, url: server.url, stop: () => stop((graceMs) => server.stop(graceMs)) }
    },
  }

  async function stop(end: (graceMs: number) => Promise<void>): Promise<void> {
    stopping = true
    await end(config.server.shutdownGrace * secondMs)
    await close()
  }

  function cannotListen(address: string, number: number) {
    return async (cause: unknown): Promise<never> => {
      await close()
      throw new ConfigError(`Cannot listen on ${address}:${number}: ${String(cause)}`)
    }
  }

  async function close(): Promise<void> {
    await Promise.all([worker.stop(), sweeper.stop(), metricsServer?.stop()])
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
