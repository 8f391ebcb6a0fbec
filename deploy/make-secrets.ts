import { randomBytes } from 'node:crypto'
import { chmod, chown, link, open, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'

// Makes the secrets of the `s3` profile, once, into volumes that only their readers mount. Those that are there stay.
// It is root without other rights than to give files away: what runs later is the image's user.
// Usage: node deploy/make-secrets.ts <folder for Garage's> <folder for the key that both know> <folder of Garage's data>

const user = 1_000
const [, , garage = '', shared = '', data = ''] = process.argv
const hex = (bytes: number): string => randomBytes(bytes).toString('hex')

/** Whole or not at all, and the first one stays: a start that was interrupted leaves nothing that is half a secret. */
async function make(path: string, text: string): Promise<void> {
  const draft = `${path}.${hex(8)}.tmp`
  const file = await open(draft, 'wx', 0o400)
  try {
    await file.writeFile(`${text}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await link(draft, path)
    .then(() => process.stdout.write(`made ${path}\n`))
    .catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  await unlink(draft)
  await chown(path, user, user) // last, and always: what it has given away it can neither link nor change
}

await make(join(garage, 'rpc-secret'), hex(32))
await make(join(garage, 'admin-token'), hex(32))
// What Garage takes for a key: GK and 12 bytes, and a secret of 32.
await make(join(shared, 'access-key-id'), `GK${hex(12)}`)
await make(join(shared, 'secret-access-key'), hex(32))

if ((await stat(data)).uid !== user) {
  await chmod(data, 0o700)
  await chown(data, user, user)
}
