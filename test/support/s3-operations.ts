import type { IncomingHttpHeaders } from 'node:http'

/** What a request asks of an S3 server, by S3's own words. */
export type S3Operation =
  | 'ListBuckets'
  | 'CreateBucket'
  | 'HeadBucket'
  | 'DeleteBucket'
  | 'GetBucketLocation'
  | 'GetBucketCors'
  | 'PutBucketCors'
  | 'ListObjectsV2'
  | 'ListObjects'
  | 'ListMultipartUploads'
  | 'DeleteObjects'
  | 'PutObject'
  | 'CopyObject'
  | 'GetObject'
  | 'HeadObject'
  | 'DeleteObject'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListParts'
  | 'Preflight'
  | 'Other'

interface Asked {
  readonly query: URLSearchParams
  readonly isCopy: boolean
}

type Rule = readonly [when: (asked: Asked) => boolean, operation: S3Operation]

const always = () => true
const has = (name: string) => (asked: Asked) => asked.query.has(name)
const isPart = has('partNumber')
const isPartCopy = (asked: Asked) => isPart(asked) && asked.isCopy

/** By method and what the path names; the first that fits. Sub-resources that nobody here uses are `Other`. */
const rules: Readonly<Record<string, readonly Rule[]>> = {
  'GET service': [[always, 'ListBuckets']],
  'PUT bucket': [
    [has('cors'), 'PutBucketCors'],
    [(asked) => asked.query.size === 0, 'CreateBucket'],
  ],
  'HEAD bucket': [[always, 'HeadBucket']],
  'DELETE bucket': [[(asked) => asked.query.size === 0, 'DeleteBucket']],
  'GET bucket': [
    [has('location'), 'GetBucketLocation'],
    [has('cors'), 'GetBucketCors'],
    [has('uploads'), 'ListMultipartUploads'],
    [has('list-type'), 'ListObjectsV2'],
    [(asked) => asked.query.size === 0 || asked.query.has('prefix'), 'ListObjects'],
  ],
  'POST bucket': [[has('delete'), 'DeleteObjects']],
  'GET object': [
    [has('uploadId'), 'ListParts'],
    [always, 'GetObject'],
  ],
  'HEAD object': [[always, 'HeadObject']],
  'PUT object': [
    [isPartCopy, 'UploadPartCopy'],
    [isPart, 'UploadPart'],
    [(asked) => asked.isCopy, 'CopyObject'],
    [always, 'PutObject'],
  ],
  'POST object': [
    [has('uploads'), 'CreateMultipartUpload'],
    [has('uploadId'), 'CompleteMultipartUpload'],
  ],
  'DELETE object': [
    [has('uploadId'), 'AbortMultipartUpload'],
    [always, 'DeleteObject'],
  ],
}

export interface S3Request {
  readonly operation: S3Operation
  readonly bucket: string
  readonly key: string
}

/** Reads a request in path style. */
export function readS3Request(method: string, target: string, headers: IncomingHttpHeaders): S3Request {
  const { pathname, searchParams } = new URL(target, 'http://s3.invalid')
  const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/.exec(pathname) ?? []
  // The SDK adds its name to the query of everything.
  searchParams.delete('x-id')
  const asked: Asked = { query: unsigned(searchParams), isCopy: headers['x-amz-copy-source'] !== undefined }
  const names = key !== '' ? 'object' : bucket !== '' ? 'bucket' : 'service'
  const rule = rules[`${method} ${names}`]?.find(([when]) => when(asked))
  const operation = method === 'OPTIONS' ? 'Preflight' : (rule?.[1] ?? 'Other')
  return { operation, bucket, key: decodeURIComponent(key) }
}

/** Without what a presigned URL has more than any other. */
function unsigned(query: URLSearchParams): URLSearchParams {
  return new URLSearchParams([...query].filter(([name]) => !/^x-amz-/i.test(name)))
}
