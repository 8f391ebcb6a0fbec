import { describe, expect, it } from 'vitest'
import { ConfigError } from '../config/error.ts'
import { checkPlugins } from '../config/plugins.ts'
import { parseCidr, parseSize } from '../config/values.ts'
import type { Plugin } from '../src/plugin.ts'

describe('sizes and addresses', () => {
  it.each([
    ['1', 1],
    ['1B', 1],
    ['1kB', 1000],
    ['1KB', 1000],
    ['1KiB', 1024],
    ['2MB', 2e6],
    ['2 MiB', 2 ** 21],
    ['3GB', 3e9],
    ['1.5 TiB', 1.5 * 2 ** 40],
    ['1TB', 1e12],
    ['4.35GB', 4_350_000_000],
    ['1.1KiB', 1126],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('%j is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each(['0', '0.5B', '', ' 1', '1 ', '1  MB', '1mb', '.5MB', '1.MB', '1,5MB', '+1', '1e3', '1PB', '1constructor'])(
    '%j is no size',
    (text) => {
      expect(parseSize(text)).toBeUndefined()
    },
  )

  it('reads CIDRs', () => {
    expect(parseCidr('10.0.0.0/8')).toEqual({ address: '10.0.0.0', prefix: 8, family: 'ipv4' })
    expect(parseCidr('::1')).toEqual({ address: '::1', prefix: 128, family: 'ipv6' })
    expect(parseCidr('fe80::1%eth0')).toBeUndefined()
  })
})

describe('plugins', () => {
  const sniffer: Plugin = { name: 'sniffer', provides: ['contentType', 'format'] }
  const thumbs: Plugin = { name: 'thumbs', requires: ['contentType'] }

  it('may require what an earlier one provides', () => {
    expect(() => checkPlugins([sniffer, thumbs])).not.toThrow()
  })

  it.each<[Plugin[], string]>([
    [
      [thumbs, sniffer],
      'plugins: "thumbs" requires contentType, which an earlier plugin must provide; list "sniffer" before "thumbs".',
    ],
    [
      [thumbs],
      'plugins: "thumbs" requires contentType, which an earlier plugin must provide; no plugin in the list does.',
    ],
    [
      [sniffer, { name: 'other', provides: ['format'] }],
      'plugins: "sniffer" and "other" both provide format; keep one of them.',
    ],
    [[sniffer, sniffer], 'plugins: two are named "sniffer"; names are unique.'],
  ])('that do not fit stop the start', (plugins, expected) => {
    expect(() => checkPlugins(plugins)).toThrow(new ConfigError(expected))
  })
})
