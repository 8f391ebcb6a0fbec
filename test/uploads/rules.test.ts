import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Rejection, UploadError } from '../../src/errors.ts'
import {
  checkDraft,
  checkFound,
  cleanName,
  codePoints,
  nameFault,
  type Policy,
  sizeLimit,
  typeMatches,
} from '../../src/uploads/policy.ts'
import { demandProject, demandScope, isUuid } from '../../src/uploads/principal.ts'
import { tokens } from '../../src/uploads/tokens.ts'
import { type ArrivalTerms, uploadUrls } from '../../src/uploads/upload-url.ts'
import type { Upload } from '../../src/uploads/upload.ts'
import { sampleUpload } from '../support/plugin-harness.ts'
import { type Backend, sqliteBackend } from '../support/records.ts'
import { draft, principal } from '../support/rig.ts'

const thrownBy = (call: () => unknown): unknown => {
  try {
    call()
  } catch (error) {
    return error
  }
  return undefined
}
const codeOf = (call: () => unknown): string | undefined => {
  const error = thrownBy(call)
  return error instanceof UploadError ? error.code : undefined
}

const policy: Policy = {
  maxFileSize: 1_000,
  projectMode: 'open',
  categories: {
    any: {},
    image: { types: ['image/*'], maxSize: 100 },
    page: { extensions: ['html', 'htm'], types: ['text/html'] },
    large: { maxSize: 5_000 },
  },
}

describe('names', () => {
  it.each([
    ['photo.jpg', undefined],
    ['  spaces around  ', undefined],
    ['é'.repeat(255), undefined],
    ['😀'.repeat(255), undefined],
    ['..', undefined],
    ['', /empty/],
    [' \t ', /empty/],
    ['a'.repeat(256), /more than 255/],
    ['a/b', /slash/],
    ['a\\b', /slash/],
    ['a\u0000b', /control/],
    ['a\nb', /control/],
    ['a\u0085b', /control/],
  ])('that JSON brings: %j', (name, fault) => {
    expect(nameFault(name) ?? '').toMatch(fault ?? /^$/)
  })

  it.each([
    ['photo.jpg', 'photo.jpg'],
    ['C:\\Users\\me\\photo.jpg', 'photo.jpg'],
    ['/etc/../photo.jpg', 'photo.jpg'],
    ['a\u0000b\u001f.txt', 'ab.txt'],
    [' a.txt ', 'a.txt'],
    ['...', '...'],
    ['a\r\nb.txt', 'ab.txt'],
    ['/storage/emulated/0/DCIM/a.jpg', 'a.jpg'],
    ['file:///a.jpg', 'a.jpg'],
    ['much-too-long.jpg', 'much-too.jpg'],
    ['much-too-long', 'much-too-lon'],
    ['a.much-too-long-to-be-an-extension', 'a.much-too-l'],
    ['.much-too-long', '.much-too-lo'],
    ['😀😀😀😀😀😀😀😀😀😀😀😀.jpg', '😀😀😀😀😀😀😀😀.jpg'],
  ])('that devices send: %j', (name, cleaned) => {
    expect(cleanName(name, 12)).toBe(cleaned)
  })

  it.each(['', ' ', '.', '..', 'a/', 'a/..', '\u0000', 'a\\ . '])(
    'of which nothing is left are refused: %j',
    (name) => {
      expect(codeOf(() => cleanName(name, 12))).toBe('validation_failed')
    },
  )

  it('are as long as a person counts', () => {
    expect(codePoints('a😀é')).toBe(3)
  })
})

describe('rules', () => {
  it('of size are the stricter of the category’s and the installation’s', () => {
    expect(
      [null, 'any', 'image', 'large', 'unknown', 'toString'].map((category) => sizeLimit(policy, category)),
    ).toEqual([1_000, 1_000, 100, 1_000, 1_000, 1_000])
  })

  it.each([
    ['image/*', 'image/png', true],
    ['image/*', 'IMAGE/PNG; charset=x', true],
    ['image/*', 'imagemagick/png', false],
    ['image/*', 'image', false],
    ['text/html', 'text/html;charset=utf-8', true],
    ['text/html', 'text/htmlx', false],
    ['*/*', 'a/b', true],
  ])('the type %s takes %s: %s', (pattern, type, takes) => {
    expect(typeMatches(pattern, type)).toBe(takes)
  })

  it.each([
    [{ category: 'any' }, undefined],
    [{ category: null }, undefined],
    [{ category: 'nothing' }, 'validation_failed'],
    [{ category: 'constructor' }, 'validation_failed'],
    [{ category: 'image', declaredSize: 100 }, undefined],
    [{ category: 'image', declaredSize: 101 }, 'file_too_large'],
    [{ declaredSize: 1_001 }, 'file_too_large'],
    [{ category: 'image', declaredType: 'text/html' }, 'file_type_not_allowed'],
    [{ category: 'page', filename: 'a.HTM' }, undefined],
    [{ category: 'page', filename: 'a.html.exe' }, 'file_type_not_allowed'],
    [{ category: 'page', filename: 'html' }, 'file_type_not_allowed'],
  ])('for what is announced, %j', (over, code) => {
    const error = thrownBy(() => checkDraft(policy, draft(over)))
    expect(error instanceof UploadError ? error.code : error).toBe(code)
    // Nothing is there that could be rejected.
    expect(error).not.toBeInstanceOf(Rejection)
  })

  it.each([
    [{ size: 1_000 }, undefined],
    [{ size: null }, undefined],
    [{ size: 1_001 }, 'file_too_large'],
    [{ category: 'image', properties: { contentType: 'image/gif', format: 'gif' } }, undefined],
    [{ category: 'image', properties: { contentType: 'text/html', format: 'html' } }, 'file_type_not_allowed'],
    [{ category: 'page', properties: { contentType: 'text/html', format: 'html' } }, 'file_type_not_allowed'],
  ])('for what is found, %j', (over, code) => {
    const error = thrownBy(() => checkFound(policy, sampleUpload(over)))
    expect(error instanceof Rejection ? error.code : error).toBe(code)
  })
})

describe('a principal', () => {
  it('needs the scope', () => {
    const reads = { ...principal, scopes: ['uploads:read'] } as const
    expect(codeOf(() => demandScope(reads, 'uploads:read'))).toBeUndefined()
    expect(codeOf(() => demandScope(reads, 'uploads:write'))).toBe('scope_missing')
  })

  it('keeps to its projects', () => {
    const limited = { ...principal, projects: ['p'] }
    expect(codeOf(() => demandProject(limited, 'p'))).toBeUndefined()
    expect(codeOf(() => demandProject(limited, null))).toBeUndefined()
    expect(codeOf(() => demandProject(limited, 'q'))).toBe('project_forbidden')
    expect(codeOf(() => demandProject(principal, 'q'))).toBeUndefined()
    expect(codeOf(() => demandProject({ ...principal, projects: [] }, 'q'))).toBe('project_forbidden')
  })

  it('names uploads by UUIDs', () => {
    expect(['0192f0c1-0000-7000-8000-00000000000a', '0192F0C1-0000-7000-8000-00000000000A'].map(isUuid)).toEqual([
      true,
      true,
    ])
    for (const text of ['', 'x', '0192f0c1000070008000000000000001', "0192f0c1-0000-7000-8000-00000000000'"])
      expect(isUuid(text)).toBe(false)
  })
})

describe('tokens', () => {
  const own = tokens(Buffer.from('secret'.repeat(6)))

  it('prove what was signed, and nothing else', () => {
    const parts = ['a', 1, null]
    const signature = own.sign('put', parts)
    expect(signature).toMatch(/^[\w-]{43}$/)
    expect(own.verify('put', parts, signature)).toBe(true)
    expect(own.verify('download', parts, signature)).toBe(false)
    expect(tokens(Buffer.from('other'.repeat(7))).verify('put', parts, signature)).toBe(false)
    for (const others of [
      ['a', 1],
      ['a', 1, null, null],
      ['a', '1', null],
      ['a', 1, ''],
      [null, 1, 'a'],
      ['a,1', null],
    ])
      expect(own.verify('put', others, signature)).toBe(false)
    for (const wrong of ['', 'x', signature.slice(1), `${signature.slice(0, -2)}00`, 'é'.repeat(43)])
      expect(own.verify('put', parts, wrong)).toBe(false)
  })

  it('prove what an earlier secret has signed, and are signed with the present one', () => {
    const older = tokens(Buffer.from('older'.repeat(7)))
    const both = tokens(Buffer.from('newer'.repeat(7)), [
      Buffer.from('secret'.repeat(6)),
      Buffer.from('older'.repeat(7)),
    ])
    for (const earlier of [own, older]) expect(both.verify('put', ['a'], earlier.sign('put', ['a']))).toBe(true)
    expect(both.sign('put', ['a'])).toBe(tokens(Buffer.from('newer'.repeat(7))).sign('put', ['a']))
    expect(own.verify('put', ['a'], both.sign('put', ['a']))).toBe(false)
  })

  it('keep parts apart', () => {
    expect(own.sign('put', ['ab', 'c'])).not.toBe(own.sign('put', ['a', 'bc']))
    expect(own.sign('put', ['a', 'b'])).not.toBe(own.sign('put', ['a","b']))
  })
})

describe('an upload URL', () => {
  const ttlMs = 60_000
  const signing = tokens(Buffer.from('secret'.repeat(6)))
  const declared = sampleUpload({
    state: 'pending',
    createdAt: Date.now(),
    declaredSize: 7,
    declaredType: 'image/PNG',
    declaredChecksum: { algorithm: 'md5', digest: 'x' },
  })

  let backend: Backend
  beforeAll(async () => void (backend = await sqliteBackend()))
  afterAll(() => backend.close())

  type Over = Partial<Record<'id' | 'expires' | 'signature' | 'finish' | 'contentType' | 'md5' | 'disposition', string>>

  /** Verifies a URL that was made for `made`, when the records know `known`. */
  async function verify(made: Upload, known: Upload | undefined = made, over: Over = {}, arrival?: ArrivalTerms) {
    const get = async (id: string) => (known?.id === id ? known : undefined)
    const urls = uploadUrls({ records: { ...backend.records, get }, store: {}, tokens: signing, ttlMs })
    const { url: text, headers } = await urls.make(made, 'http://host', arrival)
    const url = new URL(text)
    const sent: Record<string, string | undefined> = {
      'content-type': over.contentType ?? headers['Content-Type'],
      'content-md5': over.md5 ?? headers['Content-MD5'],
      'content-disposition': over.disposition ?? headers['Content-Disposition'],
    }
    return urls.verify({
      id: url.pathname.split('/').at(-1) ?? '',
      expires: url.searchParams.get('expires') ?? '',
      signature: url.searchParams.get('signature') ?? '',
      finish: url.searchParams.get('finish') ?? '',
      header: (name) => sent[name.toLowerCase()] ?? '',
      ...over,
    })
  }

  it('asks for the declared type, and for none where none was declared', async () => {
    const urls = uploadUrls({ records: backend.records, store: {}, tokens: signing, ttlMs })
    const made = await urls.make(declared, 'http://host')
    expect(made.headers).toEqual({ 'Content-Type': 'image/PNG' })
    expect(made.url).toMatch(/^http:\/\/host\/presigned\/upload\/[0-9a-f-]{36}\?expires=\d{10}&signature=[\w-]{43}$/)
    expect((await urls.make(sampleUpload(), 'http://host')).headers).toEqual({})
  })

  it('is good for what was declared', async () => {
    expect(await verify(declared)).toMatchObject({ upload: declared, finish: 'confirm' })
    expect(await verify(declared, { ...declared, state: 'receiving' })).toMatchObject({
      upload: { state: 'receiving' },
    })
    expect((await verify(declared, declared, { contentType: ' Image/png ' })).upload).toBe(declared)
    const plain = sampleUpload({ state: 'pending', createdAt: Date.now() })
    expect((await verify(plain, plain, { contentType: 'text/plain' })).upload).toBe(plain)
  })

  describe('of an upload that nobody confirms', () => {
    const terms = { disposition: 'attachment; filename="a.png"' }

    it('asks for every header that it gives', async () => {
      const urls = uploadUrls({ records: backend.records, store: {}, tokens: signing, ttlMs })
      const { headers } = await urls.make(declared, 'http://host', terms)
      expect(headers).toEqual({
        'Content-Type': 'image/PNG',
        'Content-MD5': 'x',
        'Content-Disposition': terms.disposition,
      })
      expect(await verify(declared, declared, {}, terms)).toMatchObject({ upload: declared, finish: 'arrival' })
    })

    it.each<[string, Over]>([
      ['the Content-Type', { contentType: 'image/gif' }],
      ['the Content-MD5', { md5: 'y' }],
      ['the Content-MD5 away', { md5: '' }],
      ['the Content-Disposition', { disposition: 'inline' }],
      ['the Content-Disposition away', { disposition: '' }],
      ['that it needs no confirm', { finish: '' }],
    ])('cannot be changed: %s', async (_what, over) => {
      await expect(verify(declared, declared, over, terms)).rejects.toMatchObject({ code: 'signature_invalid' })
    })

    it('is not made of one that somebody confirms', async () => {
      await expect(verify(declared, declared, { finish: 'arrival' })).rejects.toMatchObject({
        code: 'signature_invalid',
      })
    })
  })

  it.each([
    ['another size', { declaredSize: 8 }],
    ['no size', { declaredSize: null }],
    ['another type', { declaredType: 'image/jpeg' }],
    ['another checksum', { declaredChecksum: { algorithm: 'md5', digest: 'y' } as const }],
    ['no checksum', { declaredChecksum: null }],
  ])('is not good for %s', async (_what, over) => {
    await expect(verify(declared, { ...declared, ...over })).rejects.toMatchObject({ code: 'signature_invalid' })
  })

  it.each([
    ['the expiry', { expires: String(Math.floor(Date.now() / 1_000) + 9_999) }],
    ['the expiry to nonsense', { expires: '1e99' }],
    ['the signature', { signature: 'x' }],
    ['the id', { id: '0192f0c1-0000-7000-8000-00000000000b' }],
    ['the id to nonsense', { id: 'x' }],
    ['the Content-Type', { contentType: 'image/gif' }],
    ['the Content-Type away', { contentType: '' }],
  ])('cannot be changed: %s', async (_what, over) => {
    await expect(verify(declared, declared, over)).rejects.toMatchObject({ code: 'signature_invalid' })
  })

  it('says the same of an upload that never was as of a wrong signature', async () => {
    const wrong = await verify(declared, declared, { signature: 'x' }).catch((error: unknown) => error)
    const none = await verify(declared, undefined, { id: '0192f0c1-0000-7000-8000-00000000000c' }).catch(
      (e: unknown) => e,
    )
    expect(none).toMatchObject({ code: 'signature_invalid' })
    expect(String(none)).toBe(String(wrong))
  })

  it.each([
    ['expired', 'upload_expired'],
    ['processing', 'upload_state_conflict'],
    ['ready', 'upload_state_conflict'],
    ['rejected', 'upload_state_conflict'],
  ] as const)('of an upload that is %s takes nothing', async (state, code) => {
    await expect(verify(declared, { ...declared, state })).rejects.toMatchObject({ code })
  })

  it('ends with its time', async () => {
    const old = { ...declared, createdAt: Date.now() - ttlMs - 1_000 }
    await expect(verify(old)).rejects.toMatchObject({ code: 'upload_expired' })
    expect(await verify({ ...declared, createdAt: Date.now() - ttlMs + 5_000 })).toMatchObject({ finish: 'confirm' })
  })
})
