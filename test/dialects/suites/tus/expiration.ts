import { beforeAll, describe, expect, it } from 'vitest'
import { type Answer, eventually, pause } from '../../../support/client.ts'
import { strays } from '../../../support/places.ts'
import { idOf, patchHeaders, pathOf } from '../../../support/tus.ts'
import { type Bench, expirySeconds } from './bench.ts'

const second = 1_000
const expiryMs = expirySeconds * second
/** Milliseconds within which the sweep has come round. */
const sweptMs = 4 * expiryMs

interface Trickled {
  readonly id: string
  readonly status: number
}

/** Milliseconds since 1970, once the header is a date as HTTP writes it. */
function expires(answer: Answer): number {
  const text = answer.headers.get('upload-expires') ?? 'no Upload-Expires'
  expect(new Date(text).toUTCString()).toBe(text)
  return Date.parse(text)
}

/** Upload-Expires: unfinished uploads go when nobody has asked for them for a while. */
export function expirationSuite({ place, main, brief }: Bench): void {
  const { tus, gateway } = brief

  const gone = async (id: string): Promise<void> => {
    expect([404, 410]).toContain((await tus.head(id)).status)
    expect([404, 410]).toContain((await tus.patch(id, 5, 'world')).status)
  }

  /** Goes on all the time, so slowly that it takes longer than any upload may rest. */
  async function trickle(): Promise<Trickled> {
    const id = await tus.made(12)
    const wire = await tus.open('PATCH', id, patchHeaders(0, 12))
    for (let sent = 0; sent < 12; sent++) {
      await wire.send('x')
      await pause((1.3 * expiryMs) / 12)
    }
    const { status } = await wire.answer()
    wire.cut()
    return { id, status }
  }
  /** What PATCH tells, one after another. */
  async function touch(): Promise<number[]> {
    const id = await tus.made(10)
    const told: number[] = []
    for (let at = 0; at < 2; at++) {
      told.push(expires(await tus.patch(id, at, 'x')))
      await pause(1.1 * second)
    }
    return told
  }

  describe('expiration', () => {
    it('is told with every answer about an unfinished upload', async () => {
      const { tus: steady } = main
      const before = Date.now()
      const created = await steady.post({ 'Upload-Length': '10' }, 'hel')
      const id = idOf(created)
      const answers = [
        created,
        await steady.post({ 'Upload-Defer-Length': '1' }),
        await steady.post({ 'Upload-Length': '5', 'Upload-Concat': 'partial' }),
        await steady.head(id),
        await steady.patch(id, 3, 'lo'),
        await steady.patch(id, 5, ''),
        await steady.patch(id, 0, 'hello'),
        await steady.patch(id, 5, 'x', { 'Content-Type': 'text/plain' }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 200, 204, 204, 409, 415])
      for (const answer of answers) expect(expires(answer)).toBeGreaterThan(before + 60 * second)
      for (const answer of [await steady.patch(id, 5, 'world'), await steady.head(id)])
        expect(answer.headers.has('upload-expires')).toBe(false)
    })

    it('is as far away as is configured', async () => {
      const before = Date.now()
      const at = expires(await tus.post({ 'Upload-Length': '10' }))
      // HTTP's dates have no parts of a second.
      expect(at).toBeGreaterThan(before + expiryMs - 2 * second)
      expect(at).toBeLessThan(Date.now() + expiryMs + 2 * second)
    })

    describe('when it has come', () => {
      let left: { begun: string; untouched: string; deferred: string; part: string; finished: string; whole: string }
      let trickled: Trickled
      let moved: readonly number[]

      beforeAll(async () => {
        const part = { 'Upload-Concat': 'partial' }
        const own = await tus.made(5, part, 'hello')
        const joined = await tus.post({ 'Upload-Concat': `final;${pathOf(own)}` })
        left = {
          begun: await tus.made(10, {}, 'hello'),
          untouched: await tus.made(10),
          deferred: await tus.made(null, {}, 'hello'),
          part: await tus.made(5, part, 'hello'),
          finished: await tus.made(5, {}, 'hello'),
          whole: idOf(joined),
        }

        ;[trickled, moved] = await Promise.all([trickle(), touch()])
      })

      it('an unfinished upload is gone, its bytes too, and its record says why', async () => {
        const { begun, untouched, deferred, part } = left
        await eventually(async () => {
          for (const id of [begun, untouched, deferred, part]) await gone(id)
        }, sweptMs)
        await eventually(async () => {
          for (const id of [begun, untouched, deferred]) expect(await tus.view(id)).toMatchObject({ status: 'expired' })
          expect(await strays(place, gateway())).toEqual([])
          expect((await tus.usage()).storage.reserved_bytes).toBe(0)
        }, sweptMs)
      })

      it('a part is no longer joined', async () => {
        await eventually(async () => gone(left.part), sweptMs)
        expect([400, 404, 409, 410]).toContain(
          (await tus.post({ 'Upload-Concat': `final;${pathOf(left.part)}` })).status,
        )
      })

      it('every PATCH has moved it on', () => {
        expect(moved).toEqual([...new Set(moved)].toSorted((a, b) => a - b))
        expect(moved).toHaveLength(2)
      })

      it('a finished upload stays for good', async () => {
        await eventually(async () => gone(left.begun), sweptMs)
        for (const id of [left.finished, left.whole]) {
          const head = await tus.head(id)
          expect([head.status, head.headers.get('upload-offset'), head.headers.has('upload-expires')]).toEqual([
            200,
            '5',
            false,
          ])
          expect((await tus.download(id)).toString()).toBe('hello')
        }
      })

      it('an upload into which bytes come is not ended', async () => {
        expect(trickled.status).toBe(204)
        expect((await tus.download(trickled.id)).toString()).toBe('x'.repeat(12))
      })
    })
  })
}
