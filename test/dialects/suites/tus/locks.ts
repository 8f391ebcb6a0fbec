import { randomBytes, randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Answer, eventually, pause, sha256, type Wire } from '../../../support/client.ts'
import { bytesType, chunksOf, patchHeaders, type Tus } from '../../../support/tus.ts'
import { strays } from '../../../support/places.ts'
import type { Bench } from './bench.ts'

const mib = 1024 * 1024
/** Milliseconds that are far below the time after which a silent body is given up. */
const soonMs = 5_000

/** The connection of a PATCH that had to give way: 423 and the end, or just the end; 404 for a DELETE. Never a success. */
async function expectStopped(wire: Wire): Promise<void> {
  await eventually(async () => expect(wire.rest().length > 0 || (await wire.closed(0))).toBe(true), soonMs)
  const answer = wire.rest().length > 0 ? await wire.answer() : undefined
  // Whose place was taken is not waited for; whose upload was deleted is answered as for any that never was.
  const end = answer && [answer.status, answer.status === 404 ? 'close' : answer.headers.get('connection')]
  expect([[423, 'close'], [404, 'close'], undefined]).toContainEqual(end)
  expect(answer?.headers.has('upload-offset') ?? false).toBe(false)
  wire.cut()
}

/** Sends the file as a client does whose connection breaks again and again: looks, goes on, is cut. */
async function stubborn(by: Tus, bytes: Buffer): Promise<string> {
  const id = await by.made(bytes.length)
  for (let tries = 0; tries < 60; tries++) {
    const offset = await by.offset(id)
    if (offset === bytes.length) return id
    const rest = bytes.subarray(offset)
    if (tries > 6) {
      // What hung before may still bring something: then it looks again, as any client does.
      await by.patch(id, offset, rest)
      continue
    }
    const wire = await by.open('PATCH', id, patchHeaders(offset, rest.length), rest.subarray(0, randomInt(rest.length)))
    await pause(randomInt(20))
    // Some are cut, some end in order, some hang until the next comes.
    const end = randomInt(3)
    if (end === 0) wire.cut()
    if (end === 1) wire.socket.end()
  }
  throw new Error('It never ends.')
}

/** Several requests about one upload at a time. */
export function locksSuite({ place, main }: Bench): void {
  const { tus, gateway } = main

  describe('beside a PATCH that is open', () => {
    it('HEAD tells what has come, and leaves it alone', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      expect(await tus.view(id)).toMatchObject({ received_bytes: 5 })
      await wire.send('wor')
      await eventually(async () => expect(await tus.offset(id)).toBe(8))
      await wire.send('ld')
      expect((await wire.answer()).headers.get('upload-offset')).toBe('10')
      wire.cut()
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('a newer PATCH goes on where it was', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      const started = performance.now()
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect(performance.now() - started).toBeLessThan(soonMs)
      await expectStopped(wire)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('a newer PATCH of another offset is refused, and what has come stays', async () => {
      const id = await tus.made(10)
      const wire = await tus.open('PATCH', id, patchHeaders(0, 10), 'hello')
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect((await tus.patch(id, 3, 'wrong')).status).toBe(409)
      expect(await tus.offset(id)).toBe(5)
      wire.cut()
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('what an ended PATCH sends then is no part of the file', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      const newer = await tus.open('PATCH', id, patchHeaders(5, 5), 'wo')
      await eventually(async () => expect(await tus.offset(id)).toBe(7))
      await wire.send('XXXXX')
      await newer.send('rld')
      expect((await newer.answer()).headers.get('upload-offset')).toBe('10')
      newer.cut()
      await expectStopped(wire)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('three follow one another, the newest wins', async () => {
      const id = await tus.made(4)
      const wires: Wire[] = []
      for (let at = 0; at < 3; at++) wires.push(await tus.stuck(id, at, Buffer.from('x'), 4 - at))
      expect(await tus.sent(id, 3, 'x')).toBe(4)
      for (const wire of wires) await expectStopped(wire)
      expect((await tus.download(id)).toString()).toBe('xxxx')
    })

    it('one that does not count its bytes gives way too', async () => {
      const id = await tus.made(10)
      const headers = { 'Content-Type': bytesType, 'Upload-Offset': 0, 'Transfer-Encoding': 'chunked' }
      const wire = await tus.open('PATCH', id, headers, chunksOf(['hello'], false))
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      await expectStopped(wire)
    })

    it('one that waits for 100 Continue gives way too', async () => {
      const id = await tus.made(5)
      const wire = await tus.open('PATCH', id, { ...patchHeaders(0, 5), Expect: '100-continue' })
      expect((await wire.answer()).status).toBe(100)
      expect(await tus.sent(id, 0, 'hello')).toBe(5)
      await expectStopped(wire)
    })

    it('one under a checksum gives way too, and none of its bytes count', async () => {
      const id = await tus.made(10)
      const digest = { 'Upload-Checksum': `sha1 ${'A'.repeat(27)}=` }
      const wire = await tus.open('PATCH', id, { ...patchHeaders(0, 10), ...digest }, 'hello')
      await pause(50)
      expect(await tus.sent(id, 0, 'hello')).toBe(5)
      await expectStopped(wire)
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      expect((await tus.download(id)).toString()).toBe('helloworld')
    })

    it('a creation that still brings bytes gives way too', async () => {
      const project = 'tus-open-creation'
      const headers = { 'Content-Type': bytesType, 'Upload-Length': 10, 'Content-Length': 10 }
      const metadata = { 'Upload-Metadata': `project_id ${btoa(project)}` }
      const wire = await tus.open('POST', null, { ...headers, ...metadata }, 'hello')
      type List = { data: readonly { id: string }[] }
      const found = async () => (await tus.call('GET', `/api/v1/uploads?project_id=${project}`)).json<List>().data
      await eventually(async () => expect(await found()).toHaveLength(1))
      const [{ id } = { id: '' }] = await found()
      await eventually(async () => expect(await tus.offset(id)).toBe(5))
      expect(await tus.sent(id, 5, 'world')).toBe(10)
      await expectStopped(wire)
    })

    it('DELETE wins, and nothing of it remains', async () => {
      const id = await tus.made(8 * mib)
      const wire = await tus.stuck(id, 0, randomBytes(100_000), 8 * mib)
      const before = (await tus.usage()).storage
      const started = performance.now()
      expect((await tus.remove(id)).status).toBe(204)
      expect(performance.now() - started).toBeLessThan(soonMs)
      await expectStopped(wire)
      expect((await tus.head(id)).status).toBe(404)
      expect(before.reserved_bytes - (await tus.usage()).storage.reserved_bytes).toBe(8 * mib)
      await eventually(async () => expect(await strays(place, gateway())).toEqual([]))
    })

    it('DELETE of the other API wins as well', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      expect((await tus.call('DELETE', `/api/v1/uploads/${id}`)).status).toBe(200)
      await expectStopped(wire)
      expect((await tus.head(id)).status).toBe(404)
    })

    it('a request of another workspace does not disturb it', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      const nobody = tus.as('op_live_0123456789abcdefghijABCDEFGHIJ01')
      expect((await nobody.patch(id, 5, 'wrong')).status).toBe(401)
      expect((await nobody.remove(id)).status).toBe(401)
      await wire.send('world')
      expect((await wire.answer()).status).toBe(204)
      wire.cut()
    })

    it('a request that is wrong in itself does not disturb it', async () => {
      const id = await tus.made(10)
      const wire = await tus.stuck(id, 0, Buffer.from('hello'), 10)
      expect((await tus.patch(id, 5, 'wrong', { 'Content-Type': 'text/plain' })).status).toBe(415)
      expect((await tus.patch(id, 'x', 'wrong')).status).toBe(400)
      expect((await tus.ask('PATCH', `/files/${id}`, { headers: { 'Tus-Resumable': '2.0.0' } })).status).toBe(412)
      await wire.send('world')
      expect((await wire.answer()).status).toBe(204)
      wire.cut()
    })
  })

  it('clients that are cut at any byte end with the right file', async () => {
    await Promise.all(
      [1_000, 70_000, 300_000, 2 * mib, 6 * mib].map(async (size) => {
        const bytes = randomBytes(size)
        const id = await stubborn(tus, bytes)
        expect(sha256(await tus.download(id))).toBe(sha256(bytes))
      }),
    )
  })

  it('ten PATCHes at once leave one consistent file', async () => {
    const bytes = randomBytes(200_000)
    const id = await tus.made(bytes.length)
    const answers = await Promise.all(
      Array.from({ length: 10 }, (): Promise<Answer | undefined> => tus.patch(id, 0, bytes).catch(() => undefined)),
    )
    for (const answer of answers) {
      if (!answer) continue // its connection was ended
      const offset = answer.status === 204 ? Number(answer.headers.get('upload-offset')) : null
      expect([`204 ${bytes.length}`, '409 null', '423 null']).toContain(`${answer.status} ${offset}`)
    }
    const offset = await tus.offset(id)
    if (offset < bytes.length) await tus.sent(id, offset, bytes.subarray(offset))
    expect(sha256(await tus.download(id))).toBe(sha256(bytes))
  })
}
