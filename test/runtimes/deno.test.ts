import { once } from 'node:events'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf } from '../support/client.ts'
import { type GatewayOptions, projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { denoPath, testPermissions } from '../support/runtime.ts'
import { samplePath } from '../support/samples.ts'

const linux = process.platform === 'linux'
const picture = { file: 'photo.jpg' }
const permissions = testPermissions(projectRoot)

const onDeno = (options: GatewayOptions = {}): Promise<TestGateway> => startGateway({ ...options, runtime: 'deno' })

async function sendPicture(client: Client) {
  const headers = { 'x-file-name': 'photo.jpg' }
  return client('POST', '/v1/uploads', { headers, body: await readFile(samplePath(picture)) })
}

/** Command lines of the processes that this one has started. */
async function childrenOf(pid: number): Promise<string[][]> {
  const found: string[][] = []
  for (const name of await readdir('/proc')) {
    const [status, command] = await Promise.all(
      ['status', 'cmdline'].map((file) => readFile(`/proc/${name}/${file}`, 'utf8').catch(() => '')),
    )
    if (new RegExp(`^PPid:\\s*${pid}$`, 'm').test(status ?? '')) found.push((command ?? '').split('\0'))
  }
  return found
}

describe('on Deno', () => {
  let gateway: TestGateway
  let client: Client
  beforeAll(async () => {
    gateway = await onDeno()
    client = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway?.close())

  it('is ready', async () => {
    expect((await client('GET', '/readyz')).status).toBe(200)
    expect(gateway.log()).not.toContain('NotCapable')
  })

  it.runIf(linux)('is what runs', async () => {
    expect(await readlink(`/proc/${gateway.pid}/exe`)).toBe(denoPath())
  })

  it.runIf(process.platform === 'linux')(
    'lets the media parsers read, and nothing that a file could abuse',
    async () => {
      expect((await sendPicture(client)).json()).toMatchObject({ data: { type: 'image', width: expect.any(Number) } })
      const [parser, ...others] = await childrenOf(gateway.pid)
      expect(others).toEqual([])
      expect(parser).toEqual(expect.arrayContaining(['--allow-read', '--no-prompt']))
      for (const flag of ['-A', '--allow-all', '--allow-write', '--allow-net', '--allow-run'])
        expect(parser).not.toContain(flag)
    },
  )
})

/** `NotCapable: Requires sys access to "cpus"` and the like, before anything is served. */
const startFails: readonly (readonly [flag: string, reason: RegExp])[] = [
  ['--allow-env', /env access/],
  ['--allow-sys=cpus', /sys access to "cpus"/],
  ['--allow-sys=hostname', /sys access to "hostname"/],
  ['--allow-sys=networkInterfaces', /sys access to "networkInterfaces"/],
  ['--allow-sys=statfs', /sys access to "statfs"/],
  ['--allow-net', /net access/],
  ['--allow-read', /read access/],
  ['--allow-write', /write access/],
  ['--allow-ffi', /ffi access/],
]

/** All permissions but this one; of a list only the one name is missing. */
const without = (flag: string): string[] => {
  const [name, value] = flag.split('=')
  return permissions.flatMap((permission) => {
    const [given, values = ''] = permission.split('=')
    if (given !== name) return permission
    const left = value === undefined ? [] : values.split(',').filter((one) => one !== value)
    return left.length === 0 ? [] : `${given}=${left.join(',')}`
  })
}

describe('every permission is needed', () => {
  it('and here is why', () => {
    const told = [...startFails.map(([flag]) => flag), '--allow-run']
    expect(new Set(told.map((flag) => flag.split('=')[0]))).toEqual(
      new Set(permissions.map((flag) => flag.split('=')[0])),
    )
  })

  it.each(startFails)('%s: does not start without', async (flag, reason) => {
    await expect(onDeno({ permissions: without(flag) })).rejects.toThrow(reason)
  })

  it.each([
    ['is taken', 'address already in use', permissions],
    ['is not allowed', 'Requires net access', without('--allow-net')],
  ])('says in one line that its address %s', async (_, reason, given) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = String(typeof address === 'object' ? address?.port : '')
    try {
      await expect(onDeno({ env: { FAIRLEAD_PORT: port }, permissions: given })).rejects.toThrow(
        new RegExp(`^The server ended with 1:\nfairlead: Cannot listen on 127.0.0.1:${port}: [^\n]*${reason}[^\n]*\n$`),
      )
    } finally {
      other.close()
    }
  })

  it('--allow-run: knows no facts of a picture without', async () => {
    const gateway = await onDeno({ permissions: without('--allow-run') })
    const answer = await sendPicture(clientOf(gateway, gateway.key))
    expect({ status: answer.status, ...answer.json<{ data: object }>().data }).toMatchObject({
      status: 201,
      mimetype: 'image/jpeg',
      width: null,
      height: null,
    })
    await gateway.close()
  })
})
