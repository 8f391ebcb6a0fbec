import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from './client.ts'
import { missingOf } from './curl.ts'
import { projectRoot } from './gateway.ts'
import { freePort } from './ports.ts'
import { isProgram } from './program.ts'

/** Where Debian and others put it; `/usr/sbin` is in nobody's path but root's. */
const places = [process.env['TEST_NGINX'] ?? '', '/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/bin/nginx']
const program = places.find(isProgram)
const days = 2

/** Why the tests with an nginx cannot run here, for `describe.skipIf`; nothing when they can. In CI they fail then. */
export const missingNginx: string | undefined =
  program !== undefined || process.env['CI']
    ? missingOf('openssl')
    : 'no nginx: apt-get install nginx-light, or TEST_NGINX=<path>'

/** What a client must trust to speak with it. */
export interface Certificate {
  readonly folder: string
  readonly certFile: string
  readonly keyFile: string
  readonly pem: string
}

/** For localhost, signed by itself. */
export async function selfSigned(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-tls-'))
  const certFile = join(folder, 'cert.pem')
  const keyFile = join(folder, 'key.pem')
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', String(days)]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  await promisify(execFile)('openssl', ['req', ...kind, ...names, '-keyout', keyFile, '-out', certFile])
  return { folder, certFile, keyFile, pem: await readFile(certFile, 'utf8') }
}

export interface NginxOptions {
  /** Where the gateway listens. */
  readonly upstream: string
  readonly certificate: Certificate
  /** Where it listens. @default any free port */
  readonly port?: number
  /** The path at which the gateway is seen, without the slash at its end. */
  readonly path?: string
  /** Directives of the recipe with another value; `null`: left out, so that nginx's default holds. */
  readonly change?: Readonly<Record<string, string | null>>
}

export interface Nginx {
  /** The public address, by the name that the certificate is for. */
  readonly url: string
  /** A line for each request that has ended: method, path, status. */
  requests(): Promise<readonly string[]>
  close(): Promise<void>
}

/** A real nginx with the recipe of the documentation, in the foreground, as whoever runs the tests, in a folder of its own. */
export async function startNginx({
  upstream,
  certificate,
  path,
  change = {},
  ...options
}: NginxOptions): Promise<Nginx> {
  if (program === undefined) throw new Error('CI wants an nginx, and there is none.')
  const port = options.port ?? (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-nginx-'))
  const accessLog = join(folder, 'access.log')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  for (const name of temporary) await mkdir(join(folder, name))
  let site = recipe()
  const replace = (found: string | RegExp, by: string): void => {
    if (site.split(found).length !== 2) throw new Error(`The recipe must have ${String(found)} once.`)
    site = site.replace(found, () => by)
  }
  replace('127.0.0.1:8080', new URL(upstream).host)
  replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
  replace('/etc/ssl/uploads.example.com.pem', certificate.certFile)
  replace('/etc/ssl/private/uploads.example.com.key', certificate.keyFile)
  if (path !== undefined) {
    replace('location / {', `location ${path}/ {`)
    replace('proxy_pass http://fairlead;', 'proxy_pass http://fairlead/;')
  }
  for (const [name, value] of Object.entries(change))
    replace(new RegExp(`\\b${name} [^;]*;`), value === null ? '' : `${name} ${value};`)
  const configuration = `
    daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    error_log stderr;
    events {}
    http {
      log_format requests '$request_method $uri $status';
      access_log ${accessLog} requests;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      ${site}
    }`
  await writeFile(join(folder, 'nginx.conf'), configuration)

  const child = spawn(program, ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')])
  let said = ''
  let ended = false
  child.stderr.on('data', (chunk) => (said += String(chunk)))
  const end = new Promise<void>((resolve) =>
    child.once('close', () => {
      ended = true
      resolve()
    }),
  )
  await eventually(async () => {
    if (!ended && !(await listens(port))) throw new Error(`nginx does not listen: ${said}`)
  })
  if (ended) throw new Error(`nginx has ended: ${said}`)

  return {
    url: `https://localhost:${port}${path ?? ''}`,
    requests: async () => (await readFile(accessLog, 'utf8')).trimEnd().split('\n'),
    async close() {
      child.kill('SIGKILL')
      await end
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** The block of the documentation that readers copy. */
function recipe(): string {
  const text = readFileSync(join(projectRoot, 'docs/proxies.md'), 'utf8')
  const found = /^```nginx\n(.*?)^```$/ms.exec(text)?.[1]
  if (found === undefined) throw new Error('docs/proxies.md has no recipe for nginx.')
  return found
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
