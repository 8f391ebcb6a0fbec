import assert from 'node:assert'
import type { Browser, Locator, Page } from 'playwright-core'
import type { TestGateway } from './gateway.ts'
import { type Line, startLine } from './line.ts'

/** Milliseconds in which a browser on a busy machine has done something. */
export const browserMs = 20_000

/** The page to try the gateway with, as somebody has it before them: a fresh browser, behind a wire that can be cut. */
export interface OpenPage {
  readonly page: Page
  readonly line: Line
  /** Pastes a key. */
  enter(key: string): Promise<void>
  /** Pastes a key that is taken. */
  begin(): Promise<void>
  choose(file: Parameters<Page['setInputFiles']>[1]): Promise<void>
  /** The entry of a file in the list of what has arrived. */
  entry(name: string): Locator
  /** What the list says of a file, as soon as the gateway has looked at it. */
  factsOf(name: string): Promise<Readonly<Record<string, string>>>
  /** The answer that tells where an upload goes on: its offset. */
  nextOffset(): Promise<number>
  /** @throws {assert.AssertionError} when the page has asked elsewhere, broken its policy, had a bug, or told the key. */
  close(): Promise<void>
}

export async function openPage(browser: Browser, gateway: TestGateway): Promise<OpenPage> {
  const line = await startLine(gateway.url)
  const context = await browser.newContext()
  const page = await context.newPage()
  page.setDefaultTimeout(browserMs)
  const asked: string[] = []
  const said: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  page.on('console', (message) => said.push(message.text()))
  page.on('pageerror', (error) => said.push(String(error)))
  await page.goto(line.url)

  const entry = (name: string) => page.locator('#finished-list li').filter({ hasText: name })
  async function enter(key: string): Promise<void> {
    await page.getByLabel('API key').fill(key)
    await page.getByRole('button', { name: 'Use it' }).click()
  }
  return {
    page,
    line,
    enter,
    async begin() {
      await enter(gateway.key)
      await page.locator('#key-state.good').waitFor()
    },
    choose: (file) => page.setInputFiles('.uppy-Dashboard-input >> nth=0', file),
    entry,
    async factsOf(name) {
      await entry(name).locator('dl').waitFor()
      const terms = await entry(name).locator('dt').allTextContents()
      const values = await entry(name).locator('dd').allTextContents()
      return Object.fromEntries(terms.map((term, index) => [term, values[index] ?? '']))
    },
    async nextOffset() {
      const answer = await page.waitForResponse(
        (response) => response.request().method() === 'HEAD' && response.url().startsWith(`${line.url}/files/`),
      )
      assert.equal(answer.status(), 200)
      return Number(answer.headers()['upload-offset'])
    },
    async close() {
      await context.close()
      await line.close()
      const elsewhere = asked.filter((url) => new URL(url).origin !== line.url && !/^(blob|data):/.test(url))
      assert.deepEqual(elsewhere, [])
      // A refusal that the page handles is in the console all the same; a policy that was broken, or a bug, never.
      assert.deepEqual(
        said.filter((one) => !one.startsWith('Failed to load resource')),
        [],
      )
      assert(![...asked, ...said].some((one) => one.includes(gateway.key)), 'the key is in a URL, or in the console')
    },
  }
}
