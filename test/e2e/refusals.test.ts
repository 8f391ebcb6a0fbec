import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { configText, requestHead, wireTo } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { isProgram } from '../support/program.ts'

const run = promisify(execFile)
const isInstalled = (name: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => isProgram(join(directory, name)))
/** Bytes of a file that is refused: far more than sockets hold. */
const size = 60_000_000
const maxFileSize = 1_000_000

let gateway: TestGateway
let folder: string
let file: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead-refusals-'))
  file = join(folder, 'large.bin')
  await writeFile(file, Buffer.alloc(size))
  await writeFile(join(folder, 'Send.java'), java)
  gateway = await startGateway({ config: configText(), env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
})
afterAll(async () => {
  await gateway.close()
  await rm(folder, { recursive: true, force: true })
})

/** What a client says of its answer; nothing when it has read none. */
type Send = (url: string, key: string) => Promise<number | undefined>

const statusIn = (text: string): number | undefined => {
  const found = /\b(401|413)\b/.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}
/** A program that prints the status that it has read, whatever its exit code says. */
const program =
  (name: string, args: (url: string, key: string) => readonly string[]): Send =>
  async (url, key) => {
    const { stdout, stderr } = await run(name, [...args(url, key)], { cwd: folder }).catch((failed: unknown) => ({
      stdout: String(Reflect.get(Object(failed), 'stdout')),
      stderr: String(Reflect.get(Object(failed), 'stderr')),
    }))
    return statusIn(`${stdout}\n${stderr}`)
  }

const python = (lines: readonly string[]): Send =>
  program('python3', (url, key) => [
    '-c',
    ['import sys', 'url, key, path = sys.argv[1:4]', ...lines].join('\n'),
    url,
    key,
    file,
  ])
const pythonHeaders = `{'Authorization': 'Bearer ' + key, 'x-file-name': 'a.bin', 'Content-Type': 'application/octet-stream'}`
const byUrllib = (data: string, more = ''): Send =>
  python([
    'import urllib.request, urllib.error',
    'def pieces():',
    '    with open(path, "rb") as f:',
    '        while piece := f.read(65536): yield piece',
    `headers = ${pythonHeaders}`,
    more,
    `asked = urllib.request.Request(url, data=${data}, headers=headers, method='POST')`,
    'try: print(urllib.request.urlopen(asked).status)',
    'except urllib.error.HTTPError as e: print(e.code)',
  ])
const byHttpClient = (body: string, how = ''): Send =>
  python([
    'import http.client, urllib.parse',
    'at = urllib.parse.urlsplit(url)',
    'c = http.client.HTTPConnection(at.netloc)',
    `c.request('POST', at.path, body=${body}, headers=${pythonHeaders}${how})`,
    'print(c.getresponse().status)',
  ])

const java = `
import java.net.*; import java.net.http.*; import java.nio.file.*;
public class Send {
  public static void main(String[] a) throws Exception {
    String how = a[0]; URI url = URI.create(a[1]); Path file = Path.of(a[3]);
    if (how.equals("client")) {
      HttpRequest asked = HttpRequest.newBuilder(url).version(HttpClient.Version.HTTP_1_1)
        .header("Authorization", "Bearer " + a[2]).header("x-file-name", "a.bin")
        .POST(HttpRequest.BodyPublishers.ofFile(file)).build();
      System.out.println(HttpClient.newHttpClient().send(asked, HttpResponse.BodyHandlers.ofString()).statusCode());
      return;
    }
    HttpURLConnection c = (HttpURLConnection) url.toURL().openConnection();
    c.setRequestMethod("POST"); c.setDoOutput(true);
    c.setRequestProperty("Authorization", "Bearer " + a[2]); c.setRequestProperty("x-file-name", "a.bin");
    if (how.equals("fixed")) c.setFixedLengthStreamingMode(Files.size(file));
    if (how.equals("chunked")) c.setChunkedStreamingMode(65536);
    try (var out = c.getOutputStream()) { Files.copy(file, out); }
    System.out.println(c.getResponseCode());
  }
}`
const byJava = (how: string): Send => program('java', (url, key) => ['Send.java', how, url, key, file])

const curlArgs = (more: readonly string[]): Send =>
  program('curl', (url, key) => [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '-H',
    `Authorization: Bearer ${key}`,
    '-H',
    'x-file-name: a.bin',
    ...more,
    url,
  ])

const headers = (key: string) => ({ Authorization: `Bearer ${key}`, 'x-file-name': 'a.bin' })

/** All is written before anything is read. */
const bySocket =
  (chunked: boolean): Send =>
  async (url, key) => {
    const { hostname, port, pathname } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    socket.pause()
    const length = chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': size }
    socket.write(requestHead('POST', pathname, { ...headers(key), ...length }))
    const piece = Buffer.alloc(1_000_000)
    for (let sent = 0; sent < size && !socket.destroyed; sent += piece.length) {
      if (chunked) socket.write(`${piece.length.toString(16)}\r\n`)
      const goesOn = socket.write(piece)
      if (chunked) socket.write('\r\n')
      if (!goesOn) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), sleep(5_000)])
    }
    if (chunked) socket.write('0\r\n\r\n')
    let text = ''
    socket.on('data', (bytes) => (text += bytes.toString('latin1')))
    socket.resume()
    for (let i = 0; i < 100 && !text.includes('\r\n\r\n'); i++) await sleep(50)
    socket.destroy()
    return statusIn(text)
  }

const byNode =
  (length: boolean): Send =>
  (url, key) =>
    new Promise((resolve) => {
      const asked = request(url, {
        method: 'POST',
        headers: { ...headers(key), ...(length ? { 'Content-Length': size } : {}) },
      })
      asked.on('response', (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      asked.on('error', () => resolve(undefined))
      asked.end(Buffer.alloc(size))
    })
const byFetch: Send = async (url, key) =>
  (await fetch(url, { method: 'POST', headers: headers(key), body: Buffer.alloc(size) }).catch(() => undefined))?.status

const clients: readonly (readonly [name: string, needs: string | null, send: Send])[] = [
  ['curl, a file', 'curl', curlArgs(['--data-binary', '@large.bin'])],
  ['curl, without asking first', 'curl', curlArgs(['-H', 'Expect:', '--data-binary', '@large.bin'])],
  [
    'curl -T -, chunked',
    'curl',
    curlArgs(['-X', 'POST', '-H', 'Expect:', '-H', 'Transfer-Encoding: chunked', '-T', 'large.bin']),
  ],
  [
    'wget',
    'wget',
    program('wget', (url, key) => [
      '--tries=1',
      '-S',
      '-O',
      '/dev/null',
      `--header=Authorization: Bearer ${key}`,
      '--header=x-file-name: a.bin',
      '--header=Content-Type: application/octet-stream',
      `--post-file=${file}`,
      url,
    ]),
  ],
  ['urllib, bytes', 'python3', byUrllib('open(path, "rb").read()')],
  ['urllib, a file', 'python3', byUrllib('open(path, "rb")', `headers['Content-Length'] = '${size}'`)],
  ['urllib, a generator', 'python3', byUrllib('pieces()')],
  ['http.client, a file', 'python3', byHttpClient('open(path, "rb")')],
  ['http.client, chunked', 'python3', byHttpClient('open(path, "rb")', ', encode_chunked=True')],
  ['HttpURLConnection', 'javac', byJava('whole')],
  ['HttpURLConnection, streaming', 'javac', byJava('fixed')],
  ['HttpURLConnection, chunked', 'javac', byJava('chunked')],
  ["Java's HttpClient", 'javac', byJava('client')],
  ['node:http', null, byNode(true)],
  ['node:http, chunked', null, byNode(false)],
  ['fetch', null, byFetch],
  ['a socket that reads last', null, bySocket(false)],
  ['a socket that reads last, chunked', null, bySocket(true)],
]

describe('a large body that is refused', () => {
  it('is read and dropped, so that every client gets to read why', async () => {
    const answers: Record<string, readonly (number | undefined)[]> = {}
    const expected: Record<string, readonly number[]> = {}
    for (const [name, needs, send] of clients) {
      // A machine need not have them all.
      if (needs !== null && !isInstalled(needs)) continue
      const url = `${gateway.url}/v1/uploads`
      answers[name] = [await send(url, gateway.key), await send(url, 'op_live_wrong')]
      expected[name] = [413, 401]
    }
    expect(answers).toEqual(expected)
  }, 240_000)

  it('is not waited for when it comes in drops', async () => {
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('POST', '/v1/uploads', { 'x-file-name': 'a', 'Content-Length': size }))
    const drops = setInterval(() => wire.socket.write('x'), 200)
    expect((await wire.answer()).status).toBe(401)
    expect(await wire.closed(30_000)).toBe(true)
    clearInterval(drops)
  })
})
