import { describe, expect, it } from 'vitest'
import { sniffedBytes } from '../../plugins/sniff-type.ts'
import { sniff } from '../support/sniff.ts'

describe('text', () => {
  it('is that only without control characters', async () => {
    expect(await sniff('a\tb\r\n\f\u001b[0m', 'a.txt')).toMatchObject({ contentType: 'text/plain', charset: 'utf-8' })
    expect(await sniff('a\0b', 'a.txt')).toMatchObject({ contentType: 'application/octet-stream', format: null })
    expect(await sniff('a\u0001b', 'a.py')).toMatchObject({ contentType: 'application/octet-stream', charset: null })
  })

  it('may be cut inside a character where the head bytes end', async () => {
    for (const start of ['x'.repeat(sniffedBytes - 1), 'x'.repeat(sniffedBytes - 2), 'x'.repeat(sniffedBytes - 3)]) {
      expect(await sniff(`${start}€uro`, 'a.txt')).toMatchObject({ charset: 'utf-8' })
    }
  })

  it('takes a name for what kind of text it is, then the declared type, then the text', async () => {
    const script = '#!/usr/bin/env node\n'
    expect(await sniff(script, 'a.py', 'text/x-ruby')).toMatchObject({ contentType: 'text/x-python', format: 'py' })
    expect(await sniff(script, 'a', 'text/x-ruby')).toMatchObject({ contentType: 'text/x-ruby', format: 'rb' })
    expect(await sniff(script, 'a')).toMatchObject({ contentType: 'text/javascript', format: 'js' })
    expect(await sniff('[1, 2]', 'a')).toMatchObject({ contentType: 'application/json', format: 'json' })
    expect(await sniff('[1, 2', 'a')).toMatchObject({ contentType: 'text/plain', format: 'txt' })
  })

  it.each(['{"a":1}', ' [1]', '"a"', '-1', 'true', 'null'])('called .json is JSON: %s', async (content) => {
    expect(await sniff(content, 'a.json')).toMatchObject({ contentType: 'application/json' })
  })

  it.each(['a: 1', 'truely', '<a>', '// comment'])('called .json is not: %s', async (content) => {
    expect((await sniff(content, 'a.json')).contentType).not.toBe('application/json')
  })

  it.each([
    '<!doctype html>',
    '  <HTML>',
    '<script src=x>',
    '<script/x>',
    '<!-- a --><!-- b --> <body onload=x>',
    '\ufeff<iframe src=x>',
    '<!DOCTYPE html [ <!ENTITY a "b"> ]><p>',
    '<img src=x onerror=alert(1)>',
    '<!-- never closed',
  ])('is a page whatever it is called: %s', async (content) => {
    for (const name of ['a.txt', 'a.png', 'a.json', 'a.js', 'a']) {
      expect(await sniff(content, name)).toMatchObject({ contentType: 'text/html', format: 'html' })
    }
  })

  it.each(['a < b', '<3 you', '<htmlish>', 'see <script>', '<', '<?php echo 1 ?>'])(
    'is no page: %s',
    async (content) => {
      expect(await sniff(content, 'a.txt')).toMatchObject({ contentType: 'text/plain' })
    },
  )

  it.each(['<svg>', '<!-- <p> --><svg/>', '<?xml version="1.0"?><x:svg xmlns:x="y">', '<!DOCTYPE svg ['])(
    'is SVG by its root element: %s',
    async (content) => {
      expect(await sniff(content, 'a.jpg')).toMatchObject({ contentType: 'image/svg+xml', format: 'svg' })
      const wide = Buffer.from(`\ufeff${content}`, 'utf16le')
      expect(await sniff(wide, 'a.jpg')).toMatchObject({ contentType: 'image/svg+xml', charset: 'utf-16le' })
    },
  )

  it('is no SVG by its name', async () => {
    expect(await sniff('<html><svg/></html>', 'a.svg')).toMatchObject({ contentType: 'text/html' })
    expect(await sniff('no shape', 'a.svg')).toMatchObject({ contentType: 'text/plain' })
  })

  it('reads long prologs in time in the order of their length', async () => {
    const started = performance.now()
    for (const piece of [
      '<!--',
      '<!DOCTYPE a [',
      '<?xml ',
      '<!-- -->',
      ' ',
      ']>',
      '<!DOCTYPE a>',
      '{',
      '#!',
      '%PDF-1.4 1 0 ',
      'solid ',
      '1    ',
    ]) {
      await sniff(piece.repeat(sniffedBytes / piece.length))
      await sniff(piece.repeat(sniffedBytes / piece.length), 'a.md')
    }
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('text in an encoding of one alphabet', () => {
  const russian = Buffer.from('cff0e8e2e5f22c20ece8f021', 'hex')
  const greek = Buffer.from('c3e5e9dc20f3eff520eafcf3ece5', 'hex')
  const gbk = Buffer.from('c4e3bac3a3acd6d0b9fac8cba1a3c4e3bac3a3acd6d0b9fac8cba1a3', 'hex')
  const shiftJis = Buffer.from('82b182f182c982bf82cd81418ca38cb48142', 'hex')
  const short = Buffer.from('c4e3', 'hex')
  /** Bytes of no text, without a control character. */
  const disorder = Buffer.from('93f8c7d9a2e195b8f0899ad4c3', 'hex')

  it.each([russian, greek, gbk, shiftJis])('is text by itself: %s', async (content) => {
    expect(await sniff(content, 'upload')).toMatchObject({ contentType: 'text/plain', format: 'txt', charset: null })
  })

  it.each([russian, gbk, shiftJis, short, disorder])('is what its name or declared type says: %s', async (content) => {
    expect(await sniff(content, 'a.txt')).toMatchObject({ contentType: 'text/plain' })
    expect(await sniff(content, 'a.csv')).toMatchObject({ contentType: 'text/csv', format: 'csv' })
    expect(await sniff(content, 'upload', 'text/markdown')).toMatchObject({ contentType: 'text/markdown' })
  })

  it('is not claimed by a name of another kind', async () => {
    expect(await sniff(disorder, 'photo.jpg', 'image/jpeg')).toMatchObject({ contentType: 'application/octet-stream' })
    expect(await sniff(short, 'upload')).toMatchObject({ contentType: 'application/octet-stream' })
    const withZero = Buffer.concat([russian, Buffer.alloc(1)])
    expect(await sniff(withZero, 'a.txt', 'text/plain')).toMatchObject({ contentType: 'application/octet-stream' })
  })
})

describe('a PDF behind something else', () => {
  const pdf = '%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n'

  it.each([
    ['a printer', '@PJL ENTER LANGUAGE=PDF\r\n'],
    ['an answer', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['empty lines', '\n'.repeat(900)],
    ['as much as may be', 'x'.repeat(1_010)],
  ])('is one: %s', async (_what, junk) => {
    expect(await sniff(junk + pdf, 'a.pdf', 'application/pdf')).toMatchObject({ contentType: 'application/pdf' })
    expect(await sniff(`${junk}${pdf}\0`, 'upload')).toMatchObject({ contentType: 'application/pdf', format: 'pdf' })
  })

  it.each([
    ['a file begins with %PDF-1.4, and so on', 'a.pdf', 'text/plain'],
    [`# Made by hand\nprint('${pdf}')`, 'make.py', 'text/x-python'],
    [`Subject: a file\n\n${pdf}`, 'a.eml', 'message/rfc822'],
    [`<html>${pdf}`, 'a.pdf', 'text/html'],
  ])('is none: %j', async (content, name, contentType) => {
    expect(await sniff(content, name)).toMatchObject({ contentType })
  })
  it('is none beyond the first kilobyte', async () => {
    expect(await sniff('x'.repeat(1_100) + pdf, 'a.pdf')).toMatchObject({ contentType: 'text/plain' })
  })
})
