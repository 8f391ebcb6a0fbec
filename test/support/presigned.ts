import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { refusalOf } from '../contracts/dialect.ts'
import { addKeys, type Answer, type Ask, type Client, clientOf } from './client.ts'
import type { TestGateway } from './gateway.ts'

/** How this dialect's errors look. */
export const shape = { errors: 'detail', errorType: 'application/json' } as const
export const base = '/api/v1/uploads'
export const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

export interface View {
  readonly id: string
  readonly user_id: string
  readonly workspace_id: string
  readonly filename: string
  readonly category: string
  readonly content_type: string | null
  readonly format: string | null
  readonly size_bytes: number | null
  readonly received_bytes: number
  readonly status: string
  readonly download_url: string | null
  readonly context_type: string | null
  readonly context_id: string | null
  readonly project_id: string | null
  readonly metadata: Record<string, string>
  readonly width: number | null
  readonly height: number | null
  readonly duration: number | null
  readonly sha256: string | null
  readonly codecs: readonly string[] | null
  readonly pages: number | null
  readonly charset: string | null
  readonly extra: Record<string, unknown>
  readonly rejection: { readonly code: string; readonly detail: string } | null
  readonly created_at: string
  readonly updated_at: string
}
export interface Meta {
  readonly request_id: string
  readonly timestamp: string
  readonly next_cursor?: string | null
}
export interface Created {
  readonly upload: View
  readonly upload_url: string
  readonly upload_headers: Record<string, string>
}
export interface Usage {
  readonly range: string
  readonly period: { readonly start: string; readonly end: string }
  readonly storage: Record<'used_bytes' | 'reserved_bytes' | 'quota_bytes' | 'percent', number | null>
  readonly uploads: Record<string, number>
  readonly daily: readonly { readonly date: string; readonly uploads: number; readonly bytes: number }[]
}

/** What the tests do with one workspace of one gateway. */
export function workspaceOf(call: Client) {
  const create = (body: object = {}): Promise<Answer> =>
    call('POST', base, { json: { filename: 'file.bin', category: 'other', ...body } })
  return {
    call,
    create,
    async made(body: object = {}): Promise<Created> {
      const answer = await create(body)
      expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 201 })
      return answer.json<{ data: Created }>().data
    },
    put: ({ upload_url: url, upload_headers: headers }: Created, body: Ask['body'], over: Ask = {}): Promise<Answer> =>
      call('PUT', url, { headers, key: null, ...(body === undefined ? {} : { body }), ...over }),
    confirm: (id: string, ask: Ask = {}): Promise<Answer> => call('POST', `${base}/${id}`, ask),
    async view(id: string): Promise<View> {
      const answer = await call('GET', `${base}/${id}`)
      expect(answer.status).toBe(200)
      return answer.json<{ data: View }>().data
    },
    async usage(): Promise<Usage> {
      return (await call('GET', '/api/v1/usage/summary')).json<{ data: Usage }>().data
    },
    async list(query = ''): Promise<{ ids: string[]; next: string | null; views: readonly View[] }> {
      const answer = await call('GET', base + query)
      expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 200 })
      const { data, meta } = answer.json<{ data: readonly View[]; meta: Meta }>()
      return { ids: data.map(({ id }) => id), next: meta.next_cursor ?? null, views: data }
    },
  }
}
export type Workspace = ReturnType<typeof workspaceOf>

export const viewOf = (answer: Answer): View => {
  expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 200 })
  return answer.json<{ data: View }>().data
}
export const refusal = (answer: Answer): string => refusalOf(answer, shape)

/** The places of all faults that a 422 lists, such as `body.filename`, in the order of the alphabet. */
export function faultsOf(answer: Answer): string[] {
  expect({ status: answer.status, body: answer.bytes.toString() }).toMatchObject({ status: 422 })
  const { detail, ...rest } = answer.json<{ detail: readonly { loc: readonly string[] }[] }>()
  expect(rest).toEqual({})
  for (const fault of detail)
    expect(fault).toEqual({
      loc: fault.loc,
      msg: expect.stringMatching(/\S/),
      type: expect.stringMatching(/^[a-z_]+$/),
    })
  return detail.map(({ loc }) => loc.join('.')).toSorted()
}

/** A workspace in which nothing is yet. */
export async function newWorkspace(on: TestGateway, workspaceId: string = randomUUID()): Promise<Workspace> {
  const { key } = await addKeys(on, { key: { workspaceId } })
  return workspaceOf(clientOf(on, key))
}

/** Sends the bytes of an upload that is made for them. */
export async function withBytes(
  workspace: Workspace,
  body: object = {},
  bytes: Ask['body'] = 'bytes',
): Promise<Created> {
  const made = await workspace.made(body)
  expect((await workspace.put(made, bytes)).status).toBe(200)
  return made
}

/** Categories that ask for something, and a plugin that refuses or delays by how a file begins. */
export const withRules = {
  plugins: `sniffType({ mode: 'reject', deny: ['application/x-msdownload'] }), quota(), {
    name: 'judge',
    async beforeFinish(bytes, ctx) {
      const text = Buffer.from(await bytes.bytes(0, 4)).toString()
      if (text === 'evil') ctx.reject('file_type_not_allowed', 'This file is evil.')
      if (text === 'huge') ctx.reject('quota_exceeded', 'There is no room.', { bytes_left: 0 })
      if (text === 'slow') await new Promise((resolve) => setTimeout(resolve, 1_500))
    },
  }`,
  more: `categories: {
    image: { types: ['image/*'], extensions: ['png', 'gif'], maxSize: 50_000 },
    other: {},
  }`,
}

/** Files that the rules refuse when their bytes are seen: file, creation, answer. */
export const refusedFiles: readonly (readonly [what: string, file: string, body: object, answer: string])[] = [
  ['a denied type', 'program.exe', { category: 'other' }, '415 file_type_not_allowed'],
  ['a type that the category does not take', 'ascii.pdf', {}, '415 file_type_not_allowed'],
  ['a type that was declared otherwise', 'animation.gif', { content_type: 'image/png' }, '415 content_type_mismatch'],
]
