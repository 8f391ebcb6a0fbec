import { describe, expect, it } from 'vitest'
import { clientOf } from '../support/client.ts'
import { directOf } from '../support/direct.ts'
import { startGateway } from '../support/gateway.ts'
import { disk } from '../support/places.ts'
import { directSuite } from './suites/direct.ts'

describe('on disk', () => {
  directSuite(disk)

  it('a page of another origin may send the headers that are asked for', async () => {
    const gateway = await startGateway()
    try {
      const by = directOf(clientOf(gateway, gateway.key))
      const { direct_upload: upload } = await by.made(Buffer.from('x'))
      const names = Object.keys(upload?.headers ?? {})
      const preflight = await by.call('OPTIONS', upload?.url ?? '', {
        key: null,
        headers: {
          Origin: 'https://app.example',
          'Access-Control-Request-Method': 'PUT',
          'Access-Control-Request-Headers': names.join(','),
        },
      })
      expect(preflight.status).toBe(204)
      expect(preflight.headers.get('access-control-allow-methods')).toContain('PUT')
      expect(preflight.headers.get('access-control-allow-headers')).toBe(names.join(','))
    } finally {
      await gateway.close()
    }
  })
})
