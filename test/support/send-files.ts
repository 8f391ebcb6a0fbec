import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Client, sha256 } from './client.ts'
import { projectRoot } from './gateway.ts'
import { viewOf, withBytes, workspaceOf } from './presigned.ts'
import { samplePath, samples } from './samples.ts'

/** A file to send, and what its name and Content-Type say that it is. */
export interface Sending {
  readonly path: string
  readonly name: string
  readonly declared: string | null
  /** What the record must say; `undefined`: only that it holds together. */
  readonly expected?: {
    readonly contentType: string
    readonly charset: string | null
    /** Width, height and seconds, to a tenth. */
    readonly facts?: readonly [width: number | null, height: number | null, duration: number | null]
  }
}

export interface Sent extends Sending {
  readonly mimetype: string
  readonly facts: { readonly width: number | null; readonly height: number | null; readonly duration: number | null }
  readonly served: { readonly contentType: string; readonly disposition: string; readonly sandboxed: boolean }
  /** The bytes that came back are those that were sent. */
  readonly exact: boolean
}

const mediaNames = [
  ['still.jpg', 'image/jpeg'], ['still.png', 'image/png'], ['still.webp', 'image/webp'], ['still.avif', 'image/avif'],
  ['still.heic', 'image/heic'], ['still.tiff', 'image/tiff'], ['still.bmp', 'image/bmp'], ['icon.ico', 'image/x-icon'],
  ['animated.gif', 'image/gif'], ['animated.webp', 'image/webp'], ['start.mp4', 'video/mp4'], ['rotated.mp4', 'video/mp4'],
  ['fragmented.mp4', 'video/mp4'], ['film.mov', 'video/quicktime'], ['film.webm', 'video/webm'], ['film.mkv', 'video/x-matroska'],
  ['film.avi', 'video/x-msvideo'], ['film.ts', 'video/mp2t'], ['variable.mp3', 'audio/mpeg'], ['sound.wav', 'audio/wav'],
  ['sound.flac', 'audio/flac'], ['sound.ogg', 'audio/ogg'], ['sound.opus', 'audio/ogg'], ['sound.m4a', 'audio/mp4'], ['sound.aac', 'audio/aac'],
] as const // prettier-ignore

/** Films and sounds whose facts are found in other places than those of most. */
const oddMedia = [
  ['fields.ts', 'video/mp2t', 1920, 1080, 0.4], ['part2.ts', 'video/mp2t', 640, 360, 2], ['camera.mov', 'video/quicktime', 64, 48, 2],
  ['partly.mp4', 'video/mp4', 64, 48, 10], ['three.webm', 'video/webm', 64, 48, 0.3], ['film.wmv', 'video/x-ms-asf', 64, 48, 2],
  ['flac.ogg', 'audio/ogg', null, null, 2], ['gsm.wav', 'audio/wav', null, null, 2], ['layer2.mp2', 'audio/mpeg', null, null, 2],
  ['sound.ac3', 'audio/vnd.dolby.dd-raw', null, null, 2],
] as const // prettier-ignore

/** Every sample of the types, each under its names, then those of the media. Empty ones cannot go in by the raw dialect. */
export const sendings: readonly Sending[] = [
  ...samples
    .filter((sample) => sample.file !== 'empty')
    .map(({ name, declared, contentType, charset, ...sample }) => ({
      path: samplePath(sample),
      name,
      declared,
      expected: { contentType, charset },
    })),
  ...mediaNames.map(([name, contentType]) => ({
    path: join(projectRoot, 'test/samples/media', name),
    name,
    declared: contentType,
    expected: { contentType, charset: null },
  })),
  ...oddMedia.map(([name, contentType, ...facts]) => ({
    path: join(projectRoot, 'test/samples/media', name),
    name,
    declared: contentType,
    expected: { contentType, charset: null, facts },
  })),
]

/** What the record says when the file was brought by an upload URL. */
export async function sendByUrl(
  client: Client,
  { path, name, declared }: Sending,
): Promise<Pick<Sent, 'mimetype' | 'facts'>> {
  const workspace = workspaceOf(client)
  const declaration = { filename: name, ...(declared === null ? {} : { content_type: declared }) }
  const { upload } = await withBytes(workspace, declaration, await readFile(path))
  const view = viewOf(await workspace.confirm(upload.id))
  const { width, height, duration } = view
  return { mimetype: view.content_type ?? '', facts: { width, height, duration } }
}

/** Sends one file by the raw dialect, and fetches it by the address in the answer. */
export async function send(client: Client, sending: Sending): Promise<Sent> {
  const bytes = await readFile(sending.path)
  const declared = sending.declared === null ? {} : { 'Content-Type': sending.declared }
  const headers = { 'x-file-name': encodeURIComponent(sending.name), ...declared }
  const made = await client('POST', '/v1/uploads', { headers, body: bytes })
  if (made.status !== 201) throw new Error(`${sending.name}: ${made.status} ${made.bytes.toString()}`)
  const { data } = made.json<{ data: { mimetype: string; fileUrl: string } & Sent['facts'] }>()
  const back = await client('GET', data.fileUrl, { key: null })
  return {
    ...sending,
    mimetype: data.mimetype,
    facts: { width: data.width, height: data.height, duration: data.duration },
    served: {
      contentType: back.headers.get('content-type') ?? '',
      disposition: back.headers.get('content-disposition')?.split(';', 1)[0] ?? '',
      sandboxed: back.headers.get('content-security-policy')?.includes('sandbox') ?? false,
    },
    exact: back.status === 200 && sha256(back.bytes) === sha256(bytes),
  }
}
