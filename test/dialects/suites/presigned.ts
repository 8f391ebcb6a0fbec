import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../src/errors.ts'
import { dialectContract } from '../../contracts/dialect.ts'
import { addKeys, type Ask, clientOf, command, eventually, md5, oddId, pause, sha256 } from '../../support/client.ts'
import type { TestGateway } from '../../support/gateway.ts'
import { type Place, strays } from '../../support/places.ts'
import {
  base,
  type Created,
  faultsOf,
  type Meta,
  newWorkspace,
  refusal,
  shape,
  time,
  viewOf,
  withBytes,
  withRules,
  type Workspace,
  workspaceOf,
} from '../../support/presigned.ts'
import { samplePath } from '../../support/samples.ts'

const maxFileSize = 300_000 // bytes
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** What this API does wherever the files are. What comes of a PUT that is not as it must be depends on who takes it: see the callers. */
export function presignedSuite(place: Place): void {
  let gateway: TestGateway
  let ours: Workspace
  beforeAll(async () => {
    gateway = await place.start({ env: { FAIRLEAD_MAX_FILE_SIZE: String(maxFileSize) } })
    ours = workspaceOf(clientOf(gateway, gateway.key))
  })
  afterAll(() => gateway.close())

  dialectContract('presigned', {
    gateway: () => gateway,
    ...shape,
    endpoints: [
      {
        method: 'POST',
        path: () => base,
        ask: () => ({ json: { filename: 'a.txt', category: 'document' } }),
        status: 201,
        scope: 'uploads:write',
        one: false,
      },
      { method: 'GET', path: () => base, status: 200, scope: 'uploads:read', one: false },
      { method: 'GET', path: (id) => `${base}/${id}`, status: 200, scope: 'uploads:read', one: true },
      { method: 'POST', path: (id) => `${base}/${id}`, status: 200, scope: 'uploads:write', one: true },
      { method: 'POST', path: (id) => `${base}/${id}/confirm`, status: 200, scope: 'uploads:write', one: true },
      { method: 'DELETE', path: (id) => `${base}/${id}`, status: 200, scope: 'uploads:write', one: true },
      { method: 'GET', path: () => '/api/v1/usage/summary', status: 200, scope: 'uploads:read', one: false },
      { method: 'GET', path: () => '/api/v1/auth/whoami', status: 200, scope: null, one: false },
    ],
  })

  describe('create', () => {
    it('answers with the upload, its URL and the request’s facts', async () => {
      const before = Date.now()
      const answer = await ours.create({ filename: 'data_analysis_script.py', category: 'script' })
      expect(answer.status).toBe(201)
      const { data, meta } = answer.json<{ data: Created; meta: Meta }>()
      expect(data.upload).toEqual({
        id: expect.stringMatching(uuid7),
        user_id: 'admin',
        workspace_id: 'default',
        filename: 'data_analysis_script.py',
        category: 'script',
        content_type: 'text/x-python',
        format: 'py',
        size_bytes: null,
        received_bytes: 0,
        status: 'pending',
        download_url: null,
        context_type: null,
        context_id: null,
        metadata: {},
        width: null,
        height: null,
        duration: null,
        project_id: null,
        sha256: null,
        codecs: null,
        pages: null,
        charset: null,
        extra: {},
        rejection: null,
        created_at: expect.stringMatching(time),
        updated_at: data.upload.created_at,
      })
      expect(Date.parse(data.upload.created_at)).toBeGreaterThan(before - 1_000)
      expect(data.upload_headers).toEqual({})
      expect(meta).toEqual({
        request_id: answer.headers.get('x-request-id'),
        timestamp: expect.stringMatching(time),
      })
    })

    it('keeps everything that may be declared', async () => {
      const digest = sha256(Buffer.from('x'.repeat(2_048)), 'base64')
      const { upload } = await ours.made({
        filename: 'photo.jpg',
        category: 'image',
        content_type: 'image/jpeg',
        size_bytes: 2_048,
        checksum: `sha256:${digest}`,
        context_type: 'project',
        context_id: '9f8e7d6c',
        metadata: { album: 'Zürich', empty: '' },
      })
      expect(upload).toMatchObject({
        content_type: 'image/jpeg',
        format: 'jpeg',
        size_bytes: 2_048,
        received_bytes: 0,
        context_type: 'project',
        context_id: '9f8e7d6c',
        metadata: { album: 'Zürich', empty: '' },
      })
      expect(await ours.view(upload.id)).toEqual(upload)
    })

    it('takes null for what is not there, and ignores what it does not know', async () => {
      const nothing = {
        content_type: null,
        size_bytes: null,
        checksum: null,
        context_type: null,
        context_id: null,
        metadata: null,
      }
      const { upload } = await ours.made({ ...nothing, id: 'mine', status: 'confirmed', workspace_id: 'other', x: [1] })
      expect(upload).toMatchObject({ workspace_id: 'default', status: 'pending', metadata: {}, size_bytes: null })
      expect(upload.id).toMatch(uuid7)
    })

    it.each(['script', 'dictionary', 'document', 'image', 'audio', 'video', 'archive', 'data', 'other'])(
      'takes the category %s',
      async (category) => {
        expect((await ours.made({ category })).upload.category).toBe(category)
      },
    )

    it.each([
      ['blanks around it', '  a.txt \n', 'a.txt'],
      ['255 characters', 'n'.repeat(255), 'n'.repeat(255)],
      ['255 characters beyond the basic plane', '😀'.repeat(255), '😀'.repeat(255)],
      ['255 characters and blanks', ` ${'é'.repeat(255)} `, 'é'.repeat(255)],
      ['other alphabets', 'Grüße 日本 مرحبا.txt', 'Grüße 日本 مرحبا.txt'],
      ['quotes, semicolons, percent signs', `a"b'c;d%2Fe<f>.txt`, `a"b'c;d%2Fe<f>.txt`],
      ['a name of __proto__', '__proto__', '__proto__'],
    ])('takes a name of %s', async (_what, given, filename) => {
      const { upload } = await ours.made({ filename: given })
      expect(upload.filename).toBe(filename)
      expect((await ours.view(upload.id)).filename).toBe(filename)
    })

    it('does not fall over half of a character', async () => {
      const { upload } = await ours.made({ filename: '\ud800.txt' })
      expect((await ours.view(upload.id)).filename).toMatch(/^.\.txt$/)
    })

    it.each([
      ['empty', ''],
      ['blank', ' \t\n'],
      ['of 256 characters', 'n'.repeat(256)],
      ['of 256 characters beyond the basic plane', '😀'.repeat(256)],
      ['with a slash', 'a/b'],
      ['with a backslash', String.raw`a\b`],
      ['with a line break', 'a\nb'],
      ['with a NUL', 'a\0b'],
      ['with DEL', 'a\u007fb'],
      ['with a C1 control', 'a\u0085b'],
      ['that is a number', 1],
      ['that is null', null],
      ['that is a list', ['a']],
    ])('refuses a name %s', async (_what, filename) => {
      expect(faultsOf(await ours.create({ filename }))).toEqual(['body.filename'])
    })

    it.each([
      ['an unknown category', { category: 'movies' }, 'category'],
      ['a category in capitals', { category: 'IMAGE' }, 'category'],
      ['a category that is part of every object', { category: 'constructor' }, 'category'],
      ['a category of null', { category: null }, 'category'],
      ['a content_type without a slash', { content_type: 'png' }, 'content_type'],
      ['a content_type with a line break', { content_type: 'text/plain;\r\nX-Evil: 1' }, 'content_type'],
      ['a negative size', { size_bytes: -1 }, 'size_bytes'],
      ['a fraction of a byte', { size_bytes: 1.5 }, 'size_bytes'],
      ['a size as text', { size_bytes: '5' }, 'size_bytes'],
      ['a size beyond all integers', { size_bytes: 1e300 }, 'size_bytes'],
      ['a context_type alone', { context_type: 'project' }, 'context_id'],
      ['a context_id alone', { context_id: '1' }, 'context_id'],
      ['metadata that is a list', { metadata: ['a'] }, 'metadata'],
      ['metadata that is text', { metadata: 'a' }, 'metadata'],
    ])('refuses %s', async (_what, body, field) => {
      expect(faultsOf(await ours.create(body))).toEqual([`body.${field}`])
    })

    it.each([
      ['hexadecimal', `sha256:${sha256(Buffer.from('x'))}`],
      ['without end', `sha256:${'A'.repeat(1_000)}`],
      ['too short', `sha256:${md5(Buffer.from('x'))}`],
      ['too long', `md5:${sha256(Buffer.from('x'), 'base64')}`],
      ['without an algorithm', sha256(Buffer.from('x'), 'base64')],
      ['of another algorithm', 'sha1:2jmj7l5rSw0yVb/vlWAYkK/YBwk='],
      ['without its padding', `md5:${md5(Buffer.from('x')).replace('==', '')}`],
      ['in the alphabet of URLs', `sha256:${'_'.repeat(42)}8=`],
      ['with stray bits', `md5:${'A'.repeat(21)}B==`],
    ])('refuses a checksum %s', async (_what, checksum) => {
      expect(faultsOf(await ours.create({ checksum }))).toEqual(['body.checksum'])
    })

    it('takes 4 KiB of metadata and not a byte more', async () => {
      const frame = Buffer.byteLength(JSON.stringify({ key: '' }))
      const full = { key: 'é'.repeat((4_096 - frame) / 2) + 'e'.repeat((4_096 - frame) % 2) }
      expect((await ours.made({ metadata: full })).upload.metadata).toEqual(full)
      expect(faultsOf(await ours.create({ metadata: { key: `${full.key}!` } }))).toEqual(['body.metadata'])
    })

    it('takes blank fields for none', async () => {
      const blank = {
        content_type: '',
        checksum: ' ',
        size_bytes: '',
        context_type: '',
        context_id: '\t',
        metadata: '',
      }
      const { upload } = await ours.made({ filename: 'a.txt', ...blank })
      expect(upload).toMatchObject({
        content_type: 'text/plain',
        size_bytes: null,
        context_type: null,
        context_id: null,
      })
      expect((await ours.confirm(upload.id, { json: { context_type: '', context_id: '' } })).status).toBe(409)
    })

    it('keeps keys of metadata that objects have anyway', async () => {
      const text = '{"__proto__":"x","constructor":"y","toString":"z"}'
      const body = `{"filename":"a.txt","category":"other","metadata":${text}}`
      const answer = await ours.call('POST', base, { body, headers: { 'Content-Type': 'application/json' } })
      const { id } = answer.json<{ data: { upload: { id: string } } }>().data.upload
      for (const { bytes } of [answer, await ours.call('GET', `${base}/${id}`)])
        expect(bytes.toString()).toContain(text)
      const lying = body.replace('"x"', '{"polluted":"yes"}')
      expect(
        faultsOf(await ours.call('POST', base, { body: lying, headers: { 'Content-Type': 'application/json' } })),
      ).toEqual(['body.metadata.__proto__'])
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
    })

    it('words its faults as the framework of the page does', async () => {
      const long = 'n'.repeat(256)
      const { detail } = (
        await ours.call('POST', base, {
          json: {
            filename: '',
            category: 'movies',
            content_type: 1,
            size_bytes: -1,
            context_type: long,
            context_id: long,
          },
        })
      ).json<{ detail: readonly { loc: string[]; msg: string; type: string }[] }>()
      const said = Object.fromEntries(detail.map(({ loc, msg, type }) => [loc.at(-1), [type, msg]]))
      expect(said).toEqual({
        filename: ['string_too_short', 'String should have at least 1 character'],
        category: ['enum', expect.stringMatching(/^Input should be 'script', .* or 'other'$/)],
        content_type: ['string_type', 'Input should be a valid string'],
        size_bytes: ['greater_than_equal', 'Input should be greater than or equal to 0'],
        context_type: ['string_too_long', 'String should have at most 255 characters'],
        context_id: ['string_too_long', 'String should have at most 255 characters'],
      })
    })

    it.each([
      [{ category: 'other' }, 'missing', 'Field required'],
      [{ category: 'other', filename: null }, 'string_type', 'Input should be a valid string'],
      [
        { category: 'other', filename: 'n'.repeat(256) },
        'string_too_long',
        'String should have at most 255 characters',
      ],
      [{ category: 'other', filename: 'a/b' }, 'value_error', 'Value error, The name holds a slash or backslash.'],
      [{ category: 'other', filename: 'a', size_bytes: '5' }, 'int_type', 'Input should be a valid integer'],
      [
        { category: 'other', filename: 'a', size_bytes: 1.5 },
        'int_from_float',
        'Input should be a valid integer, got a number with a fractional part',
      ],
      [{ category: 'other', filename: 'a', metadata: [] }, 'dict_type', 'Input should be a valid dictionary'],
      [[], 'model_attributes_type', 'Input should be a valid dictionary or object to extract fields from'],
    ])('says of %j: %s', async (json, type, msg) => {
      expect((await ours.call('POST', base, { json })).json()).toMatchObject({ detail: [{ type, msg }] })
    })

    it.each([
      ['limit=ten', 'int_parsing', 'Input should be a valid integer, unable to parse string as an integer'],
      ['limit=0', 'greater_than_equal', 'Input should be greater than or equal to 1'],
      ['status=x', 'enum', "Input should be 'pending', 'processing', 'confirmed', 'rejected' or 'expired'"],
      ['cursor=x', 'uuid_parsing', 'Input should be a valid UUID'],
      ['created_after=x', 'datetime_parsing', 'Input should be a valid datetime'],
      ['staus=x', 'extra_forbidden', 'Extra inputs are not permitted'],
    ])('says of the query %s: %s', async (query, type, msg) => {
      expect((await ours.call('GET', `${base}?${query}`)).json()).toMatchObject({ detail: [{ type, msg }] })
    })

    it('takes only text in metadata', async () => {
      const metadata = { good: 'x', number: 1, nothing: null, nested: {} }
      expect(faultsOf(await ours.create({ metadata }))).toEqual([
        'body.metadata.nested',
        'body.metadata.nothing',
        'body.metadata.number',
      ])
    })

    it('tells every fault at once', async () => {
      expect(faultsOf(await ours.call('POST', base, { json: {} }))).toEqual(['body.category', 'body.filename'])
      expect(
        faultsOf(
          await ours.call('POST', base, {
            json: {
              filename: 'a/b',
              category: 'nothing',
              content_type: 'x',
              size_bytes: -1,
              checksum: 'crc32:0',
              context_type: 'alone',
              metadata: [],
            },
          }),
        ),
      ).toEqual([
        'body.category',
        'body.checksum',
        'body.content_type',
        'body.context_id',
        'body.filename',
        'body.metadata',
        'body.size_bytes',
      ])
      expect(faultsOf(await ours.call('POST', base, { json: { category: 'other', context_id: 'alone' } }))).toEqual([
        'body.context_id',
        'body.filename',
      ])
    })

    it.each([['null'], ['[]'], ['"text"'], ['1']])('refuses %s as a body', async (body) => {
      expect(
        faultsOf(await ours.call('POST', base, { body, headers: { 'Content-Type': 'application/json' } })),
      ).toEqual(['body'])
    })

    it.each(['{', '', '{"filename":', "{'filename': 'a'}", 'NaN', Buffer.from([0x22, 0xff, 0x22])])(
      'refuses what is no JSON: %j',
      async (body) => {
        const answer = await ours.call('POST', base, { body, headers: { 'Content-Type': 'application/json' } })
        expect(refusal(answer)).toBe('400 invalid_json')
      },
    )

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/octet-stream'])(
      'takes no %s',
      async (type) => {
        const body = JSON.stringify({ filename: 'a', category: 'other' })
        expect(refusal(await ours.call('POST', base, { body, headers: { 'Content-Type': type } }))).toBe(
          '415 unsupported_media_type',
        )
      },
    )

    it.each(['application/json; charset=utf-8', 'Application/JSON'])('takes %s', async (type) => {
      const body = JSON.stringify({ filename: 'a', category: 'other' })
      expect((await ours.call('POST', base, { body, headers: { 'Content-Type': type } })).status).toBe(201)
    })

    it('refuses a declared size beyond the limit, and takes the limit itself', async () => {
      expect(refusal(await ours.create({ size_bytes: maxFileSize + 1 }))).toBe('413 file_too_large')
      expect((await ours.made({ size_bytes: maxFileSize })).upload.size_bytes).toBe(maxFileSize)
    })

    it('refuses a declared size beyond what quota, use and reservations leave', async () => {
      const id = randomUUID()
      const small = await newWorkspace(gateway, id)
      await command(gateway, 'workspaces', 'set-quota', id, '1000')
      const first = await small.made({ size_bytes: 300 })
      await small.put(first, randomBytes(300))
      expect((await small.confirm(first.upload.id)).status).toBe(200)
      const second = await small.made({ size_bytes: 500 })
      const third = await small.create({ size_bytes: 201 })
      expect(refusal(third)).toBe('413 quota_exceeded')
      expect(third.json()).toMatchObject({ bytes_left: 200 })
      await small.call('DELETE', `${base}/${second.upload.id}`)
      await small.made({ size_bytes: 700 })
      expect(refusal(await small.create({ size_bytes: 1 }))).toBe('413 quota_exceeded')
      expect((await small.usage()).storage).toEqual({
        used_bytes: 300,
        reserved_bytes: 700,
        quota_bytes: 1_000,
        percent: 30,
      })
    })
  })

  describe('PUT to the upload URL', () => {
    it('takes the bytes, which are confirmed then', async () => {
      const bytes = randomBytes(123_456)
      const made = await ours.made({ filename: 'noise.dat' })
      expect((await ours.put(made, bytes)).status).toBe(200)
      expect(await ours.view(made.upload.id)).toMatchObject({ status: 'pending', download_url: null })
      const upload = viewOf(await ours.confirm(made.upload.id))
      expect(upload).toEqual({
        ...made.upload,
        sha256: place.takesPuts ? sha256(bytes) : null,
        extra: { 'sniff-type': expect.objectContaining({ found: 'application/octet-stream' }) },
        content_type: 'application/octet-stream',
        format: upload.format,
        size_bytes: 123_456,
        received_bytes: 123_456,
        status: 'confirmed',
        download_url: expect.stringContaining(`${gateway.url}/`),
        updated_at: expect.stringMatching(time),
      })
      const file = await ours.call('GET', upload.download_url ?? '', { key: null })
      expect(sha256(file.bytes)).toBe(sha256(bytes))
    })

    it('takes exactly what was declared', async () => {
      const bytes = await readFile(samplePath({ file: 'picture.png' }))
      for (const checksum of [`sha256:${sha256(bytes, 'base64')}`, `md5:${md5(bytes)}`]) {
        const made = await ours.made({
          filename: 'picture.png',
          category: 'image',
          content_type: 'image/png',
          size_bytes: bytes.length,
          checksum,
        })
        expect((await ours.put(made, bytes)).status).toBe(200)
        expect(viewOf(await ours.confirm(made.upload.id))).toMatchObject({
          status: 'confirmed',
          content_type: 'image/png',
          format: 'png',
        })
      }
    })

    it('takes a file of 0 bytes', async () => {
      for (const declared of [{ size_bytes: 0 }, {}]) {
        const made = await ours.made(declared)
        expect((await ours.put(made, '')).status).toBe(200)
        const upload = viewOf(await ours.confirm(made.upload.id))
        expect(upload).toMatchObject({ status: 'confirmed', size_bytes: 0, received_bytes: 0 })
        const file = await ours.call('GET', upload.download_url ?? '', { key: null })
        expect({ status: file.status, length: file.bytes.length }).toEqual({ status: 200, length: 0 })
      }
    })

    it('corrects type and format by the bytes, where name or Content-Type lie', async () => {
      const bytes = await readFile(samplePath({ file: 'binary.pdf' }))
      const made = await ours.made({ filename: 'holiday.jpg', category: 'image', content_type: 'image/jpeg' })
      expect(made.upload).toMatchObject({ content_type: 'image/jpeg', format: 'jpeg' })
      expect((await ours.put(made, bytes)).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id))).toMatchObject({
        filename: 'holiday.jpg',
        content_type: 'application/pdf',
        format: 'pdf',
      })
    })

    it('takes no form for the file, unless it was declared', async () => {
      const form = Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n')
      const headers = { 'Content-Type': 'multipart/form-data; boundary=b' }
      const made = await ours.made()
      const put = await ours.put(made, form, { headers })
      // Where the store takes the bytes, the gateway sees them later.
      const refused = place.takesPuts ? put : await ours.confirm(made.upload.id)
      expect(refusal(refused)).toBe('415 unsupported_media_type')
      expect(refused.json()['detail']).toContain('/api/v1/uploads')
      expect((await ours.put(made, 'x')).status).toBe(200)
      expect(viewOf(await ours.confirm(made.upload.id))).toMatchObject({ status: 'confirmed', size_bytes: 1 })
      const declared = await ours.made({ content_type: headers['Content-Type'] })
      expect((await ours.put(declared, form)).status).toBe(200)
      expect(viewOf(await ours.confirm(declared.upload.id))).toMatchObject({ size_bytes: form.length })
    })

    it('takes any Content-Type where none was declared', async () => {
      const made = await ours.made()
      expect((await ours.put(made, 'bytes', { headers: { 'Content-Type': 'image/tiff' } })).status).toBe(200)
    })

    it('may be repeated until the confirm: the last bytes count, and only they are kept', async () => {
      const made = await ours.made()
      await ours.put(made, randomBytes(999))
      const bytes = randomBytes(1_234)
      expect((await ours.put(made, bytes)).status).toBe(200)
      const { download_url: url, ...upload } = viewOf(await ours.confirm(made.upload.id))
      expect(upload).toMatchObject({ received_bytes: 1_234, size_bytes: 1_234 })
      expect(sha256((await ours.call('GET', url ?? '')).bytes)).toBe(sha256(bytes))
      await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    })

    it('stands some at a time: the newest ends the others', async () => {
      const made = await ours.made()
      const answers = await Promise.all(['aaaa', 'bbbb', 'cccc'].map((body) => ours.put(made, body)))
      expect(answers.map(({ status }) => status)).toContain(200)
      for (const answer of answers) expect([200, 423]).toContain(answer.status)
      const { download_url: url } = viewOf(await ours.confirm(made.upload.id))
      expect((await ours.call('GET', url ?? '')).bytes.toString()).toMatch(/^(aaaa|bbbb|cccc)$/)
    })
  })

  describe('confirm', () => {
    it.each(['', '/confirm'])('at …/{id}%s', async (suffix) => {
      const { upload } = await withBytes(ours)
      const answer = await ours.call('POST', `${base}/${upload.id}${suffix}`)
      expect(viewOf(answer)).toMatchObject({ id: upload.id, status: 'confirmed' })
      expect(answer.json<{ meta: Meta }>().meta).toEqual({
        request_id: answer.headers.get('x-request-id'),
        timestamp: expect.stringMatching(time),
      })
    })

    it.each<[string, Ask]>([
      ['no body', {}],
      ['an empty object', { json: {} }],
      ['an empty body that is called JSON', { body: '', headers: { 'Content-Type': 'application/json' } }],
      ['what it does not know', { json: { status: 'rejected', id: 'x' } }],
      ['null', { json: { context_type: null, context_id: null } }],
    ])('takes %s', async (_what, ask) => {
      const { upload } = await withBytes(ours, { context_type: 'album', context_id: '7' })
      expect(viewOf(await ours.confirm(upload.id, ask))).toMatchObject({
        status: 'confirmed',
        context_type: 'album',
        context_id: '7',
      })
    })

    it('takes a context', async () => {
      const { upload } = await withBytes(ours)
      const json = { context_type: 'message', context_id: '42' }
      expect(viewOf(await ours.confirm(upload.id, { json }))).toMatchObject(json)
      expect(await ours.view(upload.id)).toMatchObject(json)
    })

    it.each(['null', ' null\n', '', '{}'])('takes %j for a body in which nothing stands', async (body) => {
      const made = await ours.made()
      await ours.put(made, 'x')
      const headers = { 'Content-Type': 'application/json' }
      const answer = await ours.call('POST', `${base}/${made.upload.id}/confirm`, { body, headers })
      expect(viewOf(answer)).toMatchObject({ status: 'confirmed' })
    })

    it('refuses half a context, another media type and broken JSON, and stays pending', async () => {
      const { upload } = await withBytes(ours)
      expect(faultsOf(await ours.confirm(upload.id, { json: { context_type: 'x' } }))).toEqual(['body.context_id'])
      expect(refusal(await ours.confirm(upload.id, { body: '{}' }))).toBe('415 unsupported_media_type')
      const broken = { body: '{', headers: { 'Content-Type': 'application/json' } }
      expect(refusal(await ours.confirm(upload.id, broken))).toBe('400 invalid_json')
      expect((await ours.view(upload.id)).status).toBe('pending')
    })

    it('again, and ten times at once, gives the same answer and charges once', async () => {
      const mine = await newWorkspace(gateway)
      const made = await mine.made()
      await mine.put(made, randomBytes(1_000))
      const answers = await Promise.all(Array.from({ length: 10 }, () => mine.confirm(made.upload.id)))
      const views = [...answers, await mine.confirm(made.upload.id)].map((answer) => ({
        ...viewOf(answer),
        download_url: '',
      }))
      for (const view of views) expect(view).toEqual(views[0])
      const { storage, uploads, daily } = await mine.usage()
      expect(storage).toMatchObject({ used_bytes: 1_000, reserved_bytes: 0 })
      expect(uploads).toMatchObject({ total: 1, confirmed: 1 })
      expect(daily.map(({ uploads: count, bytes }) => ({ count, bytes }))).toEqual([{ count: 1, bytes: 1_000 }])
    })

    it.each(['nonsense', '00000000-0000-0000-0000-000000000000', oddId, '%00', '%E0%A4%A'])(
      'of %s is 404',
      async (id) => {
        expect(refusal(await ours.confirm(id))).toBe('404 not_found')
        expect(refusal(await ours.call('GET', `${base}/${id}`))).toBe('404 not_found')
        expect(refusal(await ours.call('DELETE', `${base}/${id}`))).toBe('404 not_found')
      },
    )
  })

  describe('DELETE', () => {
    it('takes the row, the charge and the object; then everything is 404', async () => {
      const mine = await newWorkspace(gateway)
      const made = await mine.made()
      await mine.put(made, randomBytes(5_000))
      const { download_url: url } = viewOf(await mine.confirm(made.upload.id))
      expect((await mine.usage()).storage.used_bytes).toBe(5_000)
      const answer = await mine.call('DELETE', `${base}/${made.upload.id}`, { json: {} })
      expect(answer.status).toBe(200)
      expect(answer.json()).toEqual({
        data: {},
        meta: { request_id: answer.headers.get('x-request-id'), timestamp: expect.stringMatching(time) },
      })
      const { storage, uploads } = await mine.usage()
      expect(storage).toMatchObject({ used_bytes: 0, reserved_bytes: 0 })
      expect(uploads).toMatchObject({ total: 0, confirmed: 0 })
      expect(refusal(await mine.call('DELETE', `${base}/${made.upload.id}`))).toBe('404 not_found')
      expect(refusal(await mine.call('GET', `${base}/${made.upload.id}`))).toBe('404 not_found')
      expect(refusal(await mine.confirm(made.upload.id))).toBe('404 not_found')
      expect((await mine.call('GET', url ?? '', { key: null })).status).toBe(404)
      await eventually(async () => expect(await strays(place, gateway)).toEqual([]))
    })

    it('gives back what a pending upload held', async () => {
      const mine = await newWorkspace(gateway)
      const made = await mine.made({ size_bytes: 5_000 })
      expect((await mine.usage()).storage.reserved_bytes).toBe(5_000)
      expect((await mine.call('DELETE', `${base}/${made.upload.id}`)).status).toBe(200)
      expect((await mine.usage()).storage.reserved_bytes).toBe(0)
    })

    it('twice at once works once', async () => {
      const made = await ours.made()
      const answers = await Promise.all([1, 2, 3].map(() => ours.call('DELETE', `${base}/${made.upload.id}`)))
      expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(['200', '404', '404'])
    })
  })

  describe('the list', () => {
    it('filters by status, category, type, project and time', async () => {
      const mine = await newWorkspace(gateway)
      const project = randomUUID()
      const png = await readFile(samplePath({ file: 'picture.png' }))
      const pending = (await mine.made({ filename: 'a.txt', category: 'document' })).upload
      const sent = await mine.made({ filename: 'b.txt', category: 'document' })
      await mine.put(sent, 'text')
      const image = await mine.made({ filename: 'c.png', category: 'image' })
      await mine.put(image, png)
      await mine.confirm(image.upload.id)
      const headers = { 'x-file-name': 'd.jpg', 'x-project-id': project }
      const asset = await mine.call('POST', '/v1/uploads', { headers, body: png })
      const { assetId } = asset.json<{ data: { assetId: string } }>().data

      const [one, two, three] = [pending.id, sent.upload.id, image.upload.id]
      expect((await mine.list()).ids).toEqual([assetId, three, two, one])
      expect((await mine.list('?status=pending')).ids).toEqual([two, one])
      expect((await mine.list('?status=confirmed')).ids).toEqual([assetId, three])
      for (const status of ['processing', 'rejected', 'expired'])
        expect((await mine.list(`?status=${status}`)).ids).toEqual([])
      expect((await mine.list('?category=document')).ids).toEqual([two, one])
      expect((await mine.list('?category=image')).ids).toEqual([three])
      expect((await mine.list('?category=nothing')).ids).toEqual([])
      expect((await mine.list('?content_type=image/*')).ids).toEqual([assetId, three])
      expect((await mine.list('?content_type=IMAGE/PNG')).ids).toEqual([assetId, three])
      expect((await mine.list('?content_type=image/pn')).ids).toEqual([])
      expect((await mine.list('?content_type=text/plain')).ids).toEqual([two, one])
      expect((await mine.list(`?project_id=${project}`)).ids).toEqual([assetId])
      expect((await mine.list(`?project_id=${randomUUID()}`)).ids).toEqual([])
      expect((await mine.list('?status=confirmed&category=image&content_type=image/png')).ids).toEqual([three])

      const first = Date.parse(pending.created_at)
      const later = new Date(Date.parse(image.upload.created_at) + 60_000).toISOString()
      const earlier = new Date(first - 1).toISOString().replace('Z', '+00:00')
      expect((await mine.list(`?created_after=${later}`)).ids).toEqual([])
      expect((await mine.list(`?created_after=${encodeURIComponent(earlier)}`)).ids).toHaveLength(4)
    })

    it('pages through everything once, newest first, while rows come and go', async () => {
      const mine = await newWorkspace(gateway)
      const ids: string[] = []
      for (let i = 0; i < 9; i++) ids.push((await mine.made()).upload.id)
      const newest = ids.toReversed()
      const first = await mine.list('?limit=3')
      expect(first.ids).toEqual(newest.slice(0, 3))
      await mine.made()
      for (const gone of newest.slice(2, 4)) await mine.call('DELETE', `${base}/${gone}`)
      const second = await mine.list(`?limit=3&cursor=${first.next}`)
      expect(second.ids).toEqual(newest.slice(4, 7))
      await mine.made()
      const third = await mine.list(`?limit=3&cursor=${second.next}`)
      expect(third).toMatchObject({ ids: newest.slice(7), next: null })
    })

    it('holds 50 by default and 100 at most', async () => {
      const mine = await newWorkspace(gateway)
      await Promise.all(Array.from({ length: 101 }, () => mine.made()))
      const byDefault = await mine.list()
      expect(byDefault.ids).toHaveLength(50)
      const most = await mine.list('?limit=100')
      expect(most.ids).toHaveLength(100)
      expect(most.ids.slice(0, 50)).toEqual(byDefault.ids)
      expect(most.ids).toEqual(most.ids.toSorted().toReversed())
      const rest = await mine.list(`?limit=1&cursor=${most.next}`)
      expect(rest).toMatchObject({ next: null })
      expect(new Set([...most.ids, ...rest.ids]).size).toBe(101)
    })

    it('shows every field and the facts of the request', async () => {
      const mine = await newWorkspace(gateway)
      const { upload } = await mine.made({ metadata: { a: 'b' } })
      const answer = await mine.call('GET', base)
      expect(answer.json()).toEqual({
        data: [upload],
        meta: {
          request_id: answer.headers.get('x-request-id'),
          timestamp: expect.stringMatching(time),
          next_cursor: null,
        },
      })
    })

    it.each([
      ['limit=0', 'limit'],
      ['limit=101', 'limit'],
      ['limit=-1', 'limit'],
      ['limit=1.5', 'limit'],
      ['limit=ten', 'limit'],
      ['staus=pending', 'staus'],
      ['constructor=x', 'constructor'],
      ['__proto__=x', '__proto__'],
      ['limit=1&limit=2', 'limit'],
      ['status=done', 'status'],
      ['status=pending&status=confirmed', 'status'],
      ['cursor=x', 'cursor'],
      ['content_type=image', 'content_type'],
      ['created_after=yesterday', 'created_after'],
      ['created_after=2026-02-30T00:00:00Z', 'created_after'],
    ])('refuses %s', async (query, field) => {
      expect(faultsOf(await ours.call('GET', `${base}?${query}`))).toEqual([`query.${field}`])
    })

    it('takes blank parameters for none', async () => {
      const mine = await newWorkspace(gateway)
      const { upload } = await mine.made()
      const query = '?limit=&status=&category=%20&project_id=&content_type=&created_after=&cursor=&other='
      expect((await mine.list(query)).ids).toEqual([upload.id])
      expect((await mine.call('GET', '/api/v1/usage/summary?range=')).status).toBe(200)
    })

    it('tells every fault of a query at once', async () => {
      expect(faultsOf(await ours.call('GET', `${base}?limit=0&status=x&cursor=x`))).toEqual([
        'query.cursor',
        'query.limit',
        'query.status',
      ])
    })

    it('is limited to the key’s projects', async () => {
      const workspaceId = randomUUID()
      const [mine, other] = [randomUUID(), randomUUID()]
      const keys = await addKeys(gateway, { all: { workspaceId }, limited: { workspaceId, projects: [mine] } })
      const all = workspaceOf(clientOf(gateway, keys.all))
      const limited = workspaceOf(clientOf(gateway, keys.limited))
      const send = async (project: string): Promise<string> => {
        const headers = { 'x-file-name': 'a.txt', 'x-project-id': project }
        const answer = await all.call('POST', '/v1/uploads', { headers, body: 'x' })
        return answer.json<{ data: { assetId: string } }>().data.assetId
      }
      const [visible, hidden] = [await send(mine), await send(other)]
      expect((await all.list()).ids).toEqual([hidden, visible])
      expect((await limited.list()).ids).toEqual([visible])
      expect((await limited.list(`?project_id=${mine}`)).ids).toEqual([visible])
      expect(refusal(await limited.call('GET', `${base}?project_id=${other}`))).toBe('403 project_forbidden')
    })
  })

  describe('usage and whoami', () => {
    it('adds up what there is', async () => {
      const mine = await newWorkspace(gateway)
      const empty = await mine.usage()
      expect(empty.storage).toEqual({ used_bytes: 0, reserved_bytes: 0, quota_bytes: null, percent: null })
      expect(empty.uploads).toEqual({ total: 0, pending: 0, processing: 0, confirmed: 0, rejected: 0, expired: 0 })

      await mine.made({ size_bytes: 700 })
      await mine.made()
      const sent = await mine.made()
      await mine.put(sent, randomBytes(30))
      const done = await mine.made({ size_bytes: 5 })
      await mine.put(done, '12345')
      await mine.confirm(done.upload.id)
      const { storage, uploads, daily, period, range } = await mine.usage()
      // What a store has been sent without a declared size is known when it is confirmed.
      const held = 700 + (place.takesPuts ? 30 : 0)
      expect(storage).toEqual({ used_bytes: 5, reserved_bytes: held, quota_bytes: null, percent: null })
      expect(uploads).toEqual({ total: 4, pending: 3, processing: 0, confirmed: 1, rejected: 0, expired: 0 })
      const today = done.upload.created_at.slice(0, 10)
      expect(daily).toContainEqual({ date: today, uploads: 1, bytes: 5 })
      expect(range).toMatch(/\S/)
      expect(period).toEqual({ start: expect.stringMatching(time), end: expect.stringMatching(time) })
      expect(Date.parse(period.start)).toBeLessThan(Date.parse(done.upload.created_at))
      expect(Date.parse(period.end)).toBeGreaterThanOrEqual(Date.parse(done.upload.created_at))
    })

    it('whoami tells user, workspace, scopes and the key’s name', async () => {
      const { key } = await addKeys(gateway, {
        key: { workspaceId: 'whose', userId: 'grace', name: 'build server', scopes: ['uploads:read'] },
      })
      const answer = await ours.call('GET', '/api/v1/auth/whoami', { key })
      expect(answer.status).toBe(200)
      expect(answer.json()).toEqual({
        data: { user_id: 'grace', workspace_id: 'whose', scopes: ['uploads:read'], key_name: 'build server' },
        meta: { request_id: answer.headers.get('x-request-id'), timestamp: expect.stringMatching(time) },
      })
    })
  })

  describe('an installation with rules', () => {
    let strict: TestGateway
    let mine: Workspace
    beforeAll(async () => {
      strict = await place.start({ ...withRules, more: `${withRules.more}, pipeline: { syncBudget: 1 }` })
      mine = workspaceOf(clientOf(strict, strict.key))
    })
    afterAll(() => strict.close())

    it('knows the configured categories only', async () => {
      expect(faultsOf(await mine.create({ category: 'document' }))).toEqual(['body.category'])
    })

    it.each<[string, object, number, ErrorCode]>([
      ['another ending', { filename: 'a.jpg' }, 415, 'file_type_not_allowed'],
      ['no ending', { filename: 'png' }, 415, 'file_type_not_allowed'],
      ['another type', { filename: 'a.png', content_type: 'text/html' }, 415, 'file_type_not_allowed'],
      ['more bytes', { filename: 'a.png', size_bytes: 50_001 }, 413, 'file_too_large'],
    ])('refuses %s than the category allows at the creation', async (_what, body, status, code) => {
      expect(refusal(await mine.create({ category: 'image', ...body }))).toBe(`${status} ${code}`)
    })

    it.each<[string, number, ErrorCode, string]>([
      ['evil', 415, 'file_type_not_allowed', 'This file is evil.'],
      ['huge', 413, 'quota_exceeded', 'There is no room.'],
    ])('%s bytes are rejected at the confirm: nothing charged, nothing left', async (body, status, code, detail) => {
      const { storage } = await mine.usage()
      const made = await mine.made()
      expect((await mine.put(made, body)).status).toBe(200)
      expect(refusal(await mine.confirm(made.upload.id))).toBe(`${status} ${code}`)
      const rejection = { code, detail }
      expect(await mine.view(made.upload.id)).toMatchObject({ status: 'rejected', download_url: null, rejection })
      expect(refusal(await mine.confirm(made.upload.id))).toBe(`${status} ${code}`)
      expect((await mine.usage()).storage).toEqual(storage)
      expect((await mine.list('?status=rejected')).ids).toContain(made.upload.id)
      await eventually(async () => expect(await strays(place, strict)).toEqual([]))
      expect((await mine.call('DELETE', `${base}/${made.upload.id}`)).status).toBe(200)
    })

    it('a plugin that needs longer than the budget: processing, then confirmed', async () => {
      const { storage: before } = await mine.usage()
      const made = await mine.made({ size_bytes: 4 })
      await mine.put(made, 'slow')
      const [one, two] = await Promise.all([mine.confirm(made.upload.id), mine.confirm(made.upload.id)])
      expect(viewOf(one)).toMatchObject({ status: 'processing', download_url: null, size_bytes: 4 })
      expect(viewOf(two).status).toBe('processing')
      expect((await mine.usage()).storage.used_bytes).toBe(before.used_bytes)
      await eventually(async () => expect((await mine.view(made.upload.id)).status).toBe('confirmed'))
      expect(viewOf(await mine.confirm(made.upload.id)).status).toBe('confirmed')
      expect((await mine.usage()).storage.used_bytes).toBe((before.used_bytes ?? 0) + 4)
    })
  })

  describe('an upload URL', () => {
    let brief: TestGateway
    beforeAll(async () => {
      brief = await place.start({ env: { FAIRLEAD_PRESIGN_TTL: '1' } })
    })
    afterAll(() => brief.close())

    it('is good for its whole time to live, whenever in a second it was made', async () => {
      // Just before a second begins: what rounds down to it has lost nearly all of its time.
      const mine = await newWorkspace(brief)
      await pause((1_900 - (Date.now() % 1_000)) % 1_000)
      const made = await mine.made()
      await pause(500)
      expect((await mine.put(made, 'in time')).status).toBe(200)
      expect(viewOf(await mine.confirm(made.upload.id)).status).toBe('confirmed')
    })
  })
}
