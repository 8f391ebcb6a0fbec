import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type ErrorCode, errorTitles, storageUnavailable, UploadError } from '../src/errors.ts'
import { errorAnswer, errorStatuses } from '../src/http/problem.ts'

/** What the HTTP contract promises: other code may be added, none of these may change. */
const promised: Readonly<Record<number, readonly string[]>> = {
  400: ['validation_failed', 'invalid_json', 'empty_body', 'invalid_multipart'],
  401: ['unauthenticated', 'api_key_reserved', 'token_expired'],
  403: ['workspace_forbidden', 'project_forbidden', 'scope_missing', 'signature_invalid'],
  404: ['not_found'],
  405: ['method_not_allowed'],
  406: ['not_acceptable'],
  409: ['upload_not_received', 'upload_state_conflict', 'asset_referenced', 'idempotency_conflict'],
  410: ['upload_expired'],
  412: ['precondition_failed'],
  413: ['file_too_large', 'quota_exceeded', 'too_many_files'],
  415: ['unsupported_media_type', 'file_type_not_allowed', 'content_type_mismatch'],
  416: ['range_not_satisfiable'],
  422: ['checksum_mismatch', 'size_mismatch', 'idempotency_key_reused'],
  423: ['upload_locked'],
  429: ['rate_limited'],
  500: ['internal'],
  502: ['storage_failed'],
  503: ['not_ready'],
}

interface Row {
  readonly code: string
  readonly statuses: readonly number[]
  readonly title: string
  readonly when: string
  readonly remedy: string
}

const isCode = (name: string): name is ErrorCode => Object.hasOwn(errorTitles, name)
const codes = Object.keys(errorTitles).filter(isCode)
const presigned = { path: '/api/v1/uploads', method: 'POST', contentType: 'application/json' }
const raw = { path: '/v1/uploads', method: 'POST', contentType: 'application/octet-stream' }
const form = { path: '/api/v1/uploads', method: 'POST', contentType: 'multipart/form-data; boundary=x' }
const elsewhere = { path: '/readyz', method: 'GET', contentType: '' }

/** Every status that a code can have. */
function statusesOf(code: ErrorCode): Set<number> {
  const errors = [new UploadError(code, 'x'), new UploadError(code, 'x', { retryAfter: 1 })]
  return new Set(errors.flatMap((error) => [presigned, raw].map((asked) => errorAnswer(error, asked).status)))
}

let rows: Row[]
beforeAll(async () => {
  const page = await readFile(join(import.meta.dirname, '../docs/errors.md'), 'utf8')
  rows = page.split('\n').flatMap((line) => {
    const [, code = '', statuses = '', title = '', when = '', remedy = ''] = line.split('|').map((cell) => cell.trim())
    if (!/^`\w+`$/.test(code)) return []
    return [{ code: code.slice(1, -1), statuses: statuses.split(',').map(Number), title, when, remedy }]
  })
})

describe('the catalogue of errors', () => {
  it('has the same codes in the code, in HTTP and in the documentation', () => {
    expect(Object.keys(errorStatuses).toSorted()).toEqual(codes.toSorted())
    expect(rows.map(({ code }) => code).toSorted()).toEqual(codes.toSorted())
  })

  it.each(codes)('%s: documented with its title, its statuses, and what to do', (code) => {
    const row = rows.find((one) => one.code === code)
    expect(row?.title).toBe(errorTitles[code])
    expect(new Set(row?.statuses)).toEqual(statusesOf(code))
    expect(row?.statuses).toContain(errorStatuses[code])
    for (const sentence of [row?.when, row?.remedy]) expect(sentence).toMatch(/^[A-Z0-9`].{15,}\.$/)
  })

  it.each(Object.entries(promised).flatMap(([status, names]) => names.map((name) => [name, Number(status)] as const)))(
    '%s is %d',
    (code, status) => {
      expect(new Map<string, number>(Object.entries(errorStatuses)).get(code)).toBe(status)
    },
  )

  it('has codes in snake case and titles that no two share', () => {
    for (const code of codes) expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
    expect(new Set(Object.values(errorTitles)).size).toBe(codes.length)
  })
})

describe('an answer', () => {
  const faults = [
    { loc: ['body', 'filename'], msg: 'The name is empty.', type: 'string_too_short' },
    { loc: ['body', 'category'], msg: 'There is no such category.', type: 'invalid_value' },
  ]

  it('lists the faults, or tells them in one sentence', () => {
    const error = new UploadError('validation_failed', 'The request is not valid.', { faults })
    expect(errorAnswer(error, presigned)).toMatchObject({ status: 422, body: { detail: faults } })
    for (const asked of [raw, form]) {
      const { status, body } = errorAnswer(error, asked)
      expect(status).toBe(400)
      expect(body['detail']).toContain('The name is empty.')
      expect(body['detail']).toContain('There is no such category.')
    }
  })

  it.each([
    ['presigned', presigned, undefined],
    ['raw', raw, 'application/json'],
    ['form', form, 'application/problem+json'],
    ['elsewhere', elsewhere, 'application/problem+json'],
  ])('has the shape of its dialect: %s', (_name, asked, type) => {
    const { body, headers } = errorAnswer(
      new UploadError('quota_exceeded', 'No room.', { facts: { bytes_left: 7 } }),
      asked,
    )
    expect(headers['Content-Type']?.split(';')[0]).toBe(type)
    expect(body).toEqual(
      type === undefined
        ? { detail: 'No room.', error: 'Quota exceeded', error_code: 'quota_exceeded', bytes_left: 7 }
        : {
            type: 'PAYLOAD_TOO_LARGE',
            title: 'Quota exceeded',
            status: 413,
            detail: 'No room.',
            errorCode: 'QUOTA_EXCEEDED',
            bytes_left: 7,
          },
    )
  })

  it.each([
    ['not_found', 'NOT_FOUND'],
    ['range_not_satisfiable', 'RANGE_NOT_SATISFIABLE'],
    ['checksum_mismatch', 'UNPROCESSABLE_ENTITY'],
    ['chunk_checksum_mismatch', 'CHECKSUM_MISMATCH'],
    ['internal', 'INTERNAL_SERVER_ERROR'],
  ] as const)('of the code %s has the type %s', (code, type) => {
    expect(errorAnswer(new UploadError(code, 'x'), raw).body['type']).toBe(type)
  })

  it('tells nothing of a bug', () => {
    for (const asked of [presigned, raw]) {
      const answer = errorAnswer(new TypeError('secret of host db-1.internal'), asked)
      expect(answer.status).toBe(500)
      expect(JSON.stringify(answer)).not.toMatch(/secret|db-1|TypeError|at .*:\d+/)
    }
  })

  it('tells nothing of a cause', () => {
    const error = new UploadError('storage_failed', 'The object could not be written.', {
      cause: new Error('ENOSPC /srv/data'),
    })
    expect(JSON.stringify(errorAnswer(error, presigned))).not.toMatch(/ENOSPC|srv/)
  })

  it('is 503 with Retry-After where trying again helps, 502 where not', () => {
    const away = errorAnswer(storageUnavailable('The store is away.'), raw)
    expect(away.status).toBe(503)
    expect(Number(away.headers['Retry-After'])).toBeGreaterThan(0)
    const wrong = errorAnswer(new UploadError('storage_failed', 'The store answered wrongly.'), raw)
    expect(wrong.status).toBe(502)
    expect(wrong.headers['Retry-After']).toBeUndefined()
  })

  it.each(['unauthenticated', 'api_key_reserved', 'token_expired'] as const)('%s asks for credentials', (code) => {
    expect(errorAnswer(new UploadError(code, 'x'), raw).headers['WWW-Authenticate']).toMatch(/^Bearer/)
  })
})
