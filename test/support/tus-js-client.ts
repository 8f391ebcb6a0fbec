import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { DetailedError, type PreviousUpload, Upload, type UploadOptions, type UrlStorage } from 'tus-js-client'
import { z } from 'zod'
import type { TestGateway } from './gateway.ts'

export type Source = ConstructorParameters<typeof Upload>[0]

/** Milliseconds between the tries of a client: it must outlast a start of the gateway. */
const retryDelays = [50, 200, 500, 1_000, 2_000, 3_000]

export const clientOptions = ({ url, key }: Pick<TestGateway, 'url' | 'key'>): UploadOptions => ({
  endpoint: `${url}/files`,
  headers: { Authorization: `Bearer ${key}` },
  retryDelays,
})

/** How an upload ended: with its last answer, or with what the client says went wrong. */
export interface Ended {
  readonly url: string
  readonly id: string
  /** Of the last answer, where there was one. */
  readonly status: number | undefined
  readonly record: string | undefined
  readonly error: string | undefined
}

/** Runs the upload until it succeeds or the client gives up. @param begun gets hold of it, before it starts */
export function run(
  source: Source,
  options: UploadOptions,
  begun: (upload: Upload) => void = () => {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const end = (over: Partial<Ended>): void => {
      const url = upload.url ?? ''
      resolve({ url, id: url.split('/').pop() ?? '', status: undefined, record: undefined, error: undefined, ...over })
    }
    const upload = new Upload(source, {
      ...options,
      onSuccess: ({ lastResponse }) =>
        end({ status: lastResponse.getStatus(), record: lastResponse.getHeader('Upload-Record') }),
      onError: (error) =>
        end({
          error: error.message,
          status: error instanceof DetailedError ? error.originalResponse?.getStatus() : undefined,
        }),
    })
    begun(upload)
    void start(upload)
  })
}

async function start(upload: Upload): Promise<void> {
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
  upload.start()
}

const kept = z.record(
  z.string(),
  z.object({
    size: z.number().nullable(),
    metadata: z.record(z.string(), z.string()),
    creationTime: z.string(),
    urlStorageKey: z.string(),
    uploadUrl: z
      .string()
      .nullish()
      .transform((url) => url ?? null),
    parallelUploadUrls: z
      .array(z.string())
      .nullish()
      .transform((urls) => urls ?? null),
  }),
)

/** Remembers uploads in a file, as a page does in the browser's storage: another process goes on with them. */
export function urlStorage(file: string): UrlStorage {
  const read = (): Record<string, PreviousUpload> =>
    existsSync(file) ? kept.parse(JSON.parse(readFileSync(file, 'utf8'))) : {}
  const write = (items: Record<string, PreviousUpload>): void => {
    writeFileSync(`${file}.new`, JSON.stringify(items))
    renameSync(`${file}.new`, file)
  }
  return {
    findAllUploads: async () => Object.values(read()),
    findUploadsByFingerprint: async (fingerprint) =>
      Object.values(read()).filter((one) => one.urlStorageKey === fingerprint),
    async removeUpload(key) {
      const { [key]: _gone, ...rest } = read()
      write(rest)
    },
    async addUpload(fingerprint, upload) {
      write({ ...read(), [fingerprint]: { ...upload, urlStorageKey: fingerprint } })
      return fingerprint
    },
  }
}
