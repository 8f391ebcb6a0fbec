import { execFileSync } from 'node:child_process'
import { chown, mkdir, mkdtemp, readdir, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { refusalOf } from '../contracts/dialect.ts'
import { clientOf, eventually } from '../support/client.ts'
import { canMount } from '../support/mounts.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

const mib = 1024 * 1024
const nobody = 65_534
const problem = { errors: 'problem', errorType: 'application/json' } as const

let folder: string
let opened: TestGateway | undefined
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead-data-'))
})
afterEach(async () => {
  await opened?.close()
  opened = undefined
  await rm(folder, { recursive: true, force: true })
})

async function start(options: Parameters<typeof startGateway>[0]) {
  const gateway = (opened = await startGateway(options))
  const call = clientOf(gateway, gateway.key)
  const send = (body: Uint8Array) => call('POST', '/v1/uploads', { headers: { 'x-file-name': 'a.bin' }, body })
  return { gateway, call, send }
}

describe.skipIf(!canMount())('a disk without a free byte (needs the right to mount)', () => {
  let small: string
  beforeEach(async () => {
    small = join(folder, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128m', 'tmpfs', small])
  })
  afterEach(async () => {
    await opened?.close()
    execFileSync('umount', [small])
  })

  /** Something else takes all that is left. */
  async function fill(): Promise<void> {
    const piece = Buffer.alloc(mib)
    for (let i = 0; (await statfs(small)).bavail > 0 && i < 200; i++)
      await writeFile(join(small, `filler-${i}`), piece).catch(() => {})
    expect((await statfs(small)).bavail).toBe(0)
  }

  it('is freed through the API, tells the operator, and lets the server end well', async () => {
    const { gateway, call, send } = await start({ env: { FAIRLEAD_DATA_DIR: small } })
    const made = (await send(Buffer.alloc(8 * mib, 1))).json<{ data: { assetId: string } }>().data
    await fill()
    expect((await call('GET', '/readyz', { key: null })).status).toBe(503)
    await eventually(async () => expect(refusalOf(await send(Buffer.from('more')), problem)).toBe('503 storage_failed'))
    const doctor = await gateway.run('doctor', '--dry-run')
    expect(doctor.code).toBe(1)
    expect(doctor.stdout).toMatch(/room.*(delete|free)/is)
    expect((await call('DELETE', `/v1/assets/${made.assetId}`)).status).toBe(204)
    await eventually(async () =>
      expect((await statfs(small)).bavail * (await statfs(small)).bsize).toBeGreaterThan(7 * mib),
    )
    expect(await gateway.stop('SIGTERM')).toBe(0)
    expect(gateway.log()).not.toContain('unexpected error')
  })
})

describe.skipIf(process.getuid?.() !== 0)(
  'a folder of another owner (needs root, to run the server as another user)',
  () => {
    it('is seen by readiness and by the doctor, with the remedy', async () => {
      await chown(folder, nobody, nobody)
      const program = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', process.execPath]
      const { gateway, call, send } = await start({
        folder,
        command: [...program, join(projectRoot, 'bin/fairlead.js')],
      })
      expect((await call('GET', '/readyz', { key: null })).status).toBe(200)
      const objects = join(gateway.dataDir, 'objects')
      const names = (await readdir(objects)).filter((name) => /^[0-9a-f]{2}$/.test(name))
      for (const name of names) await chown(join(objects, name), 0, 0)
      await eventually(async () => expect((await call('GET', '/readyz', { key: null })).status).toBe(503))
      expect(refusalOf(await send(Buffer.from('more')), problem)).toMatch(/^50[23] storage_failed$/)
      await eventually(() => expect(gateway.log()).toMatch(/EACCES/))
      const doctor = await gateway.run('doctor', '--dry-run')
      expect({ code: doctor.code, said: doctor.stdout }).toEqual({ code: 1, said: expect.stringMatching(/chown -R/) })
    })
  },
)
