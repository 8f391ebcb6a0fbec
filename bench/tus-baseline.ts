/** @tus/server as its own documentation mounts it: what `tus.ts` measures against. Folder as argument; S3 by the environment. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { FileStore } from '@tus/file-store'
import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

const [folder = '/tmp'] = process.argv.slice(2)
const { FAIRLEAD_S3_BUCKET: bucket = '', FAIRLEAD_S3_ENDPOINT: endpoint = '', ...env } = process.env

const datastore =
  env['FAIRLEAD_STORAGE'] === 's3'
    ? new S3Store({
        partSize: 8 * 1024 * 1024,
        s3ClientConfig: {
          bucket,
          endpoint,
          region: 'us-east-1',
          forcePathStyle: true,
          requestChecksumCalculation: 'WHEN_REQUIRED',
          credentials: {
            accessKeyId: env['FAIRLEAD_S3_ACCESS_KEY_ID'] ?? '',
            secretAccessKey: env['FAIRLEAD_S3_SECRET_ACCESS_KEY'] ?? '',
          },
        },
      })
    : new FileStore({ directory: folder })
const tus = new Server({ path: '/files', datastore })
const server = createServer({ requestTimeout: 0 }, (req, res) => void tus.handle(req, res))
await once(server.listen(0, '127.0.0.1'), 'listening')
const address = server.address()
process.send?.(typeof address === 'object' ? address?.port : 0)
