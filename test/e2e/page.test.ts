import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingChromium, startChromium } from '../support/chromium.ts'
import { addKeys, clientOf, configText, eventually, sha256 } from '../support/client.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'
import { browserMs, type OpenPage, openPage } from '../support/page.ts'

const mebi = 1024 * 1024
const bigBytes = 24 * mebi
/** Bytes after which the wire of a big file falls silent. */
const heldBytes = 8 * mebi
/** Bytes of headers, and of small requests beside the file's own. */
const besideBytes = 256 * 1024
const startMs = 60_000

const sample = (name: string): string => join(projectRoot, 'test/samples/media', name)
/** Takes longer than a request waits. */
const slowPlugin = `{ name: 'slow', accepts: ({ filename }) => filename.startsWith('slow'), beforeFinish: () => new Promise((done) => setTimeout(done, 1_500)) }`

let gateway: TestGateway
let browser: Browser
let folder: string
let open: OpenPage

interface BigFile {
  readonly path: string
  readonly name: string
  readonly bytes: Buffer
}

/** Bytes that the gateway has on its disk, finished or not. */
async function storedBytes(): Promise<number> {
  const objects = join(gateway.dataDir, 'objects')
  const entries = await readdir(objects, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(file.parentPath, file.name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Sends a file that is too big for the wire, until the gateway has a part of it. */
async function beginBig(): Promise<BigFile> {
  const name = `big-${randomBytes(4).toString('hex')}.bin`
  const path = join(folder, name)
  const bytes = randomBytes(bigBytes)
  await writeFile(path, bytes)
  const before = await storedBytes()
  open.line.holdAfter(heldBytes)
  await open.choose(path)
  await eventually(async () => expect((await storedBytes()) - before).toBeGreaterThan(heldBytes / 2), browserMs)
  return { path, name, bytes }
}

/** All of it is in the gateway. */
async function expectWhole({ name, bytes }: BigFile): Promise<void> {
  const { Id, Size } = await open.factsOf(name)
  expect(Size).toBe('24 MiB')
  const download = await clientOf(gateway, gateway.key)('GET', `/api/v1/uploads/${Id}/download`)
  expect(sha256(download.bytes)).toBe(sha256(bytes))
  expect(await open.page.locator('#news').textContent()).toContain('that the gateway already has')
}

/** What the gateway had was not sent again. @param sent bytes that went over the wire since */
function expectRest(offset: number, sent: number): void {
  expect(offset).toBeGreaterThan(heldBytes / 2)
  expect(offset).toBeLessThanOrEqual(heldBytes)
  expect(sent).toBeGreaterThanOrEqual(bigBytes - offset)
  expect(sent).toBeLessThan(bigBytes - offset + besideBytes)
}

describe.skipIf(missingChromium)(`the page${missingChromium === undefined ? '' : ` (${missingChromium})`}`, () => {
  beforeAll(async () => {
    const plugins = `sniffType({ deny: ['application/x-elf'] }), quota(), mediaInfo(), ${slowPlugin}`
    const imports = `import { mediaInfo } from '${projectRoot}/plugins/media-info.ts'\n`
    const config = imports + configText(plugins, 'pipeline: { syncBudget: 1 }')
    folder = await mkdtemp(join(tmpdir(), 'fairlead-page-'))
    ;[gateway, browser] = await Promise.all([startGateway({ config }), startChromium()])
  }, startMs)
  afterAll(async () => {
    await Promise.all([browser?.close(), gateway?.close()])
    await rm(folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    open = await openPage(browser, gateway)
  })
  afterEach(() => open?.close())

  it('wants a key that the gateway knows', async () => {
    const { page } = open
    const disabled = () => page.locator('.uppy-Dashboard').getAttribute('aria-disabled')
    expect(await disabled()).toBe('true')
    const { reads } = await addKeys(gateway, { reads: { scopes: ['uploads:read'] } })
    for (const [key, words] of [
      ['op_live_00000000000000000000000000000000', 'not valid'],
      ['op_live_ü', 'letters, digits'],
      [reads, 'uploads:write'],
    ] as const) {
      await open.enter(key)
      await page.locator('#key-state.bad', { hasText: words }).waitFor()
    }
    expect(await disabled()).toBe('true')
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
    await open.begin()
    expect(await disabled()).toBe('false')
  })

  it('keeps the key in the tab until it is forgotten, and nowhere else', async () => {
    const { page } = open
    await open.begin()
    expect(await page.locator('#key-state').textContent()).toContain('workspace default')
    expect(await page.evaluate('({ ...sessionStorage })')).toEqual({ 'fairlead-key': gateway.key })
    expect(await page.evaluate('JSON.stringify([{ ...localStorage }, document.cookie])')).toBe('[{},""]')
    await page.reload()
    await page.locator('#key-state.good').waitFor()
    await page.getByRole('button', { name: 'Forget the key' }).click()
    await page.getByLabel('API key').waitFor()
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
  })

  it('takes a dropped image, and shows its record and what was stored', async () => {
    const { page } = open
    await open.begin()
    const bytes = await readFile(sample('still.png'))
    const name = `<img src=x onerror="alert(1)">'; “drop”.png`
    const file = `new File([new Uint8Array([${bytes.join()}])], ${JSON.stringify(name)}, { type: 'text/plain' })`
    const dataTransfer = await page.evaluateHandle(
      `(() => { const data = new DataTransfer(); data.items.add(${file}); return data })()`,
    )
    await page.dispatchEvent('.uppy-Dashboard-AddFiles', 'drop', { dataTransfer })
    const facts = await open.factsOf(name)
    expect(facts).toMatchObject({ Type: 'image/png', Size: `${bytes.length} B`, Dimensions: '64 × 48' })
    expect(facts).not.toHaveProperty('Duration')
    await open.entry(name).locator('img').waitFor()
    expect(await page.locator('#finished-list img').count()).toBe(1)
    const size = `(({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight])(document.querySelector('#finished-list img'))`
    await expect.poll(() => page.evaluate(size)).toEqual([64, 48])
    const href = await open.entry(name).getByRole('link', { name: 'Download' }).getAttribute('href')
    const download = await clientOf(open.line, '')('GET', href ?? '', { key: null })
    expect(download.bytes.equals(bytes)).toBe(true)
    // Nothing is left to resume.
    expect(await page.evaluate('({ ...localStorage })')).toEqual({})
  })

  it('shows how long a film is', async () => {
    await open.begin()
    await open.choose(sample('start.mp4'))
    const facts = await open.factsOf('start.mp4')
    expect(facts['Type']).toBe('video/mp4')
    expect(facts['Duration']).toMatch(/^[1-9]\d*(\.\d+)? s$/)
    expect(facts['Dimensions']).toMatch(/^\d+ × \d+$/)
    expect(await open.entry('start.mp4').locator('img').count()).toBe(0)
  })

  it('waits for a record that is not ready yet', async () => {
    await open.begin()
    await open.choose({ name: 'slow.txt', mimeType: 'text/plain', buffer: Buffer.from('Hello') })
    await open.entry('slow.txt').getByText('looks at it').waitFor()
    expect(await open.factsOf('slow.txt')).toMatchObject({ Type: 'text/plain', Size: '5 B' })
  })

  it('says in words why a file was refused', async () => {
    const { page } = open
    await open.begin()
    const elf = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), Buffer.alloc(512)])
    elf.writeUInt16LE(2, 16)
    await open.choose({ name: '<b>tool', mimeType: '', buffer: elf })
    const news = page.locator('#news .bad')
    await news.waitFor()
    expect(await news.textContent()).toMatch(/^<b>tool: .*application\/x-elf/)
    await page.getByRole('button', { name: 'Retry upload' }).first().waitFor()
    expect(await page.locator('#finished-list li').count()).toBe(0)
  })

  it('pauses and resumes', async () => {
    const { page, line } = open
    await open.begin()
    const file = await beginBig()
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    const resume = page.getByRole('button', { name: 'Resume', exact: true })
    await resume.waitFor()
    line.cut()
    const before = line.sent()
    const [offset] = await Promise.all([open.nextOffset(), resume.click()])
    await expectWhole(file)
    expectRest(offset, line.sent() - before)
  })

  it('goes on by itself after the connection broke', async () => {
    const { page, line } = open
    await open.begin()
    const file = await beginBig()
    const rest = page.waitForRequest((r) => r.method() === 'PATCH' && r.headers()['upload-offset'] !== '0')
    const answered = open.nextOffset()
    line.cut()
    await expectWhole(file)
    // The wire is no measure: Chromium itself repeats a request that broke off, from the start, before tus hears of it.
    const offset = Number((await rest).headers()['upload-offset'])
    expect(offset).toBe(await answered)
    expectRest(offset, bigBytes - offset)
  })

  it('goes on after a reload, when the same file is chosen', async () => {
    const { page, line } = open
    await open.begin()
    const file = await beginBig()
    await page.reload()
    line.cut()
    await page.locator('#key-state.good').waitFor()
    const before = line.sent()
    const [offset] = await Promise.all([open.nextOffset(), open.choose(file.path)])
    await expectWhole(file)
    expectRest(offset, line.sent() - before)
  })
})
