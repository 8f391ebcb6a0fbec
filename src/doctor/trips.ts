import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../../config/load.ts'
import { isBeyondUs, isRecord } from '../connection.ts'
import { type Check, failed, passed } from '../uploads/diagnosis.ts'
import { typeMatches } from '../uploads/policy.ts'
import { sample, sampleName, sampleType } from './sample.ts'
import { type Call, caller, Stopped, textIn } from './visitor.ts'

/** Times that a file whose plugins take long is asked for, and milliseconds between. */
const readyTries = 10
const readyMs = 500

/** One request, then the file back, and gone. */
export function rawTrip(base: string, key: string, config: Config): Promise<Check> {
  const check = 'gateway.raw'
  return trip(check, async (call) => {
    const auth = { Authorization: `Bearer ${key}` }
    const bytes = await sample()
    const headers = { ...auth, 'Content-Type': sampleType, 'x-file-name': sampleName }
    const made = await call('POST', `${base}/v1/uploads`, [201], { headers, body: bytes })
    const { data } = made.json
    checkAddress(check, base, textIn(data, 'fileUrl'))
    await download(call, check, textIn(data, 'fileUrl'), bytes, config)
    await call('DELETE', `${base}/v1/assets/${encodeURIComponent(textIn(data, 'assetId'))}`, [204], {
      headers: auth,
    })
  })
}

/** Create, PUT, confirm, the file back, and gone. */
export function presignedTrip(base: string, key: string, config: Config): Promise<Check> {
  const check = 'gateway.presigned'
  return trip(check, async (call) => {
    const category = categoryFor(config)
    if (category === undefined) throw new Stopped(passed(check, 'Not tried: no category takes the sample, an image.'))
    if (isStoreBeyondUs(config))
      throw new Stopped(passed(check, `Not tried: from here ${config.s3.publicEndpoint} leads somewhere else.`))
    const auth = { Authorization: `Bearer ${key}` }
    const json = { ...auth, 'Content-Type': 'application/json' }
    const bytes = await sample()
    const made = await call('POST', `${base}/api/v1/uploads`, [201], {
      headers: json,
      body: JSON.stringify({
        filename: sampleName,
        category,
        content_type: sampleType,
        size_bytes: bytes.length,
        checksum: `md5:${createHash('md5').update(bytes).digest('base64')}`,
      }),
    })
    const created = isRecord(made.json['data']) ? made.json['data'] : {}
    const url = textIn(created, 'upload_url')
    const own = `${base}/api/v1/uploads/${encodeURIComponent(textIn(created['upload'], 'id'))}`
    if (new URL(url).pathname.includes('/presigned/upload/')) checkAddress(check, base, url)
    await call('PUT', url, [200, 204], { headers: texts(created['upload_headers']), body: bytes })
    let { json: confirmed } = await call('POST', own, [200], { headers: json, body: '{}' })
    for (let tries = 0; textIn(confirmed['data'], 'download_url') === ''; tries++) {
      if (tries === readyTries)
        throw new Stopped(passed(check, 'Not tried to the end: the plugins take long over the sample.'))
      await sleep(readyMs)
      ;({ json: confirmed } = await call('GET', own, [200], { headers: auth }))
    }
    await download(call, check, textIn(confirmed['data'], 'download_url'), bytes, config)
    await call('DELETE', own, [200], { headers: auth })
  })
}

async function trip(check: string, work: (call: Call) => Promise<void>): Promise<Check> {
  try {
    await work(caller(check))
    return passed(check)
  } catch (error) {
    if (error instanceof Stopped) return error.check
    return failed(check, {
      detail: `The answers of the server could not be read: ${String(error)}.`,
      remedy: 'See whether something in front of it changes them, or it is of another version.',
    })
  }
}

const isStoreBeyondUs = ({ storage, s3 }: Config): boolean =>
  storage.driver === 's3' && isBeyondUs(s3.publicEndpoint, s3.endpoint)

async function download(call: Call, check: string, url: string, bytes: Buffer, config: Config): Promise<void> {
  let answer = await call('GET', url, [200, 302])
  if (answer.status === 302 && isStoreBeyondUs(config)) return // what is said of the store says so
  if (answer.status === 302) answer = await call('GET', answer.headers.get('location') ?? '', [200])
  if (digestOf(answer.body) === digestOf(bytes)) return
  throw new Stopped(
    failed(check, {
      detail: 'What was downloaded are not the bytes that were uploaded.',
      remedy: 'See what changes bodies on the way: a proxy that recompresses images, a cache, or a broken disk.',
    }),
  )
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Clients are given URLs that begin as they have called. */
function checkAddress(check: string, base: string, url: string): void {
  if (url.startsWith(`${base}/`)) return
  throw new Stopped(
    failed(check, {
      detail: `The server gives out URLs that begin with ${new URL(url).origin}, and clients reach it at ${base}.`,
      remedy: `Start it with FAIRLEAD_PUBLIC_URL=${base}; or let the proxy send X-Forwarded-Proto and X-Forwarded-Host, and name the proxy in FAIRLEAD_TRUST_PROXY (server.trustProxy).`,
    }),
  )
}

function texts(value: unknown): Record<string, string> {
  const found: Record<string, string> = {}
  if (isRecord(value))
    for (const [name, text] of Object.entries(value)) if (typeof text === 'string') found[name] = text
  return found
}

const categoryFor = ({ categories }: Config): string | undefined =>
  Object.entries(categories).find(
    ([, { types, extensions }]) =>
      (types === undefined || types.some((pattern) => typeMatches(pattern, sampleType))) &&
      (extensions === undefined || extensions.includes('png')),
  )?.[0]
