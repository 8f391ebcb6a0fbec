import { afterAll, beforeAll, expect, it } from 'vitest'
import { isActive } from '../../../src/uploads/names.ts'
import { type Client, clientOf } from '../../support/client.ts'
import { directOf } from '../../support/direct.ts'
import type { TestGateway } from '../../support/gateway.ts'
import { largeFiles } from '../../support/handmade/large.ts'
import { compounds, packages } from '../../support/handmade/packages.ts'
import { signatures } from '../../support/handmade/signatures.ts'
import { handmade } from '../../support/handmade/small.ts'
import { field, file, formBytes, formType } from '../../support/multipart.ts'
import type { Place } from '../../support/places.ts'
import { viewOf, withBytes, workspaceOf } from '../../support/presigned.ts'
import { bytesType, idOf, pathOf, tusVersion } from '../../support/tus.ts'

/** One file of every format that a sniffer can name. */
export const everyFormat: Readonly<Record<string, Uint8Array>> = {
  ...packages,
  ...compounds,
  ...signatures,
  ...handmade,
}

interface Arrived {
  readonly contentType: string
  readonly id: string
}

/** Every way in. Each brings one file, without a word about what it is, and says what the record then calls it. */
export const ways: Readonly<Record<string, (call: Client, bytes: Uint8Array) => Promise<Arrived>>> = {
  async raw(call, bytes) {
    const answer = await call('POST', '/v1/uploads', { headers: { 'x-file-name': 'upload' }, body: bytes })
    expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 201 })
    const { data } = answer.json<{ data: { assetId: string; mimetype: string } }>()
    return { contentType: data.mimetype, id: data.assetId }
  },
  async form(call, bytes) {
    const body = formBytes([field('projectId', 'p'), file('good.csv', 'a,b\n'), file('upload', bytes)])
    const answer = await call('POST', '/v2/default/project/p/upload', { headers: { 'Content-Type': formType }, body })
    expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 201 })
    const { tasks } = answer.json<{ tasks: readonly { id: string; name: string; status: string }[] }>()
    expect(tasks).toMatchObject([
      { name: 'good.csv', status: 'completed' },
      { name: 'upload', status: 'completed' },
    ])
    return recordOf(call, tasks[1]?.id ?? '')
  },
  async presigned(call, bytes) {
    const workspace = workspaceOf(call)
    const { upload } = await withBytes(workspace, { filename: 'upload' }, bytes)
    const { id, content_type: contentType } = viewOf(await workspace.confirm(upload.id))
    return { contentType: contentType ?? '', id }
  },
  async direct(call, bytes) {
    const direct = directOf(call)
    const blob = await direct.sent(bytes, { filename: 'upload' })
    const looked = await direct.look(blob)
    expect({ status: looked.status, body: looked.bytes.toString() }).toMatchObject({ status: 200 })
    return recordOf(call, blob.key)
  },
  async tus(call, bytes) {
    const version = { 'Tus-Resumable': tusVersion }
    const made = await call('POST', '/files', { headers: { ...version, 'Upload-Length': String(bytes.length) } })
    const id = idOf(made)
    const headers = { ...version, 'Upload-Offset': '0', 'Content-Type': bytesType }
    const sent = await call('PATCH', pathOf(id), { headers, body: bytes })
    expect({ status: sent.status, offset: sent.headers.get('upload-offset') }).toEqual({
      status: 204,
      offset: String(bytes.length),
    })
    return recordOf(call, id)
  },
}

async function recordOf(call: Client, id: string): Promise<Arrived> {
  const { status, content_type: contentType } = viewOf(await call('GET', `/api/v1/uploads/${id}`))
  expect(status).toBe('confirmed')
  return { contentType: contentType ?? '', id }
}

async function expectHarmless(call: Client, { id, contentType }: Arrived): Promise<void> {
  const { status, headers } = await call('HEAD', `/api/v1/uploads/${id}/download`)
  expect({ status, options: headers.get('x-content-type-options') }).toEqual({ status: 200, options: 'nosniff' })
  const isAttached = headers.get('content-disposition')?.startsWith('attachment') ?? false
  const isSandboxed = headers.get('content-security-policy')?.includes('sandbox') ?? false
  const served = headers.get('content-type') ?? ''
  expect({ contentType, isAttached, isSandboxed }).toEqual({
    contentType,
    isAttached: isActive(served),
    isSandboxed: isActive(served),
  })
}

/** What is true of files wherever they are, whichever way they come. */
export function typesSuite(place: Place, files: Readonly<Record<string, Uint8Array>>): void {
  let gateway: TestGateway
  let call: Client
  beforeAll(async () => {
    gateway = await place.start({ plugins: null })
    call = clientOf(gateway, gateway.key)
  })
  afterAll(() => gateway.close())

  it.each(Object.entries(files))(
    '%s comes in by every way, as the same, and is never shown active',
    async (_, bytes) => {
      const arrived: Record<string, string> = {}
      for (const [way, bring] of Object.entries(ways)) {
        const found = await bring(call, bytes)
        arrived[way] = found.contentType
        await expectHarmless(call, found)
      }
      expect({ arrived, types: new Set(Object.values(arrived)).size }).toEqual({ arrived, types: 1 })
    },
  )

  it.each(Object.entries(largeFiles))('%s is what all of it shows', async (_what, { bytes, contentType }) => {
    for (const bring of Object.values(ways)) expect((await bring(call, bytes)).contentType).toBe(contentType)
  })

  it('were no errors', () => {
    expect(gateway.log().match(/^\{"level":[56]0.*$/gm) ?? []).toEqual([])
  })
}
