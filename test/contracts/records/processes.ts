import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { newRecord, patiently, uploadIn } from '../../support/records.ts'
import { expectWhole, fresh, type Open } from './fresh.ts'

const writer = join(import.meta.dirname, '../../support/records-writer.ts')
const kills = 10

/** How far an upload has come, as the writer says it. */
const steps = ['created', 'stored', 'ready', 'removed'] as const
const stepOfState = { pending: 0, receiving: 0, processing: 1, ready: 2, rejected: -1, expired: -1 } as const

export function processesContract(open: Open): void {
  describe('several processes', () => {
    const at = fresh(open)
    const children: ChildProcess[] = []

    function start(...args: readonly string[]) {
      const child = spawn(process.execPath, [writer, at.backend.url, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
      children.push(child)
      const [out, err] = [text(child.stdout), text(child.stderr)]
      return {
        child,
        opened: once(child.stdout, 'data'),
        async ended() {
          const [code] = await once(child, 'exit')
          return { code: Number(code ?? -1), out: await out, err: await err }
        },
      }
    }

    afterEach(() => {
      for (const child of children.splice(0)) child.kill('SIGKILL')
    })

    it('share one quota exactly, and the invariants hold at every look', async () => {
      await at.records.setQuota('w', 100)
      const [one, two] = [start('grab', 'w', '400'), start('grab', 'w', '400')]
      const ends = Promise.all([one.ended(), two.ended()])
      await Promise.all([one.opened, two.opened])
      let own = 0
      const grab = async () => {
        for (let i = 0; i < 40; i++) {
          await at.records.create(newRecord({ reserve: 1 })).then(
            () => own++,
            (error: unknown) => expect(error).toMatchObject({ code: 'quota_exceeded' }),
          )
          expect(await at.records.audit()).toEqual([])
        }
      }
      await grab()
      const ended = await ends
      expect(ended.map(({ code, err }) => ({ code, err }))).toEqual([
        { code: 0, err: '' },
        { code: 0, err: '' },
      ])
      const granted = ended.map(({ out }) => Number(/granted (\d+)/.exec(out)?.[1]))
      expect(granted.reduce((sum, count) => sum + count, own)).toBe(100)
      expect(await at.records.workspace('w')).toMatchObject({ used: 0, reserved: 100 })
    })

    it('may write while this one does, and see each other at once', async () => {
      const other = start('write', 'x')
      await other.opened
      for (let i = 0; i < 30; i++) {
        const upload = await uploadIn(at.records, 'ready', { reserve: 10 })
        expect(await at.records.get(upload.id)).toEqual(upload)
      }
      const others = async () => (await at.records.list({ workspaceId: 'x', limit: 5 })).uploads.length
      await expect.poll(others, patiently).toBe(5)
      other.child.kill('SIGKILL')
      await once(other.child, 'exit')
      expect(await at.records.workspace('w')).toMatchObject({ used: 300 })
    })

    it('lose nothing that was acknowledged when they are killed', async () => {
      const acknowledged = new Map<string, number>()
      for (let round = 0; round < kills; round++) {
        const running = start('write', 'x')
        const ended = running.ended()
        await running.opened
        await sleep(20 + 15 * round)
        running.child.kill('SIGKILL')
        const { out, err } = await ended
        expect(err).toBe('')
        // the last line may be cut
        for (const line of out.split('\n').slice(0, -1)) {
          const [step = '', id = ''] = line.split(' ')
          if (id !== '')
            acknowledged.set(
              id,
              steps.findIndex((one) => one === step),
            )
        }
        await at.backend.reopen()
        await expectWhole(at.backend)
        if (round % 2 === 0) await at.records.recover(() => [])
        await expectWhole(at.backend)
        for (const [id, step] of acknowledged) {
          const upload = await at.records.get(id)
          const found = upload === undefined ? steps.indexOf('removed') : stepOfState[upload.state]
          // One step more may have been written than was acknowledged. What had no bytes yet has expired by the recovery.
          const expired = upload?.state === 'expired' && step === steps.indexOf('created')
          expect({ id, step, kept: expired || found === step || found === step + 1 }).toEqual({ id, step, kept: true })
          acknowledged.set(id, found)
        }
        for (const [id, step] of acknowledged) if (step < 0) acknowledged.delete(id)
      }
      expect(acknowledged.size).toBeGreaterThan(100)
    })
  })

  describe('a database that is not there yet', () => {
    it('is made once, whoever comes first', async () => {
      const backend = await open({})
      try {
        await backend.wipe()
        const children = Array.from({ length: 4 }, () =>
          spawn(process.execPath, [writer, backend.url, 'grab', 'w', '0'], { stdio: ['ignore', 'ignore', 'pipe'] }),
        )
        const ends = await Promise.all(
          children.map(async (child) => ({
            err: await text(child.stderr),
            code: (await once(child, 'exit'))[0] as unknown,
          })),
        )
        expect(ends).toEqual(children.map(() => ({ err: '', code: 0 })))
        const records = await backend.crash()
        await records.ensureWorkspace('w')
        expect(await records.audit()).toEqual([])
      } finally {
        await backend.close()
      }
    })
  })
}
