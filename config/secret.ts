import { randomBytes } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing } from '../src/errors.ts'
import { ConfigError, oneLine } from './error.ts'

const secretBytes = 32
/** What the file holds that is made at the first start. */
const fileDigits = /^[0-9a-f]{64}$/
const largestFile = 1024 // bytes; more than a secret ever has

export interface Secret {
  readonly bytes: Uint8Array
  /** One line for the operator, when others can read the file. */
  readonly warning: string | null
}

/**
 * The key that signs URLs and tokens: the configured one, or one that is made at the first start and kept in `<dataDir>/secret`.
 * Processes that start at the same time end with the same one.
 *
 * @param options `mayMake`: whether one may be made, where there is none
 * @throws {ConfigError} when the file holds something else, or cannot be read or written.
 */
export async function loadSecret(
  dataDir: string,
  configured: string | null,
  { mayMake = true }: { readonly mayMake?: boolean } = {},
): Promise<Secret> {
  if (configured !== null) return { bytes: new TextEncoder().encode(configured), warning: null }
  const path = join(dataDir, 'secret')
  try {
    const kept = await readSecret(path)
    if (!kept && !mayMake)
      throw new ConfigError(
        `The signing secret ${oneLine(path)} is missing, but there are uploads that were made with it: restore it from a backup (or set FAIRLEAD_SECRET), ` +
          `or, to give up every URL that it signed, make a new one: openssl rand -hex 32 > ${oneLine(path)}`,
      )
    return kept ?? (await createSecret(dataDir, path))
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    const reason = oneLine(cause instanceof Error ? cause.message : String(cause))
    throw new ConfigError(
      `The signing secret in ${oneLine(path)} cannot be read or made: ${reason}; mend that, or set FAIRLEAD_SECRET.`,
      {
        cause,
      },
    )
  }
}

/** What an earlier secret was: the text that was configured, or the digits of the file that the gateway had made. */
export function previousSecrets(configured: string | null): Uint8Array[] {
  if (configured === null) return []
  const text = new TextEncoder().encode(configured)
  return fileDigits.test(configured) ? [text, Buffer.from(configured, 'hex')] : [text]
}

async function readSecret(path: string): Promise<Secret | undefined> {
  await using file = await open(path, 'r').catch(ignoreMissing)
  if (!file) return undefined
  const { mode, size } = await file.stat()
  const text = size <= largestFile ? await file.readFile('utf8') : ''
  const [, digits] = /^([0-9a-f]{64})\n?$/.exec(text) ?? []
  if (digits === undefined) {
    const remedy = 'restore it from a backup, or remove it and lose the URLs that it signed'
    throw new ConfigError(`${oneLine(path)} is not a signing secret of ${secretBytes} bytes in hexadecimal; ${remedy}.`)
  }
  const exposed = process.platform !== 'win32' && (mode & 0o077) !== 0
  const warning = exposed ? `${oneLine(path)} holds the signing secret, and others may read it; chmod 600 it.` : null
  return { bytes: Buffer.from(digits, 'hex'), warning }
}

/** Written under another name and then linked, so that a secret is there whole or not at all, and the first one wins. */
async function createSecret(dataDir: string, path: string): Promise<Secret> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomBytes(8).toString('hex')}.tmp`
  try {
    await writeDurably(draft, `${randomBytes(secretBytes).toString('hex')}\n`)
    await link(draft, path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause
    })
  } finally {
    await unlink(draft).catch(() => undefined) // the failure that matters is on its way already
  }
  await syncFolder(dataDir)
  const secret = await readSecret(path)
  if (!secret) throw new Error('it was removed while it was made')
  return secret
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(text)
  await file.sync()
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r')
  await folder.sync()
}
