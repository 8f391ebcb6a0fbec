import type { Socket } from 'node:net'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Plugin, PluginLog } from '../plugin.ts'
import type { ObjectStore } from '../uploads/object-store.ts'
import type { Records } from '../uploads/records.ts'
import { measuredPlugin, measuredRecords, measuredStore } from './ports.ts'

/** Upper bounds in seconds: a request may be an upload over a slow line. */
const requestSeconds = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900]
const hookSeconds = [0.0005, 0.002, 0.01, 0.05, 0.25, 1, 5, 10, 30]
const storeSeconds = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30]

export interface HandledRequest {
  readonly method: string
  /** As the router has it, such as `/api/v1/uploads/:id`. */
  readonly route: string
  /** Class, such as `2xx`; `cut`: the connection ended before the answer did. */
  readonly status: string
  readonly seconds: number
}

export type Metrics = ReturnType<typeof startMetrics>

/**
 * Counts and times what the gateway does. Labels hold only words of the program and the names of plugins and routes, never what a
 * client has sent.
 */
export function startMetrics(log: PluginLog) {
  const registry = new Registry()
  const registers = [registry]
  try {
    collectDefaultMetrics({ register: registry })
  } catch (err) {
    log.warn({ err }, 'this runtime lacks some metrics of the process')
  }

  const requests = new Counter({
    name: 'fairlead_http_requests_total',
    help: 'Requests that have ended.',
    labelNames: ['method', 'route', 'status'],
    registers,
  })
  const requestDurations = new Histogram({
    name: 'fairlead_http_request_duration_seconds',
    help: 'From the head of a request to the end of its answer, the body included.',
    labelNames: ['method', 'route', 'status'],
    buckets: requestSeconds,
    registers,
  })
  const uploads = new Counter({
    name: 'fairlead_uploads_total',
    help: 'Uploads that have come into a state since the start, or have gone.',
    labelNames: ['dialect', 'state'],
    registers,
  })
  const readyBytes = new Counter({
    name: 'fairlead_upload_bytes_total',
    help: 'Bytes of the uploads that have become ready.',
    labelNames: ['dialect'],
    registers,
  })
  const hooks = new Histogram({
    name: 'fairlead_hook_duration_seconds',
    help: 'Time that a hook of a plugin took; of a tap, its part of the way of the bytes.',
    labelNames: ['plugin', 'hook', 'outcome'],
    buckets: hookSeconds,
    registers,
  })
  const runningHooks = new Gauge({
    name: 'fairlead_hooks_running',
    help: 'Hooks that have begun and not ended, also those that nobody waits for any more.',
    labelNames: ['plugin', 'hook'],
    registers,
  })
  const storeOperations = new Histogram({
    name: 'fairlead_store_operation_duration_seconds',
    help: 'Time that the object store took; of a read, until its first bytes could be asked for.',
    labelNames: ['operation', 'outcome'],
    buckets: storeSeconds,
    registers,
  })
  const traffic = startTraffic(registers)
  const memory = new Map<string, () => number>()
  const keptOrphans = new Gauge({
    name: 'fairlead_orphans_kept',
    help: 'Objects without a record that the last comparison left, as they are very many: an operator has to confirm their removal.',
    registers,
  })
  const bodyMemory = new Gauge({
    name: 'fairlead_body_memory_bytes',
    help: 'Memory that bodies on their way may hold now, by the part of the program that holds it.',
    labelNames: ['part'],
    registers: [],
    collect() {
      for (const [part, bytes] of memory) this.set({ part }, bytes())
    },
  })
  registry.registerMetric(bodyMemory)

  return {
    store: (store: ObjectStore): ObjectStore =>
      measuredStore(store, (operation, outcome, seconds) => storeOperations.observe({ operation, outcome }, seconds)),

    /** Also makes the depth of the queue known. */
    records(records: Records): Records {
      watchQueue(records, registers, log)
      return measuredRecords(records, (state, { dialect, size }) => {
        uploads.inc({ dialect, state })
        if (state === 'ready') readyBytes.inc({ dialect }, size ?? 0)
      })
    },

    plugins: (plugins: readonly Plugin[]): readonly Plugin[] =>
      plugins.map((plugin) =>
        measuredPlugin(plugin, {
          started: (name, hook) => runningHooks.inc({ plugin: name, hook }),
          ended(name, hook, outcome, seconds) {
            runningHooks.dec({ plugin: name, hook })
            hooks.observe({ plugin: name, hook, outcome }, seconds)
          },
        }),
      ),

    /** A part of the program that holds bytes of bodies, and how many they may be now. */
    bodyMemory: (part: string, bytes: () => number): void => void memory.set(part, bytes),

    keptOrphans: (count: number): void => keptOrphans.set(count),

    request({ seconds, ...labels }: HandledRequest): void {
      requests.inc(labels)
      requestDurations.observe(labels, seconds)
    },

    connection: traffic,

    contentType: registry.contentType,
    text: (): Promise<string> => registry.metrics(),
  }
}

/** Every byte on the wire, from the sockets' own counters: nothing is done for each chunk. */
function startTraffic(registers: Registry[]): (socket: Socket) => void {
  const open = new Set<Socket>()
  const closed = { bytesRead: 0, bytesWritten: 0 }
  const total = (which: 'bytesRead' | 'bytesWritten'): number => {
    let bytes = closed[which]
    for (const socket of open) bytes += socket[which]
    return bytes
  }
  const counter = (name: string, help: string, which: 'bytesRead' | 'bytesWritten') =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(total(which))
      },
    })
  counter('fairlead_http_received_bytes_total', 'Bytes that clients have sent, heads included.', 'bytesRead')
  counter('fairlead_http_sent_bytes_total', 'Bytes that clients were sent, heads included.', 'bytesWritten')
  const connections = new Gauge({ name: 'fairlead_http_connections', help: 'Open connections.', registers })

  return (socket) => {
    open.add(socket)
    connections.inc()
    socket.once('close', () => {
      open.delete(socket)
      connections.dec()
      closed.bytesRead += socket.bytesRead
      closed.bytesWritten += socket.bytesWritten
    })
  }
}

function watchQueue(records: Records, registers: Registry[], log: PluginLog): Gauge {
  return new Gauge({
    name: 'fairlead_jobs',
    help: 'Jobs in the queue: those that wait, and those that were given up.',
    labelNames: ['state'],
    registers,
    async collect() {
      // What is not known is left out, rather than told wrongly.
      this.reset()
      try {
        const { waiting, failed } = await records.queueDepth()
        this.set({ state: 'waiting' }, waiting)
        this.set({ state: 'failed' }, failed)
      } catch (err) {
        log.warn({ err }, 'the depth of the queue is not known')
      }
    },
  })
}
