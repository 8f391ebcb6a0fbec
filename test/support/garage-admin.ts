import { once } from 'node:events'
import { createServer } from 'node:http'
import { z } from 'zod'

export interface GarageAdminOptions {
  /** What requests must bear; not looked at when somebody else does. */
  readonly token?: string
  /** Answers at the beginning that say "not yet". */
  readonly failures?: number
  /** A socket's path. @default any port of 127.0.0.1 */
  readonly path?: string
  /** What happens at the S3 server behind it. */
  importKey?(accessKeyId: string, secretAccessKey: string): Promise<void>
  createBucket?(name: string): Promise<void>
}

const keyOf = z.object({ accessKeyId: z.string(), secretAccessKey: z.string() })
const bucketOf = z.object({ globalAlias: z.string() })

/** Garage's administration API as its documentation tells of it, as far as it is used here. */
export async function startGarageAdmin(options: GarageAdminOptions) {
  const { token, failures = 0 } = options
  const calls: string[] = []
  let key: unknown
  let bucket: string | undefined
  let left = failures
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
    }
    const refuse = (status: number, code: string): void =>
      answer(status, { code, message: 'no', region: 'garage', path: '' })
    void (async () => {
      const text = (await request.toArray()).join('')
      const body: unknown = text === '' ? undefined : JSON.parse(text)
      const url = new URL(request.url ?? '', 'http://admin')
      if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) return refuse(403, 'AccessDenied')
      if (left-- > 0) return refuse(503, 'InternalError')
      const name = url.pathname.replace('/v2/', '')
      calls.push(name)
      if (name === 'ImportKey') {
        if (key !== undefined) return refuse(409, 'KeyAlreadyExists')
        key = body
        const { accessKeyId, secretAccessKey } = keyOf.parse(body)
        await options.importKey?.(accessKeyId, secretAccessKey)
        return answer(200, {})
      }
      if (name === 'GetBucketInfo')
        return bucket === url.searchParams.get('globalAlias') ? answer(200, { id: 'b1' }) : refuse(404, 'NoSuchBucket')
      if (name === 'CreateBucket') {
        bucket = bucketOf.parse(body).globalAlias
        await options.createBucket?.(bucket)
        return answer(200, { id: 'b1' })
      }
      if (name === 'AllowBucketKey') {
        calls.push(text)
        return answer(200, {})
      }
      return refuse(400, 'InvalidRequest')
    })()
  })
  server.listen(options.path === undefined ? { port: 0, host: '127.0.0.1' } : { path: options.path })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return { url: `http://127.0.0.1:${port}`, calls, key: () => key, close: () => server.close() }
}
