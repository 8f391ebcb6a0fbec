import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, clientOf, type Client, configText, eventually, sha256 } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type View, viewOf, type Workspace, workspaceOf } from '../support/presigned.ts'
import { samplePath } from '../support/samples.ts'

/** Refuses, has facts of its own, and writes down how uploads end. */
const plugin = `{
  name: 'notes',
  beforeFinish: (bytes, ctx) =>
    bytes.size === 4 ? ctx.reject('validation_failed', 'Four bytes are none.') : { extra: { notes: { size: bytes.size } } },
  async afterTerminate({ upload: { id, state, rejection, objectKey } }) {
    const { appendFile } = await import('node:fs/promises')
    await appendFile('ends', JSON.stringify({ id, state, rejection, objectKey }) + '\\n')
  },
}`

let gateway: TestGateway
let call: Client
let ours: Workspace
beforeAll(async () => {
  const more = 'sweep: { interval: 1 }'
  const config = configText(`sniffType(), quota(), 'media-info', ${plugin}`, more)
  gateway = await startGateway({ config, env: { FAIRLEAD_PRESIGN_TTL: '1' } })
  call = clientOf(gateway, gateway.key)
  ours = workspaceOf(call)
})
afterAll(() => gateway.close())

const raw = (name: string, body: Uint8Array, headers = {}): Promise<Answer> =>
  call('POST', '/v1/uploads', { headers: { 'x-file-name': name, ...headers }, body })

async function recordOf(answer: Answer): Promise<View> {
  expect(answer.status).toBe(201)
  const { assetId } = answer.json<{ data: { assetId: string } }>().data
  return viewOf(await call('GET', `/api/v1/uploads/${assetId}`))
}

/** The end of the upload, as a plugin hears of it. */
async function endOf(id: string): Promise<unknown> {
  let found: readonly unknown[] = []
  await eventually(async () => {
    const lines = (await readFile(join(gateway.folder, 'ends'), 'utf8')).split('\n').filter((line) => line.includes(id))
    found = lines.map((line): unknown => JSON.parse(line))
    expect(found).toHaveLength(1)
  })
  return found[0]
}

describe('the record', () => {
  it('has all that was found out about a file', async () => {
    const film = await readFile(samplePath({ file: 'film.webm' }))
    const projectId = randomUUID()
    const record = await recordOf(await raw('film.webm', film, { 'x-project-id': projectId }))
    expect(record).toMatchObject({
      user_id: 'admin',
      project_id: projectId,
      sha256: sha256(film),
      codecs: expect.arrayContaining([expect.stringMatching(/\w/)]),
      pages: null,
      charset: null,
      extra: { notes: { size: film.length }, 'sniff-type': expect.objectContaining({ found: 'video/webm' }) },
      rejection: null,
    })
    const animation = await readFile(samplePath({ file: 'animation.gif' }))
    expect(await recordOf(await raw('a.gif', animation))).toMatchObject({ pages: expect.any(Number), codecs: null })
    expect(await recordOf(await raw('a.txt', Buffer.from('größe')))).toMatchObject({ charset: 'utf-8' })
  })
})

describe('the end of an upload', () => {
  it('is told to plugins with its reason, and stands in the record', async () => {
    const made = await ours.made()
    await ours.put(made, Buffer.from('four'))
    expect((await ours.confirm(made.upload.id)).status).toBe(422)
    expect(await ours.view(made.upload.id)).toMatchObject({
      status: 'rejected',
      rejection: { code: 'validation_failed', detail: 'Four bytes are none.' },
    })
    expect(await endOf(made.upload.id)).toEqual({
      id: made.upload.id,
      state: 'rejected',
      rejection: { code: 'validation_failed', message: 'Four bytes are none.' },
      objectKey: null,
    })
  })

  it('is told where nothing came', async () => {
    const { id } = (await ours.made()).upload
    expect(await endOf(id)).toEqual({ id, state: 'expired', rejection: null, objectKey: null })
    expect(await ours.view(id)).toMatchObject({ status: 'expired', rejection: null })
  })
})
