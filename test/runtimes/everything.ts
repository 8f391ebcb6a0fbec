import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Client, clientOf, sha256 } from '../support/client.ts'
import { projectRoot, type TestGateway } from '../support/gateway.ts'

const tus = { 'Tus-Resumable': '1.0.0' }
interface Sent {
  readonly name: string
  readonly type: string
  readonly facts: Readonly<Record<string, number>>
}
const film: Sent = { name: 'end.mp4', type: 'video/mp4', facts: { width: 64, height: 48, duration: 2 } }

export const sample = (path: string): Promise<Buffer> => readFile(join(projectRoot, 'test/samples', path))

/**
 * What goes wrong first when a part of the program was left behind: the pages, the natives, the process of its own for media.
 * Paths are relative: the gateway may be below one of its own.
 */
export async function expectEverything(gateway: Pick<TestGateway, 'url' | 'key'>): Promise<void> {
  const call = clientOf({ url: `${gateway.url}/` }, gateway.key)
  await expectPages(call)
  const bytes = await sample(`media/${film.name}`)
  await expectDownload(call, await expectRaw(call, bytes), bytes)
  await expectPicture(call)
  await expectDownload(call, await expectTus(call, bytes), bytes)
}

async function expectPages(call: Client): Promise<void> {
  for (const path of ['', 'page/page.js', 'page/page.css', 'docs', 'docs/swagger-ui-bundle.js', 'openapi.json']) {
    const { status, bytes } = await call('GET', path, { key: null, headers: { Accept: '*/*' } })
    expect({ path, status, filled: bytes.length > 0 }).toEqual({ path, status: 200, filled: true })
    if (path === '') expect(bytes.toString()).toContain('page/page.js')
  }
}

export async function expectRaw(call: Client, bytes: Uint8Array, { name, type, facts }: Sent = film): Promise<string> {
  const answer = await call('POST', 'v1/uploads', {
    headers: { 'x-file-name': name, 'Content-Type': type },
    body: bytes,
  })
  const { data } = answer.json<{ data: { assetId: string } }>()
  expect(answer.status).toBe(201)
  expect(data).toMatchObject({ filename: name, mimetype: type, size: bytes.length, ...facts })
  return data.assetId
}

/** What reads pictures is another library than what reads films, and a native one. */
async function expectPicture(call: Client): Promise<void> {
  const bytes = await sample('types/picture.webp')
  await expectRaw(call, bytes, { name: 'a.webp', type: 'image/webp', facts: { width: 40, height: 30 } })
}

/** In two pieces. */
async function expectTus(call: Client, bytes: Buffer): Promise<string> {
  const half = Math.floor(bytes.length / 2)
  const made = await call('POST', 'files', {
    headers: {
      ...tus,
      'Upload-Length': String(bytes.length),
      'Upload-Metadata': `filename ${Buffer.from('end.mp4').toString('base64')}`,
    },
  })
  expect(made.status).toBe(201)
  const location = made.headers.get('location') ?? ''
  for (const [start, end] of [
    [0, half],
    [half, bytes.length],
  ] as const) {
    const sent = await call('PATCH', location, {
      headers: { ...tus, 'Upload-Offset': String(start), 'Content-Type': 'application/offset+octet-stream' },
      body: bytes.subarray(start, end),
    })
    expect({ status: sent.status, offset: sent.headers.get('upload-offset') }).toEqual({
      status: 204,
      offset: String(end),
    })
  }
  return location.split('/').pop() ?? ''
}

/** From the gateway, or from where it leads. */
export async function expectDownload(call: Client, id: string, bytes: Uint8Array): Promise<void> {
  const asked = await call('GET', `api/v1/uploads/${id}/download`, { headers: { Accept: '*/*' } })
  const location = asked.headers.get('location')
  const answer = location === null ? asked : await call('GET', location, { key: null })
  expect({ status: answer.status, sha256: sha256(answer.bytes) }).toEqual({ status: 200, sha256: sha256(bytes) })
}
