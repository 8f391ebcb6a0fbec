import { Metadata, TUS_RESUMABLE, type Locker as PackageLocker } from '@tus/server'
import { assert, constantFrom, property, string, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBase64, isMetadataKey, tusVersion } from '../../src/dialects/tus-headers.ts'
import { memoryLocker } from '../../src/lockers/memory.ts'
import type { Locker } from '../../src/uploads/locker.ts'

const textOf = (characters: string) => string({ unit: constantFrom(...characters.split('')), maxLength: 12 })
const printable = Array.from({ length: 95 }, (_, i) => String.fromCodePoint(32 + i)).join('')
const asOurs = (locker: PackageLocker): Locker => locker
const asTheirs = (locker: Locker): PackageLocker => locker

describe('what is taken for tus', () => {
  it('has the version of the package', () => {
    expect(tusVersion).toBe(TUS_RESUMABLE)
  })

  it('knows metadata keys as the package does, of what a header may hold', () => {
    assert(
      property(textOf(`${printable}éß`), (text) => {
        expect(isMetadataKey(text)).toBe(Metadata.validateKey(text))
      }),
    )
  })

  it('knows base64 as the package does', () => {
    assert(
      property(textOf('AZaz09+/=-_ '), (text) => {
        expect(isBase64(text)).toBe(Metadata.validateValue(text))
      }),
    )
    assert(
      property(uint8Array({ maxLength: 20 }), (bytes) => {
        expect(isBase64(Buffer.from(bytes).toString('base64'))).toBe(true)
      }),
    )
  })

  it('has lockers of the same shape', () => {
    const locker = memoryLocker()
    expect(asOurs(asTheirs(locker))).toBe(locker)
  })
})
