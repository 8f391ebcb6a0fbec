import { describe, expect, it } from 'vitest'
import { extensionsOf, guessType, isActive, isMimeType, kindOf } from '../../src/uploads/names.ts'

describe('names and types', () => {
  it('guesses from the name, then from the declared type', () => {
    expect(guessType('script.py', 'image/png')).toEqual({ contentType: 'text/x-python', format: 'py' })
    expect(guessType('PHOTO.JPG', null)).toEqual({ contentType: 'image/jpeg', format: 'jpeg' })
    expect(guessType('photo', 'Image/JPG; q=1')).toEqual({ contentType: 'image/jpeg', format: 'jpeg' })
    expect(guessType('photo', 'image/x-new')).toEqual({ contentType: 'image/x-new', format: null })
    expect(guessType('a.', 'nonsense')).toEqual({ contentType: 'application/octet-stream', format: null })
    expect(guessType('.constructor', null)).toEqual({ contentType: 'application/octet-stream', format: null })
  })

  it('lets the declared type choose where an extension means several', () => {
    expect(guessType('a.ts', null).format).toBe('ts')
    expect(guessType('a.ts', 'video/mp2t').format).toBe('mpegts')
    expect(guessType('a.mts', null).format).toBe('mpegts')
    expect(guessType('a.webm', 'audio/webm').contentType).toBe('audio/webm')
  })

  it('knows the extensions of a type', () => {
    expect(extensionsOf('image/jpg')[0]).toBe('jpg')
    expect(extensionsOf('video/mp2t')).toContain('ts')
    expect(extensionsOf('image/x-new')).toEqual([])
  })

  it.each([
    ['image', 'image/svg+xml image/x-new image/vnd.dwg'],
    ['video', 'video/mp4 application/mxf'],
    ['audio', 'audio/ogg application/ogg'],
    [
      'document',
      'application/pdf application/rtf text/rtf application/epub+zip application/msword application/vnd.ms-excel',
    ],
    ['document', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    ['document', 'application/vnd.ms-excel.sheet.macroEnabled.12 application/vnd.oasis.opendocument.text'],
    ['archive', 'application/zip application/x-tar application/gzip application/x-7z-compressed application/x-rar'],
    [
      'text',
      'text/plain text/csv text/html application/json application/xml application/rss+xml text/x-python application/sql',
    ],
    ['other', 'application/octet-stream font/woff2 application/x-msdownload nonsense'],
  ])('%s: %s', (kind, types) => {
    expect(new Set(types.split(' ').map(kindOf))).toEqual(new Set([kind]))
  })

  it('knows what a browser could run', () => {
    const dangerous =
      'text/html TEXT/HTML application/xhtml+xml image/svg+xml text/xml application/xml application/rss+xml text/xsl text/javascript application/javascript application/x-ecmascript text/jscript application/mathml+xml multipart/x-mixed-replace multipart/related message/rfc822 application/x-shockwave-flash application/wasm application/hta nonsense'
    const harmless =
      'text/plain text/css image/png application/pdf application/json application/zip text/x-python text/markdown'
    expect(dangerous.split(' ').filter((type) => !isActive(type))).toEqual([])
    expect(isActive('text/html;charset=utf-8')).toBe(true)
    expect(harmless.split(' ').filter(isActive)).toEqual([])
  })

  it('knows the grammar of a MIME type', () => {
    const long = 'a'.repeat(127)
    expect(
      ['a/b', 'image/svg+xml', 'x-a/vnd.b_c-d', `${long}/${long}`, '1/2'].filter((type) => !isMimeType(type)),
    ).toEqual([])
    const none = [
      '',
      '/',
      'a',
      'a/',
      '/b',
      'a/b/c',
      'a /b',
      'a/b ',
      'a/b;c=d',
      '.a/b',
      'a/*',
      'a/b\n',
      'ä/b',
      `${long}a/b`,
    ]
    expect(none.filter(isMimeType)).toEqual([])
  })
})
