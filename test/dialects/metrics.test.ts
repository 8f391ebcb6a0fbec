import { randomBytes, randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sqliteRecords } from '../../src/records/sqlite.ts'
import { refusalOf } from '../contracts/dialect.ts'
import {
  addKeys,
  type Answer,
  type Client,
  clientOf,
  configText,
  eventually,
  requestHead,
  wireTo,
} from '../support/client.ts'
import { parseExposition } from '../support/exposition.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

const token = 'a-token-for-the-metrics'
const problem = { errors: 'problem', errorType: 'application/problem+json' } as const
const mebibyte = 1024 * 1024

/** Plugins of every kind: one that refuses, one that breaks, and an instance that needs to be itself. */
const plugins = `
class Counts {
  name = 'counts'
  #seen = 0
  accepts(upload) { return upload.filename !== 'unseen.bin' }
  inspect = { bytes: 4, handler: () => { this.#seen++ } }
  tap() { return { write: () => { this.#seen++ }, end: async () => ({ extra: { seen: this.#seen } }) } }
  async beforeFinish() { this.#seen++ }
}
const picky = {
  name: 'picky',
  beforeCreate(draft, ctx) { if (draft.filename === 'refused.bin') ctx.reject('file_type_not_allowed', 'No.') },
  async beforeFinish(bytes, ctx) {
    if (ctx.upload.filename === 'refused-late.bin') ctx.reject('file_type_not_allowed', 'No.')
    if (ctx.upload.filename === 'broken.bin') throw new Error('broken')
  },
}
const hanging = {
  name: 'hanging',
  timeoutMs: 50,
  accepts: (upload) => upload.filename === 'hanging.bin',
  beforeFinish: () => new Promise(() => {}),
}
`

let gateway: TestGateway
let apart: TestGateway
let call: Client
beforeAll(async () => {
  const config = `${plugins}${configText('sniffType(), new Counts(), picky, hanging, quota()')}`
  const ownPort = `import { sniffType } from '${projectRoot}/plugins/sniff-type.ts'
export default { plugins: [sniffType()], metrics: { port: 0 } }`
  ;[gateway, apart] = await Promise.all([
    startGateway({ config, env: { FAIRLEAD_METRICS_TOKEN: token } }),
    startGateway({ config: ownPort }),
  ])
  call = clientOf(gateway, gateway.key)
})
afterAll(() => Promise.all([gateway.close(), apart.close()]))

/** Where the log says that the metrics are. */
async function portOf(one: TestGateway): Promise<string> {
  await eventually(() => expect(one.log()).toMatch(/"url":"http:[^"]+\/metrics"/))
  return /"url":"(http:[^"]+)"/.exec(one.log().slice(one.log().lastIndexOf('"url":"http')))?.[1] ?? ''
}

async function scrape(one = gateway): Promise<ReadonlyMap<string, number>> {
  const answer =
    one === apart
      ? await clientOf(one, '')('GET', await portOf(one), { key: null })
      : await clientOf(one, token)('GET', '/metrics')
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return parseExposition(answer.bytes.toString()).samples
}

/** How much each sample has grown, of those that have; buckets and sums, and the scrapes themselves, aside. */
function grown(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>, prefix: string) {
  const keys = [...after.keys()].filter(
    (key) => key.startsWith(prefix) && !/^\w+_(bucket|sum)\{|route="\/metrics"/.test(key),
  )
  const differences = keys.map(
    (key) => [key.slice(prefix.length), (after.get(key) ?? 0) - (before.get(key) ?? 0)] as const,
  )
  return Object.fromEntries(differences.filter(([, by]) => by !== 0))
}

/** What grows by all of this, once it has. */
async function expectGrowth(prefix: string, wanted: Readonly<Record<string, number>>, act: () => Promise<unknown>) {
  // What earlier requests have left to do counts for them.
  await eventually(async () => expect((await scrape()).get('fairlead_jobs{state="waiting"}')).toBe(0))
  const before = await scrape()
  await act()
  await eventually(async () => expect(grown(before, await scrape(), prefix)).toEqual(wanted))
}

const raw = (name: string, body: string | Uint8Array = 'Hello', by = call): Promise<Answer> =>
  by('POST', '/v1/uploads', { headers: { 'x-file-name': name }, body })
const idOf = (answer: Answer): string => answer.json<{ data: { assetId: string } }>().data.assetId

interface Created {
  readonly upload: { readonly id: string }
  readonly upload_url: string
}
async function presigned(filename = 'file.bin'): Promise<Created> {
  const answer = await call('POST', '/api/v1/uploads', { json: { filename, category: 'other' } })
  expect(answer.status).toBe(201)
  return answer.json<{ data: Created }>().data
}

describe('who may see the metrics', () => {
  it.each([
    ['no token', {}],
    ['another token', { Authorization: `Bearer ${token.slice(0, -1)}X` }],
    ['a part of the token', { Authorization: `Bearer ${token.slice(0, -1)}` }],
    ['a longer one', { Authorization: `Bearer ${token}X` }],
    ['another scheme', { Authorization: `Basic ${token}` }],
    ['the token as an API key', { 'x-api-key': token }],
  ])('not who has %s', async (_what, headers) => {
    expect(refusalOf(await call('GET', '/metrics', { key: null, headers }), problem)).toBe('401 unauthenticated')
  })

  it('not who has an API key, and no API for who has the token', async () => {
    expect(refusalOf(await call('GET', '/metrics'), problem)).toBe('401 unauthenticated')
    expect((await call('GET', '/api/v1/uploads', { key: token })).status).toBe(401)
  })

  it('whoever has the token, whatever it accepts', async () => {
    const headers = { Accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3' }
    const answer = await call('GET', '/metrics', { key: token, headers })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect((await call('HEAD', '/metrics', { key: token })).status).toBe(200)
  })

  it('nobody where they are off, and the answer says how to switch them on', async () => {
    const off = await startGateway({ config: configText() })
    const answer = await clientOf(off, off.key)('GET', '/metrics')
    expect(refusalOf(answer, problem)).toBe('404 not_found')
    expect(answer.json()['detail']).toContain('FAIRLEAD_METRICS_TOKEN')
    expect(answer.json()['detail']).toContain('metrics.port')
    expect(await off.stop()).toBe(0)
    await off.close()
  })
})

describe('a port of their own', () => {
  // First of all: no other connection to this gateway has been made.
  it('counts every byte on the wire', async () => {
    const before = await scrape(apart)
    const wire = await wireTo(apart.url)
    const body = randomBytes(300_000)
    const head = { Authorization: `Bearer ${apart.key}`, 'x-file-name': 'a.bin', 'Content-Length': body.length }
    await wire.send(requestHead('POST', '/v1/uploads', head))
    await wire.send(body.subarray(0, 100_000))
    await eventually(async () => {
      const { '{}': received = 0 } = grown(before, await scrape(apart), 'fairlead_http_received_bytes_total')
      expect(received).toBe(wire.socket.bytesWritten) // also of what is still on its way
    })
    expect((await scrape(apart)).get('fairlead_body_memory_bytes{part="gathers"}')).toBe(2 * mebibyte)
    await wire.send(body.subarray(100_000))
    const id = idOf(await wire.answer())
    await wire.send(requestHead('GET', `/api/v1/uploads/${id}/download`, { Authorization: head.Authorization }))
    expect((await wire.answer()).bytes.equals(body)).toBe(true)
    expect((await scrape(apart)).get('fairlead_http_connections{}')).toBe(1)
    wire.cut()
    await eventually(async () => {
      const after = await scrape(apart)
      expect(grown(before, after, 'fairlead_http_received_bytes_total')).toEqual({ '{}': wire.socket.bytesWritten })
      expect(grown(before, after, 'fairlead_http_sent_bytes_total')).toEqual({ '{}': wire.socket.bytesRead })
      expect(after.get('fairlead_http_connections{}')).toBe(0)
      expect(after.get('fairlead_body_memory_bytes{part="gathers"}')).toBe(0)
    })
  })

  it('asks for nothing, has nothing else, and is the only place', async () => {
    const url = await portOf(apart)
    expect(new URL(url).port).not.toBe(new URL(apart.url).port)
    expect((await scrape(apart)).size).toBeGreaterThan(50)
    const ask = clientOf(apart, apart.key)
    for (const [method, path] of [
      ['GET', '/'],
      ['GET', '/healthz'],
      ['POST', '/metrics'],
      ['GET', '/metrics/x'],
    ] as const)
      expect(refusalOf({ ...(await ask(method, new URL(path, url).href)), headers: withId }, problem)).toBe(
        '404 not_found',
      )
    const here = await ask('GET', '/metrics')
    expect(refusalOf(here, problem)).toBe('404 not_found')
    expect(here.json()['detail']).toContain('metrics.port')
  })
  const withId = new Headers({ 'Content-Type': 'application/problem+json', 'X-Request-Id': 'none here' })

  it('that is taken stops the start, in one line', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await once(blocker, 'listening')
    const address = blocker.address()
    const port = typeof address === 'object' ? address?.port : 0
    const config = `export default { plugins: [], metrics: { port: ${port} } }`
    await expect(startGateway({ config })).rejects.toThrow(`Cannot listen on 127.0.0.1:${port}`)
    blocker.close()
  })

  it('does not hold up the end', async () => {
    const wire = await wireTo(await portOf(apart))
    await wire.send(requestHead('GET', '/metrics', {}))
    expect((await wire.answer()).status).toBe(200)
    expect(await apart.stop('SIGTERM')).toBe(0)
    await apart.start()
  })
})

describe('counts', () => {
  it('requests by method, route and class of status', () =>
    expectGrowth(
      'fairlead_http_requests_total',
      {
        '{method="POST",route="/v1/uploads",status="2xx"}': 2,
        '{method="POST",route="/v1/uploads",status="4xx"}': 1,
        '{method="GET",route="/api/v1/uploads/:id",status="2xx"}': 1,
        '{method="GET",route="/api/v1/uploads/:id",status="4xx"}': 1,
        '{method="HEAD",route="/api/v1/uploads/:id/download",status="2xx"}': 1,
        '{method="PATCH",route="/v1/assets/:id",status="4xx"}': 1,
        '{method="GET",route="none",status="4xx"}': 20,
        '{method="other",route="none",status="4xx"}': 1,
        '{method="OPTIONS",route="none",status="2xx"}': 1,
      },
      async () => {
        const id = idOf(await raw('a.bin'))
        await raw('a.bin')
        await raw('a.bin', '')
        await call('GET', `/api/v1/uploads/${id}`)
        await call('GET', `/api/v1/uploads/${randomUUID()}`)
        await call('HEAD', `/api/v1/uploads/${id}/download`)
        await call('PATCH', `/v1/assets/${id}`)
        for (let i = 0; i < 20; i++) await call('GET', `/nowhere/${i}`)
        await call('PROPFIND', '/nowhere')
        const headers = { Origin: 'https://a.example', 'Access-Control-Request-Method': 'POST' }
        await call('OPTIONS', '/v1/uploads', { key: null, headers })
      },
    ))

  it('a request that broke off as cut', () =>
    expectGrowth(
      'fairlead_http_requests_total',
      { '{method="POST",route="/v1/uploads",status="cut"}': 1 },
      async () => {
        const wire = await wireTo(gateway.url)
        const headers = { Authorization: `Bearer ${gateway.key}`, 'x-file-name': 'a.bin', 'Content-Length': 1_000 }
        await wire.send(requestHead('POST', '/v1/uploads', headers))
        await wire.send('not all')
        await eventually(async () =>
          expect((await scrape()).get('fairlead_body_memory_bytes{part="gathers"}')).toBeGreaterThan(0),
        )
        wire.cut()
        const discarded = 'fairlead_uploads_total{dialect="raw",state="discarded"}'
        await eventually(async () => expect((await scrape()).get(discarded)).toBeGreaterThan(0))
      },
    ))

  it('uploads by what became of them, and their bytes', async () => {
    const before = await scrape()
    const { upload, upload_url: url } = await presigned()
    const late = await presigned('refused-late.bin')
    await call('PUT', late.upload_url, { key: null, body: 'Hello' })
    expect((await call('POST', `/api/v1/uploads/${late.upload.id}`)).status).toBe(415)
    await call('PUT', url, { key: null, body: 'Hello' })
    for (let i = 0; i < 3; i++) expect((await call('POST', `/api/v1/uploads/${upload.id}`)).status).toBe(200)
    const id = idOf(await raw('a.bin', 'seven b'))
    await raw('a.bin', '')
    await call('DELETE', `/v1/assets/${id}`)
    await call('DELETE', `/v1/assets/${id}`)
    const after = await scrape()
    expect(grown(before, after, 'fairlead_uploads_total')).toEqual({
      '{dialect="presigned",state="pending"}': 2,
      '{dialect="presigned",state="receiving"}': 2,
      '{dialect="presigned",state="processing"}': 2,
      '{dialect="presigned",state="ready"}': 1,
      '{dialect="presigned",state="rejected"}': 1,
      '{dialect="raw",state="receiving"}': 1,
      '{dialect="raw",state="processing"}': 1,
      '{dialect="raw",state="ready"}': 1,
      '{dialect="raw",state="deleted"}': 1,
    })
    expect(grown(before, after, 'fairlead_upload_bytes_total')).toEqual({
      '{dialect="presigned"}': 5,
      '{dialect="raw"}': 7,
    })
  })

  it('hooks by plugin and outcome, of those that really ran', async () => {
    const before = await scrape()
    await raw('a.bin')
    await raw('unseen.bin')
    expect((await raw('refused.bin')).status).toBe(415)
    expect((await raw('broken.bin')).status).toBe(503)
    expect((await raw('hanging.bin')).status).toBe(503)
    const after = await scrape()
    expect(grown(before, after, 'fairlead_hook_duration_seconds_count')).toEqual({
      '{hook="inspect",outcome="ok",plugin="sniff-type"}': 4,
      '{hook="inspect",outcome="ok",plugin="counts"}': 3,
      '{hook="tap",outcome="ok",plugin="counts"}': 3,
      '{hook="beforeFinish",outcome="ok",plugin="counts"}': 3,
      '{hook="beforeCreate",outcome="ok",plugin="picky"}': 4,
      '{hook="beforeCreate",outcome="refused",plugin="picky"}': 1,
      '{hook="beforeFinish",outcome="ok",plugin="picky"}': 3,
      '{hook="beforeFinish",outcome="failed",plugin="picky"}': 1,
      '{hook="beforeCreate",outcome="ok",plugin="quota"}': 4,
      '{hook="beforeFinish",outcome="ok",plugin="quota"}': 2,
    })
    // One that hangs is given up by the request, and stays to be seen.
    expect(grown(before, after, 'fairlead_hooks_running')).toEqual({ '{hook="beforeFinish",plugin="hanging"}': 1 })
  })
  it('operations of the store by outcome', () =>
    expectGrowth(
      'fairlead_store_operation_duration_seconds_count',
      {
        '{operation="write",outcome="ok"}': 1,
        '{operation="finish",outcome="ok"}': 1,
        '{operation="read",outcome="ok"}': 2,
        '{operation="remove",outcome="ok"}': 1,
      },
      async () => {
        const id = idOf(await raw('a.bin'))
        for (const headers of [{}, { Range: 'bytes=1-2' }])
          await call('GET', `/api/v1/uploads/${id}/download`, { headers })
        await call('DELETE', `/v1/assets/${id}`)
      },
    ))

  it('the time of a request in seconds', async () => {
    const sum = 'fairlead_http_request_duration_seconds_sum{method="POST",route="/v1/uploads",status="5xx"}'
    const before = await scrape()
    await raw('hanging.bin') // for 50 ms, and then it is given up
    await eventually(async () => {
      const seconds = ((await scrape()).get(sum) ?? 0) - (before.get(sum) ?? 0)
      expect(seconds).toBeGreaterThan(0.04)
      expect(seconds).toBeLessThan(40) // and not of milliseconds
    })
  })
})

describe('the queue', () => {
  it('tells of jobs that were given up, and waits for none', async () => {
    await apart.stop()
    const records = sqliteRecords({ path: join(apart.dataDir, 'fairlead.db'), defaultQuota: null })
    for (const key of ['00/one', '00/two', '00/three']) await records.abandon(key)
    const [one, two] = await records.claim(3, 60_000)
    for (const job of [one, two]) await records.failed(job?.number ?? 0, 'given up', null)
    await records.close()
    await apart.start()
    await eventually(async () => {
      const samples = await scrape(apart)
      expect(samples.get('fairlead_jobs{state="failed"}')).toBe(2)
      expect(samples.get('fairlead_jobs{state="waiting"}')).toBe(0)
    })
  })
})

describe('what the labels hold', () => {
  it('is no word of a client, and does not grow with what clients send', async () => {
    const secrets = ['tenant-7', 'user-7', 'name-7', 'project-7', 'nowhere-7', 'PROPPATCH', 'key-7']
    const { key } = await addKeys(gateway, { key: { workspaceId: 'tenant-7', userId: 'user-7', name: 'key-7' } })
    const theirs = clientOf(gateway, key)
    const use = async (i: number): Promise<void> => {
      const id = idOf(await raw(`name-7-${i}.txt`, 'Hello', theirs))
      await theirs('GET', `/api/v1/uploads/${id}/download?nowhere-7=${i}`)
      await theirs('GET', `/v1/projects/project-7-${i}/assets`)
      await theirs('GET', `/nowhere-7/${i}`)
      await theirs('PROPPATCH', `/nowhere-7/${i}`)
      await theirs('GET', `/api/v1/uploads/%22%7D%0Aname-7-${i}`)
    }
    await use(0)
    const before = await scrape()
    for (let i = 1; i < 10; i++) await use(i)
    const after = await scrape()
    for (const name of after.keys()) for (const secret of secrets) expect(name).not.toContain(secret)
    expect([...after.keys()].filter((name) => !before.has(name) && !name.includes('nodejs_'))).toEqual([])
  })

  it('tells of the process too', async () => {
    const samples = await scrape()
    for (const name of ['process_resident_memory_bytes{}', 'nodejs_heap_size_used_bytes{}', 'process_open_fds{}'])
      expect(samples.get(name)).toBeGreaterThan(0)
    expect(samples.get('nodejs_eventloop_lag_p99_seconds{}')).toBeGreaterThanOrEqual(0)
  })
})
