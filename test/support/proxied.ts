import type { TestGateway } from './gateway.ts'
import type { S3Place } from './places.ts'
import { sharedS3 } from './s3.ts'
import { type S3Proxy, startS3Proxy } from './s3-proxy.ts'

export interface Proxied {
  readonly gateway: TestGateway
  readonly proxy: S3Proxy
  /** Ends the gateway by SIGKILL, heals the store and starts again. */
  crash(): Promise<void>
  close(): Promise<void>
}

/** A gateway that reaches its store by way of a proxy, which can be told to fail; clients reach the store itself. */
export async function startProxied(place: S3Place): Promise<Proxied> {
  const { endpoint } = await sharedS3()
  const proxy = await startS3Proxy(endpoint)
  const gateway = await place.start({
    env: { FAIRLEAD_S3_ENDPOINT: proxy.endpoint, FAIRLEAD_S3_PUBLIC_ENDPOINT: endpoint },
  })
  return {
    gateway,
    proxy,
    async crash() {
      await gateway.stop('SIGKILL')
      proxy.reset()
      await proxy.idle()
      await gateway.start()
    },
    async close() {
      await gateway.close()
      await place.close()
      await proxy.close()
    },
  }
}
