import { afterEach, expect, it } from 'vitest'
import { runningWork } from '../../src/uploads/running.ts'
import { verdictsOf } from '../../src/uploads/verdicts.ts'
import { uploadIn } from '../support/records.ts'
import { type Rig, startRig } from '../support/rig.ts'

let rig: Rig | undefined
afterEach(() => rig?.close())

it('plugins do not look at what was deleted just before, and have not failed', async () => {
  let looks = 0
  rig = await startRig({ plugins: [{ name: 'looks', beforeFinish: () => void looks++ }] })
  const { records, store, pipeline } = rig
  const { decide } = verdictsOf({
    records,
    store,
    pipeline,
    policy: { maxFileSize: 1_000, categories: {}, projectMode: 'open' },
    syncBudgetMs: 1_000,
    wakeJobs: () => {},
    onError: (error) => expect.unreachable(String(error)),
    endJobs: () => [],
    reserveFor: () => async () => {},
    stoppable: runningWork().stoppable,
  })
  const upload = await uploadIn(records, 'processing')
  await records.remove(upload.id, { jobs: () => [] })
  await expect(decide(upload)).rejects.toMatchObject({ code: 'not_found' })
  expect(looks).toBe(0)
  expect(rig.lines).toEqual([])
})
