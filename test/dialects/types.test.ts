import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, eventually } from '../support/client.ts'
import type { TestGateway } from '../support/gateway.ts'
import { largeFiles } from '../support/handmade/large.ts'
import { disk } from '../support/places.ts'
import { viewOf, workspaceOf } from '../support/presigned.ts'
import { everyFormat, typesSuite, ways } from './suites/types.ts'

describe('files of every format that a sniffer can name', () => {
  typesSuite(disk, everyFormat)
})

const bytesOf = (what: string): Uint8Array => largeFiles[what]?.bytes ?? Buffer.alloc(0)
const book = bytesOf('a book, mimetype last')
const archive = bytesOf('an archive of anything')
const sound = bytesOf('sound of brand isom, index last')
const film = bytesOf('a film, index last')

describe('rules about types that the first bytes leave open', () => {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await disk.start({
      plugins: `sniffType({ allow: ['audio/*', 'text/csv', 'application/epub+zip', 'application/zip'] }), quota()`,
      more: `categories: { book: { types: ['application/epub+zip'] }, other: {} }`,
    })
    call = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway.close())

  it('are kept to by every way when the rest is there', async () => {
    for (const bring of Object.values(ways)) {
      expect((await bring(call, sound)).contentType).toBe('audio/mp4')
      await expect(bring(call, film)).rejects.toThrow(/^expected /)
    }
    const { views } = await workspaceOf(call).list('?content_type=video/*')
    expect(views.map(({ status }) => status).filter((status) => status !== 'rejected')).toEqual([])
    expect((await workspaceOf(call).list('?content_type=audio/*')).views).toHaveLength(Object.keys(ways).length)
  })

  it('leave nothing of what they refuse', async () => {
    const before = await workspaceOf(call).usage()
    const stored = (await disk.stored(gateway)).length
    const refused = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'film.m4a' }, body: film })
    expect({ status: refused.status, ...refused.json() }).toMatchObject({
      status: 415,
      errorCode: 'FILE_TYPE_NOT_ALLOWED',
    })
    expect((await workspaceOf(call).usage()).storage).toEqual(before.storage)
    await eventually(async () => expect((await disk.stored(gateway)).length).toBe(stored))
  })

  it('of a category take a book for one by its name, until it is seen', async () => {
    const workspace = workspaceOf(call)
    const put = async (bytes: Uint8Array, name: string) => {
      const made = await workspace.made({ filename: name, category: 'book' })
      expect((await workspace.put(made, bytes)).status).toBe(200)
      return workspace.confirm(made.upload.id)
    }
    expect((await put(book, 'a.epub')).json()).toMatchObject({ data: { content_type: 'application/epub+zip' } })
    expect((await put(archive, 'a.epub')).json()).toMatchObject({ error_code: 'file_type_not_allowed' })
  })
  it('are asked again about what is sent again', async () => {
    const workspace = workspaceOf(call)
    const made = await workspace.made({ filename: 'upload' })
    for (const bytes of [book, sound, archive]) expect((await workspace.put(made, bytes)).status).toBe(200)
    expect(viewOf(await workspace.confirm(made.upload.id)).content_type).toBe('application/zip')
  })
})
