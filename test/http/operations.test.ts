import pino from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { httpHandler } from '../../src/http/handler.ts'
import { operations } from '../../src/http/operations.ts'
import { originReader } from '../../src/http/origin.ts'
import { type HttpServer, startHttpServer } from '../../src/http/server.ts'
import { type Client, clientOf } from '../support/client.ts'
import { startRig } from '../support/rig.ts'

const hourMs = 3_600_000
let rig: Awaited<ReturnType<typeof startRig>>
let server: HttpServer
let call: Client
let failure: Error | undefined
beforeEach(async () => {
  failure = undefined
  // The clock is moved, the rest is real.
  vi.useFakeTimers({ toFake: ['Date'] })
  rig = await startRig()
  const store = { ...rig.store, check: () => (failure ? Promise.reject(failure) : rig.store.check()) }
  const handler = httpHandler({
    corsOrigins: [],
    origin: originReader(null, false),
    log: pino({ level: 'silent' }),
    routes: (routes) => operations(routes, rig.records, store, () => false),
  })
  server = await startHttpServer(handler, { host: '127.0.0.1', port: 0 })
  call = clientOf(server, '')
})
afterEach(async () => {
  vi.useRealTimers()
  await server.stop(0)
  await rig.close()
})

const ready = async (): Promise<number> => (await call('GET', '/readyz', { key: null })).status

it('/readyz hears of a store that fails, and that works again, though the clock was set back', async () => {
  expect(await ready()).toBe(200)
  vi.setSystemTime(Date.now() - hourMs)
  failure = new Error('The store is away.')
  await expect.poll(ready, { timeout: 10_000 }).toBe(503)
  vi.setSystemTime(Date.now() - hourMs)
  failure = undefined
  await expect.poll(ready, { timeout: 10_000 }).toBe(200)
})
