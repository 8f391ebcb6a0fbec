import { describe, expect, it } from 'vitest'
import { sniffedBytes, sniffType } from '../../plugins/sniff-type.ts'
import { Rejection } from '../../src/errors.ts'
import { largeFiles } from '../support/handmade/large.ts'
import { bytesSource, sampleUpload, uploadContext } from '../support/plugin-harness.ts'
import { refusal, sniff, sniffWhole } from '../support/sniff.ts'

const files = Object.entries(largeFiles)

describe('what the first bytes leave open', () => {
  it.each(files)('%s', async (_what, { bytes, contentType, format }) => {
    const found = await sniffWhole(bytes)
    expect(found).toMatchObject({ contentType, format, found: contentType, corrected: false })
    expect(found).not.toHaveProperty('open')
  })

  it.each(files)('%s, by a name that lies', async (_what, { bytes, contentType }) => {
    expect(await sniffWhole(bytes, 'photo.jpg', 'image/jpeg')).toMatchObject({ contentType, corrected: true })
  })

  it.each(files)('%s: little of it is read', async (_what, { bytes }) => {
    const { reads } = await sniffWhole(Buffer.concat([bytes, Buffer.alloc(4_000_000)]))
    expect(reads.calls).toBeLessThan(40)
    expect(reads.bytes).toBeLessThan(1_500_000)
  })

  it.each(files)('%s: the rules wait for it', async (_what, { bytes, contentType }) => {
    expect(await sniffWhole(bytes, 'a', null, { allow: [contentType] })).toMatchObject({ contentType })
    const later = sniffWhole(bytes, 'a', null, { deny: [contentType] })
    await expect(later).rejects.toMatchObject({ code: 'file_type_not_allowed', facts: { found: contentType } })
    const lie = sniffWhole(bytes, 'a', 'font/woff', { mode: 'reject' })
    await expect(lie).rejects.toMatchObject({ code: 'content_type_mismatch' })
  })

  it('is refused at once where nothing that it may be is allowed', async () => {
    for (const { bytes } of Object.values(largeFiles)) {
      const error = await refusal(bytes, 'a', null, { allow: ['image/*'] })
      expect(error.code).toBe('file_type_not_allowed')
    }
  })

  it('is called what it is called until then, if it may be that', async () => {
    const { bytes } = largeFiles['a book, mimetype last'] ?? { bytes: Buffer.alloc(0) }
    expect(await sniff(bytes, 'a.epub')).toMatchObject({ contentType: 'application/epub+zip', open: true })
    expect(await sniff(bytes, 'a', 'application/epub+zip')).toMatchObject({ contentType: 'application/epub+zip' })
    expect(await sniff(bytes, 'a.jpg', 'text/html')).toMatchObject({ contentType: 'application/zip', open: true })
  })

  it('is nothing where the first bytes are all, or show it', async () => {
    for (const bytes of ['%PDF-1.7\n', 'a,b\n', Buffer.alloc(100), Buffer.from('\xff\xd8\xff\xe0', 'latin1')]) {
      expect(await sniff(bytes, 'a.zip')).not.toHaveProperty('open')
    }
    expect((await sniffWhole(Buffer.from('%PDF-1.7\n'.padEnd(sniffedBytes * 2)))).reads.calls).toBe(0)
  })
})

const away = async (): Promise<Uint8Array> => {
  throw new Error('The store is away.')
}

describe('a store that cannot be read', () => {
  it('is no fault of the sniffer: the upload is tried again', async () => {
    const upload = sampleUpload({ filename: 'a.epub', extra: { 'sniff-type': { open: true } } })
    const { source } = bytesSource(Buffer.alloc(100_000), '')
    const finished = sniffType().beforeFinish?.({ ...source, bytes: away }, uploadContext(upload))
    const error: unknown = await Promise.resolve(finished).catch((thrown: unknown) => thrown)
    expect(error).toEqual(new Error('The store is away.'))
    expect(error).not.toBeInstanceOf(Rejection)
  })
})
