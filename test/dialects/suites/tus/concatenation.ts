import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { addKeys, type Answer, eventually, oddId, sha256 } from '../../../support/client.ts'
import { idOf, metadataOf, pathOf, refusal, type Tus } from '../../../support/tus.ts'
import { type Bench, tightest } from './bench.ts'

const mib = 1024 * 1024
const partial = { 'Upload-Concat': 'partial' }
const final = (urls: readonly string[], by: Tus, headers: Record<string, string> = {}): Promise<Answer> =>
  by.post({ 'Upload-Concat': `final;${urls.join(' ')}`, ...headers })

/** What a refusal says, without the ids that were asked for. */
const detailOf = (answer: Answer): string => String(answer.json()['detail']).replaceAll(/[0-9a-f-]{36}/g, '')

/** Upload-Concat: several uploads in one. */
export function concatenationSuite({ main, tight, verdicts }: Bench): void {
  const { tus, gateway } = main

  const parts = (...contents: (string | Uint8Array)[]): Promise<string[]> =>
    Promise.all(
      contents.map((content) => tus.made(content.length, partial, content.length === 0 ? undefined : content)),
    )
  async function joined(ids: readonly string[], headers: Record<string, string> = {}): Promise<string> {
    return idOf(await final(ids.map(pathOf), tus, headers))
  }

  describe('concatenation', () => {
    it('makes one upload of several', async () => {
      const ids = await parts('hello', ' ', 'world')
      const answer = await final(ids.map(pathOf), tus)
      const id = idOf(answer)
      expect(answer.headers.get('location')).toBe(`${gateway().url}/files/${id}`)
      expect(answer.headers.get('upload-record')).toBe(`${gateway().url}/api/v1/uploads/${id}`)
      const head = await tus.head(id)
      expect([head.headers.get('upload-offset'), head.headers.get('upload-length')]).toEqual(['11', '11'])
      expect(head.headers.has('upload-expires')).toBe(false)
      expect(await tus.view(id)).toMatchObject({ status: 'confirmed', size_bytes: 11, received_bytes: 11 })
      expect((await tus.download(id)).toString()).toBe('hello world')
    })

    it('gives Upload-Concat back as it was sent', async () => {
      const [a = '', b = ''] = await parts('a', 'b')
      expect((await tus.head(a)).headers.get('upload-concat')).toBe('partial')
      const header = `final;${pathOf(b)} ${gateway().url}${pathOf(a)} http://front.example:8443${pathOf(a)}`
      const id = idOf(await tus.post({ 'Upload-Concat': header }))
      expect((await tus.head(id)).headers.get('upload-concat')).toBe(header)
      expect((await tus.download(id)).toString()).toBe('baa')
    })

    it('follows the order of the list, in which a part may come twice', async () => {
      const [a = '', b = ''] = await parts('a', 'b')
      const made = await Promise.all([[a, b], [b, a], [a, a, a], [b, a, b], [a]].map((ids) => joined(ids)))
      expect(new Set(made).size).toBe(5)
      const texts = await Promise.all(made.map(async (id) => (await tus.download(id)).toString()))
      expect(texts).toEqual(['ab', 'ba', 'aaa', 'bab', 'a'])
    })

    it('does not inherit metadata, and takes its own', async () => {
      const own = metadataOf({ filename: 'part.txt', secret: 'x' })
      const id = await tus.made(5, { ...partial, 'Upload-Metadata': own }, 'hello')
      expect((await tus.head(id)).headers.get('upload-metadata')).toBe(own)
      const none = await joined([id])
      expect((await tus.head(none)).headers.has('upload-metadata')).toBe(false)
      expect(await tus.view(none)).toMatchObject({ metadata: {} })
      const header = metadataOf({ filename: 'whole.txt', colour: 'red' })
      const whole = await joined([id], { 'Upload-Metadata': header })
      expect((await tus.head(whole)).headers.get('upload-metadata')).toBe(header)
      expect(await tus.view(whole)).toMatchObject({ filename: 'whole.txt', metadata: { colour: 'red' } })
    })

    it('is not looked at in parts', async () => {
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'accept')
      const metadata = { 'Upload-Metadata': metadataOf({ verdict }) }
      const id = await tus.made(5, { ...partial, ...metadata }, 'hello')
      const view = await tus.view(id)
      expect(view.received_bytes).toBe(5)
      expect(view.status).not.toBe('confirmed')
      expect((await tus.call('GET', `/api/v1/uploads/${id}/download`)).status).toBeGreaterThanOrEqual(400)
      await joined([id, id], metadata)
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(1)
    })

    it('shows a finished part as one that expires', async () => {
      const [id = ''] = await parts('hello')
      const head = await tus.head(id)
      expect([head.headers.get('upload-offset'), head.headers.get('upload-length')]).toEqual(['5', '5'])
      expect(head.headers.has('upload-expires')).toBe(true)
      expect(await tus.sent(id, 5, '')).toBe(5)
      expect((await tus.patch(id, 5, '!')).status).toBe(413)
    })

    it('takes parts that came in pieces, empty ones and those whose length was told late', async () => {
      const pieces = await tus.made(6, partial)
      await tus.sent(pieces, await tus.sent(pieces, 0, 'hel'), 'lo ')
      const late = await tus.made(null, partial)
      await tus.sent(late, 0, 'world', { 'Upload-Length': '5' })
      const [empty = ''] = await parts('')
      expect((await tus.download(await joined([empty, pieces, empty, late]))).toString()).toBe('hello world')
      const nothing = await joined([empty, empty])
      expect(await tus.view(nothing)).toMatchObject({ status: 'confirmed', size_bytes: 0 })
      expect(await tus.download(nothing)).toHaveLength(0)
    })

    it('stores large parts byte for byte', async () => {
      const contents = [5 * mib, 3 * mib + 1, 8 * mib, 7].map((size) => randomBytes(size))
      const id = await joined(await parts(...contents))
      expect(sha256(await tus.download(id))).toBe(sha256(Buffer.concat(contents)))
    })

    it('stores many small parts byte for byte', async () => {
      const contents = Array.from({ length: 60 }, (_, i) => randomBytes(i * 7))
      const id = await joined(await parts(...contents))
      expect(sha256(await tus.download(id))).toBe(sha256(Buffer.concat(contents)))
    })

    it('refuses PATCH on the result with 403, and changes nothing', async () => {
      const [a = '', b = ''] = await parts('hello', 'world')
      const id = await joined([a, b])
      for (const [offset, body] of [
        [0, 'wrong'],
        [10, 'more'],
        [10, ''],
      ] as const)
        expect((await tus.patch(id, offset, body)).status).toBe(403)
      expect((await tus.download(id)).toString()).toBe('helloworld')
      expect([await tus.offset(a), await tus.offset(b)]).toEqual([5, 5])
    })

    it('gives the same upload to whoever asks again, and charges it once', async () => {
      const { key } = await addKeys(gateway(), { key: { workspaceId: 'tus-concat' } })
      const own = tus.as(key)
      const a = await own.made(5, partial, 'hello')
      const b = await own.made(5, partial, 'world')
      const verdict = verdicts().fresh()
      verdicts().decide(verdict, 'accept')
      const before = (await own.usage()).storage.used_bytes
      const headers = { 'Upload-Metadata': metadataOf({ verdict }) }
      const asked = await Promise.all(Array.from({ length: 4 }, () => final([a, b].map(pathOf), own, headers)))
      const again = await final(
        [a, b].map((id) => `${gateway().url}${pathOf(id)}`),
        own,
        headers,
      )
      expect(new Set([...asked, again].map(idOf)).size).toBe(1)
      await eventually(() => expect(verdicts().finished(verdict)).toBe(1))
      expect(verdicts().runs(verdict)).toBe(1)
      expect((await own.usage()).storage.used_bytes - before).toBe(10)
      expect(idOf(await final([b, a].map(pathOf), own, headers))).not.toBe(idOf(again))
      expect(idOf(await final([a, b].map(pathOf), own))).not.toBe(idOf(again))
      for (const id of [a, b]) expect((await own.remove(id)).status).toBe(204)
      expect(idOf(await final([a, b].map(pathOf), own, headers))).toBe(idOf(again))
      expect((await final([b, a, a].map(pathOf), own, headers)).status).toBe(404)
    })

    it('makes a new upload when the first result was deleted', async () => {
      const ids = await parts('hello', 'world')
      const first = await joined(ids)
      expect((await tus.remove(first)).status).toBe(204)
      const second = await joined(ids)
      expect(second).not.toBe(first)
      expect((await tus.download(second)).toString()).toBe('helloworld')
    })

    it('waits with its answer for the verdict, and brings the refusal', async () => {
      const [a = ''] = await parts('hello')
      const verdict = verdicts().fresh()
      const headers = { 'Upload-Metadata': metadataOf({ verdict }) }
      const asked = [final([pathOf(a)], tus, headers), final([pathOf(a)], tus, headers)]
      await eventually(() => expect(verdicts().runs(verdict)).toBe(1))
      verdicts().decide(verdict, 'refuse')
      const answers = await Promise.all(asked)
      for (const answer of answers) expect(answer.json()).toMatchObject({ errorCode: 'FILE_TYPE_NOT_ALLOWED' })
      expect(answers.map(({ status }) => status)).toContain(415)
      expect(verdicts().runs(verdict)).toBe(1)
    })

    it('leaves the result alone when its parts go, and the other way round', async () => {
      const [a = '', b = ''] = await parts('hello', 'world')
      const first = await joined([a, b])
      const second = await joined([b, a])
      expect((await tus.remove(a)).status).toBe(204)
      expect((await tus.remove(first)).status).toBe(204)
      expect((await tus.download(second)).toString()).toBe('worldhello')
      expect(await tus.offset(b)).toBe(5)
      expect((await final([pathOf(a), pathOf(b)], tus, { 'Upload-Metadata': 'other' })).status).toBeGreaterThanOrEqual(
        400,
      )
    })

    it('refuses the sum above the largest file with 413', async () => {
      const small = tight.tus
      const ids = await Promise.all([tightest - 4, 5].map((size) => small.made(size, partial, randomBytes(size))))
      expect(refusal(await final(ids.map(pathOf), small))).toBe('413 file_too_large')
      expect((await small.remove(ids[1] ?? '')).status).toBe(204)
      const fits = await small.made(4, partial, 'abcd')
      expect(await small.view(idOf(await final([ids[0] ?? '', fits].map(pathOf), small)))).toMatchObject({
        size_bytes: tightest,
      })
    })

    it('refuses parts that are not finished', async () => {
      const [done = ''] = await parts('hello')
      for (const open of [
        await tus.made(5, partial, 'hel'),
        await tus.made(5, partial),
        await tus.made(null, partial, 'hello'),
      ]) {
        const before = (await tus.usage()).uploads['total']
        expect([400, 409]).toContain((await final([done, open].map(pathOf), tus)).status)
        expect((await tus.usage()).uploads['total']).toBe(before)
        expect((await tus.head(open)).status).toBe(200)
      }
    })

    it('refuses what is no part of the caller’s workspace, and tells nothing about it', async () => {
      const { key } = await addKeys(gateway(), { key: { workspaceId: 'tus-concat-other' } })
      const theirs = await tus.as(key).made(5, partial, 'hello')
      const [own = ''] = await parts('hello')
      const foreign = await final([own, theirs].map(pathOf), tus)
      const never = await final([own, randomUUID()].map(pathOf), tus)
      expect(refusal(foreign)).toBe('404 not_found')
      expect(refusal(foreign)).toBe(refusal(never))
      expect(refusal(await final([own, oddId].map(pathOf), tus))).toBe('404 not_found')
      expect(detailOf(foreign)).toBe(detailOf(never))
      const whole = await tus.made(5, {}, 'hello')
      const result = await joined([own])
      for (const id of [whole, result]) expect([400, 404, 409]).toContain((await final([pathOf(id)], tus)).status)
    })

    it('refuses a header that is none', async () => {
      const [id = ''] = await parts('hello')
      const before = (await tus.usage()).uploads['total']
      for (const header of [
        '',
        'final',
        'final;',
        'final; ',
        `final ${pathOf(id)}`,
        `final;${id}`,
        `final;/other/${id}`,
        `final;${pathOf(id)}/x`,
        'final;http://[',
        'final;nonsense',
        `final;${pathOf('%00')}`,
        'Partial',
        'partial;',
        'partially',
        'whole',
      ]) {
        const answer = await tus.post({
          'Upload-Concat': header,
          ...(header.startsWith('final') ? {} : { 'Upload-Length': '5' }),
        })
        expect([header, [400, 404].includes(answer.status)]).toEqual([header, true])
      }
      expect((await tus.usage()).uploads['total']).toBe(before)
    })

    it('refuses two lists', async () => {
      const [a = '', b = ''] = await parts('a', 'b')
      const twice = `final;${pathOf(a)}\r\nUpload-Concat: final;${pathOf(b)}`
      const wire = await tus.open('POST', null, { 'Content-Length': 0, 'Upload-Concat': twice })
      expect((await wire.answer()).status).toBe(400)
      wire.cut()
    })

    it('refuses a list that does not end', async () => {
      const [id = ''] = await parts('x')
      const before = (await tus.usage()).uploads['total']
      const answer = await final(
        Array.from({ length: 3_000 }, () => pathOf(id)),
        tus,
      ).catch(() => undefined)
      expect(answer === undefined || (answer.status >= 400 && answer.status < 500)).toBe(true)
      expect((await tus.usage()).uploads['total']).toBe(before)
    })
  })
}
