import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFile, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { certificate } from '../support/certificate.ts'
import { type Client, clientOf, configText, eventually, sha256 } from '../support/client.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { freePort } from '../support/ports.ts'
import { type Relay, startRelay } from '../support/relay.ts'
import { startValve, type Valve } from '../support/valve.ts'

const program = join(projectRoot, 'bin/fairlead.js')
const mib = 1024 * 1024
/** Bytes of requests and headers beside those of a file. */
const overhead = 32 * 1024

/** One that needs longer than a request waits. */
const slow = `{ name: 'slow', accepts: (upload) => upload.filename === 'slow.txt',
  beforeFinish: () => new Promise((resolve) => setTimeout(resolve, 2_500)) }`
const config = configText(
  `sniffType({ deny: ['application/x-msdownload', 'application/vnd.microsoft.portable-executable'] }), quota(), ${slow}`,
  'pipeline: { syncBudget: 1 }',
)

const keyJson = z.object({ key: z.string() })

interface Ended {
  readonly code: number | string | null
  readonly stdout: string
  readonly stderr: string
}
interface Run {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stderr(): string
}
interface FileJson {
  readonly file: string
  readonly status: string
  readonly id: string
  readonly url: string
  readonly content_type: string
  readonly size_bytes: number
  readonly resumed_from: number
  readonly error: string | null
  readonly error_code: string | null
}
interface Report {
  readonly ok: boolean
  readonly interrupted: boolean
  readonly files: readonly FileJson[]
}

let port: number
let gateway: TestGateway
let client: Client
let folder: string
let valve: Valve | undefined
const proxies: Relay[] = []
beforeAll(async () => {
  port = await freePort()
  gateway = await startGateway({ config, env: { FAIRLEAD_PORT: String(port), FAIRLEAD_TRUST_PROXY: 'true' } })
  client = clientOf(gateway, gateway.key)
})
afterAll(() => gateway.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead-upload-'))
})
afterEach(async () => {
  await valve?.close()
  valve = undefined
  for (const proxy of proxies.splice(0)) await proxy.close()
  await rm(folder, { recursive: true, force: true })
})

const environment = (over: Record<string, string> = {}): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '',
  HOME: folder,
  FAIRLEAD_URL: valve?.url ?? gateway.url,
  FAIRLEAD_KEY: gateway.key,
  ...over,
})

/** Runs the program as it ships, in the test's own folder. */
function start(args: readonly string[], env: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [program, 'upload', ...args], { cwd: folder, env: environment(env) })
  const out = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (out.stdout += String(chunk)))
  child.stderr.on('data', (chunk) => (out.stderr += String(chunk)))
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => resolve({ code: code ?? signal, ...out }))
  })
  return { child, ended, stderr: () => out.stderr }
}
const upload = (...args: string[]): Promise<Ended> => start(args).ended
const reportOf = ({ stdout }: Ended): Report => JSON.parse(stdout)

async function file(name: string, size: number): Promise<Buffer> {
  const bytes = randomBytes(size)
  await writeFile(join(folder, name), bytes)
  return bytes
}
const downloaded = async (id: string): Promise<string> =>
  sha256((await client('GET', `/api/v1/uploads/${id}/download`)).bytes)

interface Row {
  readonly id: string
  readonly filename: string
  readonly status: string
  readonly received_bytes: number
}
const named = async (filename: string): Promise<Row[]> =>
  (await client('GET', '/api/v1/uploads')).json<{ data: Row[] }>().data.filter((row) => row.filename === filename)

const stateFolder = (): string => join(folder, '.local/state/fairlead/uploads')
const remembered = (): Promise<string[]> => readdir(stateFolder()).catch(() => [])

/** A command that has come so far with each file, and no further; `pass` lets it go on. */
async function heldAt(bytes: number, ...args: string[]): Promise<Run & { readonly valve: Valve }> {
  const wire = await startValve(gateway.url)
  valve = wire
  wire.pass(bytes)
  const closed = wire.closed(args.filter((arg) => arg.endsWith('.bin')).length)
  const run = start(args)
  await Promise.race([closed, run.ended.then(({ stderr }) => Promise.reject(new Error(`It ended: ${stderr}`)))])
  return { ...run, valve: wire }
}

describe('a file', () => {
  it('is sent, and said in one line what it is', async () => {
    await copyFile(join(projectRoot, 'test/samples/media/still.png'), join(folder, 'still.png'))
    const { code, stdout, stderr } = await upload('still.png')
    expect(code).toBe(0)
    const [, id = '', url] =
      /^still\.png: ([0-9a-f-]{36}), image\/png, [\d.]+ (?:B|KiB), (http:\S+)\n$/.exec(stdout) ?? []
    expect(url).toBe(`${gateway.url}/api/v1/uploads/${id}`)
    expect(stderr).toMatch(/^still\.png: begins, .*\nstill\.png: done in .*\n$/)
    expect(await downloaded(id)).toBe(sha256(await readFile(join(folder, 'still.png'))))
    expect(await remembered()).toEqual([])
  })

  it('is one of several at once, each told in the order in which they were named, and once', async () => {
    const bytes = new Map<string, Buffer>()
    for (const [name, size] of [
      ['a.bin', 3 * mib],
      ['b.bin', 1],
      ['c.bin', 0],
      ['d.bin', mib],
    ] as const)
      bytes.set(name, await file(name, size))
    const ended = await upload(
      'a.bin',
      'b.bin',
      './a.bin',
      'c.bin',
      'd.bin',
      '--parallel',
      '2',
      '--chunk-size',
      '1MiB',
      '--json',
    )
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { files, ...rest } = reportOf(ended)
    expect(rest).toEqual({ ok: true, interrupted: false })
    expect(files.map(({ file: name }) => name)).toEqual([...bytes.keys()])
    for (const one of files) {
      const sent = bytes.get(one.file) ?? Buffer.from('another')
      expect(one).toMatchObject({ status: 'ready', size_bytes: sent.length, resumed_from: 0, error: null })
      expect(await downloaded(one.id)).toBe(sha256(sent))
    }
    expect(await named('a.bin')).toHaveLength(1)
  })

  it('has a category and a project when they are given', async () => {
    await writeFile(join(folder, 'notes.txt'), 'notes')
    const { files } = reportOf(await upload('notes.txt', '--category', 'document', '--project', 'p1', '--json'))
    const { data } = (await client('GET', '/api/v1/uploads?project_id=p1')).json<{ data: object[] }>()
    expect(data).toMatchObject([{ id: files[0]?.id, category: 'document', content_type: 'text/plain' }])
  })

  it('may take longer to be checked than anybody waits', async () => {
    await writeFile(join(folder, 'slow.txt'), 'slow')
    const ended = await upload('slow.txt')
    expect(ended.code).toBe(0)
    expect(ended.stdout).toContain('still being processed')
  })
})

describe('what was broken off', () => {
  it('goes on after Ctrl-C where the server has it, when the same command is run again', async () => {
    const bytes = [await file('one.bin', 24 * mib), await file('two.bin', 24 * mib)]
    const run = await heldAt(4 * mib, 'one.bin', 'two.bin')
    run.child.kill('SIGINT')
    const { code, stdout } = await run.ended
    expect(code).toBe(130)
    expect(stdout).toBe('Interrupted, 0 of 2 files uploaded: run the same command again to go on.\n')
    const entries = await remembered()
    expect(entries).toHaveLength(2)
    for (const entry of entries) expect((await stat(join(stateFolder(), entry))).mode & 0o777).toBe(0o600)
    run.valve.pass(Infinity)
    await eventually(async () => {
      for (const name of ['one.bin', 'two.bin']) expect((await named(name))[0]?.received_bytes).toBeGreaterThan(0)
    })
    const before = run.valve.sent()
    const ended = await upload('one.bin', 'two.bin', '--json')
    const { ok, files } = reportOf(ended)
    expect({ ok, code: ended.code }).toEqual({ ok: true, code: 0 })
    const resumed = files.reduce((sum, { resumed_from }) => sum + resumed_from, 0)
    expect(files.every(({ resumed_from }) => resumed_from > 0)).toBe(true)
    expect(run.valve.sent() - before).toBeLessThan(48 * mib - resumed + overhead)
    for (const [i, one] of files.entries()) {
      expect(await downloaded(one.id)).toBe(sha256(bytes[i] ?? Buffer.alloc(0)))
      expect(await named(one.file)).toHaveLength(1)
    }
    expect(await remembered()).toEqual([])
  })

  it('sends nothing again of a file that was finished before Ctrl-C', async () => {
    const bytes = await file('small.dat', mib)
    await file('large.bin', 24 * mib)
    const run = await heldAt(8 * mib, 'small.dat', 'large.bin', '--parallel', '1')
    expect(run.stderr()).toContain('small.dat: done')
    run.child.kill('SIGINT')
    expect((await run.ended).code).toBe(130)
    run.valve.pass(Infinity)
    const { files } = reportOf(await upload('small.dat', 'large.bin', '--json'))
    expect(files).toMatchObject([{ status: 'ready', resumed_from: bytes.length }, { status: 'ready' }])
    expect(await named('small.dat')).toMatchObject([{ id: files[0]?.id }])
    expect(await remembered()).toEqual([])
  })

  it('goes on by itself when the server was killed, and starts again', async () => {
    const bytes = await file('killed.bin', 6 * mib)
    const run = await heldAt(3.5 * mib, 'killed.bin', '--chunk-size', '1MiB')
    await gateway.stop('SIGKILL')
    run.valve.pass(Infinity)
    await eventually(() => expect(run.stderr()).toContain(': waits '))
    const before = run.valve.sent()
    await gateway.start()
    const { code, stderr } = await run.ended
    expect({ code, stderr }).toMatchObject({ code: 0 })
    const [row, ...others] = await named('killed.bin')
    expect(others).toEqual([])
    expect(await downloaded(row?.id ?? '')).toBe(sha256(bytes))
    // Three pieces had been acknowledged.
    expect(run.valve.sent() - before).toBeLessThan(3 * mib + overhead)
  })

  it('is not made twice when the answer to its creation is lost, nor sent twice when that to its last byte is', async () => {
    const bytes = await file('lost.bin', 2 * mib)
    valve = await startValve(gateway.url)
    valve.lose('POST')
    const first = await upload('lost.bin', '--json')
    expect(first.code).toBe(0)
    expect(await named('lost.bin')).toHaveLength(1)
    valve.lose('PATCH')
    const before = valve.sent()
    const { files } = reportOf(await upload('./lost.bin', '--json'))
    expect(valve.sent() - before).toBeLessThan(bytes.length + overhead)
    expect(await downloaded(files[0]?.id ?? '')).toBe(sha256(bytes))
  })

  it('begins anew when the server has forgotten it', async () => {
    const bytes = await file('deleted.bin', 12 * mib)
    const run = await heldAt(4 * mib, 'deleted.bin')
    run.child.kill('SIGINT')
    await run.ended
    run.valve.pass(Infinity)
    const [row] = await named('deleted.bin')
    expect((await client('DELETE', `/api/v1/uploads/${row?.id}`)).status).toBe(200)
    const { files } = reportOf(await upload('deleted.bin', '--json'))
    expect(files).toMatchObject([{ status: 'ready', resumed_from: 0 }])
    expect(await downloaded(files[0]?.id ?? '')).toBe(sha256(bytes))
  })

  it('is no file that was changed meanwhile', async () => {
    await file('changed.bin', 24 * mib)
    const run = await heldAt(4 * mib, 'changed.bin')
    await appendFile(join(folder, 'changed.bin'), 'more')
    run.valve.pass(Infinity)
    const { code, stdout, stderr } = await run.ended
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/\nfairlead: changed\.bin: The file was changed while it was sent[^\n]*\n$/)
    expect(await named('changed.bin')).toEqual([])
    expect(await remembered()).toEqual([])
  })
})

describe('what cannot be', () => {
  it('is told for each file in one line, and the others are sent', async () => {
    await mkdir(join(folder, 'directory'))
    await copyFile(join(projectRoot, 'test/samples/types/program.exe'), join(folder, 'program.exe'))
    await writeFile(join(folder, 'odd\u001b[31m.txt'), 'odd')
    await writeFile(join(folder, 'good.txt'), 'good')
    const names = ['missing', 'directory', 'program.exe', 'gone\u001b[31m.txt', 'odd\u001b[31m.txt', 'good.txt']
    const ended = await upload(...names, '--json')
    const { ok, files } = reportOf(ended)
    expect({ ok, code: ended.code }).toEqual({ ok: false, code: 1 })
    expect(files.map(({ status, error_code }) => error_code ?? status)).toEqual([
      'unreadable',
      'unreadable',
      'file_type_not_allowed',
      'unreadable',
      'ready',
      'ready',
    ])
    expect(await named('odd[31m.txt')).toMatchObject([{ status: 'confirmed' }])
    const lines = ended.stderr.trimEnd().split('\n').toSorted()
    expect(lines).toHaveLength(4)
    for (const [i, name] of ['directory', 'gone\\u{1b}[31m.txt', 'missing', 'program.exe'].entries()) {
      expect(lines[i]).toContain(`fairlead: ${name}: `)
      expect(lines[i]).toMatch(/^[ -~]+\.$/)
    }
    expect(await remembered()).toEqual([])
  })

  it('is a refused file, also when the refusal itself was lost', async () => {
    await copyFile(join(projectRoot, 'test/samples/types/program.exe'), join(folder, 'lost.exe'))
    valve = await startValve(gateway.url)
    valve.lose('PATCH')
    const ended = await upload('lost.exe', '--json')
    expect(ended.code).toBe(1)
    expect(reportOf(ended).files).toMatchObject([{ status: 'failed', error_code: 'file_type_not_allowed' }])
    expect(await named('lost.exe')).toMatchObject([{ status: 'rejected' }])
    expect(await remembered()).toEqual([])
  })

  it('is more than the quota', async () => {
    const made = await gateway.run('keys', 'create', '--workspace', 'small')
    await gateway.run('workspaces', 'set-quota', 'small', '1000')
    await file('large.bin', 1_001)
    const ended = await start(['large.bin', '--json'], { FAIRLEAD_KEY: keyJson.parse(made.json).key }).ended
    expect(reportOf(ended).files).toMatchObject([{ status: 'failed', error_code: 'quota_exceeded' }])
    expect(ended.code).toBe(1)
  })

  it.each([
    ['a wrong key', { FAIRLEAD_KEY: `op_live_${'x'.repeat(32)}` }, 1, /does not take the key/],
    ['no key', { FAIRLEAD_KEY: '' }, 2, /FAIRLEAD_KEY/],
    ['a wrong address', { FAIRLEAD_URL: 'files.example.com' }, 2, /--url/],
  ])('is %s', async (_, env, code, saying) => {
    await file('any.bin', 10)
    const ended = await start(['any.bin'], env).ended
    expect(ended).toMatchObject({ code, stdout: '' })
    expect(ended.stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(saying)])
  })

  it('is a server that is not there', async () => {
    await file('any.bin', 10)
    const ended = await start(['any.bin', '--json'], { FAIRLEAD_URL: `http://127.0.0.1:${await freePort()}` }).ended
    expect(ended.code).toBe(1)
    expect(JSON.parse(ended.stdout)).toEqual({ error: expect.stringMatching(/refuses the connection/) })
  })
})

const proxied = async (options: Parameters<typeof startRelay>[1]): Promise<string> => {
  const proxy = await startRelay(gateway.url, options)
  proxies.push(proxy)
  return proxy.url
}

describe('behind a proxy', () => {
  it('that limits bodies, goes in pieces', async () => {
    const bytes = await file('pieces.bin', 3 * mib)
    const url = await proxied({
      instead(req, res) {
        if (Number(req.headers['content-length'] ?? 0) <= mib) return false
        res.writeHead(413, { 'Content-Type': 'text/html' }).end('<h1>413</h1>')
        return true
      },
    })
    const whole = await upload('pieces.bin', '--url', url)
    expect(whole.code).toBe(1)
    expect(whole.stderr).toMatch(/\nfairlead: pieces\.bin: A proxy .*--chunk-size.*\n$/)
    const { files } = reportOf(await upload('pieces.bin', '--url', url, '--chunk-size', '1MiB', '--json'))
    expect(await downloaded(files[0]?.id ?? '')).toBe(sha256(bytes))
    expect(await named('pieces.bin')).toHaveLength(1)
  })

  it('with TLS, sends its key nowhere without it', async () => {
    await file('secret.bin', 10)
    const { tls, authority } = await certificate(folder)
    const env = { NODE_EXTRA_CA_CERTS: authority }
    const forgets = await proxied({ tls })
    const wrong = await start(['secret.bin', '--url', forgets], env).ended
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('FAIRLEAD_PUBLIC_URL') })
    expect(await named('secret.bin')).toMatchObject([{ received_bytes: 0 }])
    const says = await proxied({ tls, send: { 'x-forwarded-proto': 'https' } })
    const right = await start(['secret.bin', '--url', says], env).ended
    expect(right).toMatchObject({ code: 0, stdout: expect.stringContaining(says) })
  })
})

const hasTerminal = ((): boolean => {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux')
  } catch {
    return false
  }
})()

describe.skipIf(!hasTerminal)('on a terminal', () => {
  it('draws bars in place, no wider than it is, and ends with what the files are', async () => {
    await file('first.bin', 2 * mib)
    await file('second with a name that is longer than the terminal is wide.bin', mib)
    const line = `stty cols 40 rows 10; exec "${process.execPath}" "${program}" upload *.bin`
    const child = spawn('script', ['-qec', line, '/dev/null'], { cwd: folder, env: environment({ TERM: 'xterm' }) })
    let screen = ''
    child.stdout.on('data', (chunk) => (screen += String(chunk)))
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect({ code, screen }).toMatchObject({ code: 0 })
    // oxlint-disable-next-line no-control-regex -- what a terminal is told
    const drawings = screen.split(/\u001b\[1G\u001b\[\d+A\u001b\[0J/)
    // Each begins in the first column: the terminal itself may have shown ^C in the line.
    expect(drawings.length).toBeGreaterThan(1)
    const result = drawings.pop() ?? ''
    for (const drawing of drawings)
      for (const drawn of drawing.trimEnd().split('\r\n')) {
        expect(drawn).toMatch(/ %|waits/)
        expect(drawn.length).toBeLessThan(40)
      }
    expect(drawings.join('')).toContain('of 2 files')
    expect(result).toMatch(/^first\.bin: .*\r\nsecond with .*\r\n2 of 2 files uploaded in \S+\.\r\n$/)
  })
})
