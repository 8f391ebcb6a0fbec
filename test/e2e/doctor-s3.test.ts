import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { checkStore } from '../../src/doctor/store.ts'
import type { S3StoreOptions } from '../../src/stores/s3.ts'
import { type Patient, patient, type Seen, textsOf } from '../support/doctor.ts'
import { startGateway } from '../support/gateway.ts'
import { freePort } from '../support/ports.ts'
import { type Relay, type RelayOptions, startRelay } from '../support/relay.ts'
import { missingS3, newBucket, sharedS3 } from '../support/s3.ts'
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts'
import type { RawBucket } from '../support/s3-raw.ts'
import { type S3Rig, startS3Rig } from '../support/s3-rig.ts'
import { type S3Connection, s3Variables } from '../support/s3-server.ts'

const origin = 'https://app.example.org'
const always = 1_000

describe.skipIf(missingS3())('the doctor of a store in S3', () => {
  let server: S3Connection
  let rig: S3Rig
  beforeAll(async () => {
    rig = await startS3Rig()
    server = await sharedS3()
  })
  afterAll(() => rig.close())

  const relays: Relay[] = []
  const relay = async (upstream: string | undefined, options?: RelayOptions): Promise<string> => {
    const started = await startRelay(upstream, options)
    relays.push(started)
    return started.url
  }
  afterEach(async () => {
    for (const started of relays.splice(0)) await started.close()
  })

  /** What the doctor says of the store, which nothing of it may be left in. */
  async function failures(
    options: Partial<S3StoreOptions>,
    prepare: (proxy: S3Proxy) => void = () => {},
  ): Promise<Record<string, string>> {
    const opened = rig.open(options)
    try {
      prepare(opened.proxy)
      const terms = { dryRun: false, setCors: false, origins: [], downloads: true }
      const { checks } = await checkStore(opened.store, terms)
      expect(await opened.objects()).toEqual([])
      expect(await opened.uploads()).toEqual([])
      return textsOf(checks, false)
    } finally {
      await opened.close()
    }
  }

  /** What it says of CORS. */
  async function said(origins: readonly string[], prepare?: (proxy: S3Proxy) => void, setCors = false) {
    const opened = rig.open()
    prepare?.(opened.proxy)
    const { checks } = await checkStore(opened.store, { dryRun: !setCors, setCors, origins, downloads: true })
    await opened.close()
    return checks.filter(({ check }) => check.endsWith('cors'))
  }

  describe('in sentences', () => {
    it('finds nothing where all is well', async () => {
      expect(await failures({})).toEqual({})
    })

    it.each<[string, () => Partial<S3StoreOptions>, RegExp]>([
      ['an unknown access key', () => credentials('nobody', 'x'), /InvalidAccessKeyId.*FAIRLEAD_S3_ACCESS_KEY_ID/],
      ['a bucket that is not there', () => ({ bucket: 'no-such-bucket' }), /no bucket no-such-bucket .*Create it/],
      ['nothing that listens', () => ({ endpoint: 'http://127.0.0.1:1' }), /ECONNREFUSED.*FAIRLEAD_S3_ENDPOINT/],
      ['no such host', () => ({ endpoint: 'http://s3.nowhere.invalid' }), /host name that is not known/],
      ['TLS that is none', () => ({ endpoint: server.endpoint.replace('http:', 'https:') }), /http:\/\//],
      [
        'buckets with host names',
        () => ({ endpoint: 'http://s3.invalid', forcePathStyle: false }),
        /FAIRLEAD_S3_FORCE_PATH_STYLE=true/,
      ],
    ])('names %s', async (_, options, says) => {
      expect(await failures(options())).toEqual({ 'store.reach': expect.stringMatching(says) })
    })

    it.each<[string, number, Parameters<S3Proxy['fault']>[0], string, RegExp]>([
      ['AuthorizationHeaderMalformed', 400, 'ListObjectsV2', 'store.reach', /region.*FAIRLEAD_S3_REGION/],
      ['PermanentRedirect', 301, 'ListObjectsV2', 'store.reach', /region.*FAIRLEAD_S3_REGION/],
      ['RequestTimeTooSkewed', 403, 'ListObjectsV2', 'store.reach', /clock.*RequestTimeTooSkewed.*NTP/],
      ['AccessDenied', 403, 'ListObjectsV2', 'store.reach', /s3:ListBucket/],
      ['SlowDown', 503, 'ListObjectsV2', 'store.reach', /cannot now/],
      ['AccessDenied', 403, 'PutObject', 'store.write', /s3:PutObject/],
      ['QuotaExceeded', 403, 'PutObject', 'store.write', /no room.*QuotaExceeded/],
      ['AccessDenied', 403, 'GetObject', 'store.read', /s3:GetObject/],
      ['AccessDenied', 403, 'CreateMultipartUpload', 'store.multipart', /s3:PutObject/],
      ['AccessDenied', 403, 'ListMultipartUploads', 'store.multipart', /s3:ListBucketMultipartUploads/],
      ['AccessDenied', 403, 'CopyObject', 'store.copy', /s3:GetObject and s3:PutObject/],
    ])('%s (%i) to %s', async (code, status, operation, check, says) => {
      const found = await failures({}, (proxy) => proxy.fault(operation, { act: { status, code }, times: always }))
      expect(found).toEqual({ [check]: expect.stringMatching(says) })
    })

    it('names what may stay where nothing may be removed', async () => {
      const opened = rig.open()
      opened.proxy.fault('DeleteObject', { act: { status: 403, code: 'AccessDenied' }, times: always })
      const terms = { dryRun: false, setCors: false, origins: [], downloads: true }
      const found = textsOf((await checkStore(opened.store, terms)).checks, false)
      const [left] = await opened.objects()
      await opened.close()
      expect(left?.key).toMatch(/^00\/0-doctor\.[0-9a-f]{24}$/)
      expect(found).toEqual({ 'store.remove': expect.stringContaining('s3:DeleteObject') })
      expect(found['store.remove']).toContain(left?.key)
    })

    it('knows a server that speaks no S3', async () => {
      expect(await failures({ endpoint: await relay(undefined) })).toEqual({
        'store.reach': expect.stringMatching(/no S3 server.*FAIRLEAD_S3_ENDPOINT/),
      })
    })

    it.each([
      [10, /10 minutes behind/],
      [-180, /3 hours ahead/],
    ])('measures a clock that differs by %i minutes', async (minutes, says) => {
      const date = () => ({ date: new Date(Date.now() + minutes * 60_000).toUTCString() })
      const found = await failures({ endpoint: await relay(server.endpoint, { answer: date }) })
      expect(found['store.clock']).toMatch(says)
    })

    it('tries the public endpoint as browsers do', async () => {
      expect(await failures({ publicEndpoint: await relay(undefined) })).toEqual({
        'store.presigned-put': expect.stringMatching(/no S3 server.*FAIRLEAD_S3_PUBLIC_ENDPOINT/),
      })
      const renamed = await relay(server.endpoint, { send: { host: 'inside.example' } })
      expect(await failures({ publicEndpoint: renamed })).toEqual({
        'store.presigned-put': expect.stringMatching(/SignatureDoesNotMatch.*Host.*FAIRLEAD_S3_PUBLIC_ENDPOINT/),
      })
      expect(await failures({ publicEndpoint: await relay(server.endpoint) })).toEqual({})
    })
  })

  describe('as a program', () => {
    let bucket: RawBucket
    let proxy: S3Proxy
    let variables: Record<string, string>
    let one: Patient
    let silent: Promise<Seen>
    const black = createServer()

    beforeAll(async () => {
      bucket = await newBucket(server)
      proxy = await startS3Proxy(server.endpoint)
      variables = {
        ...s3Variables({ ...server, endpoint: proxy.endpoint }, bucket.name),
        FAIRLEAD_CORS_ORIGINS: '',
      }
      one = await patient(variables)
      const port = await freePort()
      black.listen(port, '127.0.0.1')
      await once(black, 'listening')
      silent = one.doctor([], { FAIRLEAD_S3_ENDPOINT: `http://127.0.0.1:${port}` })
    })
    afterEach(async () => {
      proxy.reset()
      await bucket.request('DELETE', '?cors')
      const left = [...(await bucket.list()), ...(await bucket.uploads())]
      if (left.length > 0) throw new Error(`The doctor has left ${left.map(({ key }) => key).join()}.`)
    })
    afterAll(async () => {
      black.close()
      await one.close()
      await proxy.close()
      await bucket.drop()
    })

    it('says line by line what it has done', async () => {
      const lines = (await one.text()).trimEnd().split('\n')
      expect(lines.slice(0, -1).map((line) => line.replace(/:.*/, ''))).toEqual([
        'ok  records',
        'ok  store.reach',
        'ok  store.clock',
        ...['room', 'write', 'stat', 'read', 'list', 'remove'].map((step) => `ok  store.${step}`),
        ...['multipart', 'presigned-put', 'presigned-get', 'copy', 'cors'].map((step) => `ok  store.${step}`),
        'ok  objects',
        'ok  jobs',
        'ok  gateway',
      ])
      expect(lines.at(-1)).toBe('Looked at 0 stored uploads and 0 objects; 0 jobs waiting. Nothing is wrong.')
    })

    it('writes nothing in a dry run', async () => {
      expect(await one.doctor(['--dry-run'], { FAIRLEAD_CORS_ORIGINS: origin })).toMatchObject({
        ok: false,
        code: 1,
        failed: { 'store.cors': expect.stringMatching(/may do nothing.*--set-cors/) },
      })
      expect(proxy.seen()).not.toEqual([])
      expect(new Set(proxy.seen().map(({ method }) => method))).toEqual(new Set(['GET', 'HEAD', 'OPTIONS']))
    })

    it('names a wrong secret, and does not show it', async () => {
      const seen = await one.doctor([], { FAIRLEAD_S3_SECRET_ACCESS_KEY: 'wrong-but-secret' })
      const says = expect.stringMatching(/SignatureDoesNotMatch.*FAIRLEAD_S3_SECRET_ACCESS_KEY.*FAIRLEAD_S3_REGION/)
      expect(seen).toMatchObject({ ok: false, code: 1, findings: [says], checked: { objects: 0, uploads: 0 } })
      expect(seen.failed).toEqual({ 'store.reach': says })
      expect(seen.stdout).not.toMatch(new RegExp(`wrong-but-secret|${server.accessKeyId}`))
    })

    it('takes it for no fault that web pages are shut out when nobody has named any', async () => {
      expect(await one.doctor(['--dry-run'], { FAIRLEAD_CORS_ORIGINS: '*' })).toMatchObject({
        ok: true,
        code: 0,
        failed: {},
        notes: { 'store.cors': expect.stringMatching(/^Web pages cannot use it\..*--set-cors/) },
      })
    })

    it('sets CORS on request, keeps the rules of others, and lets browsers through', async () => {
      const foreign =
        '<CORSRule><ID>theirs</ID><AllowedOrigin>https://other.example</AllowedOrigin><AllowedMethod>POST</AllowedMethod></CORSRule>'
      await putCors(bucket, foreign)
      const first = await one.doctor(['--set-cors'], { FAIRLEAD_CORS_ORIGINS: origin })
      expect(first).toMatchObject({ ok: true, code: 0, failed: {} })
      const pages = `${origin},https://b.example`
      expect((await one.doctor(['--set-cors'], { FAIRLEAD_CORS_ORIGINS: pages })).failed).toEqual({})
      const origins = ((await bucket.cors()) ?? '').match(/<AllowedOrigin>[^<]*/g)
      expect(origins?.map((text) => text.slice('<AllowedOrigin>'.length))).toEqual([
        origin,
        'https://b.example',
        'https://other.example',
        '*',
      ])
      const preflight = await fetch(`${server.endpoint}/${bucket.name}/x`, {
        method: 'OPTIONS',
        headers: {
          Origin: 'https://b.example',
          'Access-Control-Request-Method': 'PUT',
          'Access-Control-Request-Headers': 'content-md5,content-type',
        },
      })
      expect(preflight.status).toBe(200)
      expect(preflight.headers.get('access-control-allow-headers')).toMatch(/content-md5/i)
    })

    it('needs no answer of a server that is away', async () => {
      const { failed, ms, code } = await silent
      expect({ failed, code }).toEqual({
        failed: { 'store.reach': expect.stringMatching(/not answer in time/) },
        code: 1,
      })
      expect(ms).toBeLessThan(15_000)
    })

    it('uploads to the running gateway, whose clients go to the bucket', async () => {
      const gateway = await startGateway({ env: { ...variables, FAIRLEAD_PORT: String(await freePort()) } })
      const near = await patient({ ...variables, FAIRLEAD_PORT: new URL(gateway.url).port }, gateway.folder)
      const seen = await near.doctor()
      await gateway.stop()
      await gateway.close()
      expect(seen.failed).toEqual({})
      const checks = seen.checks.map(({ check }) => check)
      expect(checks).toEqual(expect.arrayContaining(['gateway.raw', 'gateway.presigned']))
      // What was deleted goes by a job, which may have had no time.
      for (const { key } of await bucket.list()) await bucket.remove(key)
    })
  })

  describe('CORS', () => {
    const both = '<AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>'
    const any = '<AllowedHeader>*</AllowedHeader>'

    afterEach(() => rig.bucket.request('DELETE', '?cors'))

    it.each([
      [`<AllowedOrigin>https://b.example</AllowedOrigin>${both}${any}`, /app\.example\.org may do nothing/],
      [`<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>${any}`, /may not PUT/],
      [`<AllowedOrigin>*</AllowedOrigin>${both}`, /may not PUT with the headers content-type/],
      [`<AllowedOrigin>*</AllowedOrigin>${both}${any}`, /not see the ETag/],
      [
        `<AllowedOrigin>${origin}</AllowedOrigin>${both}${any}<ExposeHeader>ETag</ExposeHeader>`,
        /sends on to a download \(origin "null"\) may do nothing/,
      ],
    ])('is too narrow: %s', async (rule, says) => {
      await putCors(rig.bucket, `<CORSRule>${rule}</CORSRule>`)
      expect(await said([origin])).toEqual([
        {
          check: 'store.cors',
          ok: false,
          detail: expect.stringMatching(says),
          remedy: expect.stringContaining('fairlead doctor --set-cors'),
        },
      ])
    })

    it('is asked by preflight alone where the server does not tell', async () => {
      expect(await said([origin], untold)).toMatchObject([
        { ok: false, detail: expect.stringMatching(/refuses preflights.*preflight alone/) },
      ])
      await rig.bucket.allowOrigin('*')
      expect(await said([origin], untold)).toEqual([
        { check: 'store.cors', ok: true, detail: expect.stringMatching(/preflight alone/) },
      ])
      expect(await said([origin], untold, true)).toMatchObject([
        { check: 'store.set-cors', ok: false, detail: expect.stringMatching(/NotImplemented/) },
      ])
    })

    it('is set for any page', async () => {
      expect(await said(['*'], undefined, true)).toEqual([
        { check: 'store.set-cors', ok: true, detail: expect.any(String) },
        { check: 'store.cors', ok: true },
      ])
      expect(((await rig.bucket.cors()) ?? '').match(/<CORSRule>/g)).toHaveLength(1)
      expect(await said([origin])).toEqual([{ check: 'store.cors', ok: true }])
    })

    it('names the permission that is missing to set it', async () => {
      expect(await said([origin], deny, true)).toMatchObject([{ remedy: expect.stringContaining('s3:PutBucketCORS') }])
    })
  })
})

const credentials = (accessKeyId: string, secretAccessKey: string) => ({
  credentials: { accessKeyId, secretAccessKey },
})

/** A server without rules. */
const untold = (proxy: S3Proxy) => {
  const act = { status: 501, code: 'NotImplemented' }
  proxy.fault('GetBucketCors', { act, times: always })
  proxy.fault('PutBucketCors', { act, times: always })
}

const deny = (proxy: S3Proxy) =>
  void proxy.fault('PutBucketCors', { act: { status: 403, code: 'AccessDenied' }, times: always })

async function putCors(bucket: RawBucket, rules: string): Promise<void> {
  const body = `<CORSConfiguration>${rules}</CORSConfiguration>`
  const { status } = await bucket.request('PUT', '?cors', { body, headers: { 'content-type': 'application/xml' } })
  expect(status).toBe(200)
}
