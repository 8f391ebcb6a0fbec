import { startGateway } from '../app.ts'
import { seenFromHere } from '../connection.ts'
import { migrateRecords } from '../drivers.ts'
import { logger } from '../log.ts'
import { type Command, installation } from './command.ts'
import { createKey } from './keys.ts'

const stopSignals = ['SIGTERM', 'SIGINT'] as const

export const serveCommands: readonly Command[] = [
  {
    usage: 'serve',
    help: 'runs the gateway',
    async run() {
      // From here on: to process 1 of a container the system does nothing by itself, and the signal would be lost.
      const stop = stopSignal()
      const config = await installation()
      const log = logger(config.server.logLevel)
      for (const warning of config.warnings) log.warn(warning)
      const gateway = await startGateway(config, log)
      const firstKey = await firstStart(gateway.records)
      process.stdout.write(`listening on ${gateway.url}\n`)
      if (firstKey !== undefined)
        process.stdout.write(welcome(config.server.publicUrl ?? nearUrl(gateway.url), firstKey))
      await stop
      log.info('stopping')
      await gateway.stop()
      return undefined

      /** Where somebody on this machine reaches it. */
      function nearUrl(url: string): string {
        const near = new URL(seenFromHere(url))
        if (config.server.publishedPort !== undefined) near.port = String(config.server.publishedPort)
        return near.origin
      }

      async function firstStart(records: typeof gateway.records): Promise<string | undefined> {
        await records.ensureWorkspace('default')
        if ((await records.keys()).length > 0) return undefined
        const made = await createKey(records, config, { workspaceId: 'default', userId: 'admin', name: 'first key' })
        return made.key
      }
    },
  },
  {
    usage: 'migrate',
    help: 'brings the database to this version; the start does it too',
    async run() {
      const { from, to } = await migrateRecords(await installation())
      return {
        json: { from, to },
        text: from === to ? `The database has version ${to}.` : `The database went from version ${from} to ${to}.`,
      }
    },
  },
]

const welcome = (url: string, key: string): string => `
Your first API key, for the workspace "default". It is shown only now:

  ${key}

Try it:

  curl ${url}/v1/uploads -H "Authorization: Bearer ${key}" -H "x-file-name: hello.txt" -H "Content-Type: text/plain" --data-binary "Hello, Fairlead"

`

/** Resolves at the first signal; a second one ends the process at once, by the system's default. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      for (const signal of stopSignals) process.off(signal, stop)
      resolve()
    }
    for (const signal of stopSignals) process.on(signal, stop)
  })
}
