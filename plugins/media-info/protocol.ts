import type { Found } from './facts.ts'

/** Which family of parsers looks at a file. */
export type Kind = 'image' | 'media' | 'document'

/** To the process. One job runs at a time. */
export type ToProcess =
  | { readonly type: 'probe'; readonly job: number; readonly kind: Kind; readonly size: number }
  | { readonly type: 'bytes'; readonly request: number; readonly bytes: Uint8Array }
  | { readonly type: 'path'; readonly request: number; readonly path: string }
  | { readonly type: 'refused'; readonly request: number; readonly reason: string }

/** From the process; `job` tells late messages of the job before. */
export type FromProcess =
  | { readonly type: 'ready' }
  | {
      readonly type: 'read'
      readonly job: number
      readonly request: number
      readonly start: number
      readonly end: number
    }
  | { readonly type: 'path'; readonly job: number; readonly request: number }
  | { readonly type: 'found'; readonly job: number; readonly found: Found; readonly reason: string | undefined }
