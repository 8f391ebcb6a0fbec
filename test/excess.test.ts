import { appendFile, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { reconcile } from '../src/jobs/sweep.ts'
import { bodyOf, draft, principal, type Rig, startRig } from './support/rig.ts'

const whole = { metadata: null, concat: null, partial: false }
const hourMs = 3_600_000

let rig: Rig | undefined
afterEach(() => rig?.close())

it('bytes that a writer has left that died are told of, cut off, and the upload goes on', async () => {
  rig = await startRig()
  const { records, store, service } = rig
  const { resumable } = service
  const first = { body: bodyOf('hello'), sum: null }
  const { id } = await resumable.begin(principal, draft({ declaredSize: 10 }), whole, first, null)
  const { key = '' } = (await records.growth(id)) ?? {}
  const file = join(dirname(dirname(store.path?.(key) ?? '')), 'open', key.replace('/', '-'))
  await appendFile(file, 'what never counted')
  const trim = (of: string, before: number) => resumable.trim(of, before)
  const deps = { records, store, trim, orphanGraceMs: hourMs }

  // It may be on its way.
  expect((await reconcile(deps, { dryRun: true })).findings).toEqual([])
  await utimes(file, new Date(), new Date(Date.now() - 2 * hourMs))
  expect((await reconcile(deps, { dryRun: true })).findings).toEqual([`Object ${key} has 18 bytes that do not count.`])
  expect((await stat(file)).size).toBe(23)
  expect((await reconcile(deps, { dryRun: false })).findings).toEqual([])
  expect((await stat(file)).size).toBe(5)

  await appendFile(file, 'lost with the process')
  await rig.crash()
  expect((await stat(file)).size).toBe(5)

  const rest = { offset: 5, length: null, body: bodyOf('world'), sum: null }
  expect(await rig.service.resumable.proceed(principal, id, rest)).toMatchObject({ state: 'ready', size: 10 })
  await rig.work()
  await rig.expectClean()
})
