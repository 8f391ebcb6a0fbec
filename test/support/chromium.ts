import { type Browser, chromium } from 'playwright-core'
import { isProgram } from './program.ts'

/** Where Debian and others put it. */
const places = [
  process.env['TEST_CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]

const path = places.find(isProgram)

/** Why the tests with a browser cannot run here, for `describe.skipIf`; nothing when they can. In CI they fail then. */
export const missingChromium: string | undefined =
  path !== undefined || process.env['CI'] ? undefined : 'no chromium: apt-get install chromium, or TEST_CHROMIUM=<path>'

export async function startChromium(): Promise<Browser> {
  if (path === undefined) throw new Error('CI wants a chromium, and there is none.')
  // In a container there is no sandbox to be had, and hardly any shared memory.
  return chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}
