import type { IncomingMessage, ServerResponse } from 'node:http'
import { loadConfig } from '../config/load.ts'
import type { UserConfig } from '../config/schema.ts'
import { openGateway } from './app.ts'
import { logger } from './log.ts'

const bodyTaken = 'Something has read the body before Fairlead: mount Fairlead before any body parser.'

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
    handler(req, res) {
      if (!req.readableDidRead) return gateway.answer(req, res)
      // Otherwise the client would learn no more than that its body has been lost.
      log.error(bodyTaken)
      res.writeHead(500, { 'Content-Type': 'text/plain', Connection: 'close' }).end(bodyTaken)
    },
    close: () => (closed ??= gateway.stop()),
  }
}
