import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { eventually, sha256 } from '../../../support/client.ts'
import { strays } from '../../../support/places.ts'
import { idOf, metadataOf, patchHeaders, pathOf } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

const mib = 1024 * 1024

/** The process dies, and another starts on what it has left. Comes last: the gateway has another address then. */
export function crashSuite({ place, main, verdicts }: Bench): void {
  const { tus, gateway } = main

  describe('killed and started again', () => {
    it('keeps all that it has acknowledged, and goes on with what it had begun', async () => {
      const sizes = [10, 300_000, 6 * mib, 9 * mib]
      const begun = await Promise.all(
        sizes.map(async (size) => {
          const bytes = randomBytes(size)
          const half = Math.floor(size / 2)
          const id = await tus.made(size, {}, bytes.subarray(0, half))
          return { id, bytes, half }
        }),
      )
      const open = await tus.made(10)
      const wire = await tus.stuck(open, 0, Buffer.from('hello'), 10)
      const checked = await tus.made(mib, {}, 'x')
      const digest = { 'Upload-Checksum': `sha1 ${'A'.repeat(27)}=` }
      await tus.open('PATCH', checked, { ...patchHeaders(1, mib - 1), ...digest }, randomBytes(mib / 2))
      const finished = await tus.made(5, {}, 'hello')
      const part = await tus.made(5, { 'Upload-Concat': 'partial' }, 'hello')
      const deferred = await tus.made(null, { 'Upload-Metadata': 'a,b' }, 'hello')

      const [accepted, refused] = [verdicts().fresh(), verdicts().fresh()]
      const [waits, falls] = await Promise.all(
        [accepted, refused].map(async (verdict) => {
          const id = await tus.made(5, { 'Upload-Metadata': metadataOf({ verdict }) })
          void tus.patch(id, 0, 'hello').catch(() => {}) // nobody answers it
          await eventually(() => expect(verdicts().runs(verdict)).toBe(1))
          return id
        }),
      )
      const contents = [5 * mib, 3 * mib].map((size) => randomBytes(size))
      const parts = await Promise.all(
        contents.map((bytes) => tus.made(bytes.length, { 'Upload-Concat': 'partial' }, bytes)),
      )
      const joining = verdicts().fresh()
      const list = `final;${parts.map(pathOf).join(' ')}`
      const joins = { 'Upload-Concat': list, 'Upload-Metadata': metadataOf({ verdict: joining }) }
      void tus.post(joins).catch(() => {}) // nobody answers it
      await eventually(() => expect(verdicts().runs(joining)).toBe(1))

      // HEAD has said that these bytes are there, so they are.
      const offsetOpen = await tus.offset(open)
      await gateway().stop('SIGKILL')
      wire.cut()
      await gateway().start()

      await Promise.all(
        begun.map(async ({ id, bytes, half }) => {
          expect(await tus.offset(id)).toBe(half)
          expect(await tus.sent(id, half, bytes.subarray(half))).toBe(bytes.length)
          expect(sha256(await tus.download(id))).toBe(sha256(bytes))
        }),
      )
      expect(await tus.offset(open)).toBe(offsetOpen)
      expect(await tus.sent(open, 5, 'world')).toBe(10)
      expect((await tus.download(open)).toString()).toBe('helloworld')
      expect(await tus.offset(checked)).toBe(1)
      expect(await tus.sent(checked, 1, 'y'.repeat(mib - 1))).toBe(mib)
      expect((await tus.download(checked)).toString()).toBe(`x${'y'.repeat(mib - 1)}`)
      expect(await tus.offset(finished)).toBe(5)
      const head = await tus.head(deferred)
      expect([head.headers.get('upload-metadata'), head.headers.get('upload-defer-length')]).toEqual(['a,b', '1'])
      expect(await tus.sent(deferred, 5, '', { 'Upload-Length': '5' })).toBe(5)
      const joined = idOf(await tus.post({ 'Upload-Concat': `final;${pathOf(part)} ${pathOf(part)}` }))
      expect((await tus.download(joined)).toString()).toBe('hellohello')

      verdicts().decide(accepted, 'accept')
      verdicts().decide(refused, 'refuse')
      await eventually(async () => expect(await tus.offset(waits ?? '')).toBe(5))
      await eventually(async () => expect((await tus.head(falls ?? '')).status).toBe(410))
      await eventually(() => expect(verdicts().finished(accepted)).toBe(1))

      verdicts().decide(joining, 'accept')
      const whole = idOf(await tus.post(joins))
      expect(sha256(await tus.download(whole))).toBe(sha256(Buffer.concat(contents)))
      await eventually(() => expect(verdicts().finished(joining)).toBe(1))
      await eventually(async () => expect(await strays(place, gateway())).toEqual([]))
    })

    it('loses nothing when it is asked to stop', async () => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 10), 'hello')
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      const stopped = gateway().stop('SIGTERM')
      await wire.send('world')
      expect((await wire.answer()).headers.get('upload-offset')).toBe('10')
      expect(await stopped).toBe(0)
      await gateway().start()
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })
  })
}
