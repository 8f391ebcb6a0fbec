import { createHash, randomBytes, randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Answer, chunked, eventually, sha256 } from '../../../support/client.ts'
import { bytesType, idOf, patchHeaders, pathOf } from '../../../support/tus.ts'
import type { Bench } from './bench.ts'

const kib = 1024
const mib = 1024 * kib
const uploads = 6
const steps = 14
/** Bytes of a step: around the sizes at which stores change their ways. */
const stepSizes = [0, 1, 2, 100, 16 * kib, 100_000, 256 * kib, 256 * kib + 1, mib]
const largeSizes = [5 * mib - 1, 5 * mib, 5 * mib + 1, 8 * mib, 8 * mib + 1]

function pick<T>(list: readonly T[]): T {
  const [picked] = list.slice(randomInt(list.length))
  if (picked === undefined) throw new RangeError('There is nothing to pick.')
  return picked
}
const sum = (bytes: Uint8Array): Record<string, string> => ({
  'Upload-Checksum': `sha1 ${createHash('sha1').update(bytes).digest('base64')}`,
})
const facts = ({ status, headers }: Answer) => [status, headers.get('upload-offset')]

/** Requests in no order against what they have to amount to. A failure says what was done. */
export function modelSuite({ main }: Bench): void {
  const { tus } = main

  /** Sends a random file by random requests, right and wrong; looks after each where it is. */
  async function wander(): Promise<void> {
    const content = randomBytes(pick([0, 1, 300, 40_000, 600_000, 2 * mib, 11 * mib]))
    const deferred = randomInt(2) === 0
    const done = [`${content.length} bytes${deferred ? ', told late' : ''}`]
    const id = await tus.made(deferred ? null : content.length)
    let offset = 0

    const piece = (): Buffer => {
      const size = pick(randomInt(6) === 0 ? largeSizes : stepSizes)
      return content.subarray(offset, offset + size)
    }
    const noise = (): Buffer => randomBytes(pick([1, 70_000, mib]))
    const ways: Readonly<Record<string, () => Promise<void>>> = {
      async sends() {
        const bytes = piece()
        const body = randomInt(2) === 0 ? bytes : chunked([bytes.subarray(0, 10), bytes.subarray(10)])
        offset += bytes.length
        expect(facts(await tus.patch(id, offset - bytes.length, body))).toEqual([204, String(offset)])
      },
      async 'sends with a checksum'() {
        const bytes = piece()
        expect(facts(await tus.patch(id, offset, bytes, sum(bytes)))).toEqual([204, String(offset + bytes.length)])
        offset += bytes.length
      },
      async 'sends with a wrong checksum'() {
        const bytes = randomBytes(Math.min(pick([...stepSizes, ...largeSizes]), content.length - offset))
        expect((await tus.patch(id, offset, bytes, sum(Buffer.from('other')))).status).toBe(460)
      },
      async 'sends to another offset'() {
        expect((await tus.patch(id, offset + 1, noise())).status).toBe(409)
      },
      async 'sends too much'() {
        if (deferred) return
        const rest = content.length - offset + 1
        expect((await tus.patch(id, offset, chunked([randomBytes(rest)]))).status).toBe(413)
      },
      async 'is cut'() {
        const bytes = content.subarray(offset, offset + 1 + pick([...stepSizes, 5 * mib]))
        const sent = bytes.subarray(0, randomInt(bytes.length + 1))
        const wire = await tus.open('PATCH', id, patchHeaders(offset, bytes.length), sent)
        wire.socket.end()
        await eventually(async () => expect(await tus.offset(id)).toBe(offset + sent.length))
        offset += sent.length
      },
      async 'is cut under a checksum'() {
        const headers = { ...patchHeaders(offset, 2 * mib), ...sum(content), 'Content-Type': bytesType }
        if (content.length - offset < 2 * mib) return
        const wire = await tus.open('PATCH', id, headers, randomBytes(randomInt(mib)))
        wire.socket.end()
        await wire.closed()
      },
    }

    try {
      for (let step = 0; step < steps; step++) {
        if (!deferred && offset === content.length) break
        const how = pick(Object.keys(ways))
        done.push(`at ${offset} ${how}`)
        await ways[how]?.()
        expect(await tus.offset(id)).toBe(offset)
      }
      done.push(`ends at ${offset}`)
      const length = { 'Upload-Length': String(content.length) }
      const last = await tus.patch(id, offset, content.subarray(offset), deferred ? length : {})
      expect(facts(last)).toEqual([204, String(content.length)])
      expect(sha256(await tus.download(id))).toBe(sha256(content))
    } catch (cause) {
      throw new Error(done.join('; '), { cause })
    }
  }

  describe('requests in no order', () => {
    it('end with the right file', async () => {
      await Promise.all(Array.from({ length: uploads }, wander))
      expect(await tus.usage()).toBeDefined()
    })

    it('make the right file of parts', async () => {
      const contents = [0, 1, 100, 300_000, 5 * mib - 1, 5 * mib, 5 * mib + 1].map((size) => randomBytes(size))
      const partial = { 'Upload-Concat': 'partial' }
      const ids = await Promise.all(contents.map((bytes) => tus.made(bytes.length, partial, bytes)))
      const lists = Array.from({ length: 6 }, () =>
        Array.from({ length: 1 + randomInt(4) }, () => randomInt(ids.length)),
      )
      await Promise.all(
        lists.map(async (list) => {
          const urls = list.map((at) => pathOf(ids[at] ?? ''))
          const id = idOf(await tus.post({ 'Upload-Concat': `final;${urls.join(' ')}` }))
          const whole = Buffer.concat(list.map((at) => contents[at] ?? Buffer.alloc(0)))
          expect([list, sha256(await tus.download(id))]).toEqual([list, sha256(whole)])
        }),
      )
    })
  })
}
