import { deflateSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { pdf, withPage } from '../support/media-files.ts'
import { mediaProbe } from '../support/media-probe.ts'

const { probe, close } = mediaProbe()
afterAll(close)

describe('pages of a PDF', () => {
  it.each<[what: string, content: Buffer, pages: number | null]>([
    ['with a table in text', pdf(3), 3],
    ['with objects and table in streams', pdf(3, { packed: true }), 3],
    ['with a table of differences', pdf(3, { packed: true, predicted: true }), 3],
    ['with many pages', pdf(700), 700],
    ['with many pages in a stream', pdf(700, { packed: true }), 700],
    ['behind junk', pdf(3, { junk: 'HTTP/1.1 200 OK\r\n\r\n' }), 3],
    ['behind junk, in streams', pdf(3, { junk: '\n\n', packed: true }), 3],
    ['that was added to', withPage(pdf(3), 3), 4],
    ['that was added to, in streams', withPage(pdf(3, { packed: true }), 3), 4],
    ['that is encrypted', pdf(3, { trailer: '/Encrypt << /Filter /Standard /V 5 >>' }), 3],
    ['without its end', pdf(3).subarray(0, -120), 3],
    [
      'whose table is wrong',
      Buffer.from(
        pdf(3)
          .toString('latin1')
          .replaceAll(/\d{10} 00000 n/g, '0000000007 00000 n'),
      ),
      3,
    ],
    ['whose table points at itself', pdf(3, { trailer: '/Prev 9' }), 3],
    ['that has none', pdf(0), null],
    ['that claims more than it can have', pdf(1, { count: '2147483647' }), null],
    ['of less than none', pdf(1, { count: '-3' }), null],
    ['that counts itself', pdf(1, { count: '2 0 R' }), null],
    ['of arrays in arrays', pdf(1, { trailer: `/A ${'['.repeat(100_000)}` }), 1],
    ['that is none', Buffer.from('%PDF-1.7'), null],
  ])('%s', async (_what, content, pages) => {
    const facts = await probe(content, 'application/pdf')
    expect(facts).toMatchObject({ pages, width: null, killed: false })
    expect(facts.reads).toBeLessThan(5)
  })

  it('that unpacks to gigabytes is left', async () => {
    const bomb = deflateSync(Buffer.alloc(200 * 2 ** 20))
    const packed = `<< /Type /XRef /W [1 4 1] /Size 9 /Root 1 0 R /Filter /FlateDecode /Length ${bomb.length} >>`
    const content = Buffer.concat([
      Buffer.from(`%PDF-1.7\n1 0 obj\n${packed}\nstream\n`),
      bomb,
      Buffer.from('\nendstream\nendobj\nstartxref\n9\n%%EOF'),
    ])
    expect(await probe(content, 'application/pdf')).toMatchObject({ pages: null, killed: false })
  })

  it('of nothing but trees is searched once', async () => {
    const content = Buffer.alloc(20 * 2 ** 20, '/Type/Pages ')
    expect(await probe(content, 'application/pdf')).toMatchObject({ pages: null, killed: false })
  })
})
