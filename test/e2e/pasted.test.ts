import { execFile } from 'node:child_process'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { missingOf } from '../support/curl.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

/** What our own pages tell to type, in so far as it needs nothing from an earlier answer: each line must work when it is pasted. */
const pages = ['README.md', '/llms.txt'] as const
const known = { TEAM: 'default', PROJECT: 'invoices' }
const documentedAt = 'http://127.0.0.1:8080'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
  const { folder } = gateway
  await copyFile(join(projectRoot, 'test/samples/types/photo.jpg'), join(folder, 'photo.jpg'))
  for (const name of ['a.pdf', 'b.pdf', 'document.pdf']) await writeFile(join(folder, name), '%PDF-1.7\n%%EOF\n')
  // An answer of 400 or more is an error then.
  await writeFile(join(folder, '.curlrc'), 'silent\nshow-error\nfail-with-body\nmax-time = 30\n')
})
afterAll(() => gateway.close())

const read = async (page: string): Promise<string> =>
  page.startsWith('/') ? (await fetch(gateway.url + page)).text() : readFile(join(projectRoot, page), 'utf8')

/** Commands in the shell blocks of a page that go to the gateway, and whose variables have a value. */
function linesOf(page: string): string[] {
  const blocks = [...page.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block.replaceAll('\\\n', ' '))
  const values = new Set(['KEY', ...Object.keys(known)])
  return blocks
    .flatMap((block) => block.split('\n'))
    .map((line) => line.replaceAll(documentedAt, gateway.url))
    .filter((line) => line.startsWith('curl ') && line.includes(gateway.url))
    .filter((line) => [...line.matchAll(/\$(\w+)/g)].every(([, name = '']) => values.has(name)))
}

const assetOf = z.object({ data: z.object({ filename: z.string(), fileUrl: z.url() }) })

const paste = (line: string, variables: Readonly<Record<string, string>> = {}): Promise<string> => {
  const env = { ...known, ...variables, KEY: gateway.key, PATH: process.env['PATH'], HOME: gateway.folder }
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', line], { cwd: gateway.folder, env }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${line}\n${stdout}${stderr}`))
      else resolve(stdout)
    })
  })
}

const missing = missingOf('curl', 'openssl')
describe.skipIf(missing)(`what our pages tell to type${missing === undefined ? '' : ` (${missing})`}`, () => {
  it.each(pages)('%s', async (page) => {
    const lines = linesOf(await read(page))
    const answers = await Promise.all(lines.map((line) => paste(line)))
    expect(answers.filter((answer) => answer === '')).toEqual([])
    expect(lines.length).toBeGreaterThanOrEqual(4)
  })

  it('a download, which keeps its name', async () => {
    const line = (await read('README.md')).split('\n').find((one) => /^curl .*"\$DOWNLOAD_URL"/.test(one)) ?? ''
    const name = 'Grüße €, 日本語.txt'
    const made = await fetch(`${gateway.url}/v1/uploads`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'x-file-name': encodeURIComponent(name) },
      body: 'hello',
    })
    const { data } = assetOf.parse(await made.json())
    await paste(line, { FILENAME: data.filename, DOWNLOAD_URL: data.fileUrl })
    expect(await readFile(join(gateway.folder, name), 'utf8')).toBe('hello')
  })
})
