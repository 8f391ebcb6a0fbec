import { afterEach, expect, it } from 'vitest'
import { memoryLocker } from '../../src/lockers/memory.ts'
import type { Plugin } from '../../src/plugin.ts'
import type { Upload } from '../../src/uploads/upload.ts'
import { bodyOf, draft, principal, type Rig, startRig } from '../support/rig.ts'

const whole = { metadata: null, concat: null, partial: false }

let rig: Rig | undefined
afterEach(() => rig?.close())

it('a request that has waited for one whose bytes are refused goes on with nothing', async () => {
  const judge: Plugin = {
    name: 'judge',
    inspect: {
      bytes: 6,
      handler: (head, ctx) => void (head.includes(33) && ctx.reject('file_type_not_allowed', 'No.')),
    },
  }
  let next: (() => Promise<Upload>) | undefined
  let after: Promise<unknown> | undefined
  const inner = memoryLocker()
  // Whoever waits has its turn as soon as the lock is free.
  const locker = {
    newLock(id: string) {
      const lock = inner.newLock(id)
      return {
        ...lock,
        async unlock() {
          await lock.unlock()
          const begin = next
          next = undefined
          after = begin?.().catch((error: unknown) => error)
          await after
        },
      }
    },
  }
  rig = await startRig({ plugins: [judge], locker })
  const { resumable } = rig.service
  const { id } = await resumable.begin(principal, draft({ declaredSize: 6 }), whole, null, null)
  const last = (text: string) =>
    resumable.proceed(principal, id, { offset: 0, length: null, body: bodyOf(text, { length: 6 }), sum: null })
  next = () => last('second')
  await expect(last('first!')).rejects.toMatchObject({ code: 'file_type_not_allowed' })
  expect(await after).toMatchObject({ code: 'file_type_not_allowed', ended: true })
  expect(await rig.records.get(id)).toMatchObject({ state: 'rejected', objectKey: null })
  await rig.work()
  await rig.expectClean()
  expect(rig.lines).toEqual([])
})

it('nothing is left of bytes that are written after the upload was deleted and cleared', async () => {
  let id = ''
  const late: Rig = await startRig({
    wrapStore: (store) => ({
      ...store,
      grow(key, how) {
        const writer = store.grow(key, how)
        return {
          ...writer,
          get bytes() {
            return writer.bytes
          },
          async write(chunks) {
            await late.service.remove(principal, id)
            await late.work()
            return writer.write(chunks)
          },
        }
      },
    }),
  })
  rig = late
  const { resumable } = late.service
  ;({ id } = await resumable.begin(principal, draft({ declaredSize: 6 }), whole, null, null))
  const some = { offset: 0, length: null, body: bodyOf('some'), sum: null }
  await expect(resumable.proceed(principal, id, some)).rejects.toMatchObject({ code: 'not_found' })
  await late.work()
  expect(await late.objects()).toEqual([])
  await late.expectClean()
})
