import { describe, expect, it } from 'vitest'
import { isBeyondUs, seenFromHere } from '../src/connection.ts'

describe('the address of a server', () => {
  it.each([
    ['http://0.0.0.0:8080', 'http://127.0.0.1:8080'],
    ['http://[::]:8080', 'http://[::1]:8080'],
    ['http://10.0.0.0:8080', 'http://10.0.0.0:8080'],
    ['https://uploads.example.com', 'https://uploads.example.com'],
  ])('%s is %s for clients on its machine', (url, seen) => {
    expect(seenFromHere(url)).toBe(seen)
  })

  it.each<[string | undefined, string | undefined, boolean]>([
    ['http://127.0.0.1:3900', 'http://garage:3900', true],
    ['http://127.9.9.9:3900', 'http://10.0.0.7:3900', true],
    ['http://[::1]:3900', 'http://garage:3900', true],
    ['http://localhost:3900', 'http://garage:3900', true],
    ['http://localhost:3900', 'http://127.0.0.1:3900', false],
    ['https://files.example.com', 'http://garage:3900', false],
    ['https://127.0.0.1.example.com', 'http://garage:3900', false],
    [undefined, 'http://garage:3900', false],
    ['http://127.0.0.1:3900', undefined, false],
  ])('%s for clients and %s for us: is beyond us: %s', (forClients, forUs, beyond) => {
    expect(isBeyondUs(forClients, forUs)).toBe(beyond)
  })
})
