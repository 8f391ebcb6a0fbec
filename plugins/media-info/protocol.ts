import type { Found } from './facts.ts'

/** Which family of parsers looks at a file. */
export type Kind = 'image' | 'media'

/** To the worker. One job runs at a time; `job` tells late messages of the one before. */
export type ToWorker =
  | { readonly type: 'probe'; readonly job: number; readonly kind: Kind; readonly size: number }
  | { readonly type: 'bytes'; readonly job: number; readonly read: number; readonly bytes: Uint8Array }
  | { readonly type: 'refused'; readonly job: number; readonly read: number; readonly reason: string }

export type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'read'; readonly job: number; readonly read: number; readonly start: number; readonly end: number }
  | { readonly type: 'found'; readonly job: number; readonly found: Found; readonly reason: string | undefined }
