import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKeys, clientOf } from '../support/client.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { idOf, pathOf, tusOf } from '../support/tus.ts'

const wavBytes = 8 * 1024 * 1024
const copies = 40

/** A WAV of nothing but empty chunks, each of which a parser looks at. */
function emptyChunks(): Buffer {
  const wav = Buffer.alloc(wavBytes)
  for (let at = 12; at + 8 <= wavBytes; at += 8) wav.write('junk', at, 'latin1')
  wav.write('RIFF', 0, 'latin1')
  wav.writeUInt32LE(wavBytes - 8, 4)
  wav.write('WAVE', 8, 'latin1')
  return wav
}

describe('a workspace that keeps the media parsers busy', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway.close())

  it('with copies of one slow file waits for one of them, and others do not wait', async () => {
    await gateway.run('workspaces', 'create', 'other')
    const { many, other } = await addKeys(gateway, { many: {}, other: { workspaceId: 'other' } })
    const tus = tusOf(() => gateway, [], many)
    const part = await tus.made(wavBytes, { 'Upload-Concat': 'partial' }, emptyChunks())
    const header = { 'Upload-Concat': `final;${pathOf(part)}` }
    const finals = Array.from({ length: copies }, () => tus.post(header))
    await Promise.race(finals)
    const png = await readFile(new URL('../samples/media/still.png', import.meta.url))
    const answer = await clientOf(gateway, other)('POST', '/v1/uploads', {
      headers: { 'x-file-name': 'still.png' },
      body: png,
    })
    expect(answer.json()['data']).toMatchObject({ width: 64, height: 48 })
    const ids = (await Promise.all(finals)).map(idOf)
    const states = async () => new Set((await Promise.all(ids.map((id) => tus.view(id)))).map(({ status }) => status))
    await expect.poll(states, { timeout: 50_000 }).toEqual(new Set(['confirmed']))
    expect(gateway.log().split('the media parser was killed').length - 1).toBeLessThan(copies / 10)
  })
})
