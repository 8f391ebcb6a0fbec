import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { z } from 'zod'
import type { Environment } from '../../../config/environment.ts'

/** Milliseconds after which nobody comes back for an upload. */
const longestMs = 90 * 86_400_000
/** Bytes: an entry has a path and two URLs. */
const mostBytes = 64 * 1024

/** What makes two runs mean the same upload. */
export interface Identity {
  readonly path: string
  readonly size: number
  readonly modified: string
  readonly server: string
  readonly workspace: string
  readonly category: string | null
  readonly project: string | null
}

/**
 * The URLs of unfinished uploads, a file for each: commands that run at once write different files, and none is ever half written.
 * Only the user may read them.
 */
export interface StoredUrls {
  find(identity: Identity): Promise<string | undefined>
  /** At once: no byte is sent before it is kept. */
  keep(identity: Identity, url: string): void
  /** Only what holds this URL: another command may have begun anew. */
  forget(identity: Identity, url: string): Promise<void>
  /** Removes what nobody came back for. */
  tidy(): Promise<void>
}

const entrySchema = z.object({ url: z.url({ protocol: /^https?$/ }) })

/** `$XDG_STATE_HOME/fairlead/uploads`, or the same below `~/.local/state`. */
export function stateFolder(env: Environment): string {
  const given = env['XDG_STATE_HOME'] ?? ''
  return join(isAbsolute(given) ? given : join(homedir(), '.local/state'), 'fairlead', 'uploads')
}

/** @param fails hears, once, that nothing can be kept: uploads go on, and cannot be resumed by another run */
export function storedUrls(folder: string, fails: (why: string) => void): StoredUrls {
  let hasFailed = false
  const pathOf = ({ path, size, modified, server, workspace, category, project }: Identity): string => {
    const text = JSON.stringify([path, size, modified, server, workspace, category, project])
    return join(folder, `${createHash('sha256').update(text).digest('hex')}.json`)
  }

  async function find(identity: Identity): Promise<string | undefined> {
    const text = await readFile(pathOf(identity), 'utf8').catch(() => '')
    if (text === '' || text.length > mostBytes) return undefined
    try {
      return entrySchema.parse(JSON.parse(text)).url
    } catch {
      return undefined
    }
  }

  return {
    find,
    keep(identity, url) {
      const path = pathOf(identity)
      const draft = `${path}.${randomUUID()}`
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 })
        writeFileSync(draft, JSON.stringify({ url, ...identity }), { mode: 0o600, flag: 'wx' })
        renameSync(draft, path)
      } catch (error) {
        if (!hasFailed) fails(error instanceof Error ? error.message : String(error))
        hasFailed = true
        removeQuietly(draft)
      }
    },
    async forget(identity, url) {
      // One that stays leads to what is finished, and does no harm.
      if ((await find(identity)) === url) removeQuietly(pathOf(identity))
    },
    async tidy() {
      for (const name of await readdir(folder).catch(() => [])) {
        const path = join(folder, name)
        const found = await stat(path).catch(() => undefined)
        if (found?.isFile() === true && Date.now() - found.mtimeMs > longestMs) removeQuietly(path)
      }
    },
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // The folder may not be written.
  }
}
