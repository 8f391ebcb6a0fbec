import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { request } from '../../src/stores/s3/requests.ts'
import { missingS3 } from '../support/s3.ts'
import { type OpenS3, type S3Rig, startS3Rig } from '../support/s3-rig.ts'

const away = { code: 'storage_failed', retryAfter: 5 }

/** A try that never ends by itself. */
function silent() {
  let tries = 0
  const send = (signal: AbortSignal): Promise<never> => {
    tries++
    return new Promise((_, reject) =>
      signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))),
    )
  }
  return { send, tries: () => tries }
}

describe('a request to a store that is silent', () => {
  it('is sent again, three times in all', async () => {
    const { send, tries } = silent()
    await expect(request('No.', send, { deadlineMs: 20 })).rejects.toMatchObject(away)
    expect(tries()).toBe(3)
  })

  it('is sent again also when what it waited for ends with the reason', async () => {
    let tries = 0
    const inner = (signal: AbortSignal): Promise<never> => {
      tries++
      return request('No.', silent().send, { signal })
    }
    await expect(request('No.', inner, { deadlineMs: 20 })).rejects.toMatchObject(away)
    expect(tries).toBe(3)
  })

  it('is not sent again when it has waited for long', async () => {
    const { send, tries } = silent()
    await expect(request('No.', send, { deadlineMs: 40, patienceMs: 20 })).rejects.toMatchObject(away)
    expect(tries()).toBe(1)
  })

  it('goes on for as long as the store takes what is sent', async () => {
    let tries = 0
    const sent = request(
      'No.',
      async (signal, alive) => {
        tries++
        for (let i = 0; i < 10; i++) {
          await sleep(20)
          signal.throwIfAborted()
          alive()
        }
        return 'sent'
      },
      { deadlineMs: 100 },
    )
    expect(await sent).toBe('sent')
    expect(tries).toBe(1)
  })
})

describe.skipIf(missingS3())('s3, when the server is silent', () => {
  let rig: S3Rig
  let opened: OpenS3
  beforeAll(async () => {
    rig = await startS3Rig()
  })
  beforeEach(() => {
    opened = rig.open()
  })
  afterEach(() => opened.close())
  afterAll(() => rig.close())

  it('says soon that it is not ready', async () => {
    const { store, proxy } = opened
    const stalled = proxy.fault('HeadBucket', { act: 'stall', times: Infinity })
    await expect(store.check()).rejects.toMatchObject(away)
    expect(stalled.hits()).toBe(1)
  })
})
