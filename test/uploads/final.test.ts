import { afterEach, expect, it } from 'vitest'
import type { Sent } from '../../src/uploads/resumable.ts'
import { bodyOf, draft, principal, type Rig, startRig } from '../support/rig.ts'

const nothing = { metadata: null, concat: null }
const sent = (text: string): Sent => ({ body: bodyOf(text, { length: text.length }), sum: null })

let rig: Rig | undefined
afterEach(() => rig?.close())

it('a final upload is refused when one of its parts is deleted while it is put together', async () => {
  const made: string[] = []
  const deleting: Rig = await startRig({
    wrapStore: (store) => ({
      ...store,
      async concat(sources, key, options) {
        await deleting.service.remove(principal, made[1] ?? '')
        await deleting.work()
        return store.concat(sources, key, options)
      },
    }),
  })
  rig = deleting
  const { resumable } = rig.service
  for (const text of ['one', 'two']) {
    const part = { ...nothing, partial: true }
    const { id } = await resumable.begin(principal, draft({ declaredSize: 3 }), part, sent(text), null)
    made.push(id)
  }
  await expect(resumable.join(principal, draft(), nothing, made, null)).rejects.toMatchObject({
    code: 'validation_failed',
  })
  const [first = ''] = made
  expect(await rig.records.get(first)).toMatchObject({ state: 'receiving', size: 3 })
  await rig.service.remove(principal, first)
  await rig.work()
  await rig.expectClean()
})
