import { DeleteObjectCommand, HeadBucketCommand, HeadObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { UploadError } from '../errors.ts'
import { type Growth, keyPattern, type ObjectStore } from '../uploads/object-store.ts'
import { s3Diagnosis } from './s3/diagnose.ts'
import { s3Concat } from './s3/concat.ts'
import { copyPart, directAccess } from './s3/direct.ts'
import { partMemory } from './s3/memory.ts'
import { abortAll, abortUpload, excessOf, openUploads, type Target } from './s3/multipart.ts'
import { partSizes } from './s3/part-sizes.ts'
import { type ProfileName, profiles } from './s3/profiles.ts'
import { readObject } from './s3/read.ts'
import { answered, ignoring, request, s3Client, type S3Address } from './s3/requests.ts'
import { s3Writer } from './s3/writer.ts'

const nothing: Growth = { bytes: 0, note: null, pieces: [] }

/** Milliseconds in which the bucket must answer when it is only asked whether it does: probes wait no longer. */
const checkMs = 3_000

export interface S3StoreOptions extends Omit<S3Address, 'region' | 'forcePathStyle'> {
  readonly bucket: string
  /** What begins every key of this installation, with a slash at its end: others may use the bucket too. */
  readonly prefix: string
  readonly profile: ProfileName
  /** @default the profile's */
  readonly region?: string | undefined
  readonly forcePathStyle?: boolean | undefined
  /** What presigned URLs begin with. @default `endpoint` */
  readonly publicEndpoint?: string | undefined
  /** Milliseconds after which a request that was given up has no effect in the server any more. */
  readonly settledMs: number
  /** Bytes of memory for parts on their way. */
  readonly memoryBytes: number
  /** Bytes of the largest object that may come. */
  readonly largestObject: number
  /** Bytes above which a copy is made in parts. @default 5 GB, where stores demand it */
  readonly largestCopy?: number
}

export type S3Store = Required<Omit<ObjectStore, 'path'>>

/**
 * Stores objects in a bucket of any S3 server. What arrives is held in memory until a part is full, and never on disk.
 *
 * @throws {UploadError} `storage_failed`, with `retryAfter` when the server is away, busy or too slow.
 */
export function s3Store(options: S3StoreOptions): S3Store {
  const { bucket, prefix, endpoint } = options
  const profile = profiles[options.profile]
  const address = {
    endpoint,
    region: options.region ?? profile.region,
    forcePathStyle: options.forcePathStyle ?? profile.pathStyle,
    ...(options.credentials && { credentials: options.credentials }),
  }
  const client = s3Client(address)
  const signer = s3Client({ ...address, endpoint: options.publicEndpoint ?? endpoint })
  const memory = partMemory(options.memoryBytes)

  function at(key: string): Target {
    if (!keyPattern.test(key)) throw new TypeError('That is no key of an object.')
    return { Bucket: bucket, Key: prefix + key }
  }

  const read: ObjectStore['read'] = async (key, range, signal) => readObject(client, at(key), range, signal)

  async function remove(key: string): Promise<void> {
    const command = new DeleteObjectCommand(at(key))
    await request('The object could not be removed.', (abortSignal) => client.send(command, { abortSignal }))
  }

  /** @param begun bytes of the first part that the object has already */
  const writing = (key: string, length: number | null, begun?: number) => ({
    client,
    target: at(key),
    memory,
    partSize: partSizes(length, options.largestObject, profile.equalParts, begun),
    equalParts: profile.equalParts,
  })

  const direct = directAccess({
    client,
    signer,
    at,
    copyIfMatch: profile.copyIfMatch,
    ...(options.largestCopy === undefined ? {} : { largestCopy: options.largestCopy }),
  })

  return {
    name: 's3',
    heldBytes: () => memory.used,
    settledMs: options.settledMs,
    direct,
    diagnosis: s3Diagnosis({
      client,
      direct,
      bucket,
      prefix,
      targetOf: at,
      endpoint,
      publicEndpoint: options.publicEndpoint,
      region: address.region,
      pathStyle: address.forcePathStyle,
    }),
    write(key, { length = null, note = async () => {} } = {}) {
      const coming = length
      return s3Writer({ ...writing(key, length), length, coming, note, growth: nothing })
    },
    grow(key, { growth, length, coming, note, ...keeping }) {
      const begun = growth.pieces.find(({ ref }) => ref !== null)
      return s3Writer({ ...writing(key, length, begun?.size), length, coming, note, growth, keeping })
    },
    async concat(sources, key, { note = async () => {}, signal }) {
      const total = sources.reduce((sum, { size }) => sum + size, 0)
      const partSize = partSizes(total, options.largestObject, true)
      await s3Concat({
        client,
        target: at(key),
        memory,
        note,
        signal,
        sources: sources.map((source) => ({ ...source, key: at(source.key).Key })),
        limits: {
          largestCopy: Math.min(copyPart, options.largestCopy ?? copyPart),
          largestGathered: memory.total,
          equalPart: profile.equalParts ? partSize(1) : null,
        },
        read: (source, range, abort) => read(sources[source]?.key ?? '', range, abort),
      })
    },
    async clear(key, note) {
      if (note === null) await abortAll(client, at(key))
      else await abortUpload(client, at(key), note)
      await remove(key)
    },
    async excess(key, { note, pieces }, how) {
      if (note === null) return 0
      const counted = pieces.filter(({ ref }) => ref !== null).length
      const upload = { ...at(key), UploadId: note }
      return excessOf(client, upload, counted, how).catch((error: unknown) => {
        // It has been made an object meanwhile.
        if (error instanceof UploadError && answered(error.cause, 'NoSuchUpload')) return 0
        throw error
      })
    },
    read,
    bytes: async (key, range, signal) => Buffer.concat(await Array.fromAsync(await read(key, range, signal))),
    async stat(key) {
      const command = new HeadObjectCommand(at(key))
      const found = await request('The object could not be looked up.', (abortSignal) =>
        client.send(command, { abortSignal }).catch(ignoring(404)),
      )
      return found && { key, size: found.ContentLength ?? 0, modifiedAt: found.LastModified?.getTime() ?? 0 }
    },
    remove,
    async *list(signal) {
      let token: string | undefined
      do {
        const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token })
        const send = (abortSignal: AbortSignal) => client.send(command, { abortSignal })
        const page = await request('The objects could not be listed.', send, { signal })
        for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
          const key = Key.slice(prefix.length)
          if (keyPattern.test(key)) yield { key, size: Size, modifiedAt: LastModified?.getTime() ?? 0 }
        }
        token = page.IsTruncated ? page.NextContinuationToken : undefined
      } while (token !== undefined)
    },
    endUnfinished: async ({ key, note }) => abortUpload(client, at(key), note),
    async *unfinished(signal) {
      for await (const { Key, UploadId: note, startedAt } of openUploads(client, bucket, prefix, signal)) {
        const key = Key.slice(prefix.length)
        if (keyPattern.test(key)) yield { key, note, startedAt }
      }
    },
    // What writers of an earlier process have left is known from the records, and goes by `clear`.
    recover: async () => {},
    async check() {
      await request(
        'The bucket of the store does not answer.',
        (abortSignal) => client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal }),
        { deadlineMs: checkMs, patienceMs: 0 },
      )
    },
    close() {
      client.destroy()
      signer.destroy()
    },
  }
}
