import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { AwsClient } from 'aws4fetch'
import { freePort } from './ports.ts'
import { isProgram } from './program.ts'

const mib = 1024 * 1024
/** Objects in memory; a full store does not refuse, it hangs. */
const memoryBytes = 8 * 1024 * mib
/** Of a sparse file. */
const diskBytes = 20 * 1024 * mib
const toolTimeoutMs = 60_000
const startTimeoutMs = 60_000
const stopTimeoutMs = 20_000
/** A port that was free may be taken a moment later. */
const startTries = 3

/** Begins the name of the directory of each server; the number of the process that has started it follows. */
const folder = 'fairlead-s3-'

const programs = ['ceph-mon', 'ceph-osd', 'radosgw', 'ceph', 'radosgw-admin', 'monmaptool', 'setpriv']

export interface S3Connection {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** What makes a gateway keep its files in the bucket. */
export const s3Variables = (server: S3Connection, bucket: string): Readonly<Record<string, string>> => ({
  FAIRLEAD_STORAGE: 's3',
  FAIRLEAD_S3_BUCKET: bucket,
  FAIRLEAD_S3_ENDPOINT: server.endpoint,
  FAIRLEAD_S3_REGION: server.region,
  FAIRLEAD_S3_ACCESS_KEY_ID: server.accessKeyId,
  FAIRLEAD_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
})

export interface S3ServerOptions {
  /**
   * Where objects are. In memory is quicker, and takes as much of it as there are bytes.
   *
   * @default 'memory'
   */
  readonly objects?: 'memory' | 'disk'
}

export interface S3Server extends S3Connection {
  /**
   * Objects survive it. Those in memory do because only the gateway ends then, which is all that a client sees; on disk everything ends.
   * SIGKILL is a crash.
   */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** On the same port again. */
  start(): Promise<void>
  /** Another key of the same user. */
  addKey(accessKeyId: string, secretAccessKey: string): Promise<void>
  /** Ends everything, and removes everything. */
  close(): Promise<void>
}

/** Why this machine cannot start one; nothing when it can. */
export function missingForS3Server(): string | undefined {
  const missing = programs.filter((program) => !isInstalled(program))
  return missing.length > 0 ? `${missing.join(', ')} not found: see test/support/install-s3-server.sh` : undefined
}

/**
 * A real S3 server: the RADOS Gateway of Ceph with one monitor and one store behind it, all on 127.0.0.1, with a region of any name.
 * Its processes end with the one that has started them, also when that is killed.
 */
export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  for (let i = 1; ; i++) {
    try {
      return await startOnce(options.objects ?? 'memory')
    } catch (error) {
      if (i === startTries) throw error
    }
  }
}

async function startOnce(objects: 'memory' | 'disk'): Promise<S3Server> {
  await removeLeftovers()
  const directory = await mkdtemp(join(tmpdir(), `${folder}${process.pid}-`))
  const port = await freePort()
  const monitor = `[v2:127.0.0.1:${await freePort()}]`
  const configFile = join(directory, 'ceph.conf')
  const running = new Map<string, ChildProcess>()
  const connection = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    accessKeyId: 'fairlead-test',
    secretAccessKey: randomUUID(),
  }

  function daemon(program: string, name: string): void {
    const args = ['--pdeathsig', 'KILL', program, '-f', '-n', name, '-c', configFile]
    running.set(name, spawn('setpriv', args, { stdio: 'ignore', cwd: directory }))
  }

  async function end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = running.get(name)
    running.delete(name)
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
    child.kill(signal)
    await once(child, 'exit')
    clearTimeout(timer)
  }

  async function startBackend(): Promise<void> {
    daemon('ceph-mon', 'mon.a')
    daemon('ceph-osd', 'osd.0')
  }

  async function startGateway(): Promise<void> {
    daemon('radosgw', 'client.rgw')
    await answering(connection, () => running.get('client.rgw')?.exitCode ?? undefined)
  }

  async function create(): Promise<void> {
    const cluster = randomUUID()
    const store = randomUUID()
    const config = ['-c', configFile]
    for (const part of ['mon', 'osd', 'rgw', 'log']) await mkdir(join(directory, part))
    await writeFile(configFile, configOf({ directory, cluster, monitor, port, objects }))
    await tool('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', monitor, join(directory, 'monmap'))
    await tool('ceph-mon', '--mkfs', '-i', 'a', '--monmap', join(directory, 'monmap'), ...config)
    daemon('ceph-mon', 'mon.a')
    await tool('ceph', ...config, '--connect-timeout', '20', 'osd', 'new', store, '0')
    await tool('ceph-osd', '--mkfs', '-i', '0', '--osd-uuid', store, ...config)
    daemon('ceph-osd', 'osd.0')
    const { accessKeyId, secretAccessKey } = connection
    const keys = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`]
    await tool('radosgw-admin', ...config, 'user', 'create', '--uid=test', '--display-name=test', ...keys)
    await startGateway()
  }

  const server: S3Server = {
    ...connection,
    async stop(signal = 'SIGTERM') {
      await end('client.rgw', signal)
      if (objects === 'memory') return
      await end('osd.0', signal)
      await end('mon.a', signal)
    },
    async start() {
      if (objects === 'disk') await startBackend()
      await startGateway()
    },
    async addKey(accessKeyId, secretAccessKey) {
      const key = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`]
      await tool('radosgw-admin', '-c', configFile, 'key', 'create', '--uid=test', '--key-type=s3', ...key)
    },
    async close() {
      await Promise.all([...running.keys()].map((name) => end(name, 'SIGKILL')))
      await rm(directory, { recursive: true, force: true })
    },
  }
  try {
    await create()
    return server
  } catch (cause) {
    const log = await readFile(join(directory, 'log/client.rgw.log'), 'utf8').catch(() => '')
    await server.close()
    throw new Error(`The S3 server did not start.\n${log.slice(-1_000)}`, { cause })
  }
}

/** Directories of processes that were killed before they could remove them. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const starter = new RegExp(`^${folder}(\\d+)-`).exec(name)?.[1]
    if (starter !== undefined && !isAlive(Number(starter)))
      await rm(join(tmpdir(), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // Somebody else's lives too.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function tool(program: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(program, args, { timeout: toolTimeoutMs, killSignal: 'SIGKILL' })
}

/** Waits until the server has done what needs all of it: the first bucket makes the pools. */
async function answering(connection: S3Connection, exitCode: () => number | undefined): Promise<void> {
  const { endpoint, ...credentials } = connection
  const client = new AwsClient({ ...credentials, service: 's3', retries: 0 })
  const deadline = Date.now() + startTimeoutMs
  for (;;) {
    try {
      const signal = AbortSignal.timeout(startTimeoutMs)
      for (const [method, path, body] of [
        ['PUT', '/ready-check', ''],
        ['PUT', '/ready-check/object', 'x'],
        ['DELETE', '/ready-check/object', ''],
        ['DELETE', '/ready-check', ''],
      ] as const) {
        const response = await client.fetch(endpoint + path, { method, ...(body && { body }), signal })
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
        await response.arrayBuffer()
      }
      return
    } catch (error) {
      if (exitCode() !== undefined) throw new Error(`radosgw ended with ${exitCode()}`, { cause: error })
      if (Date.now() > deadline) throw error
      await delay(50)
    }
  }
}

interface ConfigFacts {
  readonly directory: string
  readonly cluster: string
  readonly monitor: string
  readonly port: number
  readonly objects: 'memory' | 'disk'
}

/** One copy of everything, no authentication between the daemons, and nothing outside of the directory. */
function configOf({ directory, cluster, monitor, port, objects }: ConfigFacts): string {
  return `[global]
fsid = ${cluster}
mon_host = ${monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# Without authentication a gateway that wants a secure connection to the monitor waits for ever.
ms_mon_client_mode = crc
admin_socket =
pid_file =
run_dir = ${directory}
crash_dir = ${directory}/log
log_file = ${directory}/log/$name.log
mon_cluster_log_file = ${directory}/log/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
mon_data = ${directory}/mon
mon_data_avail_warn = 2
mon_data_avail_crit = 1
# The monitor collects changes for so long before it decides on them; there are dozens until the first object is stored.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_data = ${directory}/osd
osd_objectstore = ${objects === 'memory' ? 'memstore' : 'bluestore'}
memstore_device_bytes = ${memoryBytes}
bluestore_block_size = ${diskBytes}
osd_memory_target = ${896 * mib}
# A gateway that starts after a crash waits for so many seconds until the dead one no longer counts as a listener.
osd_client_watch_timeout = 2
[client.rgw]
rgw_data = ${directory}/rgw
rgw_frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw_thread_pool_size = 64
# Bytes of removed objects go soon, not after hours.
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 10
rgw_gc_processor_max_time = 10
`
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((place) => isProgram(join(place, program)))
}
