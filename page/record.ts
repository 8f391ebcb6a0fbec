import { ask, type Asked, base, type Json, numberOf, textOf } from './gateway.ts'

/** Milliseconds until the gateway is asked again whether it has looked at a file: the first time, and at most. */
const firstWaitMs = 500
const longestWaitMs = 10_000
/** Milliseconds after which nobody asks any more by itself. */
const patienceMs = 5 * 60_000
/** Types that are shown as an image: none that can run something. */
const shownTypes = ['image/jpeg', 'image/png', 'image/gif', 'image/webp', 'image/avif', 'image/bmp']
/** Bytes of an image that are fetched to show it small. */
const maxShownBytes = 32 * 1024 * 1024

/** The id is the last part of an upload's address. */
export const idOf = (uploadUrl: string): string | undefined => /\/([0-9a-f-]{36})\/?$/.exec(uploadUrl)?.[1]

/** The record, as soon as the gateway has looked at the file; the one that says `processing` when that takes too long. */
export async function recordOf(id: string, key: string): Promise<Asked> {
  const end = Date.now() + patienceMs
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    const asked = await ask(`api/v1/uploads/${id}`, key)
    const done = 'words' in asked || textOf(asked.data['status']) !== 'processing'
    if (done || Date.now() + waitMs > end) return asked
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

/** Where the file can be had: at this gateway, whatever name it gives itself. */
export function downloadOf(record: Json): string | undefined {
  const path = /\/(api\/v1\/uploads\/[0-9a-f-]{36}\/download\?[^#]*)$/.exec(textOf(record['download_url']) ?? '')?.[1]
  return path === undefined ? undefined : new URL(path, base).href
}

/**
 * The stored bytes of an image, as a URL for an `img`; nothing when it is no image that is shown.
 *
 * @param inHand what was sent. With files in S3 the download leads to another host, which this page may not ask: then this is shown.
 */
export async function imageOf(record: Json, inHand: Blob): Promise<string | undefined> {
  const url = downloadOf(record)
  const size = numberOf(record['size_bytes']) ?? Infinity
  if (url === undefined || size > maxShownBytes || !shownTypes.includes(textOf(record['content_type']) ?? ''))
    return undefined
  const stored = await fetch(url, { credentials: 'omit' }).catch(() => undefined)
  return URL.createObjectURL(stored?.ok ? await stored.blob() : inHand)
}
