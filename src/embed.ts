import type { IncomingMessage, ServerResponse } from 'node:http'
import { loadConfig } from '../config/load.ts'
import type { UserConfig } from '../config/schema.ts'
import { openGateway } from './app.ts'
import { logger } from './log.ts'

export interface Fairlead {
  /** Answers one request: a listener for a server of `node:http`, a middleware for Express. It needs the body unread. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => void
  /** Lets running requests end, for `server.shutdownGrace` at most, then closes everything. Requests are refused from then on. */
  readonly close: () => Promise<void>
}

/**
 * The gateway inside of another program, which listens for it: everything but `server.host` and `server.port` counts.
 *
 * @param config takes the place of `uploads.config.ts`; environment variables win over it
 * @throws {Error} in one line, when it cannot start as it is configured.
 */
export async function createFairlead(config: UserConfig = {}): Promise<Fairlead> {
  const checked = await loadConfig({ cwd: process.cwd(), env: process.env, config })
  const log = logger(checked.server.logLevel)
  for (const warning of checked.warnings) log.warn(warning)
  const gateway = await openGateway(checked, log)
  let closed: Promise<void> | undefined
  return {
    handler: gateway.answer,
    close: () => (closed ??= gateway.stop()),
  }
}
