import { describe, expect, it } from 'vitest'
import { type Answer, eventually } from '../../../support/client.ts'
import { metadataOf, patchHeaders, pathOf, refusal, type Tus } from '../../../support/tus.ts'
import { strays } from '../../../support/places.ts'
import type { Bench } from './bench.ts'

const facts = ({ status, headers }: Answer) => [status, headers.get('upload-offset')]

/** A verdict that the uploader can believe: no answer says that all is there before the pipeline has accepted it. */
export function verdictSuite({ place, main, brief, verdicts }: Bench): void {
  const { tus, gateway } = main
  const status = async (id: string, by: Tus = tus): Promise<string> => (await by.view(id)).status

  interface Told {
    readonly verdict: string
    readonly id: string
  }
  async function made(by: Tus = tus, body?: string): Promise<Told> {
    const verdict = verdicts().fresh()
    return { verdict, id: await by.made(5, { 'Upload-Metadata': metadataOf({ verdict }) }, body) }
  }
  /** All bytes have come, and the pipeline is looking at them. */
  async function waiting(by: Tus = tus): Promise<Told & { readonly last: Promise<Answer> }> {
    const { verdict, id } = await made(by)
    const last = by.patch(id, 0, 'hello')
    await eventually(() => expect(verdicts().runs(verdict)).toBe(1))
    return { verdict, id, last }
  }

  describe('while the pipeline looks at it', () => {
    it('nobody is told that an upload is finished', async () => {
      const { verdict, id, last } = await waiting()
      expect(await status(id)).toBe('processing')
      const head = await tus.head(id)
      expect(facts(head)).toEqual([423, null])
      expect(Number(head.headers.get('retry-after'))).toBeGreaterThan(0)
      expect((await tus.call('GET', `/api/v1/uploads/${id}/download`)).status).toBe(409)
      verdicts().decide(verdict, 'accept')
      const answer = await last
      expect(facts(answer)).toEqual([204, '5'])
      expect(answer.headers.get('upload-record')).toContain(id)
      expect(facts(await tus.head(id))).toEqual([200, '5'])
      expect(await status(id)).toBe('confirmed')
    })

    it('everybody who asks gets the same verdict, which was reached once', async () => {
      const { verdict, id, last } = await waiting()
      const others = [tus.patch(id, 5, ''), tus.patch(id, 5, ''), tus.head(id)]
      const late = await tus.patch(id, 5, '!')
      expect(late.status).toBeGreaterThanOrEqual(400)
      expect(facts(await tus.patch(id, 3, 'lo'))).toEqual([409, null])
      verdicts().decide(verdict, 'accept')
      expect(facts(await last)).toEqual([204, '5'])
      for (const answer of await Promise.all(others)) expect([200, 204, 423]).toContain(answer.status)
      await eventually(async () => expect(facts(await tus.head(id))).toEqual([200, '5']))
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(1)
    })

    it('a client that hangs up finds the verdict by HEAD', async () => {
      await Promise.all(
        (['accept', 'refuse'] as const).map(async (decision) => {
          const { verdict, id } = await made()
          const wire = await tus.open('PATCH', id, patchHeaders(0, 5), 'hello')
          await eventually(() => expect(verdicts().runs(verdict)).toBe(1))
          wire.cut()
          verdicts().decide(verdict, decision)
          const found = decision === 'accept' ? [200, '5'] : [410, null]
          await eventually(async () => expect(facts(await tus.head(id))).toEqual(found))
          expect(verdicts().runs(verdict)).toBe(1)
        }),
      )
    })

    it('DELETE removes it, whatever the pipeline says then', async () => {
      const { verdict, id, last } = await waiting()
      expect((await tus.remove(id)).status).toBe(204)
      verdicts().decide(verdict, 'accept')
      expect((await last).status).toBe(404)
      expect((await tus.head(id)).status).toBe(404)
      await eventually(async () => expect(await strays(place, gateway())).toEqual([]))
      expect(verdicts().finished(verdict)).toBe(0)
    })

    it('a creation waits as well', async () => {
      const verdict = verdicts().fresh()
      const asked = tus.post({ 'Upload-Length': '5', 'Upload-Metadata': metadataOf({ verdict }) }, 'hello')
      const nothing = tus.post({ 'Upload-Length': '0', 'Upload-Metadata': metadataOf({ verdict }) })
      await eventually(() => expect(verdicts().runs(verdict)).toBe(2))
      verdicts().decide(verdict, 'accept')
      expect(facts(await asked)).toEqual([201, '5'])
      expect((await nothing).status).toBe(201)
    })
  })

  describe('a refused upload', () => {
    it('is told to the request with the last byte, and to all that follow', async () => {
      const { verdict, id, last } = await waiting()
      const { used_bytes: used } = (await tus.usage()).storage
      verdicts().decide(verdict, 'refuse')
      const answer = await last
      expect(refusal(answer)).toBe('415 file_type_not_allowed')
      expect(answer.headers.has('upload-offset')).toBe(false)
      expect(facts(await tus.head(id))).toEqual([410, null])
      for (const [offset, body] of [
        [5, ''],
        [0, 'hello'],
      ] as const) {
        const later = await tus.patch(id, offset, body)
        expect(refusal(later)).toBe('410 file_type_not_allowed')
        expect(later.json()['detail']).toBe(answer.json()['detail'])
      }
      expect(await status(id)).toBe('rejected')
      expect((await tus.usage()).storage.used_bytes).toBe(used)
      await eventually(async () => expect(await strays(place, gateway())).toEqual([]))
      expect(verdicts().runs(verdict)).toBe(1)
      expect(verdicts().finished(verdict)).toBe(0)
    })

    it('of one request is told to that one', async () => {
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'refuse')
      const headers = { 'Upload-Metadata': metadataOf({ verdict }) }
      const whole = await tus.post({ 'Upload-Length': '5', ...headers }, 'hello')
      const none = await tus.post({ 'Upload-Length': '0', ...headers })
      for (const answer of [whole, none]) expect(refusal(answer)).toBe('415 file_type_not_allowed')
    })

    it('can be deleted or has gone', async () => {
      const { verdict, id } = await made()
      verdicts().decide(verdict, 'refuse')
      expect((await tus.patch(id, 0, 'hello')).status).toBe(415)
      expect([204, 404, 410]).toContain((await tus.remove(id)).status)
      expect([404, 410]).toContain((await tus.head(id)).status)
    })
  })

  describe('a pipeline that fails', () => {
    it('is 503, and the next HEAD asks again', async () => {
      const { verdict, id, last } = await waiting()
      verdicts().decide(verdict, 'fail')
      const answer = await last
      expect(answer.status).toBe(503)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(answer.headers.has('upload-offset')).toBe(false)
      expect(await status(id)).toBe('processing')
      const head = tus.head(id)
      await eventually(() => expect(verdicts().runs(verdict)).toBe(2))
      verdicts().decide(verdict, 'accept')
      expect([200, 423]).toContain((await head).status)
      await eventually(async () => expect(facts(await tus.head(id))).toEqual([200, '5']))
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(2)
    })

    it('again, for a HEAD, is 423: a 5xx would have clients begin anew', async () => {
      const { verdict, id, last } = await waiting()
      verdicts().decide(verdict, 'fail')
      expect((await last).status).toBe(503)
      const asked = tus.head(id)
      await eventually(() => expect(verdicts().runs(verdict)).toBe(2))
      verdicts().decide(verdict, 'fail')
      const head = await asked
      expect(facts(head)).toEqual([423, null])
      expect(Number(head.headers.get('retry-after'))).toBeGreaterThan(0)
      verdicts().decide(verdict, 'accept')
      await eventually(async () => expect(facts(await tus.head(id))).toEqual([200, '5']))
    })

    it('is asked again by an empty PATCH', async () => {
      const { verdict, id, last } = await waiting()
      verdicts().decide(verdict, 'fail')
      expect((await last).status).toBe(503)
      verdicts().decide(verdict, 'accept')
      expect(facts(await tus.patch(id, 5, ''))).toEqual([204, '5'])
      expect(await status(id)).toBe('confirmed')
      expect(verdicts().runs(verdict)).toBe(2)
    })

    it('may refuse in the end', async () => {
      const { verdict, id, last } = await waiting()
      verdicts().decide(verdict, 'fail')
      expect((await last).status).toBe(503)
      verdicts().decide(verdict, 'refuse')
      const answer = await tus.patch(id, 5, '')
      expect([410, 415]).toContain(answer.status)
      expect(answer.json()).toMatchObject({ errorCode: 'FILE_TYPE_NOT_ALLOWED' })
      expect(facts(await tus.head(id))).toEqual([410, null])
    })
  })

  describe('a pipeline that outlasts what an answer may wait', () => {
    it('is answered before its verdict, and the record says so', async () => {
      const by = brief.tus
      await Promise.all(
        (['accept', 'refuse'] as const).map(async (decision) => {
          const { verdict, id, last } = await waiting(by)
          const answer = await last
          expect(facts(answer)).toEqual([204, '5'])
          expect(answer.headers.get('upload-record')).toContain(id)
          expect(await status(id, by)).toBe('processing')
          expect(facts(await by.head(id))).toEqual([200, '5'])
          verdicts().decide(verdict, decision)
          const end = decision === 'accept' ? 'confirmed' : 'rejected'
          await eventually(async () => expect(await status(id, by)).toBe(end))
          expect(facts(await by.head(id))).toEqual(decision === 'accept' ? [200, '5'] : [410, null])
          expect(verdicts().runs(verdict)).toBe(1)
        }),
      )
    })
  })

  it('an upload is finished once, whoever brings the last bytes', async () => {
    const verdict = verdicts().fresh()
    verdicts().decide(verdict, 'accept')
    const id = await tus.made(5, { 'Upload-Metadata': metadataOf({ verdict }) })
    const sent = Array.from({ length: 8 }, () => tus.patch(id, 0, 'hello').catch(() => undefined))
    for (const answer of await Promise.all(sent)) {
      if (!answer) continue // its connection was ended for a newer one
      expect(['204 5', '409', '423']).toContain(answer.status === 204 ? facts(answer).join(' ') : String(answer.status))
    }
    if ((await tus.head(id)).headers.get('upload-offset') !== '5') await tus.sent(id, 0, 'hello')
    expect((await tus.call('GET', pathOf(id))).bytes.toString()).toBe('hello')
    await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
    expect(verdicts().runs(verdict)).toBe(1)
  })
}
