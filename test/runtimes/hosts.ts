import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { eventually, requestHead, wireTo } from '../support/client.ts'
import { projectRoot } from '../support/gateway.ts'
import { freePort } from '../support/ports.ts'

/** Where the programs of the documentation listen. */
const documentedPort = '8080'
const startMs = 30_000

interface Host {
  readonly name: string
  /** A whole program, in TypeScript. */
  readonly text: string
}

/** The programs of docs/embedding.md, but for that of Next, which is too heavy to install. */
export async function documentedHosts(): Promise<Host[]> {
  const page = await readFile(join(projectRoot, 'docs/embedding.md'), 'utf8')
  const block = (heading: string): string => {
    const section = page.split(/^#+ /m).find((text) => text.startsWith(`${heading}\n`))
    const found = /^```ts\n(.*?)^```$/ms.exec(section ?? '')?.[1]
    if (found === undefined) throw new Error(`docs/embedding.md has no program below “${heading}”.`)
    return found
  }
  const first = block('`Expect: 100-continue`')
  return [
    { name: 'node', text: block('Inside of your own server') },
    ...['Express', 'Koa', 'Fastify'].map((name) => ({ name: name.toLowerCase(), text: block(name) + first })),
  ]
}

/** Runs a program of the documentation on a port of its own, and ends it as a supervisor does. @param path where Fairlead is in it */
export async function runningHost(
  file: string,
  path: string,
  env: Readonly<Record<string, string>>,
  work: (url: string) => Promise<void>,
): Promise<void> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const text = (await readFile(file, 'utf8')).replace(documentedPort, String(port))
  const own = file.replace(/\.ts$/, '.run.ts')
  await writeFile(own, `${text}console.log(server.requestTimeout)\n`)
  const child = spawn(process.execPath, [own], {
    env: { PATH: process.env['PATH'] ?? '', ...env, FAIRLEAD_PUBLIC_URL: `${url}${path}` },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => (out += String(chunk)))
  child.stderr.on('data', (chunk) => (err += String(chunk)))
  try {
    await eventually(async () => {
      await fetch(url).catch((cause: unknown) => {
        throw new Error(`The program does not answer:\n${err}`, { cause })
      })
    }, startMs)
    await work(url)
    expect(out).toBe('0\n')
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
  } finally {
    child.kill('SIGKILL')
  }
}

/** Whoever waits with the body is told to send it by the one that wants it, and once. */
export async function expectContinue(url: string, path: string, key: string): Promise<void> {
  const upload = `${path}/v1/uploads`
  const file = { 'x-file-name': 'a.txt' }
  expect(await statuses(url, upload, file)).toEqual([401])
  expect(await statuses(url, upload, { ...file, Authorization: `Bearer ${key}` })).toEqual([100, 201])
}

/** What is not Fairlead's is the program's own, bodies included. */
export async function expectOwnRoutes(url: string): Promise<void> {
  expect(await (await fetch(url)).text()).toBe('hello')
  expect(await statuses(url, '/elsewhere', {})).toEqual([100, expect.toBeOneOf([200, 404])])
}

async function statuses(url: string, path: string, headers: Readonly<Record<string, string>>): Promise<number[]> {
  const wire = await wireTo(url)
  await wire.send(requestHead('POST', path, { ...headers, Expect: '100-continue', 'Content-Length': 5 }))
  const first = await wire.answer()
  if (first.status !== 100) return [first.status]
  await wire.send('hello')
  return [first.status, (await wire.answer()).status]
}
